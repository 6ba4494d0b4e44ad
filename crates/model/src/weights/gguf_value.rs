//! Metadata values of a GGUF file and the bounded reader that decodes them.
//!
//! Nothing is allocated before the bytes it stands for are known to be in the file, so a corrupted count
//! costs an error, not memory.

use std::io::Read;

/// Type codes of metadata values, as stored in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 16-bit integer.
    U16,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned 32-bit integer.
    U32,
    /// Signed 32-bit integer.
    I32,
    /// 32-bit float.
    F32,
    /// One byte, 0 or 1.
    Bool,
    /// UTF-8 text after its length in bytes.
    String,
    /// Element type, count, elements.
    Array,
    /// Unsigned 64-bit integer.
    U64,
    /// Signed 64-bit integer.
    I64,
    /// 64-bit float.
    F64,
}

/// Every kind at the index that is its code in the file.
const KINDS: [Kind; 13] = [
    Kind::U8,
    Kind::I8,
    Kind::U16,
    Kind::I16,
    Kind::U32,
    Kind::I32,
    Kind::F32,
    Kind::Bool,
    Kind::String,
    Kind::Array,
    Kind::U64,
    Kind::I64,
    Kind::F64,
];

impl Kind {
    /// The code stored in the file.
    pub(crate) fn code(self) -> u32 {
        self as u32
    }

    fn from_code(code: u32) -> Option<Self> {
        KINDS.get(code as usize).copied()
    }

    /// Bytes of one number of this kind.
    pub(crate) fn bytes(self) -> usize {
        self.least_bytes() as usize
    }

    /// Bytes one value takes at least.
    fn least_bytes(self) -> u64 {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::String => 8,
            Kind::Array => 12,
        }
    }
}

/// One metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number or truth value: its kind and its little-endian bytes, unused ones 0.
    Number(Kind, [u8; 8]),
    /// A text.
    String(String),
    /// An array of numbers or truth values, as the little-endian bytes of the file.
    Numbers(Kind, Vec<u8>),
    /// An array of texts.
    Strings(Vec<String>),
    /// An array of arrays.
    Lists(Vec<Value>),
}

impl Value {
    /// A `u32` value.
    pub fn u32(value: u32) -> Self {
        Self::number(Kind::U32, &value.to_le_bytes())
    }

    /// An `f32` value.
    pub fn f32(value: f32) -> Self {
        Self::number(Kind::F32, &value.to_le_bytes())
    }

    /// A truth value.
    pub fn bool(value: bool) -> Self {
        Self::number(Kind::Bool, &[u8::from(value)])
    }

    /// An array of `i32`.
    pub fn i32s(values: &[i32]) -> Self {
        Self::Numbers(Kind::I32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn number(kind: Kind, bytes: &[u8]) -> Self {
        let mut all = [0; 8];
        for (to, from) in all.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self::Number(kind, all)
    }

    /// The value as an integer, if it is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Number(kind, bytes) => integer(*kind, bytes),
            _ => None,
        }
    }

