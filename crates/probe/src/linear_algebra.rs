//! Spectra of small matrices, in f64: eigenvalues of a symmetric matrix, singular values of a dense or low-rank one.

use burn::tensor::{Device, Tensor, TensorData};

use crate::Matrix;
use crate::matrix::norm;

/// The eigenvalues of a symmetric `n × n` matrix (row-major), greatest first: Householder's reduction to a
/// tridiagonal matrix, then bisection on Sturm sequences (Golub and Van Loan, "Matrix Computations", 8.3 and 8.4).
///
/// # Panics
/// If the matrix does not have `n · n` values: a fault of the program.
pub fn symmetric_eigenvalues(n: usize, mut a: Vec<f64>) -> Vec<f64> {
    assert_eq!(a.len(), n * n, "a symmetric matrix has n · n values");
    let (mut diagonal, mut off) = (vec![0.0; n], vec![0.0; n.saturating_sub(1)]);
    let (mut v, mut w) = (vec![0.0; n], vec![0.0; n]);
    for k in 0..n {
        diagonal[k] = a[k * n + k];
        if k + 1 == n {
            break;
        }
        // Reflect row k right of the diagonal onto its first entry.
        let row = &a[k * n + k + 1..(k + 1) * n];
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        let alpha = if row[0] > 0.0 { -length } else { length };
        off[k] = alpha;
        let rest = k + 1..n;
        let v = &mut v[rest.clone()];
        v.copy_from_slice(row);
        v[0] -= alpha;
        let size = v.iter().map(|x| x * x).sum::<f64>();
        if size <= f64::MIN_POSITIVE {
            continue;
        }
        // A ← (1 − β v vᵀ) A (1 − β v vᵀ), as A − v wᵀ − w vᵀ.
        let beta = 2.0 / size;
        let w = &mut w[rest.clone()];
        for (target, i) in w.iter_mut().zip(rest.clone()) {
            let row = &a[i * n + k + 1..(i + 1) * n];
            *target = beta * row.iter().zip(v.iter()).map(|(x, y)| x * y).sum::<f64>();
        }
        let half = beta / 2.0 * v.iter().zip(w.iter()).map(|(x, y)| x * y).sum::<f64>();
        w.iter_mut().zip(v.iter()).for_each(|(w, v)| *w -= half * v);
        for (index, i) in rest.enumerate() {
            let (vi, wi) = (v[index], w[index]);
            let row = &mut a[i * n + k + 1..(i + 1) * n];
            row.iter_mut().zip(v.iter().zip(w.iter())).for_each(|(x, (v, w))| *x -= vi * w + wi * v);
        }
    }
    tridiagonal_eigenvalues(&diagonal, &off)
}

fn tridiagonal_eigenvalues(diagonal: &[f64], off: &[f64]) -> Vec<f64> {
    let n = diagonal.len();
    let radius = |i: usize| {
        let before = if i > 0 { off[i - 1].abs() } else { 0.0 };
        before + off.get(i).copied().unwrap_or(0.0).abs()
    };
    // Gershgorin's circles hold every eigenvalue.
    let low = (0..n).map(|i| diagonal[i] - radius(i)).fold(f64::INFINITY, f64::min);
    let high = (0..n).map(|i| diagonal[i] + radius(i)).fold(f64::NEG_INFINITY, f64::max);
    let scale = low.abs().max(high.abs()).max(f64::MIN_POSITIVE);
    // How many eigenvalues lie below x: negative terms of the Sturm sequence.
    let below = |x: f64| {
        let (mut count, mut q) = (0, 1.0_f64);
        for i in 0..n {
            let square = if i > 0 { off[i - 1] * off[i - 1] } else { 0.0 };
            q = diagonal[i] - x - if i > 0 { square / q } else { 0.0 };
            if q.abs() < scale * 1e-300_f64.max(f64::MIN_POSITIVE) {
                q = -scale * f64::EPSILON * f64::EPSILON;
            }
            count += usize::from(q < 0.0);
        }
        count
    };
    let eigenvalue = |index: usize| {
        let (mut low, mut high) = (low, high);
        while high - low > scale * 1e-15 {
            let middle = low + (high - low) / 2.0;
            if middle <= low || middle >= high {
                break;
            }
            if below(middle) > index { high = middle } else { low = middle }
        }
        low + (high - low) / 2.0
    };
    (0..n).rev().map(eigenvalue).collect()
}

