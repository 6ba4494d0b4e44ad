//! Run folders, content hashes and lineage records: a leaf that every stage may write to.
//!
//! - [`Ledger`]: one SQLite file that follows a byte to an answer: document → decisions → shard → passage →
//!   cited span. [`Ledger::trace`] explains one id.
//! - [`Run`]: a folder of resumable stages. A stage writes into `<name>.partial/`; only a finished stage is
//!   called `<name>/`. Killed at any moment, the same run continues after its last finished stage.
//! - [`hash_bytes`], [`hash_file`], [`hash_folder`]: BLAKE3, hexadecimal.
//! - [`write_atomic`], [`AtomicFile`]: nothing half-written ever looks finished.
//! - [`Stream`]: named, counter-based random numbers, equal on every platform.
//!
//! The clock is read here for `times.json` only; no result depends on it. This crate knows nothing of models.

mod atomic;
mod error;
mod hash;
mod metrics;
mod random;
mod rows;
mod run;
mod store;
mod trace;

pub use atomic::{AtomicFile, write_atomic};
pub use error::Error;
pub use hash::{hash_bytes, hash_file, hash_folder, short_hash};
pub use random::Stream;
pub use rows::{AnswerRow, Artifact, Decision, Deletion, Derivation, DocumentRow};
pub use run::{Finished, Manifest, Run, Stage};
pub use store::Ledger;
pub use trace::{Step, Trace};
