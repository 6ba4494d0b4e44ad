//! The arithmetic of the methods on one tensor.

use ledger::Stream;

use super::{Method, MethodInfo, Parameters};

/// Vectors shorter than this have no direction.
const NO_DIRECTION: f64 = 1e-8;
/// Vectors whose cosine is beyond this are interpolated along the chord: the arc's formula loses its digits.
const NEARLY_PARALLEL: f64 = 0.9995;
/// A sum of weights smaller than this does not normalize.
const NO_WEIGHT: f64 = 1e-8;

/// Merges one tensor. `inputs` are the models' values without a base, their differences from it with one; they are
/// thinned in place. `name` names the random stream.
pub(super) fn merge_tensor(
    info: &MethodInfo,
    parameters: &Parameters,
    name: &str,
    base: Option<&[f32]>,
    weights: &[f64],
    inputs: &mut [Vec<f32>],
) -> Vec<f32> {
    let Some(base) = base else {
        return combine(inputs, weights, parameters.normalize == Some(true), false);
    };
    let density = parameters.density.unwrap_or(1.0);
    let mut scale = parameters.lambda.unwrap_or(1.0);
    match info.method {
        Method::Slerp => {
            let t = parameters.t.unwrap_or(0.5);
            return inputs.first().map_or_else(Vec::new, |difference| slerp(t, base, difference));
        }
        Method::Ties => inputs.iter_mut().for_each(|input| trim(input, density)),
        Method::DareLinear | Method::DareTies => {
            for (index, input) in inputs.iter_mut().enumerate() {
                drop_at_random(input, density, parameters.seed.unwrap_or(0), index, name);
            }
            // The rescaling 1/density, which is the same for all, happens at the end in f64.
            scale /= density;
        }
        Method::Linear | Method::TaskArithmetic => {}
    }
    let elect = matches!(info.method, Method::Ties | Method::DareTies);
    let merged = mixed(inputs, weights, parameters.normalize == Some(true), elect);
    base.iter().zip(merged).map(|(base, change)| (f64::from(*base) + scale * change) as f32).collect()
}

fn combine(inputs: &[Vec<f32>], weights: &[f64], normalize: bool, elect: bool) -> Vec<f32> {
    mixed(inputs, weights, normalize, elect).map(|value| value as f32).collect()
}

/// The weighted sum, entry by entry; with `elect` only of those terms that have the sign of the sum of all terms
/// (positive if that is 0); with `normalize` divided by the weights of the terms that took part.
fn mixed<'i>(
    inputs: &'i [Vec<f32>],
    weights: &'i [f64],
    normalize: bool,
    elect: bool,
) -> impl Iterator<Item = f64> + 'i {
    let length = inputs.first().map_or(0, Vec::len);
    (0..length).map(move |at| {
        let terms = || {
            weights.iter().zip(inputs).map(move |(weight, input)| (*weight, weight * f64::from(input[at])))
        };
        let mut sum: f64 = terms().map(|(_, term)| term).sum();
        let mut weight: f64 = terms().map(|(weight, _)| weight).sum();
        if elect {
            let sign = if sum >= 0.0 { 1.0 } else { -1.0 };
            let agree = || terms().filter(move |(_, term)| term * sign > 0.0);
            weight = agree().map(|(weight, _)| weight).sum();
            sum = agree().map(|(_, term)| term).sum();
        }
        if normalize && weight.abs() >= NO_WEIGHT { sum / weight } else { sum }
    })
}

/// Keeps the `density · length` entries (at least one) of largest magnitude, the first of equal ones.
fn trim(values: &mut [f32], density: f64) {
    let keep = ((density * values.len() as f64) as usize).max(1);
    if keep >= values.len() {
        return;
    }
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    let place = |at: &u32| (-values[*at as usize].abs(), *at);
    order.select_nth_unstable_by(keep, |x, y| {
        let ((x, at), (y, other)) = (place(x), place(y));
        x.total_cmp(&y).then(at.cmp(&other))
    });
    for at in &order[keep..] {
        values[*at as usize] = 0.0;
    }
}

