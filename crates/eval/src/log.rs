//! The append-only log of answers: one JSON line each, written before the next item is asked.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tasks::Response;

use crate::Error;

/// One logged answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// BLAKE3 of item, prompt as sent, model and rules: an answer is reused only for exactly this question.
    pub(crate) key: String,
    /// The item's identity, for a reader.
    pub(crate) id: String,
    /// What the model answered.
    pub(crate) response: Response,
}

/// The log of a run, open for appending.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    answers: HashMap<String, Response>,
}

impl Log {
    /// Opens or creates the log. A last line without its newline is what a killed run leaves; it is cut off.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Log { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(fail)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail)?;
        let complete = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        if complete < bytes.len() {
            file.set_len(complete as u64).map_err(fail)?;
            file.seek(SeekFrom::End(0)).map_err(fail)?;
        }
        let mut answers = HashMap::new();
        for (index, line) in bytes[..complete].split(|&byte| byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let record: Record = serde_json::from_slice(line).map_err(|error| Error::DamagedLog {
                path: path.to_owned(),
                line: index + 1,
                reason: error.to_string(),
            })?;
            answers.insert(record.key, record.response);
        }
        Ok(Self { path: path.to_owned(), file, answers })
    }

    /// The answer logged under `key`.
    pub(crate) fn answer(&self, key: &str) -> Option<&Response> {
        self.answers.get(key)
    }

    /// Appends an answer in one write.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), Error> {
        let fail = |source| Error::Log { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(record).map_err(|error| fail(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(fail)?;
        self.answers.insert(record.key.clone(), record.response.clone());
        Ok(())
    }
}

/// The response as a log gives it back. Reading a printed number may change its last bit, which may decide a
/// tie; so every run, logged or not, fresh or continued, grades numbers that were printed and read once.
pub(crate) fn as_read(response: Response) -> Response {
    match response {
        Response::Text(text) => Response::Text(text),
        Response::LogLikelihoods(values) => Response::LogLikelihoods(
            values
                .into_iter()
                .map(|value| {
                    serde_json::from_str(&serde_json::json!(value).to_string()).unwrap_or(f64::NEG_INFINITY)
                })
                .collect(),
        ),
    }
}
