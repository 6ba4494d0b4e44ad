//! What holds for every mixer: one answer however a sequence is split, states that return, honest costs.

use super::*;
use crate::config::Layers;
use crate::hooks::points;
use crate::{Cache, Hooks, Parameters, Transformer, Want};
use ops::Activation;

const HYBRIDS: [&str; 5] =
    ["2 x [attention]", "2 x [delta]", "2 x [conv]", "delta, conv, attention", "attention, delta"];

fn config(layers: &str) -> Config {
    let mut config = Config::new(61, 32, 256, Layers::parse(layers).unwrap());
    config.channel.hidden = 48;
    config
}

fn model(layers: &str) -> Transformer {
    Parameters::random(&config(layers), 3).unwrap().freeze(Activation::F32).unwrap()
}

fn tokens(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * i * 5 + 3 * i + 1) % 61).collect()
}

fn read(model: &Transformer, cache: &mut Cache, tokens: &[u32]) -> Vec<f32> {
    ops::values_of(model.forward(tokens, Some(cache), Want::All).unwrap())
}

fn states(cache: &Cache) -> Vec<f32> {
    let blocks = (0..cache.blocks()).filter_map(|block| cache.state(block)?.recurrent());
    blocks.flat_map(Recurrent::values).collect()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-5)
}

#[test]
fn names_and_kinds_match_one_to_one() {
    for entry in MIXERS {
        assert_eq!(entry.kind.name(), entry.name);
        assert_eq!(MixerKind::named(entry.name).unwrap(), entry.kind);
    }
    assert!(MixerKind::named("attention ").is_ok() && MixerKind::named("Attention").is_err());
}

#[test]
fn splits_give_equal_outputs_and_states() {
    for layers in HYBRIDS {
        let (model, tokens) = (model(layers), tokens(75));
        let whole = ops::values_of(model.forward(&tokens, None, Want::All).unwrap());
        let mut expected = None;
        for sizes in [vec![75], vec![1; 75], vec![2, 1, 40, 32], vec![64, 11], vec![1, 74]] {
            let (mut cache, mut start, mut split) = (model.cache(256), 0, Vec::new());
            for size in sizes.iter() {
                split.extend(read(&model, &mut cache, &tokens[start..start + size]));
                start += size;
            }
            assert!(close(&split, &whole), "{layers} {sizes:?}");
            let states = states(&cache);
            assert!(close(&states, expected.get_or_insert_with(|| states.clone())), "{layers} {sizes:?}");
        }
    }
}

#[test]
fn states_return_to_marks_and_snapshots() {
    for layers in HYBRIDS {
        let (model, tokens, mut cache) = (model(layers), tokens(60), model(layers).cache(256));
        read(&model, &mut cache, &tokens[..20]);
        let (snapshot, states_then) = (cache.snapshot(), states(&cache));
        let expected = read(&model, &mut cache, &tokens[20..30]);
        for token in &tokens[30..40] {
            read(&model, &mut cache, &[*token]);
        }
        let exact = !cache.is_recurrent();
        assert_eq!(cache.reachable(25), if exact { 25 } else { 20 }, "{layers}");
        assert_eq!(cache.reachable(40), 40);
        assert_eq!(cache.reachable(7), if exact { 7 } else { 0 });
        assert_eq!(cache.truncate(25).is_ok(), exact);
        cache.truncate(20).unwrap();
        assert_eq!(states(&cache), states_then);
        assert_eq!(read(&model, &mut cache, &tokens[20..30]), expected, "{layers}");
        cache.restore(&snapshot);
        assert_eq!((cache.positions(), states(&cache)), (20, states_then));
        cache.truncate(0).unwrap();
        assert!(states(&cache).iter().all(|value| *value == 0.0));
        assert!(close(&read(&model, &mut cache, &tokens[..30])[20 * 61..], &expected), "{layers}");
        assert!(cache.truncate(31).is_err());
    }
}

#[test]
fn many_marks_keep_the_beginning_and_the_latest() {
    let (model, tokens) = (model("delta"), tokens(60));
    let mut cache = model.cache(256);
    for pair in tokens.chunks(2) {
        read(&model, &mut cache, pair);
    }
    assert_eq!((cache.reachable(57), cache.reachable(30)), (56, 0));
    cache.truncate(56).unwrap();
    let expected = read(&model, &mut model.cache(256), &tokens);
    assert!(close(&read(&model, &mut cache, &tokens[56..]), &expected[56 * 61..]));
}

#[test]
fn a_failed_pass_leaves_the_states_alone() {
    for layers in HYBRIDS {
        let (model, tokens) = (model(layers), tokens(12));
        let mut cache = model.cache(256);
        read(&model, &mut cache, &tokens[..6]);
        let before = states(&cache);
        let mut hooks = Hooks::new();
        hooks.replace("blocks.1.residual.post", |x| x.slice(0..1));
        let cached = Some(&mut cache);
        assert!(
            model.forward_with(&tokens[6..], cached, Want::All, &mut hooks).is_err() || layers == "delta"
        );
        assert_eq!((cache.positions(), states(&cache)), (6, before));
        let whole = read(&model, &mut model.cache(256), &tokens);
        assert!(close(&read(&model, &mut cache, &tokens[6..]), &whole[6 * 61..]), "{layers}");
    }
}

