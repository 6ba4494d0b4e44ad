//! Alignment of a model: supervised tuning on the chosen answers, then preference optimization, under a monitor.

use std::path::Path;

use burn::tensor::{Int, Tensor, TensorData, activation};
use model::template::ChatTemplate;
use model::tokenizer::Tokenizer;
use model::{Activation, Transformer};
use serde::{Deserialize, Serialize};
use tasks::{Language, Random};
use train::{Learner, Schedule, Shape};

use crate::Error;
use crate::loss::{Kind, Loss, Pair, k2, k3, kto_baseline, linearized};
use crate::monitor::{Facts, Limits, Monitor, Verdict};
use crate::preferences::{Preference, Side, anchor_texts, openings, split};
use crate::sequence::{Run, Sequence, Writing, groups, numbers, score};

mod line;
mod own;
mod steps;

pub use line::Line;
use own::Own;
pub use steps::{Event, StepRecord};
use steps::{Item, Trainer};

/// One of the two phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Supervised fine-tuning on the chosen answers.
    Supervised,
    /// Preference optimization on pairs.
    Preference,
}

/// How long and how fast a phase learns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    /// English pairs per side, at most.
    pub english: usize,
    /// Chinese pairs per side, at most.
    pub chinese: usize,
    /// Passes over them.
    pub epochs: usize,
    /// Pairs per step.
    pub batch: usize,
    /// Peak learning rate; a tenth of the steps warm up, then a half cosine falls to a tenth.
    pub rate: f32,
    /// Only this many first tokens of every answer are learned; 0 learns them whole. Whether an answer refuses is
    /// decided by how it opens (Qi et al. 2025, arXiv:2406.05946), and more requests fit into the same time.
    #[serde(default)]
    pub tokens: usize,
}

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The gradient is not a number.
    NanGradient,
    /// The loss and its gradient are this many times too large.
    Scaled(f64),
    /// This share of the batch has its labels flipped.
    Flipped(f64),
}

impl Fault {
    /// Whether it lies in the batch itself and comes again when the batch does.
    fn stays(self) -> bool {
        matches!(self, Self::Flipped(_))
    }
}

/// A fault at one step of one phase, to see the monitor at work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Injection {
    /// In which phase.
    pub phase: Phase,
    /// At which of its steps, from 1.
    pub step: usize,
    /// What happens.
    pub fault: Fault,
}

/// Tokens that open an answer; see [`Options::opening_weight`].
pub const OPENING: usize = 4;

/// What [`align`] does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Decides selection and order.
    pub seed: u64,
    /// The supervised phase.
    pub supervised: Course,
    /// The preference phase.
    pub preference: Course,
    /// The loss of the preference phase.
    pub loss: Loss,
    /// So many first tokens of the first model's own answer take the place of the written answer to a harmless
    /// request, and of the opening to reject of an unsafe one; 0 keeps what is written. All refusals open alike and
    /// answers do not, so that a refusal wins over any single answer long before it is likely; the model's own
    /// opening is the one it has to lose against (and keeps general language where it was).
    pub own_tokens: usize,
    /// Ordinary English requests to which the model's own openings are learned in the supervised phase, at most; none
    /// without [`own_tokens`](Self::own_tokens). They say that a wording alone is no reason to refuse.
    pub ordinary_english: usize,
    /// The same in Chinese.
    pub ordinary_chinese: usize,
    /// Trained weights to begin with (a file that [`Parameters::save`](model::Parameters::save) wrote); empty for
    /// none. The first model, whose answers and general text count, is still the one without them.
    pub start: String,
    /// One in this many supervised examples begins with the opening of a compliant answer that is not learned: the
    /// refusal (or the answer) has to come after it too. 0 leaves them out.
    pub recovery_every: usize,
    /// Weight of each of the first [`OPENING`] tokens of an answer in the supervised phase, where it is decided
    /// whether it is a refusal; 1 is the plain mean over tokens.
    pub opening_weight: f64,
    /// Weight of an answer to a harmless request in the supervised phase, a refusal's being 1. Where the model cannot
    /// tell two requests apart, it shifts the line between them: above 1, fewer harmless requests are refused, and
    /// fewer unsafe ones.
    pub harmless_weight: f64,
    /// At most this share of the harmless look-alikes of the validation topics (which no phase learns from) is to be
    /// refused, both languages together: the preference phase then moves the line between refusal and answer to where
    /// most unsafe requests are, with [`Kind::Shift`] in the place of `loss`. At 1 it trains pairs by `loss`.
    pub look_alikes: f64,
    /// Weight of staying close to the first model on general text (squared change of log-probability per token).
    pub anchor: f64,
    /// Most tokens in one forward pass; bounds memory.
    pub run_tokens: usize,
    /// When a step is taken back.
    pub limits: Limits,
    /// Faults to inject; none in earnest.
    pub faults: Vec<Injection>,
}

