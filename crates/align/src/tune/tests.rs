//! Alignment of a tiny model: what the steps compute, what faults do, and that it is the same every time.

use std::sync::OnceLock;

use model::template::CHATML;
use model::{Activation, Config, Parameters};
use train::OptimizerConfig;
use train::vocabulary::{self, Learned};

use super::*;

fn vocabulary() -> Tokenizer {
    static LEARNED: OnceLock<Learned> = OnceLock::new();
    let learned = LEARNED.get_or_init(|| {
        let texts = split(false).flat_map(|p| [p.prompt.as_str(), p.chosen.as_str(), p.rejected.as_str()]);
        Learned::train(texts, 700, vocabulary::Unit::Word).unwrap()
    });
    let folder = tempfile::tempdir().unwrap();
    learned.write(folder.path()).unwrap();
    vocabulary::open(folder.path()).unwrap()
}

fn template() -> ChatTemplate {
    ChatTemplate::new(CHATML, "", "").unwrap()
}

fn learner(tokenizer: &Tokenizer) -> Learner {
    let config =
        Config::new(tokenizer.len(), 32, 512, model::config::Layers::parse("2 x [attention]").unwrap());
    let optimizer = OptimizerConfig { weight_decay: 0.0, ..OptimizerConfig::default() };
    Learner::new(Parameters::random(&config, 3).unwrap(), &optimizer)
}

fn options() -> Options {
    Options {
        supervised: Course { english: 20, chinese: 0, epochs: 3, batch: 8, rate: 1e-2, tokens: 0 },
        preference: Course { english: 20, chinese: 0, epochs: 4, batch: 8, rate: 2e-3, tokens: 0 },
        // A model from scratch leaves its first language at once.
        limits: Limits { drift: 1e9, spacing: 8, ..Limits::default() },
        loss: Loss::default(),
        ..Options::default()
    }
}

struct Aligned {
    summary: Summary,
    ranking: Ranking,
    values: Vec<Vec<f32>>,
}

fn run(options: &Options) -> Aligned {
    let (tokenizer, template) = (vocabulary(), template());
    let mut learner = learner(&tokenizer);
    let summary = align(&mut learner, &tokenizer, &template, options, &mut |_| true).unwrap();
    let parameters = learner.parameters();
    let ranking =
        rank_held_out(&parameters.freeze(Activation::F32).unwrap(), &tokenizer, &template, 60).unwrap();
    let names: Vec<String> = parameters.trainable().map(|(name, _)| name.to_string()).collect();
    let values = names.iter().filter_map(|name| parameters.values(name)).collect();
    Aligned { summary, ranking, values }
}

fn clean() -> &'static Aligned {
    static CLEAN: OnceLock<Aligned> = OnceLock::new();
    CLEAN.get_or_init(|| run(&options()))
}

#[test]
fn both_phases_learn_and_the_same_seed_gives_the_same_bits() {
    let Aligned { summary, ranking, values } = clean();
    let [supervised, preference] = &summary.phases[..] else { panic!("two phases") };
    assert_eq!((supervised.steps.len(), preference.steps.len()), (15, 20));
    assert_eq!((supervised.items, summary.events.len(), summary.stopped), (40, 0, false));
    assert!(supervised.trained_tokens > 1000 && summary.reference_tokens > 1000);
    let (first, last) = (&supervised.steps[0], &supervised.steps[14]);
    assert!(last.chosen > first.chosen + 1.0, "{first:?} {last:?}");
    assert!(last.entropy < first.entropy && first.drift.is_some_and(|drift| drift < 1e-6));
    let (first, last) = (&preference.steps[0], &preference.steps[19]);
    // Before the first step of the phase, the policy is the reference.
    assert!(first.margin.is_some_and(|margin| margin.abs() < 1e-2), "{first:?}");
    assert!(first.divergence.is_some_and(|divergence| divergence < 1e-6));
    assert!(last.margin.is_some_and(|margin| margin > 2.0), "{last:?}");
    assert!(last.accuracy.is_some_and(|accuracy| accuracy >= 0.9));
    assert!(ranking.pairs == 60 && ranking.margin.is_finite());
    let again = run(&options());
    assert_eq!((&again.summary, &again.values), (summary, values));
}

