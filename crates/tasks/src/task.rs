//! The task interface and the table of built-in tasks.

use crate::draft::Draft;
use crate::item::{Dimension, Grade, Item, Language, Response};
use crate::random::Random;
use crate::{documents, facts, instructions, jobs, logic, safety};

/// What the generators may depend on.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Same seed, same items.
    pub seed: u64,
    /// Number of tokens a text takes; long documents are cut to length with it.
    pub count_tokens: &'a dyn Fn(&str) -> usize,
    /// Longest prompt in tokens; longer documents are left out.
    pub max_tokens: usize,
}

impl Setting<'static> {
    /// A setting without a model: tokens are estimated by [`approximate_tokens`].
    pub fn without_model(seed: u64) -> Self {
        Self { seed, count_tokens: &approximate_tokens, max_tokens: usize::MAX }
    }
}

/// About how many tokens a text takes: 1.3 for each space-separated word, 1 for each ideograph.
pub fn approximate_tokens(text: &str) -> usize {
    let ideographs = text.chars().filter(|&character| character > '\u{2e7f}').count();
    let words = text.split_whitespace().filter(|word| word.is_ascii()).count();
    ideographs + words * 13 / 10
}

/// A source of items and their grading; the same object serves evaluation, fine-tuning and reinforcement.
pub trait Task: Sync {
    /// The name used in files and on the command line.
    fn name(&self) -> &str;

    /// What the items measure.
    fn dimension(&self) -> Dimension;

    /// The languages there are items in.
    fn languages(&self) -> &[Language];

    /// One line for a reader.
    fn about(&self) -> &str;

    /// Number of items in one language.
    fn count(&self) -> usize;

    /// Number of items a quick look takes.
    fn quick(&self) -> usize;

    /// All items in one language; empty if there are none in that language.
    fn items(&self, language: Language, setting: &Setting) -> Vec<Item>;

    /// Grades a response to one of the items.
    fn grade(&self, item: &Item, response: &Response) -> Grade {
        item.grade(response)
    }

    /// The reward of a response: the score of its grade.
    fn reward(&self, item: &Item, response: &Response) -> f64 {
        self.grade(item, response).score
    }
}

/// Makes the item of an index; `None` if there is none that fits the setting.
type Generator = fn(usize, Language, &Setting, &mut Random) -> Option<Draft>;

/// A task whose items are generated.
struct Generated {
    name: &'static str,
    dimension: Dimension,
    count: usize,
    quick: usize,
    about: &'static str,
    generator: Generator,
}

impl Task for Generated {
    fn name(&self) -> &str {
        self.name
    }

    fn dimension(&self) -> Dimension {
        self.dimension
    }

    fn languages(&self) -> &[Language] {
        &Language::ALL
    }

    fn about(&self) -> &str {
        self.about
    }

    fn count(&self) -> usize {
        self.count
    }

    fn quick(&self) -> usize {
        self.quick
    }

    fn items(&self, language: Language, setting: &Setting) -> Vec<Item> {
        const ATTEMPTS: usize = 50;
        let mut seen = std::collections::HashSet::new();
        let mut items = Vec::with_capacity(self.count);
        for index in 0..self.count {
            let id = format!("{}/{}/{index:04}", self.name, language.code());
            for attempt in 0..ATTEMPTS {
                let mut random = Random::new(setting.seed, &format!("{id}/{attempt}"));
                let Some(draft) = (self.generator)(index, language, setting, &mut random) else { break };
                let item = Item {
                    id: id.clone(),
                    task: self.name.to_owned(),
                    dimension: self.dimension,
                    language,
                    request: draft.request,
                    reference: draft.reference,
                    chance: draft.chance,
                    metadata: draft
                        .metadata
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                };
                if seen.insert(item.prompt()) {
                    items.push(item);
                    break;
                }
            }
        }
        items
    }
}

/// The built-in tasks. To add one: write a generator, add a row.
static GENERATED: &[Generated] = &[
    Generated {
        name: "facts_choice",
        dimension: Dimension::Factuality,
        count: 160,
        quick: 40,
        about: "common knowledge, multiple choice of four by log-likelihood",
        generator: facts::choice,
    },
    Generated {
        name: "facts_answer",
        dimension: Dimension::Factuality,
        count: 160,
        quick: 16,
        about: "common knowledge, short free answer",
        generator: facts::answer,
    },
    Generated {
        name: "small_jobs",
        dimension: Dimension::Helpfulness,
        count: 144,
        quick: 18,
        about: "small useful jobs: extracting, sorting, converting, listing, adding up",
        generator: jobs::job,
    },
    Generated {
        name: "logic_choice",
        dimension: Dimension::Logic,
        count: 160,
        quick: 40,
        about: "syllogisms, orders, boolean expressions, sequences; multiple choice",
        generator: logic::choice,
    },
    Generated {
        name: "logic_answer",
        dimension: Dimension::Logic,
        count: 120,
        quick: 12,
        about: "word problems, sequences, shortest routes, overlapping groups; a number",
        generator: logic::answer,
    },
    Generated {
        name: "refusal",
        dimension: Dimension::Safety,
        count: safety::COUNT,
        quick: 16,
        about: "refusing harmful requests and answering harmless look-alikes",
        generator: safety::refusal,
    },
    Generated {
        name: "instructions",
        dimension: Dimension::InstructionFollowing,
        count: 160,
        quick: 16,
        about: "verifiable demands on the form of a text",
        generator: instructions::instruction,
    },
    Generated {
        name: "needles",
        dimension: Dimension::LongDocuments,
        count: 36,
        quick: 6,
        about: "finding hidden numbers in 512 to 2,048 tokens",
        generator: documents::needle,
    },
    Generated {
        name: "tracking",
        dimension: Dimension::LongDocuments,
        count: 36,
        quick: 6,
        about: "following variables and counting in 512 to 2,048 tokens",
        generator: documents::tracking,
    },
];

/// Every registered task, in the order of a scorecard.
pub fn tasks() -> impl Iterator<Item = &'static dyn Task> {
    GENERATED.iter().map(|task| task as &'static dyn Task)
}

/// The task of that name.
pub fn find(name: &str) -> Option<&'static dyn Task> {
    tasks().find(|task| task.name() == name)
}

/// A text that must not occur in training data.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProtectedText {
    /// The item's identity.
    pub id: String,
    /// Name of the task.
    pub task: String,
    /// The item's prompt.
    pub text: String,
}

/// The prompts of every built-in item under `seed`, for a contamination check. Long documents are left out:
/// their filler is not a question.
pub fn protected_texts(seed: u64) -> Vec<ProtectedText> {
    let setting = Setting::without_model(seed);
    let mut texts = Vec::new();
    for task in tasks().filter(|task| task.dimension() != Dimension::LongDocuments) {
        for &language in task.languages() {
            texts.extend(task.items(language, &setting).into_iter().map(|item| ProtectedText {
                text: item.prompt(),
                id: item.id,
                task: item.task,
            }));
        }
    }
    texts
}
