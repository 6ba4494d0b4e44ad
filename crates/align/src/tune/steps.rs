//! The steps of a phase: batches, the loss of a packed run, the monitor's verdicts.

use std::collections::VecDeque;

use train::Snapshot;

use super::*;

/// An example, or a pair, with the reference's losses inside.
pub(crate) struct Item {
    pub(crate) chosen: Sequence,
    pub(crate) rejected: Option<Sequence>,
    pub(crate) mismatched: Option<Sequence>,
    /// Weight among the examples of the supervised phase.
    pub(crate) weight: f64,
    /// Takes the place of [`Loss::margin`].
    pub(crate) margin: Option<f64>,
}

impl Item {
    pub(crate) fn sequences(&mut self) -> impl Iterator<Item = &mut Sequence> {
        [Some(&mut self.chosen), self.rejected.as_mut(), self.mismatched.as_mut()].into_iter().flatten()
    }

    fn tokens(&self) -> usize {
        let others = [&self.rejected, &self.mismatched].into_iter().flatten();
        self.chosen.tokens.len() + others.map(|sequence| sequence.tokens.len()).sum::<usize>()
    }
}

/// General texts learned from in a step.
const ANCHORS_PER_STEP: usize = 1;
/// General texts on which the drift is measured, evenly spread over all.
const WATCHED: usize = 10;

/// What one step saw. Means are over the pairs of the batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Learning rate.
    pub rate: f32,
    /// Mean loss.
    pub loss: f64,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Log-probability of the chosen answers, nats per token.
    pub chosen: f64,
    /// Log-probability of the rejected answers, nats per token (preference phase).
    pub rejected: Option<f64>,
    /// Change of the preference since the reference, nats per pair (preference phase).
    pub margin: Option<f64>,
    /// Share of pairs whose preference grew since the reference (preference phase).
    pub accuracy: Option<f64>,
    /// k3 estimate of the divergence from the reference on the chosen answers, nats per token (preference phase).
    pub divergence: Option<f64>,
    /// Mean entropy of the first token of an answer, in nats; of the first run of the batch.
    pub entropy: f64,
    /// k2 estimate of the divergence from the first model on general text, nats per token; every few steps.
    pub drift: Option<f64>,
    /// The step was skipped or taken back.
    pub undone: bool,
}

/// Something the monitor did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// In which phase.
    pub phase: Phase,
    /// After which of its steps, from 1.
    pub step: usize,
    /// What and why.
    pub verdict: Verdict,
    /// Steps lost by it, this one included.
    pub lost: usize,
}

pub(crate) struct Trainer<'a> {
    pub(crate) learner: &'a mut Learner,
    pub(crate) events: Vec<Event>,
    options: &'a Options,
    anchors: Vec<Sequence>,
}

/// What a step returns.
struct Done {
    record: StepRecord,
    skipped: bool,
    tokens: usize,
    margins: Vec<f64>,
}

/// Sums over a batch, turned into a [`StepRecord`] at its end.
#[derive(Default)]
struct Sums {
    chosen: (f64, usize),
    rejected: (f64, usize),
    margins: Vec<f64>,
    differences: Vec<f64>,
    entropies: Vec<f64>,
    changes: Vec<f64>,
    tokens: usize,
}

impl<'a> Trainer<'a> {
    pub(crate) fn new(learner: &'a mut Learner, options: &'a Options, anchors: Vec<Sequence>) -> Self {
        Self { learner, events: Vec::new(), options, anchors }
    }