fn injected(phase: Phase, step: usize, fault: Fault) -> Aligned {
    run(&Options { faults: vec![Injection { phase, step, fault }], ..options() })
}

/// A fault of the arithmetic: the batch is tried again, and everything is as if nothing had happened, bit for bit.
fn leaves_no_trace(aligned: &Aligned, phase: Phase, step: usize) {
    let Summary { phases, events, .. } = &aligned.summary;
    let [event] = &events[..] else { panic!("one event, not {events:?}") };
    assert_eq!((event.phase, event.step, event.lost), (phase, step, 1), "{event:?}");
    for (found, wanted) in phases.iter().zip(&clean().summary.phases) {
        let kept: Vec<_> = found.steps.iter().filter(|record| !record.undone).cloned().collect();
        assert_eq!(kept, wanted.steps);
    }
    assert!(aligned.values == clean().values && aligned.ranking == clean().ranking);
}

#[test]
fn a_gradient_that_is_not_a_number_is_skipped() {
    for (phase, step) in [(Phase::Supervised, 6), (Phase::Preference, 9)] {
        let aligned = injected(phase, step, Fault::NanGradient);
        assert!(matches!(aligned.summary.events[0].verdict, Verdict::Skipped(_)));
        leaves_no_trace(&aligned, phase, step);
    }
}

#[test]
fn a_loss_a_hundred_times_too_large_is_taken_back() {
    for (phase, step) in [(Phase::Supervised, 8), (Phase::Preference, 9)] {
        let aligned = injected(phase, step, Fault::Scaled(100.0));
        assert!(matches!(aligned.summary.events[0].verdict, Verdict::TakeBack(_)));
        leaves_no_trace(&aligned, phase, step);
    }
}

#[test]
fn a_batch_with_flipped_labels_is_taken_back() {
    let (phase, step) = (Phase::Preference, 14);
    let aligned = injected(phase, step, Fault::Flipped(0.4));
    // It is as bad the second time, and is left out: two steps are lost, the third is healthy.
    let events = &aligned.summary.events;
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.iter().all(|e| (e.phase, e.step, e.lost) == (phase, step, 1)), "{events:?}");
    let steps = &aligned.summary.phases[1].steps;
    let undone: Vec<usize> = (0..steps.len()).filter(|&index| steps[index].undone).collect();
    assert_eq!(undone, [step - 1, step]);
    let healthy = &clean().summary.phases[1].steps;
    let (found, wanted) = (&steps[step + 1], &healthy[step]);
    assert!((found.loss - wanted.loss).abs() <= 0.1 * wanted.loss.max(0.1), "{found:?} {wanted:?}");
    let (found, wanted) = (aligned.ranking, clean().ranking);
    assert!((found.score - wanted.score).abs() <= 0.02 * wanted.score, "{found:?} {wanted:?}");
    assert!((found.accuracy - wanted.accuracy).abs() <= 1.0 / 60.0 + 1e-9, "{found:?} {wanted:?}");
}

#[test]
fn every_loss_runs_and_widens_the_margin() {
    let tokenizer = vocabulary();
    let template = template();
    for kind in Kind::ALL {
        let mut learner = learner(&tokenizer);
        let course = Course { english: 8, chinese: 2, epochs: 5, batch: 10, rate: 3e-3, tokens: 0 };
        let options = Options {
            supervised: Course { epochs: 0, ..course },
            preference: course,
            loss: Loss { kind, ..Loss::default() },
            anchor: 0.1,
            ..options()
        };
        let summary = align(&mut learner, &tokenizer, &template, &options, &mut |_| true).unwrap();
        let steps = &summary.phases[1].steps;
        assert_eq!(steps.len(), 10, "{kind:?} {:?}", summary.events);
        assert!(steps.iter().all(|step| !step.undone), "{kind:?}");
        // General text is measured every eighth step and learned from at every one.
        let measured: Vec<bool> = steps.iter().map(|step| step.drift.is_some()).collect();
        assert_eq!(measured, [true, false, false, false, false, false, false, false, true, false]);
        let margin = steps[9].margin.unwrap();
        // APO-down pushes both answers down and `shift` aims at one margin (its own test says how near); all the
        // others must prefer the chosen one more and more.
        assert!(matches!(kind, Kind::ApoDown | Kind::Shift) || margin > 0.5, "{kind:?}: {margin}");
    }
}

