//! Row gather from an embedding table, packed or as stored.

use crate::linear::PackedWeight;
use crate::quant::{Format, dequantize};
use crate::{Error, Result, expect_len};

/// Rows `ids` of `table` (vocabulary × width) into `out` (ids × width).
///
/// # Errors
/// [`Error::Token`] for an id outside the table; `out` is then partly written.
///
/// # Panics
/// When `out` is not ids × width.
pub fn embed(table: &PackedWeight, ids: &[u32], out: &mut [f32]) -> Result<()> {
    let (rows, width) = (table.rows(), table.columns());
    expect_len("embed output", out.len(), ids.len() * width);
    for (index, &id) in ids.iter().enumerate() {
        let row = checked(id, index, rows)?;
        table.row(row, &mut out[index * width..(index + 1) * width]);
    }
    Ok(())
}

/// As [`embed`], from the bytes of a table in `format` with rows of `width` weights.
///
/// # Errors
/// [`Error::Token`], or [`Error::Blocks`] when `width` is not whole blocks.
///
/// # Panics
/// When `out` is not ids × width.
pub fn embed_bytes(format: Format, table: &[u8], width: usize, ids: &[u32], out: &mut [f32]) -> Result<()> {
    expect_len("embed output", out.len(), ids.len() * width);
    let stride = format.bytes_of(1, width)?;
    let rows = table.len().checked_div(stride).unwrap_or(0);
    for (index, &id) in ids.iter().enumerate() {
        let row = checked(id, index, rows)?;
        let bytes = &table[row * stride..(row + 1) * stride];
        dequantize(format, bytes, &mut out[index * width..(index + 1) * width])?;
    }
    Ok(())
}

fn checked(id: u32, index: usize, rows: usize) -> Result<usize> {
    let row = id as usize;
    if row < rows { Ok(row) } else { Err(Error::Token { id, index, rows }) }
}
