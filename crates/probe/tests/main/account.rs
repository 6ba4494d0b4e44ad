//! Planted truth for the account of tuning.

use model::{Activation, Transformer};
use probe::account::{
    Account, Spectrum, activation_changes, checkpoint_changes, dense_change, groups, low_rank_change,
    parameter_changes,
};

use crate::planted::{self, Planted, config, noise, noisy, text};

#[test]
fn a_planted_spectrum_is_summed_up() {
    // Two directions of 3 and 4: shares 16/25 and 1, stable rank 25/16.
    let spectrum = Spectrum::of(&[4.0, 3.0, 0.0], 25.0);
    assert!((spectrum.shares[0] - 0.64).abs() < 1e-12 && (spectrum.shares[1] - 1.0).abs() < 1e-12);
    assert!((spectrum.stable_rank - 25.0 / 16.0).abs() < 1e-12);
    let p = [4.0_f64 / 7.0, 3.0 / 7.0];
    let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
    assert!((spectrum.effective_rank - entropy.exp()).abs() < 1e-12);
    // What lies beyond the directions looked at is a share of its own.
    let part = Spectrum::of(&[4.0], 25.0);
    assert!((part.rest - 0.36).abs() < 1e-12 && spectrum.rest.abs() < 1e-12);
    assert!((Spectrum::of(&[2.0; 8], 32.0).effective_rank - 8.0).abs() < 1e-9);
    assert_eq!(Spectrum::of(&[0.0, 0.0], 0.0).effective_rank, 0.0);
}

#[test]
fn a_planted_change_has_its_norm_and_rank() {
    let (rows, columns, rank) = (12, 20, 3);
    let base = noise(1, "base", rows * columns);
    let (a, b) = (noise(1, "a", rank * columns), noise(1, "b", rows * rank));
    let mut tuned = base.clone();
    for (index, value) in tuned.iter_mut().enumerate() {
        let product: f32 =
            (0..rank).map(|k| b[index / columns * rank + k] * a[k * columns + index % columns]).sum();
        *value += 2.0 * product;
    }
    let dense = dense_change("blocks.0.mixer.query", [rows, columns], &base, &tuned).unwrap();
    let low = low_rank_change("blocks.0.mixer.query", [rows, columns], &base, [&a, &b], 2.0).unwrap();
    let expected: f64 = tuned.iter().zip(&base).map(|(t, b)| f64::from(t - b).powi(2)).sum::<f64>().sqrt();
    assert!((dense.change - expected).abs() < 1e-5 && (low.change - expected).abs() < 1e-4);
    assert!((dense.relative - low.relative).abs() < 1e-5 && dense.norm == low.norm);
    assert!((dense.spectrum.effective_rank - low.spectrum.effective_rank).abs() < 1e-2);
    assert!(low.spectrum.largest.len() == 3 && dense.spectrum.shares[2] > 0.999_999);
    let same = dense_change("embed", [rows, columns], &base, &base).unwrap();
    assert_eq!((same.change, same.spectrum.effective_rank), (0.0, 0.0));
    let grouped = groups(&[dense.clone(), same]);
    let names: Vec<&str> = grouped.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["blocks.0", "embed", "mixer.query"]);
    assert!((grouped[0].relative - dense.relative).abs() < 1e-12 && grouped[1].relative == 0.0);
    assert!(dense_change("embed", [rows, columns + 1], &base, &tuned).is_err());
    assert!(low_rank_change("embed", [rows, columns], &base, [&a[1..], &b], 2.0).is_err());
}

#[test]
fn the_layer_where_weights_changed_is_the_layer_where_activations_part() {
    let before = noisy(1);
    let prompts: Vec<Vec<u32>> = (0..6).map(|seed| text(seed, 9)).collect();
    let same = activation_changes(&before, &noisy(1), &prompts).unwrap();
    assert!(same.divergence.value == 0.0 && same.changed == 0.0 && same.layers.len() == 4);
    assert!(same.layers.iter().all(|layer| (layer.cosine - 1.0).abs() < 1e-9 && layer.relative == 0.0));
    assert_eq!(same.settling_base, same.settling_tuned);

    // Only block 1 writes something new: a constant direction through a bias.
    let mut config = before.config().clone();
    (config.layers, config.vocabulary) = (before.config().layers.clone(), 40);
    let moved =
        Transformer::load(&config, &mut planted::Moved("blocks.1.mixer.output_bias"), Activation::F32);
    let changed = activation_changes(&before, &moved.unwrap(), &prompts).unwrap();
    let relative: Vec<f64> = changed.layers.iter().map(|layer| layer.relative).collect();
    assert!(
        relative[0] == 0.0 && relative[1] == 0.0 && relative[2] > 0.1 && relative[3] > 0.1,
        "{relative:?}"
    );
    assert!(changed.layers[1].lens_divergence == 0.0 && changed.layers[2].lens_divergence > 0.0);
    assert!(changed.divergence.value > 0.0 && changed.divergence.value == changed.layers[3].lens_divergence);

    assert!(activation_changes(&before, &noisy(1), &prompts[..1]).is_err());
    let other = Transformer::load(&small(), &mut Planted::default(), Activation::F32).unwrap();
    assert!(activation_changes(&before, &other, &prompts).is_err());
}

