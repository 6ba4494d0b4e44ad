//! Owning, tracking, changing, saving: on small models drawn at random.

use super::*;
use crate::config::{ChannelKind, Layers};
use crate::{Hooks, Packed};

pub(super) fn config(layers: &str) -> Config {
    let mut config = Config::new(61, 32, 64, Layers::parse(layers).unwrap());
    config.channel.hidden = 48;
    config.attention.kv_heads = 2;
    config
}

/// Two documents.
pub(super) fn packed() -> Packed {
    let document = |seed: u32, length: u32| (0..length).map(|i| (i * i * 7 + i * seed + seed) % 61).collect();
    Packed::new(&[document(3, 11), document(5, 8)])
}

pub(super) fn mean_loss(model: &Transformer, packed: &Packed) -> Tensor<1> {
    let hidden = model.hidden(packed, &mut Hooks::new()).unwrap();
    let (rows, targets) = packed.predictions();
    model.losses(hidden, &rows, &targets).unwrap().mean()
}

pub(super) fn value(loss: Tensor<1>) -> f32 {
    ops::values_of(loss)[0]
}

/// Moves every trained weight off its first value, which may be zero.
pub(super) fn perturb(parameters: &mut Parameters) {
    let names: Vec<String> = parameters.trainable().map(|(name, _)| name.to_string()).collect();
    for name in names {
        let noise = crate::Init::Normal(0.05).draw(9, &name, parameters.values(&name).unwrap().len());
        parameters.update(&name, |values| values.iter_mut().zip(noise).for_each(|(v, n)| *v += n)).unwrap();
    }
}

/// A checkpoint of its own kind, with the vocabulary of bytes.
fn checkpoint(folder: &Path, layers: &str) -> Checkpoint {
    let mut config = config(layers);
    config.vocabulary = 260;
    let mut parameters = Parameters::random(&config, 4).unwrap();
    perturb(&mut parameters);
    let tokenizer =
        Tokenizer::new(crate::tokenizer::Vocabulary::new(&[], &["<|im_start|>", "<|im_end|>"]).unwrap())
            .unwrap();
    parameters.write_new(&tokenizer, None, folder, Format::F32).unwrap();
    Checkpoint::open(folder).unwrap()
}

#[test]
fn every_gradient_agrees_with_finite_differences() {
    const STEP: f32 = 4e-3;
    for (layers, channel) in [
        ("2 x [attention]", ChannelKind::Swiglu),
        ("attention", ChannelKind::Relu2),
        ("attention", ChannelKind::None),
        ("delta", ChannelKind::Swiglu),
        ("conv", ChannelKind::Relu2),
        ("delta, attention, conv", ChannelKind::None),
    ] {
        let mut config = config(layers);
        config.channel.kind = channel;
        config.attention.qkv_bias = true;
        let (mut parameters, packed) = (Parameters::random(&config, 1).unwrap(), packed());
        perturb(&mut parameters);
        let tracked = parameters.track(Activation::F32).unwrap();
        let gradients = tracked.gradients(mean_loss(tracked.transformer(), &packed));
        drop(tracked);
        let names: Vec<String> = parameters.trainable().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names.len(), gradients.len());
        for (name, gradient) in names.iter().zip(gradients) {
            let gradient = gradient.unwrap_or_else(|| panic!("{name} has no gradient"));
            let norm = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
            // Along the gradient itself the slope is its norm.
            let mut loss_at = |step: f32| {
                let along = |values: &mut [f32]| {
                    values.iter_mut().zip(&gradient).for_each(|(v, g)| *v += step * g / norm);
                };
                parameters.update(name, along).unwrap();
                value(mean_loss(&parameters.freeze(Activation::F32).unwrap(), &packed))
            };
            // The fourth-order difference; the loss is sharply curved where short vectors are normed.
            let [a, b, c, d] = [-2.0, 1.0, 2.0, 1.0].map(|by| f64::from(loss_at(by * STEP)));
            let slope = (8.0 * (c - b) - (d - a)) / (12.0 * f64::from(STEP));
            loss_at(-2.0 * STEP);
            assert!(norm > 0.0, "{name}");
            assert!(
                (slope - f64::from(norm)).abs() < 0.02 * f64::from(norm) + 2e-4,
                "{name}: {slope} {norm}"
            );
        }
    }
}

