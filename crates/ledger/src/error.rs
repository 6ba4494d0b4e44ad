//! What can go wrong with a ledger or a run folder.

use std::path::PathBuf;

/// An error of this crate; the message says what was wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {action} `{path}`: {source}")]
    File {
        /// `read`, `write`, `rename`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The ledger's database failed.
    #[error("ledger `{path}`: {source}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The ledger was written by another version of the schema.
    #[error("ledger `{path}` has schema {found}, this program reads {expected}: use a new run folder")]
    Schema {
        /// The database file.
        path: PathBuf,
        /// Version in the file.
        found: i64,
        /// Version of this program.
        expected: i64,
    },
    /// A JSON file of a run folder is damaged.
    #[error("`{path}` is not valid: {source}; remove the folder or choose another --out")]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The folder belongs to a run with other settings.
    #[error(
        "`{path}` holds a run with other settings: {difference}; use the same settings to continue it, or choose another --out"
    )]
    OtherRun {
        /// The run folder.
        path: PathBuf,
        /// What differs: `seed was 1, is 2`.
        difference: String,
    },
    /// A finished stage was made from other inputs.
    #[error(
        "stage `{stage}` in `{path}` was finished from other inputs (fingerprint {found}, now {expected}); choose another --out, or delete the folder to start again"
    )]
    OtherInputs {
        /// The stage.
        stage: String,
        /// The run folder.
        path: PathBuf,
        /// Recorded fingerprint.
        found: String,
        /// Fingerprint of this start.
        expected: String,
    },
    /// A finished stage's files no longer hash to what was recorded.
    #[error(
        "stage `{stage}` in `{path}` was changed after it finished; delete `{path}/{stage}` to make it again, or choose another --out"
    )]
    Altered {
        /// The stage.
        stage: String,
        /// The run folder.
        path: PathBuf,
    },
    /// Another process works in the folder.
    #[error("`{0}` is in use by another process; wait for it or choose another --out")]
    Busy(PathBuf),
    /// The folder holds something that is not a run.
    #[error("`{0}` is not empty and holds no run.json; choose another --out")]
    NotARun(PathBuf),
    /// There is no run in the folder.
    #[error("`{0}` holds no run (no run.json); give the folder that `gewu run` printed")]
    NoRun(PathBuf),
}

impl Error {
    /// A `map_err` argument that names the action and the path.
    pub(crate) fn file<'a>(
        action: &'static str,
        path: &'a std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Error::File { action, path: path.to_owned(), source }
    }
}
