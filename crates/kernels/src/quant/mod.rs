//! The block formats of GGUF: layout, names, dequantization, quantization. One table, [`FORMATS`],
//! registers them; the byte layouts follow ggml's block structures.

pub(crate) mod k;
pub(crate) mod legacy;

use crate::{Error, Result};

/// How the weights of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    BF16,
    /// 32 weights: f16 scale, signed bytes.
    Q8_0,
    /// 32 weights: f16 scale, 4-bit codes around 8.
    Q4_0,
    /// 32 weights: f16 scale and minimum, 4-bit codes.
    Q4_1,
    /// 32 weights: f16 scale, 5-bit codes around 16.
    Q5_0,
    /// 32 weights: f16 scale and minimum, 5-bit codes.
    Q5_1,
    /// 256 weights: eight 32-weight sub-blocks with 6-bit scales and minima, 4-bit codes.
    Q4K,
    /// 256 weights: as [`Format::Q4K`] with 5-bit codes.
    Q5K,
    /// 256 weights: sixteen 16-weight sub-blocks with 8-bit scales, 6-bit codes around 32.
    Q6K,
}

type Encode = fn(&[f32], &mut Vec<u8>);

/// One row of the table of formats.
pub struct Entry {
    /// The format.
    pub format: Format,
    /// Its GGUF name.
    pub name: &'static str,
    /// Its GGUF (ggml) tensor type id.
    pub id: u32,
    /// Weights in a block.
    pub block_len: usize,
    /// Bytes in a block.
    pub block_bytes: usize,
    decode: fn(&[u8], &mut [f32]),
    encode: Option<Encode>,
}

#[rustfmt::skip] // one line each: a table
/// All formats. `decode` and `encode` see whole blocks only.
pub static FORMATS: [Entry; 11] = [
    Entry {
        format: Format::F32,
        name: "F32",
        id: 0,
        block_len: 1,
        block_bytes: 4,
        decode: legacy::decode_f32,
        encode: Some(legacy::encode_f32),
    },
    Entry {
        format: Format::F16,
        name: "F16",
        id: 1,
        block_len: 1,
        block_bytes: 2,
        decode: legacy::decode_f16,
        encode: Some(legacy::encode_f16),
    },
    Entry {
        format: Format::BF16,
        name: "BF16",
        id: 30,
        block_len: 1,
        block_bytes: 2,
        decode: legacy::decode_bf16,
        encode: Some(legacy::encode_bf16),
    },
    Entry {
        format: Format::Q8_0,
        name: "Q8_0",
        id: 8,
        block_len: 32,
        block_bytes: 34,
        decode: legacy::decode_q8_0,
        encode: Some(legacy::encode_q8_0),
    },
    Entry {
        format: Format::Q4_0,
        name: "Q4_0",
        id: 2,
        block_len: 32,
        block_bytes: 18,
        decode: legacy::decode_q4_0,
        encode: Some(legacy::encode_q4_0),
    },
    Entry {
        format: Format::Q4_1,
        name: "Q4_1",
        id: 3,
        block_len: 32,
        block_bytes: 20,
        decode: legacy::decode_q4_1,
        encode: None,
    },
    Entry {
        format: Format::Q5_0,
        name: "Q5_0",
        id: 6,
        block_len: 32,
        block_bytes: 22,
        decode: legacy::decode_q5_0,
        encode: None,
    },
    Entry {
        format: Format::Q5_1,
        name: "Q5_1",
        id: 7,
        block_len: 32,
        block_bytes: 24,
        decode: legacy::decode_q5_1,
        encode: None,
    },
    Entry {
        format: Format::Q4K,
        name: "Q4_K",
        id: 12,
        block_len: 256,
        block_bytes: 144,
        decode: k::decode_q4_k,
        encode: None,
    },
    Entry {
        format: Format::Q5K,
        name: "Q5_K",
        id: 13,
        block_len: 256,
        block_bytes: 176,
        decode: k::decode_q5_k,
        encode: None,
    },
    Entry {
        format: Format::Q6K,
        name: "Q6_K",
        id: 14,
        block_len: 256,
        block_bytes: 210,
        decode: k::decode_q6_k,
        encode: None,
    },
];

impl Format {
    fn entry(self) -> &'static Entry {
        // The table is tiny and complete (a test checks it), so the first row is never a wrong answer.
        FORMATS.iter().find(|entry| entry.format == self).unwrap_or(&FORMATS[0])
    }

    /// The GGUF name, e.g. `Q4_K`.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The GGUF tensor type id.
    pub fn id(self) -> u32 {
        self.entry().id
    }

    /// Weights in a block (1 for the float formats).
    pub fn block_len(self) -> usize {
        self.entry().block_len
    }

    /// Bytes in a block.
    pub fn block_bytes(self) -> usize {
        self.entry().block_bytes
    }

    /// Whether [`quantize`] can write it.
    pub fn writable(self) -> bool {
        self.entry().encode.is_some()
    }

    /// The format with a GGUF tensor type id.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] for any other id.
    pub fn from_id(id: u32) -> Result<Format> {
        let entry = FORMATS.iter().find(|entry| entry.id == id);
        entry.map(|entry| entry.format).ok_or_else(|| unknown(id.to_string()))
    }

    /// The format with a GGUF name, in any letter case.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`] for any other name.
    pub fn from_name(name: &str) -> Result<Format> {
        let entry = FORMATS.iter().find(|entry| entry.name.eq_ignore_ascii_case(name));
        entry.map(|entry| entry.format).ok_or_else(|| unknown(name.to_string()))
    }

    /// Bytes of `rows` rows of `columns` weights.
    ///
    /// # Errors
    /// [`Error::Blocks`] when a row is not a whole number of blocks, [`Error::TooLarge`] when the
    /// size overflows.
    pub fn bytes_of(self, rows: usize, columns: usize) -> Result<usize> {
        let block = self.block_len();
        if !columns.is_multiple_of(block) {
            return Err(Error::Blocks { columns, format: self.name(), block });
        }
        (columns / block)
            .checked_mul(self.block_bytes())
            .and_then(|row| row.checked_mul(rows))
            .filter(|&bytes| bytes <= isize::MAX as usize)
            .ok_or(Error::TooLarge { rows, columns })
    }
}

fn unknown(id: String) -> Error {
    Error::UnknownFormat { id, known: FORMATS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ") }
}

/// Weights of `bytes` as f32; `out` has one element per weight.
///
/// # Errors
/// [`Error::Blocks`] or [`Error::Bytes`] when the lengths do not fit.
pub fn dequantize(format: Format, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    let expected = format.bytes_of(1, out.len())?;
    if bytes.len() != expected {
        return Err(Error::Bytes { what: format!("{} data", format.name()), got: bytes.len(), expected });
    }
    (format.entry().decode)(bytes, out);
    Ok(())
}

/// `weights` in `format`, with ggml's reference rounding. Rows need not be told apart: blocks never
/// cross a row of a valid shape.
///
/// # Errors
/// [`Error::ReadOnly`] for a format without a writer, [`Error::Blocks`] for a partial block.
pub fn quantize(format: Format, weights: &[f32]) -> Result<Vec<u8>> {
    let Some(encode) = format.entry().encode else {
        return Err(Error::ReadOnly { format: format.name() });
    };
    let mut bytes = Vec::with_capacity(format.bytes_of(1, weights.len())?);
    encode(weights, &mut bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