impl Default for Options {
    /// About three minutes for a 135M model with low-rank training on two cores.
    fn default() -> Self {
        Self {
            seed: 1,
            supervised: Course { english: 130, chinese: 60, epochs: 1, batch: 8, rate: 5e-4, tokens: 8 },
            preference: Course { english: 32, chinese: 12, epochs: 1, batch: 8, rate: 1e-4, tokens: 4 },
            loss: Loss { beta: 0.1, ..Loss::default() },
            own_tokens: 8,
            ordinary_english: 0,
            ordinary_chinese: 0,
            start: String::new(),
            recovery_every: 12,
            opening_weight: 4.0,
            harmless_weight: 1.0,
            look_alikes: 1.0,
            anchor: 2.0,
            run_tokens: 640,
            limits: Limits::default(),
            faults: Vec::new(),
        }
    }
}

impl Options {
    /// Everything the preference set has, twice over, then the line moved; for runs of an hour. The validation topics
    /// come in trained wordings, where a refusal is likelier: the share of look-alikes refused in other wordings is
    /// about two thirds of what is asked for here.
    pub fn full() -> Self {
        let all = usize::MAX;
        Self {
            supervised: Course { english: all, chinese: all, epochs: 2, batch: 8, rate: 5e-4, tokens: 8 },
            preference: Course { english: 64, chinese: 48, epochs: 1, batch: 8, rate: 2e-4, tokens: 1 },
            ordinary_english: all,
            ordinary_chinese: all,
            look_alikes: 0.18,
            ..Self::default()
        }
    }

    /// Whether the preference phase moves the line instead of learning pairs.
    fn moves_the_line(&self) -> bool {
        self.look_alikes < 1.0
    }

    fn validate(&self) -> Result<(), Error> {
        for (name, course) in [("supervised", &self.supervised), ("preference", &self.preference)] {
            if course.batch == 0 || !(course.rate.is_finite() && course.rate >= 0.0) {
                return Err(Error::Invalid(format!(
                    "align: {name} has batch {} and rate {}; give a batch of at least 1 and a rate of at least 0",
                    course.batch, course.rate
                )));
            }
        }
        if !(self.harmless_weight.is_finite() && self.harmless_weight > 0.0) {
            let weight = self.harmless_weight;
            return Err(Error::Invalid(format!("align: harmless_weight {weight} must be a number above 0")));
        }
        let share = self.look_alikes;
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::Invalid(format!("align: look_alikes {share} must be a share from 0 to 1")));
        }
        if !self.start.is_empty() && !Path::new(&self.start).is_file() {
            return Err(Error::Invalid(format!("align: there is no file `{}` to start from", self.start)));
        }
        let Loss { beta, label_noise, .. } = self.loss;
        if !(beta.is_finite() && beta > 0.0 && (0.0..0.5).contains(&label_noise)) {
            return Err(Error::Invalid(format!(
                "align: beta {beta} must be above 0 and label_noise {label_noise} in [0, 0.5)"
            )));
        }
        Ok(())
    }
}

/// What the callback of [`align`] hears after every step.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Which phase.
    pub phase: Phase,
    /// Steps of this phase so far.
    pub step: usize,
    /// Steps of this phase in all.
    pub steps: usize,
    /// What the step did.
    pub record: &'a StepRecord,
}

/// What a phase did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// Which phase.
    pub phase: Phase,
    /// Examples or pairs, both sides and languages together.
    pub items: usize,
    /// Tokens read forward and backward.
    pub trained_tokens: usize,
    /// Every step, undone ones included.
    pub steps: Vec<StepRecord>,
}

/// What an alignment did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What was asked for.
    pub options: Options,
    /// The phases in order.
    pub phases: Vec<PhaseSummary>,
    /// Tokens read once to score the pairs under the reference.
    pub reference_tokens: usize,
    /// The lines moved by the preference phase; none without [`Options::look_alikes`].
    pub lines: Vec<Line>,
    /// What the monitor did.
    pub events: Vec<Event>,
    /// The callback ended it early.
    pub stopped: bool,
}