#[test]
fn packed_documents_are_as_alone() {
    let parameters = Parameters::random(&config("attention, delta, conv"), 2).unwrap();
    let (model, packed) = (parameters.freeze(Activation::F32).unwrap(), packed());
    let rows = |packed: &Packed| ops::values_of(model.hidden(packed, &mut Hooks::new()).unwrap());
    let together = rows(&packed);
    let alone: Vec<f32> =
        packed.ranges().flat_map(|range| rows(&Packed::one(packed.tokens()[range].to_vec()))).collect();
    assert_eq!(together.len(), alone.len());
    assert!(together.iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn losses_are_those_of_the_logits() {
    let parameters = Parameters::random(&config("attention"), 2).unwrap();
    let (model, packed) = (parameters.freeze(Activation::F32).unwrap(), packed());
    let hidden = model.hidden(&packed, &mut Hooks::new()).unwrap();
    let logits = ops::values_of(model.logits(hidden.clone()));
    let (rows, targets) = ([4, 2, 18], [60, 0, 7]);
    let losses = ops::values_of(model.losses(hidden.clone(), &rows, &targets).unwrap());
    for (index, loss) in losses.into_iter().enumerate() {
        let row = &logits[rows[index] * 61..][..61];
        let sum: f64 = row.iter().map(|l| f64::from(*l).exp()).sum();
        let expected = sum.ln() - f64::from(row[targets[index] as usize]);
        assert!((f64::from(loss) - expected).abs() < 1e-5, "{loss} {expected}");
    }
    let refused = |rows: &[usize], targets: &[u32]| model.losses(hidden.clone(), rows, targets).is_err();
    assert!(refused(&[], &[]) && refused(&[1], &[1, 2]) && refused(&[19], &[1]) && refused(&[1], &[61]));
}

#[test]
fn a_new_model_begins_near_chance_and_follows_its_seed() {
    let at = |seed| Parameters::random(&config("3 x [attention]"), seed).unwrap();
    let loss = value(mean_loss(&at(1).freeze(Activation::F32).unwrap(), &packed()));
    assert!((loss - 61f32.ln()).abs() < 0.5, "{loss}");
    assert_eq!(at(1).values("embed"), at(1).values("embed"));
    assert_ne!(at(1).values("embed"), at(2).values("embed"));
    assert_eq!(at(1).count(), at(1).trainable_count());
}

#[test]
fn updates_are_in_place_and_do_not_reach_views() {
    let mut parameters = Parameters::random(&config("attention"), 1).unwrap();
    let address = |parameters: &mut Parameters| {
        let mut address = 0;
        parameters.update("embed", |values| address = values.as_ptr() as usize).unwrap();
        address
    };
    let first = address(&mut parameters);
    assert_eq!(address(&mut parameters), first, "an unshared weight was copied");
    let view = parameters.freeze(Activation::F32).unwrap();
    let before = value(mean_loss(&view, &packed()));
    parameters.update("embed", |values| values.iter_mut().for_each(|v| *v *= 3.0)).unwrap();
    assert_eq!(value(mean_loss(&view, &packed())), before);
    assert_ne!(value(mean_loss(&parameters.freeze(Activation::F32).unwrap(), &packed())), before);
    drop(view);
    let (third, fourth) = (address(&mut parameters), address(&mut parameters));
    assert_eq!(third, fourth);
    // A backward leaves nothing behind that shares the weights.
    let tracked = parameters.track(Activation::F32).unwrap();
    tracked.gradients(mean_loss(tracked.transformer(), &packed()));
    drop(tracked);
    assert_eq!(address(&mut parameters), fourth);
    assert!(parameters.update("nothing", |_| ()).is_err());
}

#[test]
fn saving_and_loading_is_exact() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("weights.safetensors");
    let mut first = Parameters::random(&config("2 x [attention]"), 1).unwrap();
    perturb(&mut first);
    first.save(&file).unwrap();
    let mut second = Parameters::random(&config("2 x [attention]"), 8).unwrap();
    second.load(&file).unwrap();
    for (name, _) in first.trainable() {
        assert_eq!(first.values(name), second.values(name), "{name}");
    }
    let mut other = Parameters::random(&config("attention"), 1).unwrap();
    let before = other.values("embed");
    assert!(other.load(&file).unwrap_err().to_string().contains("does not train"));
    assert_eq!(other.values("embed"), before);
}

#[test]
fn low_rank_begins_at_the_checkpoint_and_merges_exactly() {
    let temporary = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&temporary.path().join("start"), "2 x [attention]");
    let train = Train::LowRank(LowRank { rank: 3, alpha: 6.0, ..LowRank::default() });
    let mut parameters = Parameters::open(&checkpoint, &train, 5).unwrap();
    assert_eq!(parameters.trainable().count(), 2 * 2 * 7);
    let loss = |model: &Transformer| value(mean_loss(model, &packed()));
    let plain = Transformer::load(checkpoint.config(), &mut &checkpoint, Activation::F32).unwrap();
    let plain = loss(&plain);
    assert_eq!(loss(&parameters.freeze(Activation::F32).unwrap()), plain);

    perturb(&mut parameters);
    let tracked = parameters.track(Activation::F32).unwrap();
    let gradients = tracked.gradients(mean_loss(tracked.transformer(), &packed()));
    for ((name, shape), gradient) in parameters.trainable().zip(gradients) {
        let gradient = gradient.unwrap();
        assert_eq!(gradient.len(), shape.iter().product::<usize>());
        assert!(gradient.iter().any(|g| *g != 0.0), "{name}");
    }
    drop(tracked);
    let tuned = loss(&parameters.freeze(Activation::F32).unwrap());
    assert!((tuned - plain).abs() > 1e-3);
    let (output, file) = (temporary.path().join("merged"), temporary.path().join("adapter.safetensors"));
    parameters.write(&checkpoint, &output, Format::F32).unwrap();
    let merged = Checkpoint::open(&output).unwrap();
    assert_eq!(merged.tensor("embed").unwrap(), checkpoint.tensor("embed").unwrap());
    let merged = Transformer::load(merged.config(), &mut &merged, Activation::F32).unwrap();
    assert!((loss(&merged) - tuned).abs() < 1e-5, "{} {tuned}", loss(&merged));

    parameters.save(&file).unwrap();
    let mut again = Parameters::open(&checkpoint, &train, 77).unwrap();
    again.load(&file).unwrap();
    assert_eq!(loss(&again.freeze(Activation::F32).unwrap()), tuned);
    assert!(parameters.write_new(&checkpoint.tokenizer().unwrap(), None, &output, Format::F32).is_err());
}

