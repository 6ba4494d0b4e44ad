//! Planted truth for the lens, heads, patching, decomposition and gradients.

use model::Want;
use probe::decompose::{components, decompose, direct_logit_attribution, head_ablations, head_outputs};
use probe::gradient::{agreement, attribution_patching, gradients_at, head_relevance};
use probe::heads::head_scores;
use probe::intervene::{Change, With, generate, run};
use probe::lens::{logit_lens, unembed};
use probe::patch::{identity_error, mean_at, patch_sweep};
use probe::record::{patterns, record};
use probe::{Error, Matrix};

use crate::planted::{COPIED, VOCABULARY, induction, noisy, repeated, text};

/// The logit the planted model gives the token it copies: 3 over the root mean square of the last stream.
fn copied_logit() -> f64 {
    let width = (3 * VOCABULARY + 1) as f64;
    let copied = f64::from(COPIED);
    copied / ((3.0 + copied * copied) / width).sqrt()
}

fn logit_of(matrix: &Matrix, token: u32) -> f64 {
    f64::from(matrix.last()[token as usize])
}

#[test]
fn planted_heads_have_the_planted_scores() {
    let (model, tokens) = (induction(), repeated());
    let scores = head_scores(&model, &tokens, 0..2, 6..10).unwrap();
    let [previous, idle, induction, rest] = &scores[..] else { panic!("four heads, found {scores:?}") };
    assert_eq!((previous.layer, previous.head, rest.layer, rest.head), (0, 0, 1, 1));
    assert!(previous.previous_token > 0.999 && previous.entropy < 0.01, "{previous:?}");
    assert!(previous.prefix_matching < 1e-3);
    assert!(induction.prefix_matching > 0.999, "{induction:?}");
    // A head without weights looks everywhere alike: token t gives 1 / (t + 1) to each position.
    let uniform: f64 = (6..10).map(|t| 1.0 / f64::from(t + 1)).sum::<f64>() / 4.0;
    let entropy: f64 = (1..=10).map(|n| f64::from(n).ln()).sum::<f64>() / 10.0;
    for head in [idle, rest] {
        assert!((head.prefix_matching - uniform).abs() < 1e-6 && (head.entropy - entropy).abs() < 1e-6);
    }
    let error = head_scores(&model, &[0, 1, 2, 3], 0..2, 0..4).unwrap_err().to_string();
    assert!(error.contains("no token of the text repeats"), "{error}");
    assert!(
        head_scores(&model, &tokens, 0..3, 6..10).is_err()
            && head_scores(&model, &tokens, 0..2, 6..11).is_err()
    );
}

#[test]
fn the_lens_sees_the_token_where_it_is_written() {
    // After `… 3 7 4`, the planted model expects the 9 that followed the first 4; block 1 writes it.
    let (model, tokens) = (induction(), repeated());
    let rows = logit_lens(&model, &tokens, 8, 9, 3).unwrap();
    assert_eq!(rows.len(), 3);
    let vocabulary = VOCABULARY as f64;
    for row in &rows[..2] {
        assert!(
            (row.probability - 1.0 / vocabulary).abs() < 1e-6 && (row.entropy - vocabulary.ln()).abs() < 1e-6
        );
        assert!(row.divergence > 0.5);
    }
    let probability = copied_logit().exp() / (copied_logit().exp() + vocabulary - 1.0);
    assert!((rows[2].probability - probability).abs() < 1e-5, "{:?} {probability}", rows[2]);
    assert_eq!((rows[2].rank, rows[2].top[0].0, rows[2].divergence), (0, 9, 0.0));
    assert!(logit_lens(&model, &tokens, 10, 9, 3).is_err() && logit_lens(&model, &tokens, 9, 12, 3).is_err());
}

#[test]
fn reading_the_last_stream_through_the_head_gives_the_models_logits() {
    let (model, tokens) = (noisy(1), text(1, 90));
    let recording = record(&model, &tokens, &["blocks.2.residual.post"]).unwrap();
    let again = unembed(&model, recording.at("blocks.2.residual.post").unwrap()).unwrap();
    assert!(again == recording.logits);
    assert!(unembed(&model, &Matrix::zeros(2, 31)).is_err());
    assert!(recording.at("embed").unwrap_err().to_string().contains("was not recorded"));
}

