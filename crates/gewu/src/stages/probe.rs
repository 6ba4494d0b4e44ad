//! Stage `probe`: what tuning changed inside the model, which heads copy, and the direction that carries refusal.

use align::preferences::{Preference, Side, split};
use anyhow::Result;
use ledger::Stream;
use model::{Checkpoint, Local, Transformer};
use probe::direction::{
    EffectOptions, PromptSet, Reading, RefusalOptions, Selection, chat_tokens, judge, refusal_study,
};
use probe::{account, heads};
use serde_json::{Value, json};
use tasks::Language;

use super::Job;
use crate::recipe::Probe;

/// Length of the random segment that the copying heads are read on; it occurs twice.
const SEGMENT: usize = 48;
/// Heads that a report names.
const NAMED_HEADS: usize = 6;

pub(super) fn run(job: &mut Job) -> Result<()> {
    let inputs = job.inputs();
    let (base, last) = (job.base()?, job.model_before("probe")?);
    let Job { run, loaded, recipe, .. } = job;
    run.stage("probe", &inputs, |stage| -> Result<()> {
        let settings = &recipe.probe;
        let prompts = |held_out: bool, side: Side| -> Vec<&'static Preference> {
            split(held_out).filter(|p| p.side == side && p.language == Language::En).collect()
        };
        let mut result = serde_json::Map::new();
        let tuned = super::load(loaded, &last)?;
        result.insert("heads".into(), copying_heads(tuned.transformer(), recipe.seed)?);
        let refusal = refusal(tuned, settings, recipe.seed, &prompts)?;
        if let Some(value) = refusal["effect"]["beyond_control"]["value"].as_f64() {
            stage.metric("refusal_direction.beyond_control", value);
        }
        result.insert("refusal_direction".into(), refusal);
        if base != last {
            let mixed = [Side::Unsafe, Side::Harmless].map(|side| prompts(true, side));
            let texts = mixed.iter().flat_map(|side| side.iter().take(settings.prompts.div_ceil(2)));
            let tokens =
                texts.map(|p| chat_tokens(tuned, &p.prompt)).collect::<std::result::Result<Vec<_>, _>>()?;
            let before = Local::open(&base, &model::LoadOptions::default())?;
            let activations =
                account::activation_changes(before.transformer(), tuned.transformer(), &tokens)?;
            let matrices = account::checkpoint_changes(&Checkpoint::open(&base)?, &Checkpoint::open(&last)?)?;
            let groups = account::groups(&matrices);
            result.insert("tuning".into(), json!(account::Account { matrices, groups, activations }));
        }
        let text = serde_json::to_string_pretty(&Value::Object(result))?;
        Ok(ledger::write_atomic(stage.folder.join("summary.json"), text.as_bytes())?)
    })?;
    Ok(())
}

/// The heads that look most at what followed earlier occurrences of the current token, in random repeated text.
fn copying_heads(transformer: &Transformer, seed: u64) -> Result<Value> {
    let vocabulary = transformer.config().vocabulary;
    let mut random = Stream::new(seed, "probe.copying");
    let segment: Vec<u32> = (0..SEGMENT).map(|_| random.below(vocabulary) as u32).collect();
    let tokens = segment.repeat(2);
    let layers = 0..transformer.config().layers.len();
    let mut scores = heads::head_scores(transformer, &tokens, layers, SEGMENT..2 * SEGMENT)?;
    scores.sort_by(|a, b| b.prefix_matching.total_cmp(&a.prefix_matching));
    let mean = scores.iter().map(|head| head.prefix_matching).sum::<f64>() / scores.len().max(1) as f64;
    scores.truncate(NAMED_HEADS);
    Ok(json!({"top": scores, "mean_prefix_matching": mean, "segment": SEGMENT}))
}

/// The direction found on trained prompts, its layer chosen on others, its effect measured on held-out ones.
fn refusal(
    model: &Local,
    settings: &Probe,
    seed: u64,
    prompts: &dyn Fn(bool, Side) -> Vec<&'static Preference>,
) -> Result<Value> {
    let tokens = |chosen: &[&Preference]| -> Result<Vec<Vec<u32>>> {
        Ok(chosen.iter().map(|p| chat_tokens(model, &p.prompt)).collect::<std::result::Result<_, _>>()?)
    };
    let set = |held_out: bool, skip: usize, take: usize| -> Result<PromptSet> {
        // Evenly over the topics, which follow each other in the list.
        let pick = |side: Side| -> Vec<&'static Preference> {
            let all = prompts(held_out, side);
            let step = (all.len() / (settings.fit + settings.choose).max(take).max(1)).max(1);
            all.into_iter().step_by(step).skip(skip).take(take).collect()
        };
        Ok(PromptSet { refused: tokens(&pick(Side::Unsafe))?, answered: tokens(&pick(Side::Harmless))? })
    };
    let fit = set(false, 0, settings.fit)?;
    let choose = set(false, settings.fit, settings.choose)?;
    let test = set(true, 0, settings.test)?;
    let reading = Reading::Answer {
        tokens: settings.answer_tokens,
        end: &|token| model.tokenizer().is_end(token),
        judge: &|tokens| judge(model.tokenizer(), tokens),
    };
    let options = RefusalOptions {
        selection: Selection { stride: settings.stride, ..Selection::default() },
        effect: EffectOptions { controls: settings.controls, seed, ..EffectOptions::default() },
        ..RefusalOptions::default()
    };
    match refusal_study(model.transformer(), [&fit, &choose, &test], &reading, &options) {
        Ok(study) => Ok(serde_json::to_value(study)?),
        // A model that does not refuse has no such direction: a finding, not a failure.
        Err(probe::Error::Request(reason)) => Ok(json!({"absent": reason})),
        Err(error) => Err(error.into()),
    }
}