/// Aligns a model: supervised tuning on the chosen answers, then `options.loss` on pairs against the tuned model as
/// the reference, whose log-probabilities are computed once. Only the trained split of the preference set is used.
///
/// `progress` hears of every step and ends the alignment by returning `false`.
///
/// # Errors
/// Options that make no sense, or an error of the model; the learner then has the steps made so far.
pub fn align(
    learner: &mut Learner,
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    options: &Options,
    progress: &mut dyn FnMut(&Progress<'_>) -> bool,
) -> Result<Summary, Error> {
    options.validate()?;
    let writing = Writing { tokenizer, template };
    let mut anchors: Vec<Sequence> = anchor_texts().map(|text| Sequence::text(tokenizer, text)).collect();
    let first = learner.parameters().freeze(learner.activation())?;
    score(&first, &mut anchors.iter_mut().collect::<Vec<_>>(), options.run_tokens)?;
    drop(first);
    let own = own::own_answers(&learner.parameters().freeze(Activation::Int8)?, &writing, options)?;
    if !options.start.is_empty() {
        learner.load_weights(Path::new(&options.start))?;
    }
    let mut trainer = Trainer::new(learner, options, anchors);
    let mut summary = Summary {
        options: options.clone(),
        phases: Vec::new(),
        reference_tokens: 0,
        lines: Vec::new(),
        events: Vec::new(),
        stopped: false,
    };
    for phase in [Phase::Supervised, Phase::Preference] {
        let mut items = match (options.course(phase).epochs, phase) {
            (0, _) => Vec::new(),
            (_, Phase::Preference) if options.moves_the_line() => {
                let now = trainer.learner.parameters().freeze(Activation::Int8)?;
                summary.lines = line::lines(&now, &writing, options.look_alikes, options.run_tokens)?;
                line::pairs(&writing, options, &own, &summary.lines)?
            }
            _ => items(phase, &writing, options, &own)?,
        };
        if phase == Phase::Preference && !items.is_empty() {
            let reference = trainer.learner.parameters().freeze(trainer.learner.activation())?;
            let mut sequences: Vec<&mut Sequence> = items.iter_mut().flat_map(Item::sequences).collect();
            summary.reference_tokens = score(&reference, &mut sequences, options.run_tokens)?;
        }
        let (done, complete) = trainer.run(phase, &items, progress)?;
        summary.phases.push(done);
        if !complete {
            summary.stopped = true;
            break;
        }
    }
    summary.events = trainer.events;
    Ok(summary)
}

/// The requests of a phase, in a seeded selection and order.
fn selected(phase: Phase, options: &Options) -> Vec<&'static Preference> {
    let course = options.course(phase);
    let mut chosen: Vec<&Preference> = Vec::new();
    for side in [Side::Unsafe, Side::Harmless] {
        for (language, most) in [(Language::En, course.english), (Language::Zh, course.chinese)] {
            let mut all: Vec<_> =
                split(false).filter(|p| !p.validation && p.side == side && p.language == language).collect();
            Random::new(options.seed, &format!("align/select/{side:?}/{language:?}")).shuffle(&mut all);
            chosen.extend(all.into_iter().take(most));
        }
    }
    Random::new(options.seed, &format!("align/order/{phase:?}")).shuffle(&mut chosen);
    chosen
}

/// The ordinary requests of `options`, in a seeded selection.
fn ordinary(options: &Options) -> Vec<String> {
    let mut chosen = Vec::new();
    for (language, most) in
        [(Language::En, options.ordinary_english), (Language::Zh, options.ordinary_chinese)]
    {
        let mut all = crate::preferences::ordinary(language);
        Random::new(options.seed, &format!("align/ordinary/{language:?}")).shuffle(&mut all);
        chosen.extend(all.into_iter().take(most));
    }
    chosen
}

