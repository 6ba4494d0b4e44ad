//! Every operation against its composed twin, at every CPU level, and every gradient against Burn's own and against
//! differences.

mod cases;
mod gradients;
mod recurrences;
mod stack;

#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
use burn::tensor::{Device, Tensor};
use ops::{Activation, Documents, Format, Heads, KeyValues, Weight, tensor_from, values_of};

fn noise(seed: u64, length: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    tensor_from(noise(seed, shape.iter().product()), shape)
}

/// The device under test: the CPU, or what `GEWU_DEVICE` names.
fn device() -> Device {
    match std::env::var("GEWU_DEVICE").as_deref() {
        Err(_) | Ok("" | "cpu") => Device::flex(),
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(DeviceKind::DefaultDevice),
        #[cfg(feature = "wgpu")]
        Ok("wgpu-cpu") => Device::wgpu(DeviceKind::Cpu),
        #[cfg(feature = "vulkan")]
        Ok("vulkan") => Device::vulkan(DeviceKind::DefaultDevice),
        #[cfg(feature = "metal")]
        Ok("metal") => Device::metal(DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        Ok("cuda") => Device::cuda(0),
        #[cfg(feature = "rocm")]
        Ok("rocm") => Device::rocm(0),
        Ok(other) => panic!("GEWU_DEVICE={other} is not a device of this build: see the features of `ops`"),
    }
}

fn quantized(format: Format, seed: u64, rows: usize, columns: usize) -> Weight {
    let values: Vec<f32> = noise(seed, rows * columns).into_iter().map(|v| 0.5 * v).collect();
    let bytes = ops::quant::quantize(format, &values).unwrap();
    Weight::from_bytes(format, rows, columns, &bytes).unwrap()
}

/// Panics unless `got` is `expected` up to `tolerance` of the largest value, at least of 1.
#[track_caller]
fn close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}: lengths");
    let largest = expected.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= tolerance * largest, "{what}, element {i}: {g} and {e}");
    }
}

#[test]
fn every_level_runs_the_same_tests() {
    // The level is chosen once per process, so each runs this test binary again.
    for level in ops::cpu::Level::available() {
        let test = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["gradients::", "stack::", "recurrences::"])
            .env("GEWU_CPU", level.name())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&test.stdout);
        assert!(test.status.success() && text.contains("are_their_twins ... ok"), "{}: {text}", level.name());
    }
}

#[test]
fn a_packed_document_has_the_bits_it_has_alone() {
    let heads = Heads { queries: 4, keys: 2, features: 20 };
    let documents = Documents::new(&[0, 3, 40], 70);
    let (q, k, v) = (random(1, [70, 80]), random(2, [70, 40]), random(3, [70, 40]));
    let whole = ops::attention(q.clone(), k.clone(), v.clone(), heads, &documents, Activation::F32);
    let pattern = ops::attention_pattern(q.clone(), k.clone(), heads, &documents);
    let parts = ops::attention_mix(pattern.clone(), v.clone(), heads);
    assert!(values_of(whole.clone()) == values_of(parts), "the fused operation differs from its parts");
    for (token, row) in values_of(pattern).chunks(70).enumerate() {
        let own = documents.ranges().find(|range| range.contains(&(token % 70))).unwrap();
        let outside = row.iter().enumerate().filter(|(s, _)| !own.contains(s) || *s > token % 70);
        assert!(outside.into_iter().all(|(_, p)| *p == 0.0));
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
    for range in documents.ranges() {
        let [q, k, v] = [&q, &k, &v].map(|x| x.clone().slice(range.clone()));
        let alone = ops::attention(q, k, v, heads, &Documents::single(range.len()), Activation::F32);
        assert!(values_of(alone) == values_of(whole.clone().slice(range)));
    }
}

#[test]
fn remembered_keys_and_values_give_the_same_bits() {
    let heads = Heads { queries: 6, keys: 2, features: 20 };
    let (k, v) = (random(1, [150, 40]), random(2, [150, 40]));
    let q = random(3, [150, 120]);
    let whole = values_of(ops::attention(
        q.clone(),
        k.clone(),
        v.clone(),
        heads,
        &Documents::single(150),
        Activation::F32,
    ));
    let mut memory = KeyValues::new(heads);
    let mut split = Vec::new();
    for range in [0..1, 1..70, 70..71, 71..150] {
        memory.append(k.clone().slice(range.clone()), v.clone().slice(range.clone())).unwrap();
        let q = q.clone().slice(range);
        let fused = values_of(ops::cached_attention(q.clone(), &memory));
        let parts = ops::cached_attention_mix(ops::cached_attention_pattern(q, &memory), &memory);
        assert!(fused == values_of(parts), "the fused operation differs from its parts");
        split.extend(fused);
    }
    assert!(split == whole);
    memory.truncate(70);
    assert_eq!(memory.positions(), 70);
    memory.append(k.slice(70..150), v.slice(70..150)).unwrap();
    assert!(values_of(ops::cached_attention(q, &memory)) == whole);
}

#[test]
fn several_weights_give_the_bits_of_each_alone() {
    let weights = [3, 40, 17].map(|rows| quantized(Format::Q8_0, rows as u64, rows, 64));
    for activation in [Activation::F32, Activation::Bf16, Activation::Int8] {
        let x = random(1, [5, 64]);
        let together = ops::linear_many(x.clone(), [&weights[0], &weights[1], &weights[2]], activation);
        let gated = ops::swiglu_linear(x.clone(), &weights[1], &weights[1], activation);
        let parts = ops::swiglu(together[1].clone(), together[1].clone());
        assert!(values_of(gated) == values_of(parts), "the fused operation differs from its parts");
        for (weight, y) in weights.iter().zip(together) {
            assert!(values_of(ops::linear(x.clone(), weight, activation)) == values_of(y));
            for row in 0..5 {
                let one = ops::linear(x.clone().slice(row..row + 1), weight, activation);
                let all = ops::linear(x.clone(), weight, activation).slice(row..row + 1);
                assert!(values_of(one) == values_of(all), "not batch-invariant");
            }
        }
    }
}

#[test]
fn what_cannot_be_differentiated_refuses() {
    let mut memory = KeyValues::new(Heads { queries: 1, keys: 1, features: 4 });
    let (tracked, plain) = (random(1, [1, 4]).autodiff().require_grad(), random(2, [1, 4]));
    assert!(memory.append(tracked.clone(), plain.clone()).is_err());
    assert!(memory.append(plain, tracked).is_err());
    assert_eq!(memory.positions(), 0);
}

#[test]
fn bad_data_is_an_error() {
    assert!(Weight::from_bytes(Format::Q8_0, 2, 32, &[0; 67]).is_err());
    assert!(Weight::from_bytes(Format::Q8_0, 2, 33, &[0; 68]).is_err());
    assert!(Weight::from_bytes(Format::F32, usize::MAX, usize::MAX, &[]).is_err());
    let packed = Weight::from_bytes(Format::F32, 2, 1, &[0; 8]).unwrap();
    assert!(ops::embed(&packed, &[2]).is_err());
    assert!(
        ops::embed(&Weight::dense(random(1, [2, 1])), &[0, 2]).unwrap_err().to_string().contains("number 1")
    );
}
