//! Any valid architecture learns: two hundred drawn at random each take a step.

use model::config::{ChannelKind, DeltaConfig, GateKind, Layers, RopeStyle};
use model::{Activation, Config, Parameters};
use tasks::Random;

use crate::{Batch, Learner, OptimizerConfig, Sequence};

fn draw(random: &mut Random) -> Config {
    let one = |random: &mut Random, of: &[usize]| *random.pick(of);
    let count = 1 + random.below(3);
    let mixers: Vec<&str> = (0..count).map(|_| *random.pick(&["attention", "delta", "conv"])).collect();
    let layers = Layers::parse(&format!("{} x [{}]", 1 + random.below(2), mixers.join(", "))).unwrap();
    let width = one(random, &[4, 8, 12, 20, 32, 48]);
    let mut config = Config::new(one(random, &[3, 17, 40, 64, 129]), width, 64, layers);
    config.tied_embeddings = random.below(2) == 0;
    let attention = &mut config.attention;
    attention.kv_heads = one(random, &[1, 2, 3]);
    attention.heads = attention.kv_heads * one(random, &[1, 2, 3]);
    attention.head_dim = one(random, &[2, 4, 6, 16]);
    attention.qk_norm = random.below(2) == 0;
    attention.qkv_bias = random.below(2) == 0;
    attention.output_bias = random.below(2) == 0;
    attention.rope.style = *random.pick(&[RopeStyle::Half, RopeStyle::Interleaved]);
    attention.rope.dimensions = *random.pick(&[None, Some(0), Some(2)]);
    config.delta = Some(DeltaConfig {
        heads: one(random, &[1, 2, 3]),
        key_dim: one(random, &[2, 5, 16]),
        value_dim: one(random, &[1, 4, 17]),
        kernel: one(random, &[1, 2, 4]),
        negative_eigenvalues: random.below(2) == 0,
        gate: *random.pick(&[GateKind::Silu, GateKind::Sigmoid]),
    });
    if let Some(conv) = &mut config.conv {
        conv.kernel = one(random, &[1, 3, 5]);
    }
    config.channel.kind = *random.pick(&[ChannelKind::Swiglu, ChannelKind::Relu2, ChannelKind::None]);
    config.channel.hidden = one(random, &[1, 8, 24, 33]);
    config
}

/// Documents of several lengths, every token of which predicts.
fn documents(random: &mut Random, vocabulary: usize) -> Vec<Sequence> {
    let document = |length: usize, random: &mut Random| -> Sequence {
        let token = |random: &mut Random| random.below(vocabulary) as u32;
        let tokens: Vec<u32> = (0..length).map(|_| token(random)).collect();
        (tokens, (0..length).map(|at| (at, token(random))).collect())
    };
    [9, 1, 17, 6].into_iter().map(|length| document(length, random)).collect()
}

#[test]
fn two_hundred_architectures_take_a_step() {
    let mut random = Random::new(5, "architectures");
    for index in 0..200 {
        let config = draw(&mut random);
        config.validate().unwrap_or_else(|error| panic!("{index}: {error}: {config:?}"));
        let mut parameters = Parameters::random(&config, index).unwrap();
        // Ones and zeros of a new model hide gradients.
        let names: Vec<String> = parameters.trainable().map(|(name, _)| name.to_string()).collect();
        for name in &names {
            let noise = |value: &mut f32| *value += 0.2 * (random.below(2001) as f32 / 1000.0 - 1.0);
            parameters.update(name, |values| values.iter_mut().for_each(noise)).unwrap();
        }
        let activation = *random.pick(&[Activation::F32, Activation::Bf16]);
        let batch = Batch::of_queries(&documents(&mut random, config.vocabulary));
        let tracked = parameters.track(activation).unwrap();
        let loss = batch.losses(tracked.transformer()).unwrap().mean();
        for (name, gradient) in names.iter().zip(tracked.gradients(loss)) {
            let gradient = gradient.unwrap_or_else(|| panic!("{index}: {name} has no gradient: {config:?}"));
            let finite = gradient.iter().all(|g| g.is_finite());
            let moves = gradient.iter().any(|g| *g != 0.0);
            assert!(finite && moves, "{index}: {name}: finite {finite}, not zero {moves}: {config:?}");
        }
        drop(tracked);
        let mut learner = Learner::new(parameters, &OptimizerConfig::default()).with_activation(activation);
        let report = learner.step(1e-3, 1, &mut |transformer, _| Ok(batch.losses(transformer)?.mean()));
        assert!(!report.unwrap().skipped, "{index}: {config:?}");
    }
}
