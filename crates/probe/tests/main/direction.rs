//! Planted truth for the refusal direction: a model whose refusal is one feature of its stream.

use model::{Activation, Transformer};
use probe::Matrix;
use probe::direction::{
    EffectOptions, Outcome, PromptSet, Reading, RefusalOptions, Selection, differences, measure_effect,
    random_direction, refusal_openings, refusal_score, refusal_study, removal, select,
};
use probe::intervene::{generate, run};

use crate::planted::{Planted, config};

const WIDTH: usize = 48;
/// Tokens: 0 the last of every prompt, 1 opens a refusal, 2 opens an answer, 3..8 unsafe words, 8..13 harmless.
const VOCABULARY: usize = 13;
/// Features: the constant, the marker of unsafe words, the planted refusal; from 3 on the words themselves.
const CONSTANT: usize = 0;
const UNSAFE: usize = 1;
const REFUSAL: usize = 2;

/// Block 0 averages the marker over the prompt and writes it into the refusal feature; blocks 1 to 4 do nothing;
/// the head says 1 where the refusal feature is strong, 2 otherwise.
fn refusing() -> Transformer {
    let mut config = config(VOCABULARY, WIDTH, 5, 1, 4);
    config.norm_epsilon = 1e-6;
    let mut planted = Planted::default();
    let mut embed = vec![0.0; VOCABULARY * WIDTH];
    for token in 0..VOCABULARY {
        embed[token * WIDTH + CONSTANT] = 1.0;
        embed[token * WIDTH + 3 + token] = 1.0;
        if (3..8).contains(&token) {
            embed[token * WIDTH + UNSAFE] = 1.0;
        }
    }
    planted.matrices.insert("embed".into(), embed);
    let mut value = vec![0.0; 4 * WIDTH];
    value[UNSAFE] = 1.0;
    planted.matrices.insert("blocks.0.mixer.value".into(), value);
    let mut output = vec![0.0; WIDTH * 4];
    output[REFUSAL * 4] = 1.0;
    planted.matrices.insert("blocks.0.mixer.output".into(), output);
    let mut head = vec![0.0; VOCABULARY * WIDTH];
    head[WIDTH + REFUSAL] = 8.0;
    head[2 * WIDTH + CONSTANT] = 3.0;
    planted.matrices.insert("head".into(), head);
    Transformer::load(&config, &mut planted, Activation::F32).unwrap()
}

/// Prompts of three words and the last token.
fn prompts(words: std::ops::Range<u32>, seed: u64, count: usize) -> Vec<Vec<u32>> {
    let mut stream = ledger::Stream::new(seed, "prompts");
    let mut word = || words.start + stream.below(words.len()) as u32;
    (0..count).map(|_| vec![word(), word(), word(), 0]).collect()
}

#[test]
fn the_planted_direction_is_found_and_its_removal_stops_refusal() {
    let model = refusing();
    let (refused, answered) = (prompts(3..8, 1, 12), prompts(8..13, 2, 12));
    let openings = refusal_openings(&model, &refused, &answered, 0.02).unwrap();
    assert_eq!(openings, [1]);
    let directions = differences(&model, &refused, &answered).unwrap();
    assert_eq!(directions.len(), 6);
    // The last token is the same everywhere: before block 0 there is no difference.
    assert!(directions[0].unit().is_err());
    for direction in &directions[1..] {
        assert!((direction.unit().unwrap()[REFUSAL] - 1.0).abs() < 1e-5);
    }
    let validation = (prompts(3..8, 3, 6), prompts(8..13, 4, 6));
    let selected =
        select(&model, &directions, &validation.0, &validation.1, &openings, &Selection::default()).unwrap();
    assert!(selected.passes && (1..4).contains(&selected.direction.layer), "{selected:?}");
    assert!(selected.baseline > 0.0 && selected.candidates.iter().all(|candidate| candidate.removed < -1.0));

    let held_out = (prompts(3..8, 5, 20), prompts(8..13, 6, 20));
    let measure = |reading: &Reading| {
        let options = EffectOptions { controls: 4, ..EffectOptions::default() };
        measure_effect(&model, &selected.direction, &held_out.0, &held_out.1, &openings, reading, &options)
            .unwrap()
    };
    let (end, judge) = (
        |token: u32| token == 0,
        |tokens: &[u32]| match tokens.first() {
            Some(1) => Outcome::Refuses,
            Some(_) => Outcome::Answers,
            None => Outcome::Degenerate,
        },
    );
    for reading in [Reading::FirstToken, Reading::Answer { tokens: 3, end: &end, judge: &judge }] {
        let effect = measure(&reading);
        assert_eq!((effect.baseline.rate, effect.removed.rate), (1.0, 0.0));
        assert!(effect.moved.value == 1.0 && effect.beyond_control.interval.low > 0.7, "{effect:?}");
        assert!(effect.controls.len() == 4 && effect.moved_by_control.value < 0.2);
        let addition = effect.addition.unwrap();
        assert_eq!((addition.baseline.rate, addition.added.rate), (0.0, 1.0));
        assert!(addition.beyond_control.interval.low > 0.7, "{addition:?}");
    }
    assert_eq!(measure(&Reading::FirstToken), measure(&Reading::FirstToken));
}

