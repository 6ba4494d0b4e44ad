//! APOLLO: how much AdamW would scale a gradient, learned from a random projection of it (Zhu et al. 2024,
//! arXiv:2412.05270, algorithm 1).

use model::Init;
use model::optimizer::{adamw, blend, project, square_sum};

use super::{OptimizerConfig, Update};

/// Steps between two projections.
const RENEWED: u64 = 200;
/// A step is at most this many times as long as the last one (the paper's norm-growth limiter).
const GROWTH: f64 = 1.01;
/// What the step of rank 1 is multiplied by: its estimate is that much too small (the paper's √128).
const MINI: f32 = 11.313_708;

pub(super) fn step(
    values: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    norm: &mut [f32],
    config: &OptimizerConfig,
    update: Update,
) {
    let Update { name, shape, rate, decay, scale, step } = update;
    let (rows, columns) = (shape[0], shape[1]);
    let (least, most) = (rows.min(columns), rows.max(columns));
    let rank = config.rank.min(least);
    // rank × least, of variance 1 / rank; the same draw for as long as it counts, so nothing of it is saved.
    let draw = Init::Normal(1.0 / (rank as f32).sqrt());
    let projection = draw.draw(step.div_ceil(RENEWED), name, rank * least);
    // rank × most: along the shorter side.
    let mut projected = project(&projection, rank, gradient, rows, columns);
    projected.iter_mut().for_each(|value| *value *= scale);
    // What AdamW would make of it: from zero, at rate 1, the parameter becomes minus the step.
    let mut adapted = vec![0.0; projected.len()];
    let alone = config.adamw(Update { rate: 1.0, decay: 0.0, scale: 1.0, ..update });
    adamw(&mut adapted, &projected, first, second, alone);
    let lengths = |matrix: &[f32]| -> Vec<f32> {
        let mut sums = vec![0f32; most];
        for row in matrix.chunks_exact(most) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * value);
        }
        sums
    };
    let ratio = |after: f32, before: f32| if before > 0.0 { (after / before).sqrt() } else { 0.0 };
    let scales: Vec<f32> = match config.rank {
        1 => {
            let all = ratio(square_sum(&adapted) as f32, square_sum(&projected) as f32);
            vec![all * MINI; most]
        }
        _ => lengths(&adapted).iter().zip(lengths(&projected)).map(|(a, b)| ratio(*a, b)).collect(),
    };
    let along = |row: usize, column: usize| if rows > columns { scales[row] } else { scales[column] };
    let mut step: Vec<f32> = Vec::with_capacity(values.len());
    for (row, gradient) in gradient.chunks_exact(columns).enumerate() {
        step.extend(gradient.iter().enumerate().map(|(column, g)| g * scale * along(row, column)));
    }
    let length = square_sum(&step).sqrt();
    let most = GROWTH * f64::from(norm[0]);
    let shrink = if norm[0] > 0.0 && length > most { most / length } else { 1.0 };
    norm[0] = (length * shrink) as f32;
    blend(values, 1.0 - rate * decay, &step, -rate * shrink as f32);
}
