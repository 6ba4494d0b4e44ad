//! Row gather from an embedding table, packed or as stored.

use crate::activation::PARALLEL;
use crate::linear::PackedWeight;
use crate::pool::{self, Outputs};
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

/// Adds row i of `dy` (ids × width) to row `ids[i]` of `dtable` (rows × width), in the order of the ids.
///
/// # Errors
/// [`Error::Token`] for an id outside the table; nothing is then written.
///
/// # Panics
/// When `dy` is not ids × width, or `dtable` not whole rows.
pub fn gradient(ids: &[u32], dy: &[f32], width: usize, dtable: &mut [f32]) -> Result<()> {
    expect_len("embed output gradient", dy.len(), ids.len() * width);
    let rows = dtable.len().checked_div(width).unwrap_or(0);
    expect_len("embed table gradient", dtable.len(), rows * width);
    for (index, &id) in ids.iter().enumerate() {
        checked(id, index, rows)?;
    }
    // Every part takes a stripe of columns, so that all sums keep the order of the ids.
    let parts = if dy.len() < PARALLEL { 1 } else { width.div_ceil(STRIPE) };
    let dtable = Outputs::new(dtable);
    pool::run(parts, &|part| {
        let columns = width * part / parts..width * (part + 1) / parts;
        for (&id, dy) in ids.iter().zip(dy.chunks_exact(width.max(1))) {
            // SAFETY: a stripe belongs to one part, which holds one range at a time.
            let row = unsafe { dtable.range(id as usize * width + columns.start, columns.len()) };
            row.iter_mut().zip(&dy[columns.clone()]).for_each(|(sum, dy)| *sum += dy);
        }
    });
    Ok(())
}

/// Columns of a part of [`gradient`].
const STRIPE: usize = 128;

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
    fn gradients_add_up_where_ids_repeat() {
        for (count, width, rows) in [(0, 3, 2), (5, 7, 4), (300, 200, 11)] {
            let ids: Vec<u32> = (0..count).map(|i| (i * 7 % rows) as u32).collect();
            let dy: Vec<f32> = (0..count * width).map(|i| (i as f32 * 0.3).sin()).collect();
            let (mut got, mut expected) = (vec![1.0f32; rows * width], vec![1.0f32; rows * width]);
            for (i, &id) in ids.iter().enumerate() {
                for column in 0..width {
                    expected[id as usize * width + column] += dy[i * width + column];
                }
            }
            gradient(&ids, &dy, width, &mut got).unwrap();
            assert_eq!(got, expected);
        }
        let mut table = [0.0; 4];
        assert!(gradient(&[0, 2], &[1.0; 4], 2, &mut table).is_err());
        assert_eq!(table, [0.0; 4]);
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
