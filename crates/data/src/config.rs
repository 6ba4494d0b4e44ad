//! The governance configuration: what to read and which rules to apply. Unknown keys are errors.

use std::path::{Path, PathBuf};

use crate::Error;

/// One job of `data::govern`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GovernConfig {
    /// What to read, in this order.
    pub sources: Vec<SourceConfig>,
    /// Which licences may enter.
    #[serde(default)]
    pub licence: LicenceConfig,
    /// Which languages may enter.
    #[serde(default)]
    pub language: LanguageConfig,
    /// Detection and redaction of personal data.
    #[serde(default)]
    pub privacy: PrivacyConfig,
    /// Quality rules.
    #[serde(default)]
    pub quality: QualityConfig,
    /// Contamination with evaluation items.
    #[serde(default)]
    pub contamination: ContaminationConfig,
    /// Exact duplicates.
    #[serde(default)]
    pub exact: ExactConfig,
    /// Near-duplicates.
    #[serde(default)]
    pub near: NearConfig,
    /// Uncompressed bytes after which a shard is closed.
    #[serde(default = "default_shard_bytes")]
    pub shard_bytes: u64,
}

fn default_shard_bytes() -> u64 {
    32 << 20
}

impl Default for GovernConfig {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            licence: LicenceConfig::default(),
            language: LanguageConfig::default(),
            privacy: PrivacyConfig::default(),
            quality: QualityConfig::default(),
            contamination: ContaminationConfig::default(),
            exact: ExactConfig::default(),
            near: NearConfig::default(),
            shard_bytes: default_shard_bytes(),
        }
    }
}

impl GovernConfig {
    /// The default rules over one file or folder.
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self { sources: vec![SourceConfig::of(path)], ..Self::default() }
    }

    /// The rules for a folder a person chose: short notes are wanted, so only the limits of the `curated` profile
    /// apply.
    pub fn curated(path: impl Into<PathBuf>) -> Self {
        let quality = QualityConfig { profile: QualityProfile::Curated, ..QualityConfig::default() };
        Self { quality, ..Self::of(path) }
    }

    /// Refuses values no rule can work with.
    ///
    /// # Errors
    /// `Error::Config` naming the key and its range.
    pub fn check(&self) -> Result<(), Error> {
        let fail = |message: String| Err(Error::Config(message));
        if self.sources.is_empty() {
            return fail("`sources` is empty; name at least one file or folder".into());
        }
        for (key, value) in [
            ("near.threshold", self.near.threshold),
            ("contamination.threshold", self.contamination.threshold),
        ] {
            if !(value > 0.0 && value <= 1.0) {
                return fail(format!("`{key}` is {value}; it must be above 0 and at most 1"));
            }
        }
        for (key, value, most) in [
            ("near.bands", self.near.bands, 256),
            ("near.rows", self.near.rows, 64),
            ("near.shingle", self.near.shingle, 64),
            ("contamination.tokens", self.contamination.tokens, 256),
        ] {
            if value == 0 || value > most {
                return fail(format!("`{key}` is {value}; it must be between 1 and {most}"));
            }
        }
        if self.shard_bytes == 0 {
            return fail("`shard_bytes` is 0; give the bytes of a shard, e.g. 33554432".into());
        }
        Ok(())
    }
}

/// A file or folder to read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The file or folder. Document paths are relative to it (a file: to its folder).
    pub path: PathBuf,
    /// Licence of documents that carry none of their own (SPDX expression).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Tables to read from an SQLite file; empty: every table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// The field of a JSON line that holds the text.
    #[serde(default = "default_text_field")]
    pub text_field: String,
}

fn default_text_field() -> String {
    "text".into()
}

impl SourceConfig {
    /// A source with no options.
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), licence: None, tables: Vec::new(), text_field: default_text_field() }
    }

    /// The folder document paths are relative to.
    pub(crate) fn root(&self) -> &Path {
        if self.path.is_dir() { &self.path } else { self.path.parent().unwrap_or(Path::new("")) }
    }
}

/// Licence rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LicenceConfig {
    /// SPDX expressions that may enter (`unknown` may be one); empty: all, recorded but not judged.
    pub allow: Vec<String>,
}

/// Language rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LanguageConfig {
    /// ISO 639-1 codes that may enter; empty: all, recorded but not judged.
    pub keep: Vec<String>,
}

/// Personal data rule.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacyConfig {
    /// Whether personal data is looked for and replaced.
    pub redact: bool,
    /// Kinds left alone, by the names of `rules::privacy::KINDS`.
    pub ignore: Vec<String>,
}

impl Default for PrivacyConfig {
    fn default() -> Self {
        Self { redact: true, ignore: Vec::new() }
    }
}

/// Which table of quality limits applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QualityProfile {
    /// Limits of Gopher, C4 and FineWeb, for text nobody has chosen.
    #[default]
    Web,
    /// For documents a person chose: only text that cannot be read at all is dropped.
    Curated,
}

/// Quality rules.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualityConfig {
    /// Whether the rules apply.
    pub enabled: bool,
    /// Which limits.
    pub profile: QualityProfile,
    /// Rules that are measured and recorded but drop nothing, by name.
    pub ignore: Vec<String>,
}

impl Default for QualityConfig {
    fn default() -> Self {
        Self { enabled: true, profile: QualityProfile::Web, ignore: Vec::new() }
    }
}

/// An evaluation item that must not be in the corpus.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationItem {
    /// Its name, as decisions cite it: `gsm8k/17`.
    pub name: String,
    /// The text: question, options, solution.
    pub text: String,
}

/// Contamination rule.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContaminationConfig {
    /// Items given in place.
    pub items: Vec<EvaluationItem>,
    /// Files of items: `.jsonl` (all string fields of a line), `.txt` (a line each).
    pub files: Vec<PathBuf>,
    /// Length of an n-gram in tokens (a word, a number or a Han character).
    pub tokens: usize,
    /// Share of an item's n-grams found in a document from which the item counts as leaked.
    pub threshold: f64,
    /// Whether a contaminated document is dropped; otherwise it is only recorded.
    pub drop: bool,
}

impl Default for ContaminationConfig {
    fn default() -> Self {
        Self { items: Vec::new(), files: Vec::new(), tokens: 8, threshold: 0.7, drop: true }
    }
}

/// Exact duplicate rule.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExactConfig {
    /// Whether the rule applies.
    pub enabled: bool,
}

impl Default for ExactConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// Near-duplicate rule. A pair at Jaccard s becomes a candidate with probability 1 − (1 − s^rows)^bands: at the
/// defaults 0.997 at 0.8, 0.94 at 0.7, 0.27 at 0.5; every candidate is then confirmed by its exact Jaccard.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NearConfig {
    /// Whether the rule applies.
    pub enabled: bool,
    /// Exact Jaccard similarity from which two documents are near-duplicates.
    pub threshold: f64,
    /// Tokens of a shingle (a word, a number or a Han character).
    pub shingle: usize,
    /// Bands of the locality-sensitive index.
    pub bands: usize,
    /// Hashes of a band.
    pub rows: usize,
    /// Seed of the hash functions.
    pub seed: u64,
}

impl Default for NearConfig {
    fn default() -> Self {
        Self { enabled: true, threshold: 0.8, shingle: 5, bands: 20, rows: 6, seed: 0 }
    }
}
