//! A learner on disk: files named by their content, and one small file that says which of them count.
//!
//! `learner.json` is replaced last and in one move, so whatever the moment of a crash it names complete files.
//! `learner.previous.json` is what it was before, with its files: if the newest state is damaged, that one counts.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::mem;
use std::path::Path;

use ledger::{AtomicFile, hash_bytes, hash_file, write_atomic};
use model::memory::Stored;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use super::{Learner, empty_memory};
use crate::Error;
use crate::optimizer::{Buffer, OptimizerConfig, State as OptimizerState};

const STATE: &str = "learner.json";
const PREVIOUS: &str = "learner.previous.json";
const FORMAT: u32 = 3;
const MEMORY: &str = "memory";
/// Hexadecimal digits of the hash in a file's name.
const SHORT: usize = 16;
/// Numbers written or read at a time.
const CHUNK: usize = 1 << 14;

/// What `learner.json` holds.
#[derive(Serialize, Deserialize)]
struct State {
    format: u32,
    steps: u64,
    applied: u64,
    optimizer: OptimizerConfig,
    /// Names and lengths of the parameters, in order.
    parameters: Vec<(String, usize)>,
    weights: Part,
    memory: Part,
    /// What the caller keeps beside the learner.
    #[serde(default)]
    extra: serde_json::Value,
}

/// What the optimizer remembers, and the averages of the weights.
type Memories = (Vec<OptimizerState>, Vec<Stored<f32>>);

/// The part of `learner.json` that every version has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Why a state cannot be taken up.
enum Damage {
    /// Its files are not what was written.
    Damaged(Error),
    /// It belongs to something else.
    Other(Error),
}

/// A file of the folder.
#[derive(Serialize, Deserialize)]
struct Part {
    file: String,
    blake3: String,
}