#[test]
fn patching_clean_into_clean_changes_nothing() {
    let (model, tokens) = (noisy(2), text(2, 21));
    let points: Vec<String> = model::hooks::points(model.config());
    let points: Vec<&String> = points.iter().filter(|name| !name.ends_with("pattern")).collect();
    assert_eq!(identity_error(&model, &tokens, &points).unwrap(), 0.0);
    assert!(identity_error(&model, &tokens, &["blocks.9.mlp.output"]).is_err());
}

#[test]
fn patching_finds_the_position_and_the_point_that_decide() {
    // The corrupted text had 2 where the clean one had 9: what followed the first 4.
    let (model, clean) = (induction(), repeated()[..9].to_vec());
    let mut corrupted = clean.clone();
    corrupted[4] = 2;
    let measure = |logits: &Matrix| logit_of(logits, 9) - logit_of(logits, 2);
    let points = ["embed", "blocks.1.attention.output", "blocks.0.attention.output"];
    let sweep = patch_sweep(&model, &clean, &corrupted, &points, true, &measure).unwrap();
    assert!((sweep.clean - copied_logit()).abs() < 1e-4 && (sweep.corrupted + copied_logit()).abs() < 1e-4);
    for effect in &sweep.effects {
        let decides = matches!(
            (effect.point.as_str(), effect.position),
            ("embed", Some(4)) | ("blocks.1.attention.output", Some(8))
        );
        let expected = if decides { 1.0 } else { 0.0 };
        assert!((effect.recovered - expected).abs() < 1e-4, "{effect:?}");
    }
    let all = patch_sweep(&model, &clean, &corrupted, &points, false, &measure).unwrap();
    assert_eq!(all.effects.len(), 3);
    let nothing = patch_sweep(&model, &clean, &clean, &points, true, &measure).unwrap_err().to_string();
    assert!(nothing.contains("shows nothing"), "{nothing}");
    assert!(patch_sweep(&model, &clean, &corrupted[1..], &points, true, &measure).is_err());
}

#[test]
fn ablating_the_planted_heads_destroys_the_copy_and_the_others_do_nothing() {
    let (model, tokens) = (induction(), repeated()[..9].to_vec());
    let measure = |logits: &Matrix| logit_of(logits, 9);
    for (layer, head, effect) in head_ablations(&model, &tokens, 0..2, &measure).unwrap() {
        match (layer, head) {
            (1, 0) => assert!((effect + copied_logit()).abs() < 1e-4),
            // Without the previous token, the keys of block 1 are empty and its head looks everywhere alike.
            (0, 0) => assert!(effect < -0.5 * copied_logit(), "{effect}"),
            _ => assert!(effect.abs() < 1e-5, "{layer}.{head} {effect}"),
        }
    }
    // A mean over texts with the same next token keeps it.
    let mean = mean_at(&model, std::slice::from_ref(&tokens), "blocks.1.attention.output").unwrap();
    let change = Change::new("blocks.1.attention.output", With::Row(mean.clone())).at(vec![8]);
    let ablated = run(&model, &tokens, &[change], Want::Last).unwrap();
    assert!(logit_of(&ablated, 9) < 0.9 * copied_logit() && mean.iter().any(|v| *v > 0.0));
    assert!(mean_at::<Vec<u32>>(&model, &[], "embed").is_err());
    assert!(
        Change::head(&model, 2, 0, With::Zero).is_err() && Change::head(&model, 1, 2, With::Zero).is_err()
    );
}