    /// Runs a phase; the flag says whether the callback let it finish.
    pub(crate) fn run(
        &mut self,
        phase: Phase,
        items: &[Item],
        progress: &mut dyn FnMut(&Progress<'_>) -> bool,
    ) -> Result<(PhaseSummary, bool), Error> {
        let course = *self.options.course(phase);
        let limits = self.options.limits;
        let steps = course.epochs * items.len().div_ceil(course.batch);
        let schedule = Schedule { warmup: steps.div_ceil(10), shape: Shape::Cosine { floor: 0.1 } };
        let mut summary = PhaseSummary { phase, items: items.len(), trained_tokens: 0, steps: Vec::new() };
        let mut monitor = Monitor::new(limits);
        let mut ring: VecDeque<(usize, Snapshot)> = VecDeque::new();
        let mut slower = 1.0;
        let (mut step, mut again) = (1, false);
        while step <= steps {
            let before = self.learner.snapshot();
            let on_beat = (step - 1) % limits.spacing.max(1) == 0;
            let batch = self.batch(phase, items, step);
            let rate = course.rate * schedule.share(step - 1, steps) * slower;
            let fault = self.options.faults.iter().find(|at| at.phase == phase && at.step == step);
            let fault = fault.map(|at| at.fault).filter(|fault| !again || fault.stays());
            let done = self.step(phase, &batch, rate, fault, self.watched(step, on_beat))?;
            let mut record = done.record;
            summary.trained_tokens += done.tokens;
            let facts = Facts {
                loss: record.loss,
                gradient_norm: record.gradient_norm,
                skipped: done.skipped,
                drift: record.drift,
                // A pair that went too far under `shift` is pulled back: no sign of a wrong label.
                margins: if self.loss().kind == Kind::Shift { &[] } else { &done.margins },
            };
            let verdict = monitor.judge(&facts);
            let (mut lost, mut repeat) = (1, !again);
            match &verdict {
                Verdict::Healthy => {
                    repeat = false;
                    if on_beat {
                        ring.push_back((step, before));
                        if ring.len() > limits.snapshots.max(1) {
                            ring.pop_front();
                        }
                    }
                }
                Verdict::Skipped(_) => {}
                Verdict::TakeBack(_) => self.learner.restore(&before)?,
                Verdict::TakeFarBack(_) => {
                    repeat = false;
                    match ring.pop_front() {
                        Some((of, snapshot)) => {
                            self.learner.restore(&snapshot)?;
                            lost = step + 1 - of;
                        }
                        None => self.learner.restore(&before)?,
                    }
                    ring.clear();
                    slower *= 0.5;
                }
            }
            if verdict != Verdict::Healthy {
                record.undone = true;
                self.events.push(Event { phase, step, verdict, lost });
            }
            let heard = progress(&Progress { phase, step, steps, record: &record });
            summary.steps.push(record);
            if !heard {
                return Ok((summary, false));
            }
            // A batch whose step was undone gets a second chance, not a third.
            again = repeat;
            step += usize::from(!repeat);
        }
        Ok((summary, true))
    }

    /// The loss of the preference phase.
    fn loss(&self) -> Loss {
        match self.options.moves_the_line() {
            true => Loss { kind: Kind::Shift, nll: 0.0, ..self.options.loss },
            false => self.options.loss,
        }
    }

    /// The general texts of a step: the same [`WATCHED`] ones on the beat, where the drift is measured; in between, if
    /// they are learned from at all, a few in turn.
    fn watched(&self, step: usize, on_beat: bool) -> Vec<usize> {
        let count = self.anchors.len();
        match (on_beat, self.options.anchor > 0.0) {
            (true, _) => crate::measure::evenly(count, WATCHED).collect(),
            (false, true) => {
                let each = ANCHORS_PER_STEP.min(count);
                (0..each).map(|index| (step * each + index) % count).collect()
            }
            (false, false) => Vec::new(),
        }
    }

    /// The items of a step: every epoch is a new order of all.
    fn batch<'i>(&self, phase: Phase, items: &'i [Item], step: usize) -> Vec<&'i Item> {
        let batch = self.options.course(phase).batch;
        let per_epoch = items.len().div_ceil(batch);
        let (epoch, index) = ((step - 1) / per_epoch, (step - 1) % per_epoch);
        let mut order: Vec<&Item> = items.iter().collect();
        if epoch > 0 {
            Random::new(self.options.seed, &format!("align/epoch/{phase:?}/{epoch}")).shuffle(&mut order);
        }
        order.into_iter().skip(index * batch).take(batch).collect()
    }

    fn step(
        &mut self,
        phase: Phase,
        batch: &[&Item],
        rate: f32,
        fault: Option<Fault>,
        watched: Vec<usize>,
    ) -> Result<Done, Error> {
        let lengths: Vec<usize> = batch.iter().map(|item| item.tokens()).collect();
        let groups = groups(&lengths, self.options.run_tokens);
        let opening = self.options.opening_weight;
        let weights: f64 =
            batch.iter().map(|item| item.weight * weight(item.chosen.scored.len(), opening)).sum();
        let flipped = match fault {
            Some(Fault::Flipped(share)) => (share * batch.len() as f64).ceil() as usize,
            _ => 0,
        };
        let factor = match fault {
            Some(Fault::Scaled(factor)) => factor,
            Some(Fault::NanGradient) => f64::NAN,
            _ => 1.0,
        };
        let (loss, anchor) = (self.loss(), self.options.anchor);
        let whole = watched.len() == WATCHED.min(self.anchors.len());
        let watched: Vec<&Sequence> = watched.into_iter().map(|index| &self.anchors[index]).collect();
        // They come last, in runs of their own size.
        let lengths: Vec<usize> = watched.iter().map(|sequence| sequence.tokens.len()).collect();
        let watched: Vec<&[&Sequence]> = super::groups(&lengths, self.options.run_tokens)
            .into_iter()
            .map(|group| &watched[group])
            .collect();
        let (micro_batches, general) = (groups.len() + watched.len(), lengths.iter().sum::<usize>());
        let mut sums = Sums::default();
        let request = |error: Error| train::Error::Request(error.to_string());
        let report = self.learner.step(rate, micro_batches, &mut |transformer, micro| {
            // The learner averages over micro-batches; the loss is a mean over the batch.
            let scale = micro_batches as f64 * factor;
            let mut term = Term { sums: &mut sums, scale, value: 0.0, slopes: Vec::new() };
            let Some(group) = groups.get(micro) else {
                let anchors = watched[micro - groups.len()];
                let run = Run::new(anchors);
                let losses = run.losses(transformer)?.0;
                let read = numbers(losses.clone()).map_err(request)?;
                term.anchors(anchors, &run, &read, anchor, general, whole);
                return Ok(linearized(losses, &read, term.value, &term.slopes));
            };
            let items = &batch[group.clone()];
            let sequences: Vec<&Sequence> = items
                .iter()
                .flat_map(|item| [Some(&item.chosen), item.rejected.as_ref(), item.mismatched.as_ref()])
                .flatten()
                .collect();
            let run = Run::new(&sequences);
            let (losses, hidden) = run.losses(transformer)?;
            let read = numbers(losses.clone()).map_err(request)?;
            term.slopes = vec![0.0; read.len()];
            term.sums.tokens += run.tokens();
            if micro == 0 {
                let rows = (0..items.len()).map(|index| run.first_row(index * per_item(items)));
                term.sums.entropies =
                    entropies(transformer, hidden, &rows.collect::<Vec<_>>()).map_err(request)?;
            }
            let flips = flipped.saturating_sub(group.start);
            match phase {
                Phase::Supervised => term.supervised(items, &run, &read, opening, weights),
                Phase::Preference => term.preference(items, &run, &read, &loss, flips, batch.len()),
            }
            Ok(linearized(losses, &read, term.value, &term.slopes))
        })?;
        let record = sums.record(rate, f64::from(report.loss), f64::from(report.gradient_norm));
        Ok(Done { record, skipped: report.skipped, tokens: sums.tokens, margins: sums.margins })
    }
}