#[test]
fn a_model_without_the_feature_has_no_refusal_to_find() {
    let model = refusing();
    let answered = prompts(8..13, 2, 8);
    let error = refusal_openings(&model, &answered, &prompts(8..13, 7, 8), 0.02).unwrap_err().to_string();
    assert!(error.contains("refuses none of them"), "{error}");
    assert!(
        differences(&model, &[], &answered).is_err() && differences(&model, &[vec![]], &answered).is_err()
    );
    let directions = differences(&model, &prompts(3..8, 1, 4), &answered).unwrap();
    let none = select(&model, &directions[..1], &answered, &answered, &[1], &Selection::default());
    assert!(none.unwrap_err().to_string().contains("no layer"));
    let options = EffectOptions { controls: 0, ..EffectOptions::default() };
    let refused = prompts(3..8, 1, 4);
    let measure = |options: &EffectOptions, prompts: &[Vec<u32>]| {
        measure_effect(&model, &directions[1], prompts, &[], &[1], &Reading::FirstToken, options)
    };
    assert!(measure(&options, &refused).is_err());
    assert!(measure(&EffectOptions::default(), &refused[..1]).is_err());
    assert!(measure(&EffectOptions::default(), &refused).unwrap().addition.is_none());
}

#[test]
fn a_control_takes_out_as_much_as_the_removal() {
    let model = refusing();
    let prompt = &prompts(3..8, 1, 1)[0];
    let unit = differences(&model, &prompts(3..8, 1, 4), &prompts(8..13, 2, 4)).unwrap()[3].unit().unwrap();
    let random = random_direction(WIDTH, 9, 0);
    assert!((random.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
    assert_ne!(random, random_direction(WIDTH, 9, 1));
    let stream = |changes: &[probe::intervene::Change]| {
        let seen = std::cell::RefCell::new(None);
        let mut hooks = model::Hooks::new();
        for change in changes {
            let with = change.clone();
            hooks.replace(&change.point, move |x| {
                let probe::intervene::With::Without { along, of } = &with.with else { panic!("a removal") };
                let mut matrix = Matrix::read(x.clone());
                for row in 0..matrix.rows() {
                    let amount: f32 = matrix.row(row).iter().zip(of).map(|(a, b)| a * b).sum();
                    matrix.row_mut(row).iter_mut().zip(along).for_each(|(v, a)| *v -= amount * a);
                }
                matrix.tensor_like(&x)
            });
        }
        hooks.read("blocks.4.residual.post", |x| *seen.borrow_mut() = Some(Matrix::read(x)));
        model.forward_with(prompt, None, model::Want::All, &mut hooks).unwrap();
        drop(hooks);
        seen.into_inner().unwrap()
    };
    let length = |a: &Matrix, b: &Matrix| {
        a.last().iter().zip(b.last()).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
    };
    let clean = stream(&[]);
    let removed = length(&clean, &stream(&removal(&model, &unit, &unit)));
    let control = length(&clean, &stream(&removal(&model, &random, &unit)));
    assert!(removed > 0.5 && (removed - control).abs() < 1e-4, "{removed} {control}");
    // And the library's own intervention does the same to the logits.
    let logits = run(&model, prompt, &removal(&model, &unit, &unit), model::Want::Last).unwrap();
    assert!(refusal_score(logits.last(), &[1]) < 0.0);
    let text = generate(&model, prompt, 2, &|_| false, &removal(&model, &unit, &unit)).unwrap();
    assert_eq!(text[0], 2);
}

#[test]
fn refusal_scores_are_log_odds() {
    let logits = [0.0, 0.0, 0.0, 0.0];
    assert!((refusal_score(&logits, &[1]) - (1.0_f64 / 3.0).ln()).abs() < 1e-12);
    assert!(refusal_score(&logits, &[1, 2]).abs() < 1e-12);
    assert!(refusal_score(&[50.0, 0.0], &[0]).is_finite() && refusal_score(&logits, &[9]) < -20.0);
}

#[test]
fn the_study_needs_prompts_of_its_own_for_every_step() {
    let model = refusing();
    // Prompts drawn without repetition, so that sets can be disjoint.
    let distinct = |words: std::ops::Range<u32>| -> Vec<Vec<u32>> {
        let triples = words.clone().flat_map(|a| words.clone().map(move |b| (a, b)));
        triples.map(|(a, b)| vec![a, b, a, 0]).collect()
    };
    let (refused, answered) = (distinct(3..8), distinct(8..13));
    let set = |range: std::ops::Range<usize>| PromptSet {
        refused: refused[range.clone()].to_vec(),
        answered: answered[range].to_vec(),
    };
    let (fit, choose, test) = (set(0..8), set(8..14), set(14..25));
    let options = RefusalOptions::default();
    let study = refusal_study(&model, [&fit, &choose, &test], &Reading::FirstToken, &options).unwrap();
    assert!(study.holds && study.openings == [1] && study.effect.baseline.outcomes.len() == 11);
    // A prompt of the wrong kind does not make the direction.
    let mut mixed = fit.clone();
    mixed.refused.push(answered[24].clone());
    let known = RefusalOptions { openings: Some(vec![1]), ..RefusalOptions::default() };
    let again = refusal_study(&model, [&mixed, &choose, &test], &Reading::FirstToken, &known).unwrap();
    assert_eq!((again.fit, again.choose, again.openings), ([8, 8], [6, 6], vec![1]));
    assert!(again.selected == study.selected && again.effect == study.effect);
    let nothing = RefusalOptions { openings: Some(vec![7]), ..RefusalOptions::default() };
    let nothing = refusal_study(&model, [&fit, &choose, &test], &Reading::FirstToken, &nothing);
    assert!(nothing.unwrap_err().to_string().contains("the model refuses 0"));
    let shared = refusal_study(&model, [&fit, &choose, &fit], &Reading::FirstToken, &options);
    assert!(shared.unwrap_err().to_string().contains("share prompts"));
}
