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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::tests::blocks;
    use crate::quant::FORMATS;

    #[test]
    fn rows_are_those_of_the_table() {
        for entry in &FORMATS {
            let (rows, width) = (37, 2 * entry.block_len);
            let bytes = blocks(entry.format, rows, width, 9);
            let mut table = vec![0.0; rows * width];
            dequantize(entry.format, &bytes, &mut table).unwrap();
            let ids = [36, 0, 17, 17, 16];
            let expected: Vec<f32> =
                ids.iter().flat_map(|&id| &table[id as usize * width..][..width]).copied().collect();
            let packed = PackedWeight::pack(entry.format, &bytes, rows, width).unwrap();
            let mut out = vec![f32::NAN; expected.len()];
            embed(&packed, &ids, &mut out).unwrap();
            assert_eq!(out, expected, "{} packed", entry.name);
            out.fill(f32::NAN);
            embed_bytes(entry.format, &bytes, width, &ids, &mut out).unwrap();
            assert_eq!(out, expected, "{} as stored", entry.name);
        }
    }

    #[test]
    fn an_id_outside_the_table_is_an_error() {
        let table = PackedWeight::from_f32(&[1.0; 6], 3, 2).unwrap();
        let error = embed(&table, &[2, 3], &mut [0.0; 4]).unwrap_err();
        assert_eq!(error, Error::Token { id: 3, index: 1, rows: 3 });
        let bytes = bytemuck::cast_slice(&[1f32; 6]);
        assert_eq!(embed_bytes(Format::F32, bytes, 2, &[2, 3], &mut [0.0; 4]), Err(error));
    }
}