/// The singular values of a dense `rows × columns` matrix, greatest first, from the smaller Gram matrix: those
/// below about 1e-8 of the greatest are noise.
///
/// # Panics
/// If the number of values does not fit: a fault of the program.
pub fn singular_values(rows: usize, columns: usize, values: &[f32]) -> Vec<f64> {
    assert_eq!(values.len(), rows * columns, "a matrix has rows · columns values");
    let gram = if rows <= columns {
        let rows: Vec<&[f32]> = values.chunks_exact(columns.max(1)).collect();
        gram_of_rows(&rows)
    } else {
        let transposed: Vec<f32> =
            (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect();
        gram_of_rows(&transposed.chunks_exact(rows).collect::<Vec<_>>())
    };
    roots(symmetric_eigenvalues(rows.min(columns), gram))
}

/// The `count` greatest singular values of a dense `rows × columns` matrix, greatest first, by a randomized range
/// finder with one power iteration (Halko, Martinsson and Tropp 2011, arXiv:0909.4061): exact to f32 where the
/// spectrum falls off before `count`, as a low-rank change does. The random numbers are the same in every call.
/// A matrix with at most `2 · count` rows or columns takes the exact way.
///
/// # Panics
/// If the number of values does not fit: a fault of the program.
pub fn leading_singular_values(rows: usize, columns: usize, values: &[f32], count: usize) -> Vec<f64> {
    assert_eq!(values.len(), rows * columns, "a matrix has rows · columns values");
    if rows.min(columns) <= 2 * count {
        let mut all = singular_values(rows, columns, values);
        all.truncate(count);
        return all;
    }
    let tensor = |values: Vec<f32>, shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values, shape), &Device::flex())
    };
    let matrix = tensor(values.to_vec(), [rows, columns]);
    let mut draws = ledger::Stream::new(0, "probe.range");
    let sketch: Vec<f32> = (0..columns * count).map(|_| draws.uniform() as f32 - 0.5).collect();
    let sketched = matrix.clone().matmul(tensor(sketch, [columns, count]));
    let basis = orthonormal(Matrix::read(sketched.transpose()));
    let basis = tensor(basis, [count, rows]).matmul(matrix.clone());
    let basis = orthonormal(Matrix::read(basis.matmul(matrix.clone().transpose())));
    let projected = Matrix::read(tensor(basis, [count, rows]).matmul(matrix));
    let projected: Vec<&[f32]> = (0..count).map(|row| projected.row(row)).collect();
    roots(symmetric_eigenvalues(count, gram_of_rows(&projected)))
}

/// The rows made orthonormal (Gram and Schmidt, each against the others twice); rows that depend on those before
/// become zero.
fn orthonormal(mut rows: Matrix) -> Vec<f32> {
    for i in 0..rows.rows() {
        let before = norm(rows.row(i));
        let mut row = rows.row(i).to_vec();
        for _ in 0..2 {
            for j in 0..i {
                let part = lanes_dot(&row, rows.row(j)) as f32;
                row.iter_mut().zip(rows.row(j)).for_each(|(value, other)| *value -= part * other);
            }
        }
        let length = norm(&row);
        let scale = if length > 1e-6 * before { (1.0 / length) as f32 } else { 0.0 };
        rows.row_mut(i).iter_mut().zip(row).for_each(|(target, value)| *target = value * scale);
    }
    rows.values().to_vec()
}

/// The inner products of all pairs of rows, row-major.
fn gram_of_rows(rows: &[&[f32]]) -> Vec<f64> {
    let n = rows.len();
    let mut gram = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let value = lanes_dot(rows[i], rows[j]);
            (gram[i * n + j], gram[j * n + i]) = (value, value);
        }
    }
    gram
}