impl Learner {
    /// Writes everything needed to continue exactly, and `extra` beside it, into `folder` (made if absent). A
    /// crash at any moment leaves the state before or the state after.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&mut self, folder: &Path, extra: &serde_json::Value) -> Result<(), Error> {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        let weights = self.write_part(folder, "weights", &mut |path| Ok(self.parameters.save(path)?))?;
        let (mut states, mut averages) = (mem::take(&mut self.states), mem::take(&mut self.averages));
        let write = &mut |path: &Path| self.write_memory(path, &mut states, &mut averages);
        let memory = self.write_part(folder, MEMORY, write);
        (self.states, self.averages) = (states, averages);
        let memory = memory?;
        let state = State {
            format: FORMAT,
            steps: self.steps,
            applied: self.applied,
            optimizer: self.optimizer.clone(),
            parameters: self.layout(),
            weights,
            memory,
            extra: extra.clone(),
        };
        let path = folder.join(STATE);
        let json = sealed(&serde_json::to_string_pretty(&state).map_err(Error::state(&path))?);
        let mut keep = vec![state.weights.file, state.memory.file];
        // A damaged state is worth less than the one before it, which then stays.
        match self.verified_state(folder, STATE) {
            Ok(Some(last)) => {
                let bytes = fs::read(&path).map_err(Error::file("read", &path))?;
                write_atomic(folder.join(PREVIOUS), &bytes)?;
                keep.extend([last.weights.file, last.memory.file]);
            }
            Ok(None) | Err(_) => {
                let before = self.verified_state(folder, PREVIOUS).ok().flatten();
                keep.extend(before.into_iter().flat_map(|state| [state.weights.file, state.memory.file]));
            }
        }
        write_atomic(&path, json.as_bytes())?;
        remove_others(folder, &keep)
    }

    /// Continues from what [`save`](Self::save) wrote, and returns its `extra`; `None` if the folder holds no
    /// learner. If the newest state is damaged, the one before it is taken, and [`recovered`](Self::recovered) says so.
    ///
    /// # Errors
    /// Both states are damaged, or they belong to another model or optimizer; the learner is unchanged then.
    pub fn load(&mut self, folder: &Path) -> Result<Option<serde_json::Value>, Error> {
        let newest = self.read(folder, STATE);
        let (found, recovered) = match newest {
            Ok(None) => (None, None),
            Ok(found) => (found, None),
            Err(Damage::Other(error)) => return Err(error),
            Err(Damage::Damaged(reason)) => match self.read(folder, PREVIOUS) {
                Ok(Some(found)) => (Some(found), Some(reason.to_string())),
                _ => return Err(reason),
            },
        };
        let Some((state, (states, averages))) = found else { return Ok(None) };
        self.parameters.load(&folder.join(&state.weights.file))?;
        (self.states, self.averages) = (states, averages);
        (self.steps, self.applied) = (state.steps, state.applied);
        self.recovered = recovered;
        Ok(Some(state.extra))
    }

    /// A state whose files are what was recorded, with the optimizer's memory in it.
    fn read(&self, folder: &Path, name: &str) -> Result<Option<(State, Memories)>, Damage> {
        let Some(state) = self.verified_state(folder, name)? else { return Ok(None) };
        let memory = self.read_memory(&folder.join(&state.memory.file)).map_err(Damage::Damaged)?;
        Ok(Some((state, memory)))
    }

    /// A state whose files are what was recorded.
    fn verified_state(&self, folder: &Path, name: &str) -> Result<Option<State>, Damage> {
        let path = folder.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let damaged = |reason: &dyn std::fmt::Display| Damage::Damaged(Error::state(&path)(reason));
        let text = fs::read_to_string(&path).map_err(|error| damaged(&error))?;
        if !is_sealed(&text) {
            return Err(damaged(&"its content changed since it was written; remove the folder"));
        }
        let version: Version = serde_json::from_str(&text).map_err(|error| damaged(&error))?;
        if version.format != FORMAT {
            let advice = "it was written by another version; remove the folder";
            return Err(Damage::Other(Error::state(&path)(advice)));
        }
        let state: State = serde_json::from_str(&text).map_err(|error| damaged(&error))?;
        let differs = [
            (state.parameters != self.layout(), "it belongs to another model, or other weights are trained"),
            (state.optimizer != self.optimizer, "it was made with other optimizer settings"),
        ];
        if let Some((_, reason)) = differs.into_iter().find(|(differs, _)| *differs) {
            let advice = format!("{reason}; use the same settings or remove the folder");
            return Err(Damage::Other(Error::state(&path)(advice)));
        }
        for part in [&state.weights, &state.memory] {
            verified(folder, part).map_err(Damage::Damaged)?;
        }
        Ok(Some(state))
    }

    fn layout(&self) -> Vec<(String, usize)> {
        let trainable = self.parameters.trainable();
        trainable.map(|(name, shape)| (name.to_string(), shape.iter().product())).collect()
    }

    /// Writes a file under a temporary name and names it after its content.
    fn write_part(
        &self,
        folder: &Path,
        kind: &str,
        write: &mut dyn FnMut(&Path) -> Result<(), Error>,
    ) -> Result<Part, Error> {
        let temporary = folder.join(format!("{kind}.partial"));
        write(&temporary)?;
        let synced = File::open(&temporary).and_then(|file| file.sync_all());
        synced.map_err(Error::file("write", &temporary))?;
        let blake3 = hash_file(&temporary)?;
        let file = format!("{kind}-{}.safetensors", &blake3[..SHORT]);
        let path = folder.join(&file);
        fs::rename(&temporary, &path).map_err(Error::file("rename to", &path))?;
        Ok(Part { file, blake3 })
    }

    /// What the optimizer remembers, parameter by parameter, part by part, little-endian, as a safetensors file.
    fn write_memory(
        &self,
        path: &Path,
        states: &mut [OptimizerState],
        averages: &mut [Stored<f32>],
    ) -> Result<(), Error> {
        let mut header = serde_json::Map::new();
        let mut offset = 0;
        let parts = self.parts(states, averages);
        for (name, buffer) in &parts {
            let (dtype, length, width) = match buffer {
                Buffer::F32(values) => ("F32", values.len(), 4),
                Buffer::U8(values) => ("U8", values.len(), 1),
            };
            let end = offset + width * length;
            let entry =
                serde_json::json!({ "dtype": dtype, "shape": [length], "data_offsets": [offset, end] });
            header.insert(name.clone(), entry);
            offset = end;
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = AtomicFile::create(path)?;
        let mut write = |bytes: &[u8]| file.write_all(bytes).map_err(Error::file("write", path));
        write(&(header.len() as u64).to_le_bytes())?;
        write(&header)?;
        for (_, mut buffer) in parts {
            match &buffer {
                Buffer::F32(values) => {
                    for chunk in values.chunks(CHUNK) {
                        write(&chunk.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())?;
                    }
                }
                Buffer::U8(values) => write(values)?,
            }
            buffer.release();
        }
        Ok(file.commit()?)
    }

    /// What [`write_memory`](Self::write_memory) wrote, beside what the learner has, and where that lies.
    fn read_memory(&self, path: &Path) -> Result<Memories, Error> {
        let (mut states, mut averages) =
            empty_memory(self.folder.as_deref(), &self.parameters, &self.optimizer)?;
        let mut file = File::open(path).map_err(Error::file("read", path))?;
        let read =
            |file: &mut File, bytes: &mut [u8]| file.read_exact(bytes).map_err(Error::file("read", path));
        let mut length = [0; 8];
        read(&mut file, &mut length)?;
        let most = file.metadata().map_err(Error::file("read", path))?.len();
        let header = u64::from_le_bytes(length);
        if header > most {
            return Err(Error::state(path)("its header is longer than the file"));
        }
        let mut text = vec![0; header as usize];
        read(&mut file, &mut text)?;
        let metadata: safetensors::tensor::Metadata =
            serde_json::from_slice(&text).map_err(Error::state(path))?;
        let begin = 8 + header;
        let mut chunk = vec![0; 4 * CHUNK];
        for (name, mut buffer) in self.parts(&mut states, &mut averages) {
            let absent = || Error::state(path)(format!("it has no `{name}`"));
            let tensor = metadata.info(&name).ok_or_else(absent)?;
            let (dtype, bytes) = match &buffer {
                Buffer::F32(values) => (Dtype::F32, 4 * values.len()),
                Buffer::U8(values) => (Dtype::U8, values.len()),
            };
            let (start, end) = tensor.data_offsets;
            if tensor.dtype != dtype || end.checked_sub(start) != Some(bytes) {
                return Err(Error::state(path)(format!("`{name}` has another type or length")));
            }
            file.seek(SeekFrom::Start(begin + start as u64)).map_err(Error::file("read", path))?;
            match &mut buffer {
                Buffer::F32(values) => {
                    for values in values.chunks_mut(CHUNK) {
                        let bytes = &mut chunk[..4 * values.len()];
                        read(&mut file, bytes)?;
                        let numbers = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                        values.iter_mut().zip(numbers).for_each(|(value, number)| *value = number);
                    }
                }
                Buffer::U8(values) => read(&mut file, values)?,
            }
            buffer.release();
        }
        Ok((states, averages))
    }

    /// The named parts of the optimizer's memory and of the averages.
    fn parts<'a>(
        &self,
        states: &'a mut [OptimizerState],
        averages: &'a mut [Stored<f32>],
    ) -> Vec<(String, Buffer<'a>)> {
        let names: Vec<String> = self.layout().into_iter().map(|(name, _)| name).collect();
        let states = names.iter().zip(states).flat_map(|(name, state)| {
            state.buffers().into_iter().map(move |(part, buffer)| (format!("{name}.{part}"), buffer))
        });
        let averages = names
            .iter()
            .zip(averages)
            .map(|(name, average)| (format!("{name}.average"), Buffer::F32(average)));
        states.chain(averages).collect()
    }
}

