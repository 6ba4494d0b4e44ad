//! A run folder: stages that finish or leave nothing, so that an interrupted run continues where it stopped.
//!
//! ```text
//! run.json        recipe, seed, versions, CPU level, finished stages with the hashes of their files
//! ledger.sqlite   lineage
//! metrics.jsonl   measured values of the finished stages, without times
//! times.json      seconds per stage: the only place the clock leaves a trace
//! <stage>/        files of a finished stage; `<stage>.partial/` while it works, `<stage>.checkpoint/` to continue it
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::atomic::sync_folder;
use crate::hash::files_below;
use crate::{Error, Ledger, hash_folder, metrics, write_atomic};

/// File of a stage's metrics, inside its folder.
const METRICS: &str = "metrics.jsonl";

/// Everything a run's results may depend on. A folder continues only a run with an equal manifest.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// Name of the recipe.
    pub recipe: String,
    /// Seed of every random stream.
    pub seed: u64,
    /// The resolved recipe.
    pub configuration: serde_json::Value,
    /// Versions, CPU level and the like.
    pub environment: BTreeMap<String, String>,
}

/// The record of a finished stage.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Finished {
    /// Name of the stage and of its folder.
    pub name: String,
    /// Hash of its inputs, as given by the caller.
    pub fingerprint: String,
    /// Hash of its files.
    pub hash: String,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Record {
    #[serde(flatten)]
    manifest: Manifest,
    stages: Vec<Finished>,
    finished: bool,
}

/// An open run folder. Only one process at a time may hold it.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    record: Record,
    ledger: Ledger,
    times: BTreeMap<String, f64>,
    _lock: File,
}

/// What a stage works with.
#[derive(Debug)]
pub struct Stage<'a> {
    /// Where it writes its files; renamed when it finishes.
    pub folder: &'a Path,
    /// The run's ledger; rows written here are replaced if the stage starts again.
    pub ledger: &'a mut Ledger,
    /// A folder that outlives an interrupted start of this stage, for long work that continues exactly where it
    /// stopped; whoever uses it creates it. It is removed when the stage finishes.
    pub checkpoint: &'a Path,
    name: &'a str,
    metrics: String,
}

impl Stage<'_> {
    /// Records a measured value. Never a time: times are kept apart from results.
    pub fn metric(&mut self, name: &str, value: f64) {
        self.metrics += &metrics::line(self.name, name, value);
    }
}

impl Run {
    /// Opens `folder` to start or continue the run that `manifest` describes.
    ///
    /// # Errors
    /// If the folder holds another run or something else, is in use, or cannot be written.
    pub fn open(folder: impl AsRef<Path>, manifest: &Manifest) -> Result<Self, Error> {
        let folder = folder.as_ref().to_owned();
        let path = folder.join("run.json");
        if !path.exists() && holds_anything(&folder)? {
            return Err(Error::NotARun(folder));
        }
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        let lock = lock(&folder)?;
        let record = if path.exists() {
            let record = read_record(&path)?;
            if let Some(difference) = difference(&record.manifest, manifest) {
                return Err(Error::OtherRun { path: folder, difference });
            }
            record
        } else {
            let record = Record { manifest: manifest.clone(), stages: Vec::new(), finished: false };
            write_json(&path, &record)?;
            record
        };
        Self::assemble(folder, record, lock)
    }

    /// Opens the run in `folder`, whatever its settings, to read it or to change it on request.
    ///
    /// # Errors
    /// If there is no run, or it is in use.
    pub fn reopen(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref().to_owned();
        let path = folder.join("run.json");
        if !path.exists() {
            return Err(Error::NoRun(folder));
        }
        let lock = lock(&folder)?;
        let record = read_record(&path)?;
        Self::assemble(folder, record, lock)
    }