/// The weights of an answer's tokens together.
fn weight(tokens: usize, opening: f64) -> f64 {
    let first = tokens.min(OPENING);
    first as f64 * opening + (tokens - first) as f64
}

/// Sequences of each item of a batch: all have the same kinds.
fn per_item(items: &[&Item]) -> usize {
    items
        .first()
        .map_or(1, |item| 1 + usize::from(item.rejected.is_some()) + usize::from(item.mismatched.is_some()))
}

/// The loss of one run as it is put together: its value and its slope by the loss of every token.
struct Term<'a> {
    sums: &'a mut Sums,
    scale: f64,
    value: f64,
    slopes: Vec<f32>,
}

impl Term<'_> {
    /// The weighted mean loss over the scored tokens of the batch; `weights` is the sum of all weights.
    fn supervised(&mut self, items: &[&Item], run: &Run, read: &[f32], opening: f64, weights: f64) {
        for (item, part) in items.iter().zip(&run.parts) {
            for (place, index) in part.clone().enumerate() {
                let weight = if place < OPENING { opening } else { 1.0 };
                let slope = self.scale * item.weight * weight / weights;
                self.value += slope * f64::from(read[index]);
                self.slopes[index] = slope as f32;
            }
            self.sums.chosen.0 -= total(&read[part.clone()]);
            self.sums.chosen.1 += part.len();
        }
    }

    /// The mean preference loss over the pairs of the batch; the first `flips` pairs are read the wrong way round.
    fn preference(
        &mut self,
        items: &[&Item],
        run: &Run,
        read: &[f32],
        loss: &Loss,
        flips: usize,
        pairs: usize,
    ) {
        let per_item = per_item(items);
        let mismatched: Vec<f64> = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| {
                let part = run.parts[index * per_item + per_item - 1].clone();
                let other = item.mismatched.as_ref()?;
                Some(-total(&read[part]) - other.reference_log_probability())
            })
            .collect();
        let baseline = kto_baseline(&mismatched);
        let slope = self.scale / pairs as f64;
        for (index, item) in items.iter().enumerate() {
            let Some(rejected) = &item.rejected else { continue };
            let mut sides = [
                (run.parts[index * per_item].clone(), &item.chosen),
                (run.parts[index * per_item + 1].clone(), rejected),
            ];
            if index < flips {
                sides.reverse();
            }
            let [(chosen, chosen_sequence), (rejected, rejected_sequence)] = sides;
            let pair = Pair {
                chosen: -total(&read[chosen.clone()]),
                rejected: -total(&read[rejected.clone()]),
                reference_chosen: chosen_sequence.reference_log_probability(),
                reference_rejected: rejected_sequence.reference_log_probability(),
                chosen_tokens: chosen.len(),
                rejected_tokens: rejected.len(),
            };
            let margin = item.margin.unwrap_or(loss.margin);
            let found = Loss { margin, ..*loss }.evaluate(&pair, baseline);
            self.value += slope * found.loss;
            // The slopes are by losses, which are negative log-probabilities.
            self.slopes[chosen.clone()].fill((-slope * found.by_chosen) as f32);
            self.slopes[rejected.clone()].fill((-slope * found.by_rejected) as f32);
            self.sums.chosen.0 += pair.chosen;
            self.sums.chosen.1 += chosen.len();
            self.sums.rejected.0 += pair.rejected;
            self.sums.rejected.1 += rejected.len();
            self.sums.margins.push(pair.margin());
            let reference = chosen_sequence.reference.iter();
            self.sums.differences.extend(reference.zip(&read[chosen]).map(|(r, now)| f64::from(r - now)));
        }
    }

    /// Drift on general text, and if `weight` is not 0, half its squared change of log-probability per token: the
    /// mean over all `tokens` of general text in this step. Only the `whole` text gives a drift to report.
    fn anchors(
        &mut self,
        anchors: &[&Sequence],
        run: &Run,
        read: &[f32],
        weight: f64,
        tokens: usize,
        whole: bool,
    ) {
        self.slopes = vec![0.0; read.len()];
        self.sums.tokens += run.tokens();
        let share = self.scale * weight / tokens as f64;
        for (anchor, part) in anchors.iter().zip(&run.parts) {
            for (index, reference) in part.clone().zip(&anchor.reference) {
                let change = f64::from(reference - read[index]);
                self.value += share * 0.5 * change * change;
                self.slopes[index] = (-share * change) as f32;
                if whole {
                    self.sums.changes.push(change);
                }
            }
        }
    }
}

