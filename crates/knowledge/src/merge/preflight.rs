//! What must hold before a merge may begin.

use model::Checkpoint;
use model::tokenizer::TokenKind;
use serde_json::Value as Json;

use super::{MergeRequest, Parameters};
use crate::Error;

/// The request's parameters with the method's defaults.
pub(super) fn parameters(request: &MergeRequest) -> Result<Parameters, Error> {
    let info = request.method.info();
    let refuse = |text: String| Err(Error::Request(format!("{}: {text}", info.name)));
    let stray = [
        ("density", request.density.is_some() && info.density.is_none()),
        ("t", request.t.is_some() && info.t.is_none()),
        ("lambda", request.lambda.is_some() && !info.lambda),
        ("normalize", request.normalize.is_some() && info.normalize.is_none()),
    ];
    if let Some((name, _)) = stray.iter().find(|(_, stray)| *stray) {
        return refuse(format!("this method has no parameter `{name}`; leave it out"));
    }
    match (info.needs_base, &request.base) {
        (true, None) => return refuse("it needs `base`, the model the others were tuned from".into()),
        (false, Some(_)) => return refuse("it has no base; list that model among the others".into()),
        _ => {}
    }
    if info.t.is_some() && request.models.len() != 1 {
        return refuse(format!("it goes from the base to one model, not {}", request.models.len()));
    }
    if request.models.is_empty() {
        return refuse("there is no model to merge; name at least one".into());
    }
    if let Some((path, weight)) = request.models.iter().find(|(_, weight)| !weight.is_finite()) {
        return refuse(format!("the weight {weight} of `{}` is not finite", path.display()));
    }
    let parameters = Parameters {
        density: request.density.or(info.density),
        t: request.t.or(info.t),
        lambda: info.lambda.then(|| request.lambda.unwrap_or(1.0)),
        normalize: request.normalize.or(info.normalize),
        seed: info.random.then_some(request.seed),
    };
    if let Some(density) = parameters.density.filter(|density| !(*density > 0.0 && *density <= 1.0)) {
        return refuse(format!("`density` is {density}; it must be above 0 and at most 1"));
    }
    if let Some(t) = parameters.t.filter(|t| !(0.0..=1.0).contains(t)) {
        return refuse(format!("`t` is {t}; it must lie between 0 and 1"));
    }
    if let Some(lambda) = parameters.lambda.filter(|lambda| !lambda.is_finite()) {
        return refuse(format!("`lambda` is {lambda}, not a finite number"));
    }
    let sum: f64 = request.models.iter().map(|(_, weight)| weight).sum();
    if parameters.normalize == Some(true) && !info.needs_base && sum.abs() < 1e-8 {
        return refuse("the weights sum to 0; choose others or turn `normalize` off".into());
    }
    Ok(parameters)
}

/// The output must be new, or an empty folder.
pub(super) fn output(request: &MergeRequest) -> Result<(), Error> {
    let path = &request.output;
    let empty = || path.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    if path.file_name().is_none() || path.exists() && !empty() {
        return Err(Error::Request(format!("`{}` exists; choose another name or remove it", path.display())));
    }
    Ok(())
}

/// Whether `other` can be merged with `first`, weight by weight.
pub(super) fn fits(first: &Checkpoint, other: &Checkpoint) -> Result<(), Error> {
    let (left, right) = (first.path().display(), other.path().display());
    let refuse = |text: String| Err(Error::Request(format!("cannot merge `{right}` with `{left}`: {text}")));
    if first.family().name != other.family().name {
        return refuse(format!(
            "one is {}, the other {}; only models tuned from the same one can be merged",
            other.family().name,
            first.family().name
        ));
    }
    let (ours, mut theirs) = (first.config().clone(), other.config().clone());
    if ours.vocabulary != theirs.vocabulary {
        return refuse(format!(
            "the vocabularies have {} and {} tokens; take models tuned without added tokens",
            theirs.vocabulary, ours.vocabulary
        ));
    }
    if ours.tied_embeddings != theirs.tied_embeddings {
        let tied = |tied: bool| if tied { "tied" } else { "untied" };
        return refuse(format!(
            "its embeddings are {}, the other's {}; save both the same way first",
            tied(theirs.tied_embeddings),
            tied(ours.tied_embeddings)
        ));
    }
    // Rows are brought into the same order when they are read.
    theirs.attention.rope.style = ours.attention.rope.style;
    if ours != theirs {
        let json = |config| serde_json::to_value(config).unwrap_or(Json::Null);
        let mut changes = Vec::new();
        differences("", &json(&theirs), &json(&ours), &mut changes);
        return refuse(format!(
            "their configurations differ ({}); only models tuned from the same one can be merged",
            changes.join(", ")
        ));
    }
    for name in first.tensor_names() {
        let (ours, theirs) = (first.shape(&name)?, other.shape(&name)?);
        if ours != theirs {
            return refuse(format!(
                "tensor `{name}` has shape {theirs:?} there and {ours:?} here; one of the files is damaged or \
                 another model"
            ));
        }
    }
    match tokenizers(first, other)? {
        Some(text) => refuse(format!("{text}; take models tuned with the same tokenizer")),
        None => Ok(()),
    }
}

/// What differs between two JSON values, as `key: left / right`.
fn differences(at: &str, left: &Json, right: &Json, changes: &mut Vec<String>) {
    match (left, right) {
        (Json::Object(left), Json::Object(right)) => {
            let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let name = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                let value = |map: &serde_json::Map<String, Json>| map.get(key).cloned().unwrap_or(Json::Null);
                differences(&name, &value(left), &value(right), changes);
            }
        }
        _ if left != right => changes.push(format!("{at}: {left} / {right}")),
        _ => {}
    }
}

/// How two tokenizers differ. Unused tokens, which fill a file up to its embedding's rows, may differ.
fn tokenizers(first: &Checkpoint, other: &Checkpoint) -> Result<Option<String>, Error> {
    let (ours, theirs) = (first.tokenizer()?, other.tokenizer()?);
    let (ours, theirs) = (ours.vocabulary(), theirs.vocabulary());
    let token = |vocabulary: &model::tokenizer::Vocabulary, id: usize| {
        let used = vocabulary.kinds.get(id).is_some_and(|kind| *kind != TokenKind::Unused);
        vocabulary.tokens.get(id).filter(|_| used).cloned()
    };
    for id in 0..ours.tokens.len().max(theirs.tokens.len()) {
        let (left, right) = (token(theirs, id), token(ours, id));
        if left != right {
            let text = |token: Option<String>| token.map_or("unused".to_string(), |text| format!("`{text}`"));
            return Ok(Some(format!("token {id} is {} there and {} here", text(left), text(right))));
        }
    }
    let merges = (ours.merges.len(), theirs.merges.len());
    Ok((ours.merges != theirs.merges)
        .then(|| format!("their tokenizers merge differently ({} and {} rules)", merges.1, merges.0)))
}