#[test]
fn the_callback_ends_it_and_bad_options_are_refused() {
    let (tokenizer, template) = (vocabulary(), template());
    let mut learner = learner(&tokenizer);
    let summary = align(&mut learner, &tokenizer, &template, &options(), &mut |p| p.step < 2).unwrap();
    assert!(summary.stopped && summary.phases.len() == 1 && summary.phases[0].steps.len() == 2);
    for options in [
        Options { supervised: Course { batch: 0, ..options().supervised }, ..options() },
        Options { loss: Loss { beta: 0.0, ..Loss::default() }, ..options() },
        Options { loss: Loss { label_noise: 0.5, ..Loss::default() }, ..options() },
    ] {
        assert!(align(&mut learner, &tokenizer, &template, &options, &mut |_| true).is_err());
    }
}

#[test]
fn recovery_examples_give_an_opening_that_is_not_scored() {
    let tokenizer = vocabulary();
    let template = template();
    let writing = Writing { tokenizer: &tokenizer, template: &template };
    let plain = writing.answer("Who?", "", "I can't.", true).unwrap();
    let given = writing.answer("Who?", "Sure, here... ", "I can't.", true).unwrap();
    let text = |s: &Sequence| tokenizer.decode(&s.tokens[s.scored.clone()]);
    assert_eq!(text(&plain), "I can't.");
    assert!(text(&given).trim_start().ends_with("I can't.") && !text(&given).contains("Sure"));
    assert_eq!(plain.tokens.last(), given.tokens.last());
    let mut short = plain.clone();
    short.shorten(2);
    assert_eq!((short.scored.len(), short.tokens.len()), (2, short.scored.end));
    assert!(plain.tokens.starts_with(&short.tokens));
    let opening = writing.answer("Who?", "", "Sure, here", false).unwrap();
    assert_eq!(text(&opening), "Sure, here");
    assert!(!tokenizer.is_end(*opening.tokens.last().unwrap()));
    assert!(writing.answer("Who?", "", "", false).is_err());
}

#[test]
fn harmless_requests_are_learned_with_the_models_own_opening() {
    let (tokenizer, template) = (vocabulary(), template());
    let model = learner(&tokenizer).parameters().freeze(Activation::F32).unwrap();
    let writing = Writing { tokenizer: &tokenizer, template: &template };
    let options = Options { own_tokens: 3, ..options() };
    let own = own::own_answers(&model, &writing, &options).unwrap();
    assert!(!own.is_empty() && own.values().all(|tokens| (1..=3).contains(&tokens.len())));
    let items = items(Phase::Preference, &writing, &options, &own).unwrap();
    for (item, preference) in items.iter().zip(selected(Phase::Preference, &options)) {
        let Some(own) = own.get(&preference.prompt) else { continue };
        let (replaced, written) = match preference.side {
            Side::Harmless => (&item.chosen, item.rejected.as_ref().unwrap()),
            Side::Unsafe => (item.rejected.as_ref().unwrap(), &item.chosen),
        };
        assert_eq!(&replaced.tokens[replaced.scored.clone()], own);
        assert_ne!(&written.tokens[written.scored.clone()], own);
        // Greedy: each token is the most likely one after those before it.
        let logits = model.forward(&replaced.tokens, None, model::Want::All).unwrap();
        for at in replaced.scored.clone() {
            let row = crate::sequence::numbers(logits.clone().slice(at - 1..at)).unwrap();
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!(row[replaced.tokens[at] as usize] >= most - 1e-4);
        }
    }
}