impl Sums {
    fn record(&self, rate: f32, loss: f64, gradient_norm: f64) -> StepRecord {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let per_token = |(sum, n): (f64, usize)| sum / n.max(1) as f64;
        let pairs = !self.margins.is_empty();
        let grew = self.margins.iter().filter(|margin| **margin > 0.0).count();
        StepRecord {
            rate,
            loss,
            gradient_norm,
            chosen: per_token(self.chosen),
            rejected: pairs.then(|| per_token(self.rejected)),
            margin: pairs.then(|| mean(&self.margins)),
            accuracy: pairs.then(|| grew as f64 / self.margins.len() as f64),
            divergence: pairs.then(|| k3(&self.differences)),
            entropy: mean(&self.entropies),
            drift: (!self.changes.is_empty()).then(|| k2(&self.changes)),
            undone: false,
        }
    }
}

fn total(losses: &[f32]) -> f64 {
    losses.iter().map(|loss| f64::from(*loss)).sum()
}

/// Entropy of the next token at some rows of `hidden`, in nats.
fn entropies(transformer: &Transformer, hidden: Tensor<2>, rows: &[usize]) -> Result<Vec<f64>, Error> {
    let ids: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [rows.len()]), &hidden.device());
    let logits = transformer.logits(hidden.detach().select(0, ids)).detach();
    let [_, vocabulary] = logits.dims();
    let log = numbers(activation::log_softmax(logits, 1))?;
    let entropy = |row: &[f32]| -row.iter().map(|&log| f64::from(log.exp()) * f64::from(log)).sum::<f64>();
    Ok(log.chunks_exact(vocabulary).map(entropy).collect())
}