/// The inner product in f64, summed in eight lanes so that it vectorizes.
fn lanes_dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let (a8, b8) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a8.0.iter().zip(b8.0) {
        for lane in 0..8 {
            lanes[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest: f64 = a8.1.iter().zip(b8.1).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    lanes.iter().sum::<f64>() + rest
}

fn roots(eigenvalues: Vec<f64>) -> Vec<f64> {
    eigenvalues.into_iter().map(|value| value.max(0.0).sqrt()).collect()
}

/// The singular values of `scale · B A` with `A` `[rank, columns]` and `B` `[rows, rank]`, greatest first, at most
/// `rank` of them, without the product: the square roots of the eigenvalues of `(A Aᵀ)(Bᵀ B)`.
///
/// # Panics
/// If the numbers of values do not fit: a fault of the program.
pub fn low_rank_singular_values(rank: usize, a: &[f32], b: &[f32], scale: f32) -> Vec<f64> {
    assert!(rank > 0 && a.len().is_multiple_of(rank) && b.len().is_multiple_of(rank), "factors of one rank");
    let a_rows: Vec<&[f32]> = a.chunks_exact(a.len() / rank).collect();
    let rows = b.len() / rank;
    let b_columns: Vec<f32> = (0..rank).flat_map(|c| (0..rows).map(move |r| b[r * rank + c])).collect();
    let lower = cholesky(rank, gram_of_rows(&a_rows));
    let inner = gram_of_rows(&b_columns.chunks_exact(rows).collect::<Vec<_>>());
    // Lᵀ (Bᵀ B) L has the eigenvalues of (A Aᵀ)(Bᵀ B) and is symmetric.
    let mut half = vec![0.0; rank * rank];
    for i in 0..rank {
        for j in 0..rank {
            half[i * rank + j] = (j..rank).map(|k| inner[i * rank + k] * lower[k * rank + j]).sum();
        }
    }
    let mut product = vec![0.0; rank * rank];
    for i in 0..rank {
        for j in 0..=i {
            let value: f64 = (i..rank).map(|k| lower[k * rank + i] * half[k * rank + j]).sum();
            (product[i * rank + j], product[j * rank + i]) = (value, value);
        }
    }
    let values = roots(symmetric_eigenvalues(rank, product));
    values.into_iter().map(|value| value * f64::from(scale.abs())).collect()
}

/// The lower factor of a positive semi-definite matrix; a direction without length has a column of zeros.
fn cholesky(n: usize, a: Vec<f64>) -> Vec<f64> {
    let largest = (0..n).map(|i| a[i * n + i]).fold(0.0, f64::max);
    let mut lower = vec![0.0_f64; n * n];
    for j in 0..n {
        let pivot = a[j * n + j] - (0..j).map(|k| lower[j * n + k].powi(2)).sum::<f64>();
        if pivot <= largest * 1e-14 {
            continue;
        }
        let root = pivot.sqrt();
        lower[j * n + j] = root;
        for i in j + 1..n {
            let inner: f64 = (0..j).map(|k| lower[i * n + k] * lower[j * n + k]).sum();
            lower[i * n + j] = (a[i * n + j] - inner) / root;
        }
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: &[f64], wanted: &[f64], tolerance: f64) {
        let close = found.len() == wanted.len()
            && found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < tolerance);
        assert!(close, "{found:?}, wanted {wanted:?}");
    }

    fn noise(seed: u64, count: usize) -> Vec<f32> {
        let mut stream = ledger::Stream::new(seed, "noise");
        (0..count).map(|_| stream.uniform() as f32 - 0.5).collect()
    }

    #[test]
    fn eigenvalues_that_are_known() {
        near(&symmetric_eigenvalues(1, vec![3.0]), &[3.0], 1e-12);
        near(&symmetric_eigenvalues(2, vec![2.0, 1.0, 1.0, 2.0]), &[3.0, 1.0], 1e-12);
        near(
            &symmetric_eigenvalues(3, vec![4.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 9.0]),
            &[9.0, 4.0, 1.0],
            1e-12,
        );
        near(&symmetric_eigenvalues(3, vec![1.0; 9]), &[3.0, 0.0, 0.0], 1e-12);
        assert!(symmetric_eigenvalues(0, Vec::new()).is_empty());
        // The second difference matrix: 2 − 2 cos(k π / (n + 1)).
        let n = 40;
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            a[i * n + i] = 2.0;
            if i > 0 {
                (a[i * n + i - 1], a[(i - 1) * n + i]) = (-1.0, -1.0);
            }
        }
        let wanted: Vec<f64> = (1..=n)
            .rev()
            .map(|k| 2.0 - 2.0 * (k as f64 * std::f64::consts::PI / (n as f64 + 1.0)).cos())
            .collect();
        near(&symmetric_eigenvalues(n, a), &wanted, 1e-12);
    }

    #[test]
    fn invariants_of_a_matrix_of_noise() {
        let n = 25;
        let values = noise(1, n * n);
        let symmetric: Vec<f64> =
            (0..n * n).map(|i| f64::from(values[i]) + f64::from(values[i % n * n + i / n])).collect();
        let eigenvalues = symmetric_eigenvalues(n, symmetric.clone());
        let trace: f64 = (0..n).map(|i| symmetric[i * n + i]).sum();
        let squares: f64 = symmetric.iter().map(|v| v * v).sum();
        assert!((eigenvalues.iter().sum::<f64>() - trace).abs() < 1e-10);
        assert!((eigenvalues.iter().map(|v| v * v).sum::<f64>() - squares).abs() < 1e-10);
        assert!(eigenvalues.windows(2).all(|pair| pair[0] >= pair[1]));
    }

    #[test]
    fn a_planted_spectrum_comes_back_dense_and_low_rank() {
        // Rows of a Hadamard matrix are orthogonal, so the singular values are the planted ones.
        let sign = |i: usize, j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0_f32 } else { -1.0 };
        let (rank, rows, columns) = (4, 16, 8);
        let planted = [5.0_f32, 3.0, 1.0, 0.25];
        let a: Vec<f32> =
            (0..rank).flat_map(|k| (0..columns).map(move |c| sign(k, c) / (columns as f32).sqrt())).collect();
        let b: Vec<f32> = (0..rows)
            .flat_map(|r| (0..rank).map(move |k| planted[k] * sign(k + 3, r) / (rows as f32).sqrt()))
            .collect();
        let wanted: Vec<f64> = planted.iter().map(|v| f64::from(*v) * 2.0).collect();
        near(&low_rank_singular_values(rank, &a, &b, 2.0), &wanted, 1e-5);
        let dense: Vec<f32> = (0..rows * columns)
            .map(|i| (0..rank).map(|k| 2.0 * b[i / columns * rank + k] * a[k * columns + i % columns]).sum())
            .collect();
        let found = singular_values(rows, columns, &dense);
        near(&found[..4], &wanted, 1e-5);
        assert!(found.len() == 8 && found[4] < 1e-3);
        let transposed: Vec<f32> =
            (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|i| dense[i]).collect();
        near(&singular_values(columns, rows, &transposed), &found, 1e-5);
    }

    #[test]
    fn leading_values_agree_with_all_of_them() {
        // Rank 5 of noise over a floor a thousand times smaller, larger than twice the count in both directions.
        let (rank, rows, columns, count) = (5, 90, 70, 12);
        let (a, b, floor) = (noise(5, rank * columns), noise(6, rows * rank), noise(7, rows * columns));
        let planted = |floor_scale: f32| -> Vec<f32> {
            let product = |i: usize| -> f32 {
                (0..rank).map(|k| b[i / columns * rank + k] * a[k * columns + i % columns]).sum()
            };
            (0..rows * columns).map(|i| product(i) + floor_scale * floor[i]).collect()
        };
        for (scale, tolerance) in [(0.0, 1e-3), (1e-3, 3e-3)] {
            let values = planted(scale);
            let found = leading_singular_values(rows, columns, &values, count);
            let exact = singular_values(rows, columns, &values);
            near(&found[..rank], &exact[..rank], tolerance);
            assert!(found.len() == count && found[rank] < 0.03, "{found:?}");
            assert_eq!(found, leading_singular_values(rows, columns, &values, count));
        }
        let small = noise(8, 20 * 70);
        assert_eq!(leading_singular_values(20, 70, &small, 12), singular_values(20, 70, &small)[..12]);
        assert!(
            leading_singular_values(rows, columns, &vec![0.0; rows * columns], 12).iter().all(|v| *v == 0.0)
        );
    }

    #[test]
    fn a_low_rank_product_of_noise_agrees_with_the_dense_one() {
        let (rank, rows, columns) = (6, 30, 20);
        let (a, b) = (noise(2, rank * columns), noise(3, rows * rank));
        let dense: Vec<f32> = (0..rows * columns)
            .map(|i| (0..rank).map(|k| b[i / columns * rank + k] * a[k * columns + i % columns]).sum())
            .collect();
        near(
            &low_rank_singular_values(rank, &a, &b, 1.0),
            &singular_values(rows, columns, &dense)[..rank],
            1e-5,
        );
        // Without a change there is no spectrum.
        near(&low_rank_singular_values(2, &noise(4, 8), &[0.0; 6], 1.0), &[0.0, 0.0], 1e-12);
        near(&low_rank_singular_values(2, &[1.0, 0.0, 1.0, 0.0], &[1.0, 1.0], 1.0), &[2.0, 0.0], 1e-6);
    }
}