    fn assemble(folder: PathBuf, record: Record, lock: File) -> Result<Self, Error> {
        remove_leftovers(&folder)?;
        let times = match fs::read(folder.join("times.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => BTreeMap::new(),
        };
        let ledger = Ledger::open(folder.join("ledger.sqlite"))?;
        Ok(Self { folder, record, ledger, times, _lock: lock })
    }

    /// Whether `folder` holds an unfinished run that `manifest` would continue.
    pub fn continues(folder: impl AsRef<Path>, manifest: &Manifest) -> bool {
        read_record(&folder.as_ref().join("run.json"))
            .is_ok_and(|record| !record.finished && difference(&record.manifest, manifest).is_none())
    }

    /// Does the work of a stage, or nothing if it already finished; returns the stage's folder.
    ///
    /// `fingerprint` is a hash of the inputs that the manifest does not hold (earlier stages count by themselves).
    /// `work` writes into [`Stage::folder`] only. Its files get their final name after they have reached the disk;
    /// if the process ends before, the next start does the whole stage again from the same inputs.
    ///
    /// # Errors
    /// Those of `work`; if the finished stage came from other inputs or was changed since; if the disk is full.
    pub fn stage<E: From<Error>>(
        &mut self,
        name: &str,
        fingerprint: &str,
        work: impl FnOnce(&mut Stage) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let folder = self.folder.join(name);
        if self.is_done(name, fingerprint)? {
            return Ok(folder);
        }
        self.forget_from(name)?;
        let partial = self.folder.join(format!("{name}.partial"));
        for leftover in [&partial, &folder] {
            if leftover.exists() {
                fs::remove_dir_all(leftover).map_err(Error::file("remove", leftover))?;
            }
        }
        fs::create_dir_all(&partial).map_err(Error::file("create", &partial))?;
        self.ledger.begin_stage(name)?;
        let start = Instant::now();
        let checkpoint = self.folder.join(format!("{name}.checkpoint"));
        let ledger = &mut self.ledger;
        let mut stage =
            Stage { folder: &partial, ledger, checkpoint: &checkpoint, name, metrics: String::new() };
        work(&mut stage)?;
        let metrics = stage.metrics;
        if !metrics.is_empty() {
            write_atomic(partial.join(METRICS), metrics.as_bytes())?;
        }
        sync_tree(&partial)?;
        let hash = hash_folder(&partial)?;
        fs::rename(&partial, &folder).map_err(Error::file("rename to", &folder))?;
        sync_folder(&self.folder)?;
        let finished = Finished { name: name.to_owned(), fingerprint: fingerprint.to_owned(), hash };
        self.record.stages.push(finished);
        self.write_metrics()?;
        self.times.insert(name.to_owned(), start.elapsed().as_secs_f64());
        write_json(&self.folder.join("times.json"), &self.times)?;
        self.save()?;
        if checkpoint.exists() {
            fs::remove_dir_all(&checkpoint).map_err(Error::file("remove", &checkpoint))?;
        }
        Ok(folder)
    }

    /// Marks the run as finished; the same command then starts a new one.
    ///
    /// # Errors
    /// If `run.json` cannot be written.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.record.finished = true;
        self.save()
    }

    /// Accepts changed files of a finished stage, after a deletion on request.
    ///
    /// # Errors
    /// If its files cannot be read or `run.json` cannot be written.
    pub fn reseal(&mut self, name: &str) -> Result<(), Error> {
        for stage in self.record.stages.iter_mut().filter(|stage| stage.name == name) {
            stage.hash = hash_folder(self.folder.join(name))?;
        }
        self.save()
    }