#[test]
fn components_sum_to_the_stream_and_contributions_to_the_logit() {
    for seed in 0..4 {
        let (model, tokens) = (noisy(seed), text(seed, 33));
        let parts = decompose(&model, &tokens).unwrap();
        assert_eq!(parts.components.len(), 7);
        assert!(parts.error < 1e-5, "{}", parts.error);
        let logits = run(&model, &tokens, &[], Want::Last).unwrap();
        for (target, other) in [(5, None), (7, Some(11))] {
            let contributions = direct_logit_attribution(&model, &tokens, target, other).unwrap();
            let sum: f64 = contributions.iter().map(|part| part.value).sum();
            let logit = logit_of(&logits, target) - other.map_or(0.0, |other| logit_of(&logits, other));
            assert!((sum - logit).abs() < 1e-4, "{sum} {logit}");
        }
        let recording = record(&model, &tokens, &["blocks.1.attention.output"]).unwrap();
        let heads = head_outputs(&model, &tokens, 1).unwrap();
        let zeroed =
            (0..4).map(|head| Change::head(&model, 1, head, With::Zero).unwrap()).collect::<Vec<_>>();
        let mut total = bias(&model, &tokens, &zeroed);
        heads.iter().for_each(|head| total.add(head));
        let whole = recording.at("blocks.1.attention.output").unwrap();
        assert!(total.values().iter().zip(whole.values()).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    let (model, tokens) = (induction(), repeated()[..9].to_vec());
    for part in direct_logit_attribution(&model, &tokens, 9, None).unwrap() {
        let expected = if part.component == "blocks.1.attention.output" { copied_logit() } else { 0.0 };
        assert!((part.value - expected).abs() < 1e-4, "{part:?}");
    }
    assert!(direct_logit_attribution(&model, &tokens, 12, None).is_err());
    assert_eq!(components(&model).len(), 5);
}

/// What block 1's mixer still adds when all its heads are zeroed.
fn bias(model: &model::Transformer, tokens: &[u32], zeroed: &[Change]) -> Matrix {
    let seen = std::cell::RefCell::new(None);
    let mut hooks = model::Hooks::new();
    assert!(zeroed.iter().all(|change| change.point == "blocks.1.attention.mix"));
    hooks.replace("blocks.1.attention.mix", |x| x.zeros_like());
    hooks.read("blocks.1.attention.output", |x| *seen.borrow_mut() = Some(Matrix::read(x)));
    model.forward_with(tokens, None, Want::Last, &mut hooks).unwrap();
    drop(hooks);
    seen.into_inner().unwrap()
}

#[test]
fn gradients_agree_with_differences() {
    let (model, tokens) = (noisy(3), text(3, 9));
    let points = ["embed", "blocks.0.attention.mix", "blocks.1.residual.mid", "blocks.2.mlp.activation"];
    let measure = |logits: burn::tensor::Tensor<2>| {
        (logits.clone().slice([8..9, 4..5]) - logits.slice([8..9, 6..7])).sum()
    };
    let gradients = gradients_at(&model, &tokens, &points, measure).unwrap();
    let value = |changes: &[Change]| {
        let logits = run(&model, &tokens, changes, Want::All).unwrap();
        logit_of(&logits, 4) - logit_of(&logits, 6)
    };
    assert!((gradients.value - value(&[])).abs() < 1e-5);
    for point in points {
        let (reading, gradient) = (&gradients.readings[point], &gradients.gradients[point]);
        let (mut largest, step) = (0.0_f32, 1e-2_f32);
        for (row, column) in [(0, 1), (4, 3), (8, 0), (8, 6)] {
            let moved = |by: f32| {
                let mut values = reading.clone();
                values.row_mut(row)[column] += by;
                value(&[Change::new(point, With::Values(values))])
            };
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            let found = f64::from(gradient.row(row)[column]);
            assert!(
                (slope - found).abs() < 2e-3 * found.abs().max(0.1),
                "{point} {row} {column}: {slope} {found}"
            );
            largest = largest.max(gradient.row(row)[column].abs());
        }
        assert!(largest > 0.0);
    }
    let none: [&str; 0] = [];
    assert!(gradients_at(&model, &tokens, &none, measure).is_err());
    let early = gradients_at(&model, &tokens, &["blocks.3.residual.mid"], measure);
    assert!(matches!(early, Err(Error::Model(_))));
}

#[test]
fn attribution_approximates_patching_for_small_changes_and_exactly_behind_the_last_bend() {
    let (model, clean) = (noisy(5), text(5, 8));
    let mut corrupted = clean.clone();
    corrupted[7] = (clean[7] + 1) % 40;
    // Everything after the final norm is linear, so the estimate is the patch there.
    let measure = |logits: burn::tensor::Tensor<2>| logits.slice([7..8, 3..4]).sum();
    let number = |logits: &Matrix| logit_of(logits, 3);
    let points = ["final_norm"];
    let estimates = attribution_patching(&model, &clean, &corrupted, &points, measure).unwrap();
    let sweep = patch_sweep(&model, &clean, &corrupted, &points, true, &number).unwrap();
    let exact = agreement(&estimates, &sweep).unwrap();
    assert!(exact.relative_error < 1e-4 && exact.correlation > 0.9999 && exact.n == 8, "{exact:?}");
    // Deeper in, the estimate is first order: it must still point the same way over positions and components.
    let points = components(&model);
    let estimates = attribution_patching(&model, &clean, &corrupted, &points, measure).unwrap();
    let sweep = patch_sweep(&model, &clean, &corrupted, &points, true, &number).unwrap();
    let rough = agreement(&estimates, &sweep).unwrap();
    assert!(rough.correlation > 0.7 && rough.relative_error > 1e-3, "{rough:?}");
    assert!(agreement(&estimates[1..], &sweep).is_err());
}

#[test]
fn relevance_finds_the_planted_head() {
    let (model, tokens) = (induction(), repeated()[..9].to_vec());
    let measure = |logits: burn::tensor::Tensor<2>| logits.slice([8..9, 9..10]).sum();
    let relevance = head_relevance(&model, &tokens, 0..2, measure).unwrap();
    let strongest = relevance.iter().min_by(|a, b| a.estimate.total_cmp(&b.estimate)).unwrap();
    assert_eq!((strongest.layer, strongest.head), (1, 0), "{relevance:?}");
    assert!(relevance.iter().filter(|head| head.head == 1).all(|head| head.estimate.abs() < 1e-6));
}

#[test]
fn patterns_and_generation_follow_the_plant() {
    let (model, tokens) = (induction(), repeated());
    let seen = patterns(&model, &tokens, [1]).unwrap();
    assert_eq!((seen.len(), seen[&1].len(), seen[&1][0].rows()), (1, 2, 10));
    // After `0 3 7 4 9 1 3`, induction continues 7 4 9 1 3 7 …
    let (prompt, never) = (&tokens[..7], |_| false);
    assert_eq!(generate(&model, prompt, 6, &never, &[]).unwrap(), [7, 4, 9, 1, 3, 7]);
    assert_eq!(generate(&model, prompt, 6, &|token| token == 1, &[]).unwrap(), [7, 4, 9]);
    // Without the induction head there is nothing to copy: all logits are equal and the first token wins.
    let change = Change::head(&model, 1, 0, With::Zero).unwrap();
    assert_eq!(generate(&model, prompt, 3, &never, std::slice::from_ref(&change)).unwrap(), [0, 0, 0]);
    assert!(generate(&model, prompt, 3, &never, &[change.at(vec![0])]).is_err());
    // Cached generation under a change is the uncached one, token by token.
    let (model, prompt) = (noisy(6), text(6, 12));
    let direction: Vec<f32> = (0..32).map(|i| if i == 3 { 1.0 } else { 0.0 }).collect();
    let without = With::Without { along: direction.clone(), of: direction.clone() };
    let changes = [
        Change::new("blocks.1.residual.post", without),
        Change::new("blocks.0.mlp.output", With::Plus(direction.iter().map(|v| v * 2.0).collect())),
    ];
    let cached = generate(&model, &prompt, 10, &never, &changes).unwrap();
    let mut tokens = prompt.clone();
    for _ in 0..10 {
        let logits = run(&model, &tokens, &changes, Want::Last).unwrap();
        let best = (0..40).fold(0, |best, i| if logits.last()[i] > logits.last()[best] { i } else { best });
        tokens.push(best as u32);
    }
    assert_eq!(cached, tokens[12..]);
    assert_ne!(cached, generate(&model, &prompt, 10, &never, &[]).unwrap());
}

#[test]
fn changes_that_do_not_fit_are_errors() {
    let (model, tokens) = (noisy(7), text(7, 5));
    let fails = |change: Change, message: &str| {
        let error = run(&model, &tokens, &[change], Want::Last).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    };
    fails(Change::new("embed", With::Row(vec![0.0; 31])), "changes 32 features, 31 values");
    fails(Change::new("embed", With::Values(Matrix::zeros(4, 32))), "has 5 positions, the values have 4");
    fails(Change::new("embed", With::Zero).at(vec![5]), "has 5 positions");
    fails(Change::new("blocks.7.mlp.output", With::Zero), "no point");
    let mut change = Change::new("embed", With::Zero);
    change.features = Some(30..33);
    fails(change, "are not among them");
    let without = With::Without { along: vec![0.0; 32], of: vec![0.0; 31] };
    fails(Change::new("embed", without), "different lengths");
    assert!(record(&model, &tokens, &["blocks.0.attention.pattern"]).is_err());
}
