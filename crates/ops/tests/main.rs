//! Every operation against its composed twin, at every CPU level, and every gradient against differences.
//!
//! An untracked CPU tensor takes the kernel; the same tensor with autodiff takes the twin.

use burn::tensor::Tensor;
use ops::{
    Activation, Documents, Format, Heads, KeyValues, RopeStyle, Rotation, Weight, tensor_from, values_of,
};

/// Kernel and twin sum in different orders; relative to the largest value of the twin.
const TOLERANCE: f32 = 2e-5;
/// Central differences of f32 functions with the step below.
const GRADIENT_TOLERANCE: f32 = 2e-2;
const STEP: f32 = 1e-2;

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

/// An operation on matrices that its inputs alone determine.
struct Case {
    name: String,
    inputs: Vec<Tensor<2>>,
    run: Run,
}

type Run = Box<dyn Fn(&[Tensor<2>]) -> Vec<Tensor<2>>>;

fn case(
    name: String,
    inputs: Vec<Tensor<2>>,
    run: impl Fn(&[Tensor<2>]) -> Vec<Tensor<2>> + 'static,
) -> Case {
    Case { name, inputs, run: Box::new(run) }
}

fn flat(pattern: Tensor<3>) -> Tensor<2> {
    let [heads, tokens, positions] = pattern.dims();
    pattern.reshape([heads * tokens, positions])
}

/// Every operation over odd shapes.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (tokens, features) in [(1, 1), (1, 576), (3, 33), (7, 64), (2, 257)] {
        let shape = [tokens, features];
        let weight = random(3, [features]);
        let w = weight.clone();
        cases.push(case(format!("rms_norm {shape:?}"), vec![random(1, shape)], move |x| {
            vec![ops::rms_norm(x[0].clone(), w.clone(), 1e-5)]
        }));
        let pair = vec![random(1, shape), random(2, shape)];
        cases.push(case(format!("add_rms_norm {shape:?}"), pair.clone(), move |x| {
            let (sum, normed) = ops::add_rms_norm(x[0].clone(), x[1].clone(), weight.clone(), 1e-5);
            vec![sum, normed]
        }));
        cases.push(case(format!("swiglu {shape:?}"), pair.clone(), |x| {
            vec![ops::swiglu(x[0].clone(), x[1].clone())]
        }));
        cases.push(case(format!("add {shape:?}"), pair, |x| vec![ops::add(x[0].clone(), x[1].clone())]));
    }
    for style in [RopeStyle::HalfSplit, RopeStyle::Interleaved] {
        for (tokens, heads, head_dim, turned) in [(1, 1, 2, 2), (3, 2, 10, 6), (5, 3, 64, 64)] {
            let rotation = Rotation::new(&ops::rope_frequencies(turned, 1e4), 7..7 + tokens as u32, style);
            let input = random(4, [tokens, heads * head_dim]);
            cases.push(case(format!("rope {style:?} {heads} × {head_dim}"), vec![input], move |x| {
                let (a, b) = ops::rope_pair(x[0].clone(), x[0].clone(), head_dim, &rotation);
                vec![ops::rope(x[0].clone(), head_dim, &rotation), a, b]
            }));
        }
    }
    for (starts, tokens, queries, keys, features) in [
        (vec![0], 1, 1, 1, 1),
        (vec![0], 5, 3, 1, 7),
        (vec![0, 1, 20], 37, 9, 3, 16),
        (vec![0, 30], 33, 2, 2, 33),
    ] {
        let (heads, documents) = (Heads { queries, keys, features }, Documents::new(&starts, tokens));
        let name = |part: &str| format!("attention{part} {documents:?}, {heads:?}");
        let (q, k) = (random(5, [tokens, queries * features]), random(6, [tokens, keys * features]));
        let v = random(7, [tokens, keys * features]);
        let (whole, parts) = (documents.clone(), documents.clone());
        cases.push(case(name(""), vec![q.clone(), k.clone(), v.clone()], move |x| {
            vec![ops::attention(x[0].clone(), x[1].clone(), x[2].clone(), heads, &whole)]
        }));
        cases.push(case(name("_pattern"), vec![q, k], move |x| {
            vec![flat(ops::attention_pattern(x[0].clone(), x[1].clone(), heads, &parts))]
        }));
        cases.push(case(name("_mix"), vec![random(8, [queries * tokens, tokens]), v], move |x| {
            let pattern = x[0].clone().reshape([queries, tokens, tokens]);
            vec![ops::attention_mix(pattern, x[1].clone(), heads)]
        }));
    }
    for (format, columns) in [(Format::F32, 33), (Format::F16, 40), (Format::Q8_0, 64), (Format::Q4_0, 96)] {
        for tokens in [1, 3, 17] {
            let [a, b] = [5, 18].map(|rows| {
                let bytes = ops::quant::quantize(format, &noise(9, rows * columns)).unwrap();
                Weight::from_bytes(format, rows, columns, &bytes).unwrap()
            });
            cases.push(case(
                format!("linear {format:?}, {tokens}"),
                vec![random(10, [tokens, columns])],
                move |x| ops::linear_many(x[0].clone(), [&a, &b], Activation::F32).into(),
            ));
        }
    }
    for shape in [[1, 1], [3, 33]] {
        cases.push(case(format!("relu2 {shape:?}"), vec![random(14, shape)], |x| {
            vec![ops::relu2(x[0].clone())]
        }));
    }
    let losses = |hidden: &Tensor<2>, head: &Weight| {
        vec![ops::cross_entropy(hidden.clone(), head, &[16, 0, 3]).unwrap().reshape([1, 3])]
    };
    let bytes = ops::quant::quantize(Format::Q8_0, &noise(15, 17 * 32)).unwrap();
    let head = Weight::from_bytes(Format::Q8_0, 17, 32, &bytes).unwrap();
    cases.push(case("cross_entropy".into(), vec![random(16, [3, 32])], move |x| losses(&x[0], &head)));
    cases.push(case("cross_entropy dense".into(), vec![random(16, [3, 5]), random(17, [17, 5])], move |x| {
        losses(&x[0], &Weight::dense(x[1].clone()))
    }));
    let low = vec![random(18, [3, 12]), random(19, [5, 12]), random(20, [2, 12]), random(21, [5, 2])];
    cases.push(case("low_rank".into(), low, |x| {
        let weight = Weight::low_rank(Weight::dense(x[1].clone()), x[2].clone(), x[3].clone(), 0.7);
        vec![ops::linear(x[0].clone(), &weight, Activation::F32), weight.to_dense(&x[1].device())]
    }));
    let dense = vec![random(11, [3, 12]), random(12, [5, 12])];
    cases.push(case("linear dense".into(), dense, |x| {
        vec![ops::linear(x[0].clone(), &Weight::dense(x[1].clone()), Activation::F32)]
    }));
    cases.push(case("embed dense".into(), vec![random(13, [6, 4])], |x| {
        vec![ops::embed(&Weight::dense(x[0].clone()), &[5, 0, 5]).unwrap()]
    }));
    cases
}