/// Sets every entry to 0 with probability `1 - density`. The caller rescales by `1 / density`, as the paper does;
/// mergekit instead restores each difference's L1 norm, which agrees on average.
fn drop_at_random(values: &mut [f32], density: f64, seed: u64, model: usize, name: &str) {
    let mut stream = Stream::new(seed, &format!("merge {model} {name}"));
    for value in values {
        if stream.uniform() >= density {
            *value = 0.0;
        }
    }
}

/// Spherical interpolation between `base` and `base + difference` as flat vectors: the directions give the angle, the
/// vectors keep their lengths.
fn slerp(t: f64, base: &[f32], difference: &[f32]) -> Vec<f32> {
    let pairs = || base.iter().zip(difference).map(|(x, d)| (f64::from(*x), f64::from(*x) + f64::from(*d)));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in pairs() {
        xx += x * x;
        yy += y * y;
        xy += x * y;
    }
    let length = |square: f64| if square.sqrt() > NO_DIRECTION { square.sqrt() } else { 1.0 };
    let cosine = (xy / (length(xx) * length(yy))).clamp(-1.0, 1.0);
    let (first, second) = if cosine.abs() > NEARLY_PARALLEL {
        (1.0 - t, t)
    } else {
        let angle = cosine.acos();
        (((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin())
    };
    pairs().map(|(x, y)| (first * x + second * y) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slerp_follows_the_arc_and_the_chord_when_parallel() {
        let half = std::f32::consts::FRAC_1_SQRT_2;
        let found = slerp(0.5, &[1.0, 0.0], &[-1.0, 1.0]);
        assert!(found.iter().all(|value| (value - half).abs() < 1e-6), "{found:?}");
        assert_eq!(slerp(0.25, &[1.0, 2.0], &[1.0, 2.0]), [1.25, 2.5]);
        // Nothing has no direction: it counts as at right angles to everything, as in mergekit.
        let found = slerp(0.5, &[0.0, 0.0], &[4.0, 2.0]);
        assert!((found[0] - 4.0 * half).abs() < 1e-6 && (found[1] - 2.0 * half).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn trimming_keeps_the_largest_and_the_first_of_equals() {
        let mut values = [0.5, -3.0, 1.0, -1.0, 2.0];
        trim(&mut values, 0.6);
        assert_eq!(values, [0.0, -3.0, 1.0, 0.0, 2.0]);
        let mut values = [0.5, -3.0];
        trim(&mut values, 0.01);
        assert_eq!(values, [0.0, -3.0]);
    }

    #[test]
    fn an_elected_sign_drops_what_disagrees() {
        // Terms: 2 + 1 - 4 elects minus; 3 - 1 elects plus; 1 - 1 ties and goes to plus.
        let inputs = [vec![2.0, 3.0, 1.0], vec![1.0, 0.0, 0.0], vec![-4.0, -1.0, -1.0]];
        let weights = [1.0, 1.0, 1.0];
        assert_eq!(combine(&inputs, &weights, true, true), [-4.0, 3.0, 1.0]);
        assert_eq!(combine(&inputs, &weights, false, false), [-1.0, 2.0, 0.0]);
        assert_eq!(combine(&inputs, &[1.0, 2.0, 1.0], true, false), [0.0, 0.5, 0.0]);
    }

    #[test]
    fn dropping_keeps_the_wanted_share_and_the_same_for_a_seed() {
        let full = vec![1.0f32; 20_000];
        let kept = |seed| {
            let mut values = full.clone();
            drop_at_random(&mut values, 0.3, seed, 0, "embed");
            values
        };
        assert_eq!(kept(1), kept(1));
        assert_ne!(kept(1), kept(2));
        let share = kept(1).iter().sum::<f32>() / 20_000.0;
        // Six standard deviations of a mean of 20 000 draws.
        assert!((share - 0.3).abs() < 0.0195, "{share}");
    }
}