#[test]
fn every_point_fires_and_the_alias_names_the_mixer() {
    for layers in HYBRIDS {
        let (model, tokens) = (model(layers), tokens(9));
        let expected = read(&model, &mut model.cache(64), &tokens);
        for name in points(model.config()) {
            let mut hooks = Hooks::new();
            let mut fired = 0;
            if name.ends_with("pattern") {
                hooks.read_heads(&name, |_| fired += 1);
            } else {
                hooks.read(&name, |_| fired += 1);
            }
            let got = model.forward_with(&tokens, None, Want::All, &mut hooks).unwrap();
            drop(hooks);
            assert!(fired == 1 && close(&ops::values_of(got), &expected), "{layers} {name}");
        }
        let mut hooks = Hooks::new();
        hooks.replace("blocks.1.mixer.output", |x| x.zeros_like());
        let got = model.forward_with(&tokens, None, Want::All, &mut hooks).unwrap();
        assert!(!close(&ops::values_of(got), &expected));
    }
    let mut hooks = Hooks::new();
    hooks.read("blocks.0.attention.query", |_| ());
    assert!(model("delta").forward_with(&[1], None, Want::All, &mut hooks).is_err());
}

#[test]
fn costs_are_those_of_the_weights_and_states() {
    for layers in ["delta", "conv", "attention"] {
        let parameters = Parameters::random(&config(layers), 1).unwrap();
        let model = parameters.freeze(Activation::F32).unwrap();
        let spec = model.mixer_specs().next().unwrap();
        let convolutions = |name: &str| name.ends_with("conv");
        let projections = parameters
            .trainable()
            .filter(|(name, shape)| name.contains(".mixer.") && shape.len() == 2 && !convolutions(name));
        let counted: usize = projections.map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!(spec.projection_macs, counted, "{layers}");
        let channel: usize = parameters
            .trainable()
            .filter(|(name, shape)| name.contains(".channel.") && shape.len() == 2)
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        assert_eq!(model.channel_macs().next(), Some(channel));
        let mut cache = model.cache(64);
        read(&model, &mut cache, &tokens(64));
        match spec.state {
            StateKind::Fixed(bytes) => assert_eq!(cache.bytes(), bytes, "{layers}"),
            StateKind::PerToken(bytes) => assert_eq!(cache.bytes(), 64 * bytes),
        }
    }
}

#[test]
fn strengths_reach_two_only_with_negative_eigenvalues() {
    for (negative, most) in [(false, 1.0), (true, 2.0)] {
        let mut config = config("delta");
        if let Some(delta) = &mut config.delta {
            delta.negative_eigenvalues = negative;
        }
        let mut parameters = Parameters::random(&config, 1).unwrap();
        parameters.update("blocks.0.mixer.strength", |w| w.iter_mut().for_each(|w| *w *= 100.0)).unwrap();
        let model = parameters.freeze(Activation::F32).unwrap();
        let (mut largest, mut decays) = (0f32, Vec::new());
        let mut hooks = Hooks::new();
        hooks.read("blocks.0.delta.strength", |x| {
            largest = ops::values_of(x).into_iter().fold(0.0, f32::max);
        });
        hooks.read("blocks.0.delta.decay", |x| decays = ops::values_of(x));
        model.forward_with(&tokens(20), None, Want::Last, &mut hooks).unwrap();
        drop(hooks);
        assert!(largest > 0.99 * most && largest <= most, "{largest}");
        assert!(decays.iter().all(|g| (-20.0..0.0).contains(g)));
    }
}

#[test]
fn a_recurrent_cache_refuses_tracked_tensors() {
    for layers in ["delta", "conv"] {
        let parameters = Parameters::random(&config(layers), 1).unwrap();
        let tracked = parameters.track(Activation::F32).unwrap();
        let model = tracked.transformer();
        let error = model.forward(&[1, 2], Some(&mut model.cache(8)), Want::Last).unwrap_err();
        assert!(error.to_string().contains("no backward"), "{error}");
    }
}

#[test]
fn positions_come_from_elsewhere_without_rotation() {
    let mut config = config("attention");
    config.attention.rope.dimensions = Some(0);
    let model = Parameters::random(&config, 3).unwrap().freeze(Activation::F32).unwrap();
    // One attention without positions sees a set: the order before the last token does not matter.
    let last = |tokens: &[u32]| ops::values_of(model.forward(tokens, None, Want::Last).unwrap());
    assert!(close(&last(&[5, 9, 30, 2]), &last(&[30, 5, 9, 2])));
    assert!(!close(&last(&[5, 9, 30, 2]), &last(&[5, 9, 31, 2])));
}