#[test]
fn kernels_are_their_twins() {
    for case in cases() {
        let twin_inputs: Vec<_> = case.inputs.iter().map(|x| x.clone().autodiff()).collect();
        for (kernel, twin) in (case.run)(&case.inputs).into_iter().zip((case.run)(&twin_inputs)) {
            assert_eq!(kernel.dims(), twin.dims(), "{}", case.name);
            let (kernel, twin) = (values_of(kernel), values_of(twin));
            let largest = twin.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            for (k, t) in kernel.iter().zip(&twin) {
                assert!((k - t).abs() <= TOLERANCE * largest, "{}: {k} and {t}", case.name);
            }
        }
    }
}

#[test]
fn every_level_runs_the_same_test() {
    // The level is chosen once per process, so each runs this test binary again.
    for level in ops::cpu::Level::available() {
        let test = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kernels_are_their_twins"])
            .env("GEWU_CPU", level.name())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&test.stdout);
        assert!(test.status.success() && text.contains("1 passed"), "{}: {text}", level.name());
    }
}

#[test]
fn gradients_are_differences() {
    for case in cases() {
        let size: usize = case.inputs.iter().map(|x| x.shape().num_elements()).sum();
        if size > 2500 {
            continue;
        }
        let loss = |inputs: &[Tensor<2>]| {
            let outputs = (case.run)(inputs).into_iter().enumerate();
            outputs
                .map(|(i, y)| (y.clone() * random(20 + i as u64, y.dims())).sum())
                .reduce(|a, b| a + b)
                .unwrap()
        };
        let tracked: Vec<_> = case.inputs.iter().map(|x| x.clone().autodiff().require_grad()).collect();
        let gradients = loss(&tracked).backward();
        for (which, input) in tracked.iter().enumerate() {
            let gradient =
                input.grad(&gradients).unwrap_or_else(|| panic!("{}: no gradient {which}", case.name));
            let gradient = values_of(gradient);
            let largest = gradient.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            let values = values_of(case.inputs[which].clone());
            for at in (0..values.len()).step_by(values.len().div_ceil(5)) {
                let moved = |by: f32| {
                    let mut values = values.clone();
                    values[at] += by;
                    let mut inputs = case.inputs.clone();
                    inputs[which] = tensor_from(values, inputs[which].dims());
                    f64::from(values_of(loss(&inputs))[0])
                };
                let difference = ((moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP)) as f32;
                assert!(
                    (difference - gradient[at]).abs() <= GRADIENT_TOLERANCE * largest,
                    "{}, input {which}, element {at}: {} by backward, {difference} by difference",
                    case.name,
                    gradient[at]
                );
            }
        }
    }
}

#[test]
fn remembered_keys_and_values_give_the_same_bits() {
    let heads = Heads { queries: 6, keys: 2, features: 20 };
    let (k, v) = (random(1, [150, 40]), random(2, [150, 40]));
    let q = random(3, [150, 120]);
    let whole = values_of(ops::attention(q.clone(), k.clone(), v.clone(), heads, &Documents::single(150)));
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
    let weights = [3, 40, 17].map(|rows| {
        let bytes = ops::quant::quantize(Format::Q8_0, &noise(rows as u64, rows * 64)).unwrap();
        Weight::from_bytes(Format::Q8_0, rows, 64, &bytes).unwrap()
    });
    for activation in [Activation::F32, Activation::Int8] {
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
