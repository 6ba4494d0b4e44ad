//! The forward pass as a whole: chunking, cache, hooks.

use std::cell::RefCell;

use super::*;
use crate::config::{AttentionConfig, ChannelConfig, ChannelKind, Layers};
use crate::hooks::points;
use crate::mixers::MixerKind;

/// Weights that follow from their names: small, different everywhere, the same in every run.
struct Made(ops::Format);

fn noise(name: &str, length: usize) -> Vec<f32> {
    let mut state =
        name.bytes().fold(0x9e37_79b9_7f4a_7c15u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    std::iter::repeat_with(next).take(length).collect()
}

impl WeightSource for Made {
    fn matrix(&mut self, name: &str, rows: usize, columns: usize, _: Init) -> Result<Weight, Error> {
        let values: Vec<f32> = noise(name, rows * columns).iter().map(|v| v * 0.3).collect();
        let bytes = ops::quant::quantize(self.0, &values).unwrap();
        Ok(Weight::from_bytes(self.0, rows, columns, &bytes).unwrap())
    }

    fn vector(&mut self, name: &str, length: usize, _: Init) -> Result<Tensor<1>, Error> {
        let center = if name.contains("norm") { 1.0 } else { 0.0 };
        let values: Vec<f32> = noise(name, length).iter().map(|v| center + v * 0.2).collect();
        Ok(ops::tensor_from(values, [length]))
    }
}

fn config() -> Config {
    Config {
        vocabulary: 96,
        width: 64,
        context: 2048,
        layers: Layers::uniform(3, MixerKind::Attention),
        norm_epsilon: 1e-5,
        tied_embeddings: true,
        attention: AttentionConfig {
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            rope: RopeConfig {
                base: 10_000.0,
                style: RopeStyle::Half,
                dimensions: None,
                scaling: RopeScaling::None,
            },
            qk_norm: true,
            qkv_bias: true,
            output_bias: true,
        },
        delta: None,
        conv: None,
        channel: ChannelConfig { kind: ChannelKind::Swiglu, hidden: 96 },
    }
}

fn model(format: ops::Format, activation: Activation) -> Transformer {
    Transformer::load(&config(), &mut Made(format), activation).unwrap()
}

fn tokens(count: usize) -> Vec<u32> {
    (0..count as u32).map(|i| (i * 37 + i * i) % 96).collect()
}

fn bits(tensor: Tensor<2>) -> Vec<u32> {
    ops::values_of(tensor).into_iter().map(f32::to_bits).collect()
}

#[test]
fn logits_do_not_depend_on_how_tokens_are_split() {
    for (format, activation) in [
        (ops::Format::Q8_0, Activation::Int8),
        (ops::Format::Q4_0, Activation::F32),
        (ops::Format::F32, Activation::F32),
    ] {
        let model = model(format, activation);
        let tokens = tokens(45);
        let whole = bits(model.forward(&tokens, Some(&mut model.cache(64)), Want::All).unwrap());
        for sizes in [vec![45], vec![1; 45], vec![7, 1, 16, 21], vec![32, 13]] {
            let (mut cache, mut start, mut split) = (model.cache(64), 0, Vec::new());
            for size in sizes {
                split.extend(bits(
                    model.forward(&tokens[start..start + size], Some(&mut cache), Want::All).unwrap(),
                ));
                start += size;
            }
            assert!(split == whole, "{format:?} {activation:?}");
        }
        let last = bits(model.forward(&tokens, Some(&mut model.cache(64)), Want::Last).unwrap());
        assert!(last == whole[44 * 96..]);
        let end = bits(model.forward(&tokens, Some(&mut model.cache(64)), Want::From(40)).unwrap());
        assert!(end == whole[40 * 96..]);
    }
}

#[test]
fn long_prompts_run_in_chunks() {
    let model = model(ops::Format::F32, Activation::F32);
    let tokens = tokens(CHUNK + 70);
    let whole = bits(model.forward(&tokens, Some(&mut model.cache(1024)), Want::All).unwrap());
    assert_eq!(whole.len(), tokens.len() * 96);
    let once = model.forward_with(&tokens, Some(&mut model.cache(1024)), Want::All, &mut Hooks::new());
    assert!(bits(once.unwrap()) == whole);
    let end = bits(model.forward(&tokens, Some(&mut model.cache(1024)), Want::From(CHUNK - 3)).unwrap());
    assert!(end == whole[(CHUNK - 3) * 96..]);
}

#[test]
fn truncate_and_restore_return_to_the_same_bits() {
    let model = model(ops::Format::Q8_0, Activation::Int8);
    let tokens = tokens(30);
    let mut cache = model.cache(64);
    model.forward(&tokens[..20], Some(&mut cache), Want::Last).unwrap();
    let snapshot = cache.snapshot();
    let expected = bits(model.forward(&tokens[20..], Some(&mut cache), Want::All).unwrap());
    cache.truncate(20).unwrap();
    assert!(bits(model.forward(&tokens[20..], Some(&mut cache), Want::All).unwrap()) == expected);
    cache.truncate(3).unwrap();
    model.forward(&[5, 6, 7], Some(&mut cache), Want::Last).unwrap();
    cache.restore(&snapshot);
    assert!(bits(model.forward(&tokens[20..], Some(&mut cache), Want::All).unwrap()) == expected);
    assert!(cache.truncate(31).is_err());
}

#[test]
fn replacing_with_the_same_value_changes_no_bit() {
    let model = model(ops::Format::Q8_0, Activation::Int8);
    let tokens = tokens(11);
    let expected = bits(model.forward(&tokens, Some(&mut model.cache(64)), Want::All).unwrap());
    for name in points(model.config()) {
        let mut hooks = Hooks::new();
        if name.ends_with("pattern") {
            hooks.replace_heads(&name, |x| x);
        } else {
            hooks.replace(&name, |x| x);
        }
        for cached in [true, false] {
            let mut cache = model.cache(64);
            let cache = if cached { Some(&mut cache) } else { None };
            let got = bits(model.forward_with(&tokens, cache, Want::All, &mut hooks).unwrap());
            assert!(got == expected, "{name}, cached: {cached}");
        }
    }
}

#[test]
fn every_matrix_point_reaches_the_logits() {
    let model = model(ops::Format::F32, Activation::F32);
    let tokens = tokens(6);
    let expected = bits(model.forward(&tokens, Some(&mut model.cache(64)), Want::All).unwrap());
    for name in points(model.config()).iter().filter(|name| !name.ends_with("pattern")) {
        let mut hooks = Hooks::new();
        hooks.replace(name, |x| x.zeros_like());
        let got = bits(model.forward_with(&tokens, None, Want::All, &mut hooks).unwrap());
        assert!(got != expected, "{name}");
    }
}

#[test]
fn rows_of_the_pattern_sum_to_one_and_do_not_see_the_future() {
    let model = model(ops::Format::F32, Activation::F32);
    let (seen, mut cache) = (RefCell::new(Vec::new()), model.cache(64));
    model.forward(&tokens(4), Some(&mut cache), Want::Last).unwrap();
    let mut hooks = Hooks::new();
    hooks.read_heads("blocks.1.attention.pattern", |pattern| seen.borrow_mut().push(pattern));
    model.forward_with(&tokens(5), Some(&mut cache), Want::Last, &mut hooks).unwrap();
    drop(hooks);
    let pattern = seen.into_inner().remove(0);
    assert_eq!(pattern.dims(), [4, 5, 9]);
    for (row, weights) in ops::values_of(pattern).chunks(9).enumerate() {
        assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(weights[row % 5 + 5..].iter().all(|&w| w == 0.0));
    }
}

#[test]
fn hooks_that_do_not_fit_are_errors() {
    let model = model(ops::Format::F32, Activation::F32);
    let fails = |hooks: &mut Hooks, want| {
        let mut cache = model.cache(64);
        let error = model.forward_with(&tokens(3), Some(&mut cache), want, hooks).unwrap_err().to_string();
        assert_eq!(cache.positions(), 0);
        error
    };
    for name in ["blocks.3.residual.mid", "blocks.01.residual.mid", "residual.mid", "blocks.0.embed", ""] {
        let mut hooks = Hooks::new();
        hooks.read(name, |_| ());
        assert!(fails(&mut hooks, Want::Last).contains("no point"), "{name}");
    }
    let mut hooks = Hooks::new();
    hooks.replace("blocks.2.mlp.output", |x| x.slice(0..1));
    assert!(fails(&mut hooks, Want::Last).contains("has shape [3, 64], the replacement has [1, 64]"));
    let mut hooks = Hooks::new();
    hooks.read("logits", |_| ());
    assert!(fails(&mut hooks, Want::Hidden).contains("did not fire"));
    let mut hooks = Hooks::new();
    hooks.read("blocks.0.attention.pattern", |_| ());
    assert!(fails(&mut hooks, Want::Last).contains("read_heads"));
}

#[test]
fn requests_that_do_not_fit_are_errors() {
    let model = model(ops::Format::F32, Activation::F32);
    let mut cache = model.cache(4);
    for (tokens, want, message) in [
        (&[][..], Want::Last, "at least one"),
        (&[1, 96], Want::Last, "outside the vocabulary"),
        (&[1, 2, 3, 4, 5], Want::Last, "do not fit the context of 4"),
        (&[1, 2], Want::From(2), "from token 2 of 2"),
    ] {
        let error = model.forward(tokens, Some(&mut cache), want).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(cache.positions(), 0);
    }
    assert_eq!(model.cache(usize::MAX).limit(), 2048);
}

#[test]
fn gradients_reach_a_hooked_point_and_a_cache_refuses_them() {
    let model = model(ops::Format::F32, Activation::F32);
    let leaf = RefCell::new(None);
    let mut hooks = Hooks::new();
    hooks.replace("blocks.0.residual.mid", |x| {
        let x = x.autodiff().require_grad();
        *leaf.borrow_mut() = Some(x.clone());
        x
    });
    let logits = model.forward_with(&tokens(5), None, Want::Last, &mut hooks).unwrap();
    let gradients = logits.sum().backward();
    drop(hooks);
    let gradient = leaf.into_inner().unwrap().grad(&gradients).unwrap();
    assert!(ops::values_of(gradient).iter().any(|g| *g != 0.0));

    let mut hooks = Hooks::new();
    hooks.replace("blocks.0.residual.mid", |x| x.autodiff().require_grad());
    let error =
        model.forward_with(&tokens(5), Some(&mut model.cache(64)), Want::Last, &mut hooks).unwrap_err();
    assert!(error.to_string().contains("no backward"), "{error}");
}

#[test]
fn scaling_changes_the_low_frequencies() {
    let rope = |scaling| RopeConfig { base: 500_000.0, style: RopeStyle::Half, dimensions: None, scaling };
    let plain = frequencies(&rope(RopeScaling::None), 64);
    let linear = frequencies(&rope(RopeScaling::Linear { factor: 4.0 }), 64);
    assert!(plain.iter().zip(&linear).all(|(p, l)| *l == p / 4.0));
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_context: 8192,
    };
    let llama3 = frequencies(&rope(llama3), 64);
    assert_eq!(llama3[0], plain[0]);
    assert_eq!(llama3[31], plain[31] / 8.0);
    assert!(llama3.iter().zip(&plain).any(|(l, p)| l < p && *l > p / 8.0));
}