    /// Removes a stage with its ledger rows, and every stage after it; the same command then makes them again.
    ///
    /// # Errors
    /// If files cannot be removed or the records cannot be written.
    pub fn discard_from(&mut self, name: &str) -> Result<Vec<String>, Error> {
        let position = self.record.stages.iter().position(|stage| stage.name == name);
        let names: Vec<String> = position
            .map(|position| self.record.stages[position..].iter().map(|stage| stage.name.clone()).collect())
            .unwrap_or_default();
        self.forget_from(name)?;
        for name in &names {
            let folder = self.folder.join(name);
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
            }
        }
        self.write_metrics()?;
        Ok(names)
    }

    /// The run folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The ledger.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// What the run was started with.
    pub fn manifest(&self) -> &Manifest {
        &self.record.manifest
    }

    /// The finished stages, in order.
    pub fn stages(&self) -> &[Finished] {
        &self.record.stages
    }

    /// Seconds each stage took. Not part of any hashed result.
    pub fn times(&self) -> &BTreeMap<String, f64> {
        &self.times
    }

    fn is_done(&self, name: &str, fingerprint: &str) -> Result<bool, Error> {
        let folder = self.folder.join(name);
        let Some(stage) = self.record.stages.iter().find(|stage| stage.name == name) else {
            return Ok(false);
        };
        if !folder.is_dir() {
            return Ok(false);
        }
        if stage.fingerprint != fingerprint {
            return Err(Error::OtherInputs {
                stage: name.to_owned(),
                path: self.folder.clone(),
                found: stage.fingerprint.clone(),
                expected: fingerprint.to_owned(),
            });
        }
        if hash_folder(&folder)? != stage.hash {
            return Err(Error::Altered { stage: name.to_owned(), path: self.folder.clone() });
        }
        Ok(true)
    }

    /// A stage made again invalidates those after it.
    fn forget_from(&mut self, name: &str) -> Result<(), Error> {
        if let Some(position) = self.record.stages.iter().position(|stage| stage.name == name) {
            for stage in self.record.stages.drain(position..) {
                self.ledger.begin_stage(&stage.name)?;
            }
            self.ledger.leave_stage();
        }
        if self.record.finished {
            self.record.finished = false;
        }
        self.save()
    }

    fn write_metrics(&self) -> Result<(), Error> {
        let mut text = Vec::new();
        for stage in &self.record.stages {
            let path = self.folder.join(&stage.name).join(METRICS);
            if path.exists() {
                text.extend(fs::read(&path).map_err(Error::file("read", &path))?);
            }
        }
        write_atomic(self.folder.join(METRICS), &text)
    }

    fn save(&self) -> Result<(), Error> {
        write_json(&self.folder.join("run.json"), &self.record)
    }
}

/// Removes the hidden unfinished files that a killed process left beside their places.
fn remove_leftovers(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".partial") {
            let path = entry.path();
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
    }
    Ok(())
}

fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("run.lock");
    let lock = File::create(&path).map_err(Error::file("create", &path))?;
    lock.try_lock().map_err(|_| Error::Busy(folder.to_owned()))?;
    Ok(lock)
}

fn holds_anything(folder: &Path) -> Result<bool, Error> {
    match fs::read_dir(folder) {
        Ok(entries) => {
            // A start that was killed before run.json existed leaves only its lock or a hidden temporary file.
            Ok(entries.flatten().any(|entry| {
                let name = entry.file_name();
                name != "run.lock" && !name.to_string_lossy().starts_with(".run.json.")
            }))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file("read", folder)(error)),
    }
}

fn read_record(path: &Path) -> Result<Record, Error> {
    let bytes = fs::read(path).map_err(Error::file("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Json { path: path.to_owned(), source })
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|source| Error::Json { path: path.to_owned(), source })?;
    text.push('\n');
    write_atomic(path, text.as_bytes())
}

fn sync_tree(folder: &Path) -> Result<(), Error> {
    for path in files_below(folder)? {
        File::open(&path).and_then(|file| file.sync_all()).map_err(Error::file("sync", &path))?;
    }
    sync_folder(folder)
}

/// The first thing in which two manifests differ, in words.
fn difference(recorded: &Manifest, now: &Manifest) -> Option<String> {
    let recorded = serde_json::to_value(recorded).ok()?;
    let now = serde_json::to_value(now).ok()?;
    first_difference("", &recorded, &now)
}

fn first_difference(path: &str, recorded: &serde_json::Value, now: &serde_json::Value) -> Option<String> {
    if let (Some(a), Some(b)) = (recorded.as_object(), now.as_object()) {
        let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let null = serde_json::Value::Null;
        return keys.into_iter().find_map(|key| {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            first_difference(&inner, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null))
        });
    }
    (recorded != now).then(|| format!("`{path}` was {recorded}, is {now}"))
}

#[cfg(test)]
mod tests;