#[test]
fn training_everything_writes_what_it_became() {
    let temporary = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&temporary.path().join("start"), "attention");
    let mut parameters = Parameters::open(&checkpoint, &Train::Everything, 0).unwrap();
    perturb(&mut parameters);
    let output = temporary.path().join("after");
    parameters.write(&checkpoint, &output, Format::F32).unwrap();
    let again = Parameters::open(&Checkpoint::open(&output).unwrap(), &Train::Everything, 0).unwrap();
    for (name, _) in parameters.trainable() {
        assert_eq!(parameters.values(name), again.values(name), "{name}");
    }
    let nothing = Parameters::open(&checkpoint, &Train::Nothing, 0).unwrap();
    assert_eq!((nothing.trainable_count(), nothing.count()), (0, parameters.count()));
    let view = nothing.track(Activation::F32).unwrap();
    assert!(view.gradients(mean_loss(view.transformer(), &packed())).is_empty());
}

#[test]
fn impossible_requests_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&temporary.path().join("start"), "attention");
    let open =
        |low_rank| Parameters::open(&checkpoint, &Train::LowRank(low_rank), 0).err().unwrap().to_string();
    assert!(open(LowRank { rank: 0, ..LowRank::default() }).contains("rank of at least 1"));
    assert!(open(LowRank { targets: vec!["head".into()], ..LowRank::default() }).contains("`head`"));
    assert!(open(LowRank { first_block: 1, ..LowRank::default() }).contains("no block from 1 on"));
    let other = Parameters::random(&config("2 x [attention]"), 1).unwrap();
    let refused = other.write(&checkpoint, &temporary.path().join("x"), Format::F32).unwrap_err();
    assert!(refused.to_string().contains("configurations differ"));
}

#[test]
fn blocks_before_the_first_one_are_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&temporary.path().join("start"), "delta, attention, conv");
    let low_rank = LowRank { first_block: 2, ..LowRank::default() };
    let parameters = Parameters::open(&checkpoint, &Train::LowRank(low_rank), 1).unwrap();
    assert!(parameters.trainable_count() > 0);
    assert!(parameters.trainable().all(|(name, _)| name.starts_with("blocks.2.")));
}

#[test]
fn backward_by_block_equals_the_ordinary_one() {
    let temporary = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint(&temporary.path().join("start"), "delta, attention, conv");
    let low_rank = LowRank { rank: 2, targets: vec!["value".into(), "down".into()], ..LowRank::default() };
    let mut untied = config("2 x [attention]");
    untied.tied_embeddings = false;
    for mut parameters in [
        Parameters::open(&checkpoint, &Train::Everything, 1).unwrap(),
        Parameters::open(&checkpoint, &Train::LowRank(low_rank), 1).unwrap(),
        Parameters::random(&untied, 1).unwrap(),
    ] {
        perturb(&mut parameters);
        let packed = packed();
        let (rows, targets) = packed.predictions();
        let tracked = parameters.track(Activation::F32).unwrap();
        let whole = mean_loss(tracked.transformer(), &packed);
        let expected = tracked.gradients(whole.clone());
        drop(tracked);
        let mut found = BTreeMap::new();
        let loss = parameters.backward_by_block(
            &packed,
            Activation::Int8,
            &mut |model, hidden| Ok(model.losses(hidden, &rows, &targets)?.mean()),
            &mut |name, gradient| assert!(found.insert(name.to_string(), gradient).is_none(), "{name} twice"),
        );
        assert!((loss.unwrap() - value(whole)).abs() < 1e-5);
        assert_eq!(found.len(), parameters.trainable().count());
        for ((name, _), expected) in parameters.trainable().zip(expected) {
            let (expected, found) = (expected.unwrap(), &found[name]);
            let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
            let difference = norm(&mut expected.iter().zip(found).map(|(a, b)| a - b));
            assert!(difference <= 1e-5 * norm(&mut expected.iter().copied()) + 1e-6, "{name}: {difference}");
        }
    }
}

#[test]
fn a_stabilized_scale_goes_by_the_root_of_the_rank() {
    let plain = LowRank { rank: 16, alpha: 32.0, ..LowRank::default() };
    assert_eq!((plain.scale(), LowRank { rank_stabilized: true, ..plain }.scale()), (2.0, 8.0));
}