#[test]
fn own_answers_of_a_shared_cache_are_those_of_a_fresh_one() {
    let (tokenizer, template) = (vocabulary(), template());
    let model = learner(&tokenizer).parameters().freeze(Activation::F32).unwrap();
    let writing = Writing { tokenizer: &tokenizer, template: &template };
    let options = Options { own_tokens: 4, ordinary_english: 5, ..options() };
    let own = own::own_answers(&model, &writing, &options).unwrap();
    assert!(own.len() >= 20, "{}", own.len());
    for (request, answer) in &own {
        let mut tokens = writing.answer(request, "", "…", false).unwrap().prompt();
        for &token in answer {
            let logits = crate::sequence::numbers(
                model.forward(&tokens, Some(&mut model.cache(usize::MAX)), model::Want::Last).unwrap(),
            );
            let logits = logits.unwrap();
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(logits.iter().position(|logit| *logit == most), Some(token as usize), "{request}");
            tokens.push(token);
        }
    }
}

#[test]
fn shifts_spend_the_share_where_it_buys_most() {
    let harmless = vec![3.0, -1.0, 1.0, 2.0, 0.0];
    let one = |share| line::shifts(&[[harmless.clone(), harmless.clone()]], share)[0];
    assert_eq!([one(0.4), one(0.59), one(0.8)], [1.5, 1.5, -0.5]);
    // A last look-alike gains nothing more.
    assert_eq!([one(0.0), one(1.0)], [3.0, -0.5]);
    assert_eq!(line::shifts(&[[vec![], vec![1.0]], [vec![], vec![]]], 0.1), [0.0, 0.0]);
    // The first tells the two sides apart, the second does not until three look-alikes are above.
    let first = [vec![4.0, 3.0, 2.0, 1.0, 0.0], vec![5.0, 5.0, 3.5]];
    let second = [vec![9.0, 8.0, 7.0, 0.0, -1.0], vec![5.0, 5.0, 5.0, 5.0]];
    let both = [first, second];
    let shifts = [0.0, 0.1, 0.2, 0.3, 0.5].map(|share| line::shifts(&both, share));
    // One look-alike gains nothing and is not spent.
    assert_eq!(shifts, [[4.0, 9.0], [4.0, 9.0], [2.5, 9.0], [4.0, 3.5], [2.5, 3.5]]);
}

#[test]
fn the_line_moves_by_what_was_asked() {
    let (tokenizer, template) = (vocabulary(), template());
    let writing = Writing { tokenizer: &tokenizer, template: &template };
    let mut learner = learner(&tokenizer);
    let course = Course { english: 40, chinese: 0, epochs: 20, batch: 10, rate: 3e-3, tokens: 0 };
    let options = Options {
        supervised: Course { epochs: 0, ..course },
        preference: course,
        look_alikes: 0.1,
        anchor: 0.0,
        ..options()
    };
    let requests: Vec<&Preference> =
        split(false).filter(|p| p.validation && p.language == Language::En).collect();
    let odds = |learner: &Learner| {
        let model = learner.parameters().freeze(Activation::F32).unwrap();
        line::log_odds(&model, &writing, &requests, 640).unwrap()
    };
    let before = odds(&learner);
    let summary = align(&mut learner, &tokenizer, &template, &options, &mut |_| true).unwrap();
    let line = summary.lines[0];
    assert_eq!((summary.lines.len(), line.language), (2, Language::En));
    let steps = &summary.phases[1].steps;
    let margin = steps[steps.len() - 1].margin.unwrap();
    assert!((margin - line.shift.abs()).abs() < 0.3, "{margin} {line:?}");
    let moved = odds(&learner).iter().zip(&before).map(|(now, was)| was - now).sum::<f64>();
    assert!(moved * line.shift > 0.0, "{moved} {line:?}");
    assert!(
        requests.iter().all(|request| selected(Phase::Preference, &options).iter().all(|p| p != request))
    );
    let options = Options { look_alikes: 1.5, ..options };
    assert!(align(&mut learner, &tokenizer, &template, &options, &mut |_| true).is_err());
}
