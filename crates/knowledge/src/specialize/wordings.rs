//! Wordings for any relation, and those of one relation together.

use crate::packs;

/// `{r}` is the relation, `{e}` the entity, `{E}` the entity with a capital.
const TRAIN: &[&str] = &[
    "What is the {r} of {e}?",
    "Tell me the {r} of {e}.",
    "{E} has which {r}?",
    "Name the {r} of {e}.",
    "What {r} does {e} have?",
    "Give the {r} for {e}.",
    "I need the {r} of {e}.",
    "{E}: {r}?",
    "Which {r} is recorded for {e}?",
    "What do the tables list as the {r} of {e}?",
];
const UNSEEN: &[&str] = &[
    "Could you tell me what the {r} of {e} is?",
    "For {e}, what is the {r}?",
    "Please look up the {r} of {e}.",
    "I forgot the {r} of {e}. What is it?",
];
const ZH_TRAIN: &[&str] = &["{e}的{r}是什么？", "请告诉我{e}的{r}。", "说出{e}的{r}。"];
const ZH_UNSEEN: &[&str] = &["请问{e}的{r}？", "我想查一下{e}的{r}。"];
const REVERSED: &[&str] = &["Which {k} has the {r} {v}?", "The {r} {v} belongs to which {k}?"];

const DEFINITION: &[&str] = &[
    "What is {e}?",
    "Define {e}.",
    "What does {e} mean?",
    "Explain the term {e}.",
    "What is meant by {e}?",
    "Give the definition of {e}.",
    "How is {e} defined?",
    "Say in one sentence what {e} is.",
    "What does the term {e} stand for?",
];
const DEFINITION_UNSEEN: &[&str] =
    &["What is the meaning of {e}?", "Can you define {e}?", "I do not know the term {e}. Define it."];
const DEFINITION_ZH: &[&str] = &["什么是{e}？", "{e}是什么意思？", "解释{e}的含义。"];
const DEFINITION_ZH_UNSEEN: &[&str] = &["{e}的定义是什么？"];

/// Attributes and statements to complete, in training only.
const ATTRIBUTE: &[&str] = &["{E} | {r} |", "Subject: {e}. Attribute: {r}. Value?"];
const STATEMENT: &[&str] = &["Complete the sentence: The {r} of {e} is", "Finish this line: {E} has the {r}"];

/// The wordings of one relation.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) train: Vec<&'static str>,
    pub(super) unseen: Vec<&'static str>,
    pub(super) zh_train: Vec<&'static str>,
    pub(super) zh_unseen: Vec<&'static str>,
    pub(super) reversed: Vec<&'static str>,
    pub(super) attributes: Vec<&'static str>,
    pub(super) statements: Vec<&'static str>,
}

/// All wordings of a relation: its own first, then the general ones.
pub(super) fn of(key: &str) -> Set {
    if key == "definition" {
        return Set {
            train: DEFINITION.to_vec(),
            unseen: DEFINITION_UNSEEN.to_vec(),
            zh_train: DEFINITION_ZH.to_vec(),
            zh_unseen: DEFINITION_ZH_UNSEEN.to_vec(),
            ..Set::default()
        };
    }
    let own = packs::wordings(key);
    let join = |own: Option<&'static [&'static str]>, general: &'static [&'static str]| {
        own.unwrap_or_default().iter().chain(general).copied().collect::<Vec<_>>()
    };
    Set {
        train: join(own.map(|w| w.train), TRAIN),
        unseen: join(own.map(|w| w.unseen), UNSEEN),
        zh_train: join(own.map(|w| w.zh_train), ZH_TRAIN),
        zh_unseen: join(own.map(|w| w.zh_unseen), ZH_UNSEEN),
        reversed: own.map_or(REVERSED, |w| w.reversed).to_vec(),
        attributes: ATTRIBUTE.to_vec(),
        statements: STATEMENT.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_has_eight_training_wordings_and_none_is_in_both_lines() {
        for key in packs::tuned_relations("elements").into_iter().chain(["definition", "other.column"]) {
            let set = of(key);
            assert!(set.train.len() >= 8 && set.unseen.len() >= 2, "{key}");
            let relation = key.rsplit('.').next().unwrap_or(key);
            let known = packs::column("elements", relation).map_or(relation, |c| c.name);
            let plain = |w: &&str| {
                let text = w.replace("{r}", known).replace("{E}", "{e}").to_lowercase();
                text.chars().filter(|c| c.is_alphanumeric()).collect::<String>()
            };
            let mut all: Vec<String> = set
                .train
                .iter()
                .chain(&set.unseen)
                .chain(&set.zh_train)
                .chain(&set.zh_unseen)
                .map(plain)
                .collect();
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count, "{key} has a wording twice");
        }
    }
}
