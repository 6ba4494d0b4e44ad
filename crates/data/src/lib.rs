//! Data governance: files in, a corpus with a reason for every document out.
//!
//! - [`govern`] runs a [`GovernConfig`]: [`readers`] turn files into drafts, [`rules`] judge them, the survivors go to
//!   shards, every decision to the ledger.
//! - [`corpus`] reads a governed corpus back.
//! - [`trace`] explains a document; [`delete`] removes one from everything derived and proves it.
//! - [`generator`] plants duplicates, personal data and leaked items with known answers, to measure the rules by.
//!
//! To add a reader: a file under `readers/` and a line in [`readers::READERS`]. To add a quality rule: a line in
//! [`rules::quality::LIMITS`]. To add a kind of personal data: a line in [`rules::privacy::KINDS`].

pub mod corpus;
pub mod generator;
pub mod language;
pub mod licence;
pub mod readers;
pub mod rules;

mod config;
mod delete;
mod document;
mod error;
mod figures;
mod govern;
mod tokens;
mod trace;

pub use config::{
    ContaminationConfig, EvaluationItem, ExactConfig, GovernConfig, LanguageConfig, LicenceConfig,
    NearConfig, PrivacyConfig, QualityConfig, QualityProfile, SourceConfig,
};
pub use delete::{DeletionProof, Derived, FileEvidence, delete};
pub use document::{Document, Field, Record, Source};
pub use error::Error;
pub use govern::{FunnelStep, GovernReport, NearReport, Progress, govern};
pub use trace::{Explanation, Related, trace};