    /// The value as a float, if it is a number.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Number(Kind::F32, bytes) => array(bytes).map(|b| f64::from(f32::from_le_bytes(b))),
            Self::Number(Kind::F64, bytes) => Some(f64::from_le_bytes(*bytes)),
            _ => self.as_integer().map(|value| value as f64),
        }
    }

    /// The value as a truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Number(Kind::Bool, bytes) => Some(bytes[0] != 0),
            _ => None,
        }
    }

    /// The value as a text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value as an array of texts, if it is one.
    pub fn as_strings(&self) -> Option<&[String]> {
        match self {
            Self::Strings(texts) => Some(texts),
            _ => None,
        }
    }

    /// The value as an array of integers, if it is one.
    pub fn as_integers(&self) -> Option<Vec<i64>> {
        match self {
            Self::Numbers(kind, bytes) => {
                bytes.chunks_exact(kind.bytes()).map(|bytes| integer(*kind, bytes)).collect()
            }
            _ => None,
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.get(..N)?.try_into().ok()
}

fn integer(kind: Kind, bytes: &[u8]) -> Option<i64> {
    match kind {
        Kind::U8 => bytes.first().map(|byte| i64::from(*byte)),
        Kind::I8 => array(bytes).map(|b| i64::from(i8::from_le_bytes(b))),
        Kind::U16 => array(bytes).map(|b| i64::from(u16::from_le_bytes(b))),
        Kind::I16 => array(bytes).map(|b| i64::from(i16::from_le_bytes(b))),
        Kind::U32 => array(bytes).map(|b| i64::from(u32::from_le_bytes(b))),
        Kind::I32 => array(bytes).map(|b| i64::from(i32::from_le_bytes(b))),
        Kind::U64 => array(bytes).and_then(|b| i64::try_from(u64::from_le_bytes(b)).ok()),
        Kind::I64 => array(bytes).map(i64::from_le_bytes),
        _ => None,
    }
}

/// A reader that knows how many bytes are left and where it is.
pub(crate) struct Bounded<R> {
    inner: R,
    /// Bytes read so far.
    pub(crate) position: u64,
    length: u64,
}

impl<R: Read> Bounded<R> {
    pub(crate) fn new(inner: R, length: u64) -> Self {
        Self { inner, position: 0, length }
    }

    /// Bytes between here and the end of the file.
    pub(crate) fn remaining(&self) -> u64 {
        self.length - self.position
    }

    fn bytes(&mut self, count: u64, what: &str) -> Result<Vec<u8>, String> {
        if count > self.remaining() {
            return Err(format!(
                "{what} at byte {} takes {count} bytes but the file ends after {} more (truncated or corrupted)",
                self.position,
                self.remaining()
            ));
        }
        let mut bytes = vec![0; count as usize];
        self.inner
            .read_exact(&mut bytes)
            .map_err(|error| format!("{what} at byte {}: {error}", self.position))?;
        self.position += count;
        Ok(bytes)
    }

    fn fixed<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let bytes = self.bytes(N as u64, what)?;
        bytes.try_into().map_err(|_| format!("{what} is short"))
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.fixed(what)?))
    }

    pub(crate) fn u64(&mut self, what: &str) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.fixed(what)?))
    }

    pub(crate) fn string(&mut self, what: &str) -> Result<String, String> {
        let length = self.u64(what)?;
        let start = self.position;
        let bytes = self.bytes(length, what)?;
        String::from_utf8(bytes).map_err(|_| format!("{what} at byte {start} is not valid UTF-8"))
    }

    /// A count of things of at least `least` bytes each.
    pub(crate) fn count(&mut self, least: u64, what: &str) -> Result<usize, String> {
        let at = self.position;
        let count = self.u64(what)?;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.remaining() => Ok(count as usize),
            _ => Err(format!(
                "{what} at byte {at} is {count}, more than the {} bytes after it can hold",
                self.remaining()
            )),
        }
    }

    fn kind(&mut self, what: &str) -> Result<Kind, String> {
        let at = self.position;
        let code = self.u32(what)?;
        Kind::from_code(code).ok_or_else(|| format!("{what} at byte {at} has unknown value type {code}"))
    }

    /// A value after its kind.
    pub(crate) fn value(&mut self, what: &str) -> Result<Value, String> {
        let kind = self.kind(what)?;
        match kind {
            Kind::String => Ok(Value::String(self.string(what)?)),
            Kind::Array => self.array(what, 0),
            _ => {
                let bytes = self.bytes(kind.least_bytes(), what)?;
                check_bools(kind, &bytes, what)?;
                Ok(Value::number(kind, &bytes))
            }
        }
    }

    fn array(&mut self, what: &str, depth: usize) -> Result<Value, String> {
        // Real files nest at most once; a limit keeps a hostile one from overflowing the stack.
        if depth > 4 {
            return Err(format!("{what} nests arrays more than 4 deep"));
        }
        let kind = self.kind(what)?;
        let count = self.count(kind.least_bytes(), what)?;
        match kind {
            Kind::String => {
                (0..count).map(|_| self.string(what)).collect::<Result<_, _>>().map(Value::Strings)
            }
            Kind::Array => {
                (0..count).map(|_| self.array(what, depth + 1)).collect::<Result<_, _>>().map(Value::Lists)
            }
            _ => {
                let bytes = self.bytes(count as u64 * kind.least_bytes(), what)?;
                check_bools(kind, &bytes, what)?;
                Ok(Value::Numbers(kind, bytes))
            }
        }
    }
}

fn check_bools(kind: Kind, bytes: &[u8], what: &str) -> Result<(), String> {
    match bytes.iter().find(|byte| kind == Kind::Bool && **byte > 1) {
        Some(byte) => Err(format!("{what} holds {byte} where a truth value (0 or 1) belongs")),
        None => Ok(()),
    }
}