/// The examples or pairs of a phase.
fn items(phase: Phase, writing: &Writing<'_>, options: &Options, own: &Own) -> Result<Vec<Item>, Error> {
    let (course, chosen) = (options.course(phase), selected(phase, options));
    let mut items = Vec::with_capacity(chosen.len());
    for (index, preference) in chosen.iter().enumerate() {
        let Preference { prompt, chosen: answer, rejected, language, .. } = preference;
        let recovers = phase == Phase::Supervised
            && options.recovery_every > 0
            && index % options.recovery_every == options.recovery_every - 1;
        let given = match recovers {
            true => openings(*language)[index % openings(*language).len()].to_string() + "... ",
            false => String::new(),
        };
        let rejected = match phase {
            Phase::Supervised => None,
            Phase::Preference => {
                Some(writing.answer(prompt, "", rejected, !preference.rejected_is_opening)?)
            }
        };
        // KTO's baseline is the mean over answers of other prompts.
        let mismatched = match (options.loss.kind, phase) {
            (Kind::Kto, Phase::Preference) => {
                let other = chosen[(index + 1) % chosen.len()];
                Some(writing.answer(prompt, "", &other.chosen, true)?)
            }
            _ => None,
        };
        let weight = match preference.side {
            Side::Harmless => options.harmless_weight,
            Side::Unsafe => 1.0,
        };
        let chosen = writing.answer(prompt, &given, answer, true)?;
        let mut item = Item { chosen, rejected, mismatched, weight, margin: None };
        if let Some(tokens) = own.get(prompt).filter(|_| given.is_empty()) {
            match (preference.side, &mut item.rejected) {
                (Side::Harmless, _) => item.chosen.replace(tokens),
                (Side::Unsafe, Some(rejected)) => rejected.replace(tokens),
                (Side::Unsafe, None) => {}
            }
        }
        if course.tokens > 0 {
            item.sequences().for_each(|sequence| sequence.shorten(course.tokens));
        }
        items.push(item);
    }
    if phase == Phase::Supervised && options.own_tokens > 0 {
        let before = items.len();
        for prompt in ordinary(options) {
            let Some(tokens) = own.get(&prompt) else { continue };
            let mut chosen = writing.answer(&prompt, "", "…", true)?;
            chosen.replace(tokens);
            if course.tokens > 0 {
                chosen.shorten(course.tokens);
            }
            let weight = options.harmless_weight;
            items.push(Item { chosen, rejected: None, mismatched: None, weight, margin: None });
        }
        if items.len() > before {
            Random::new(options.seed, "align/order/ordinary").shuffle(&mut items);
        }
    }
    Ok(items)
}

impl Options {
    fn course(&self, phase: Phase) -> &Course {
        match phase {
            Phase::Supervised => &self.supervised,
            Phase::Preference => &self.preference,
        }
    }
}

/// How a model ranks the held-out pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// Pairs.
    pub pairs: usize,
    /// Share whose chosen answer has the higher mean log-probability per token.
    pub accuracy: f64,
    /// Mean of that difference, in nats per token.
    pub margin: f64,
    /// Mean of its logistic function: an accuracy without a threshold.
    pub score: f64,
}

/// Ranks at most `most` held-out pairs, evenly spread.
///
/// # Errors
/// An error of the model, or no pairs.
pub fn rank_held_out(
    transformer: &Transformer,
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    most: usize,
) -> Result<Ranking, Error> {
    let writing = Writing { tokenizer, template };
    let all: Vec<&Preference> = split(true).collect();
    let mut sequences = Vec::new();
    for preference in crate::measure::spread(&all, most) {
        let Preference { prompt, chosen, rejected, rejected_is_opening, .. } = preference;
        sequences.push(writing.answer(prompt, "", chosen, true)?);
        sequences.push(writing.answer(prompt, "", rejected, !rejected_is_opening)?);
    }
    if sequences.is_empty() {
        return Err(Error::Invalid("no held-out pair to rank; ask for at least one".into()));
    }
    score(transformer, &mut sequences.iter_mut().collect::<Vec<_>>(), 512)?;
    let mean = |s: &Sequence| s.reference_log_probability() / s.scored.len() as f64;
    let margins: Vec<f64> = sequences.chunks_exact(2).map(|pair| mean(&pair[0]) - mean(&pair[1])).collect();
    let pairs = margins.len();
    let right = margins.iter().filter(|margin| **margin > 0.0).count();
    Ok(Ranking {
        pairs,
        accuracy: right as f64 / pairs as f64,
        margin: margins.iter().sum::<f64>() / pairs as f64,
        score: margins.iter().map(|margin| 1.0 / (1.0 + (-margin).exp())).sum::<f64>() / pairs as f64,
    })
}

#[cfg(test)]
mod tests;