/// What stands before the hash of the rest of a state, and after it.
const SEAL: [&str; 2] = ["{\n  \"blake3\": \"", "\","];

/// A JSON object with the hash of its text as a first field.
fn sealed(object: &str) -> String {
    let rest = object.strip_prefix('{').unwrap_or(object);
    format!("{}{}{}{rest}", SEAL[0], hash_bytes(rest), SEAL[1])
}

fn is_sealed(text: &str) -> bool {
    let parts = text.strip_prefix(SEAL[0]).and_then(|text| text.split_once(SEAL[1]));
    parts.is_some_and(|(hash, rest)| hash == hash_bytes(rest))
}

/// Whether the content of a part is what was recorded.
fn verified(folder: &Path, part: &Part) -> Result<(), Error> {
    let path = folder.join(&part.file);
    if hash_file(&path)? != part.blake3 {
        return Err(Error::state(&path)("its content changed since it was written; remove the folder"));
    }
    Ok(())
}

/// Removes the files of earlier states and of interrupted writes.
fn remove_others(folder: &Path, keep: &[String]) -> Result<(), Error> {
    let keep: BTreeSet<&str> = keep.iter().map(|name| name.as_str()).collect();
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let path = entry.map_err(Error::file("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ours = ["weights", MEMORY].iter().any(|kind| {
            name == format!("{kind}.partial")
                || (name.starts_with(&format!("{kind}-")) && name.ends_with(".safetensors"))
        });
        if ours && !keep.contains(name.as_str()) {
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
    }
    Ok(())
}