fn small() -> model::Config {
    config(40, 16, 3, 2, 8)
}

#[test]
fn two_checkpoints_are_compared_matrix_by_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let (base, tuned) = (folder.path().join("base"), folder.path().join("tuned"));
    planted::write_llama(&base, &[]);
    planted::write_llama(&tuned, &["model.layers.1.self_attn.q_proj.weight"]);
    let open = |path: &std::path::Path| model::Checkpoint::open(path).unwrap();
    let changes = checkpoint_changes(&open(&base), &open(&tuned)).unwrap();
    assert_eq!(changes.len(), 1 + 2 * 7);
    for change in &changes {
        if change.name == "blocks.1.mixer.query" {
            // The planted change is one outer product of length 1/2 · norm.
            assert!((change.relative - 0.5).abs() < 1e-4, "{change:?}");
            assert!((change.spectrum.effective_rank - 1.0).abs() < 1e-2);
        } else {
            assert_eq!(change.change, 0.0, "{}", change.name);
        }
    }
    let transformers = [&base, &tuned].map(|path| {
        let checkpoint = open(path);
        Transformer::load(checkpoint.config(), &mut &checkpoint, Activation::F32).unwrap()
    });
    let prompts: Vec<Vec<u32>> = (0..4).map(|seed| text(seed, 7)).collect();
    let activations = activation_changes(&transformers[0], &transformers[1], &prompts).unwrap();
    let account = Account { groups: groups(&changes), matrices: changes, activations };
    let json = serde_json::to_string(&account).unwrap();
    let read: Account = serde_json::from_str(&json).unwrap();
    // JSON keeps all but the last bit of a number.
    assert!(
        (read.matrices[8].relative - 0.5).abs() < 1e-4 && read.matrices[8].name == "blocks.1.mixer.query"
    );
    assert_eq!((read.groups.len(), read.activations.layers.len()), (account.groups.len(), 3));
}

#[test]
fn a_low_rank_change_is_read_from_the_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    planted::write_llama(&base, &[]);
    let checkpoint = model::Checkpoint::open(&base).unwrap();
    let low_rank = model::LowRank {
        rank: 2,
        alpha: 4.0,
        targets: vec!["query".into(), "down".into()],
        ..model::LowRank::default()
    };
    let train = model::Train::LowRank(low_rank.clone());
    let mut parameters = model::Parameters::open(&checkpoint, &train, 1).unwrap();
    let changed =
        |parameters: &model::Parameters| parameter_changes(&checkpoint, parameters, Some(&low_rank)).unwrap();
    // Training begins at the stored model.
    assert!(
        changed(&parameters).len() == 4 && changed(&parameters).iter().all(|change| change.change == 0.0)
    );
    // One row of B: the change is 2 · b · (row of A), of rank 1.
    parameters.update("blocks.1.channel.down.low_rank_b", |values| values[0] = 0.5).unwrap();
    let a = parameters.values("blocks.1.channel.down.low_rank_a").unwrap();
    let length = a[..24].iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    for change in changed(&parameters) {
        if change.name == "blocks.1.channel.down" {
            assert!(
                (change.change - length).abs() < 1e-6 && change.spectrum.largest.len() == 2,
                "{change:?}"
            );
            assert!((change.spectrum.shares[0] - 1.0).abs() < 1e-9 && change.shape == [16, 24]);
        } else {
            assert_eq!(change.change, 0.0);
        }
    }
    assert!(parameter_changes(&checkpoint, &parameters, None).is_err());
    let nothing = model::Parameters::open(&checkpoint, &model::Train::Nothing, 1).unwrap();
    assert!(parameter_changes(&checkpoint, &nothing, Some(&low_rank)).is_err());
    let mut everything = model::Parameters::open(&checkpoint, &model::Train::Everything, 1).unwrap();
    everything.update("embed", |values| values[3] += 0.25).unwrap();
    let changes = parameter_changes(&checkpoint, &everything, None).unwrap();
    let embed = changes.iter().find(|change| change.name == "embed").unwrap();
    assert!((embed.change - 0.25).abs() < 1e-6);
}
