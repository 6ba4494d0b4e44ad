//! Every level's lanes against plain arithmetic.
use super::*;

/// e^x, or 2^x.
struct Exponentials {
    values: Vec<f32>,
    of_two: bool,
}
impl Kernel for Exponentials {
    type Output = Vec<f32>;
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) -> Vec<f32> {
        for chunk in self.values.chunks_exact_mut(LANES) {
            let x = simd.load(lanes(chunk, 0));
            simd.store(if self.of_two { simd.exp2(x) } else { simd.exp(x) }, lanes_mut(chunk, 0));
        }
        self.values
    }
}

#[test]
fn exp_is_accurate() {
    let mut inputs: Vec<f32> = (0..1600).map(|i| -87.2 + i as f32 * 0.109).collect();
    inputs.extend([f32::NEG_INFINITY, -200.0, -0.0, 0.0, 1e-30, 1.0, 88.2, -87.4]);
    inputs.extend([0.0; 8]);
    for level in Level::available() {
        assert!(
            dispatch(level, Exponentials { values: vec![f32::NAN; 16], of_two: false })
                .iter()
                .all(|v| v.is_nan()),
            "{level:?}"
        );
    }
    for level in Level::available() {
        let outputs = dispatch(level, Exponentials { values: inputs.clone(), of_two: false });
        for (&x, &y) in inputs.iter().zip(&outputs) {
            let exact = f64::from(x).exp();
            let error = (f64::from(y) - exact).abs() / exact.max(1.2e-38);
            assert!(
                if x < -87.3 { y == 0.0 } else { error < 1.6e-7 },
                "{level:?}: exp({x}) = {y}, off {error}"
            );
        }
    }
}

struct Across<'a>(&'a [f32]);
impl Kernel for Across<'_> {
    /// Sums, tops, transposition and codes of sixteen vectors.
    type Output = [Vec<f32>; 4];
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let mut rows = [simd.splat(0.0); LANES];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = simd.load(lanes(self.0, i * LANES));
        }
        let (mut turned, mut codes) = (vec![0.0; LANES * LANES], Vec::new());
        for (i, row) in simd.turn(rows).into_iter().enumerate() {
            simd.store(row, lanes_mut(&mut turned, i * LANES));
        }
        for &row in &rows {
            let mut bytes = [0i8; LANES];
            simd.store_codes(row, &mut bytes);
            codes.extend(bytes.map(f32::from));
        }
        [rows.map(|row| simd.sum(row)).to_vec(), rows.map(|row| simd.top(row)).to_vec(), turned, codes]
    }
}

#[test]
fn operations_across_lanes_agree() {
    // Halves, so that ties to even show; the sums are exact.
    let values: Vec<f32> = (0..256).map(|i| ((i * 37) % 101) as f32 * 0.5 - 25.0).collect();
    let rows = || values.chunks(LANES);
    let expected = [
        rows().map(|row| row.iter().sum()).collect(),
        rows().map(|row| row.iter().copied().fold(f32::MIN, f32::max)).collect(),
        (0..256).map(|i| values[i % LANES * LANES + i / LANES]).collect(),
        values.iter().map(|v| v.round_ties_even()).collect::<Vec<f32>>(),
    ];
    for level in Level::available() {
        assert_eq!(dispatch(level, Across(&values)), expected, "{level:?}");
    }
}

/// Rounding differs with the order of a sum, so equal bits mean one order.
#[test]
fn the_order_of_a_sum_is_the_same_at_every_level() {
    struct Sum<'a>(&'a [f32]);
    impl Kernel for Sum<'_> {
        type Output = u32;
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> u32 {
            simd.sum(simd.load(lanes(self.0, 0))).to_bits()
        }
    }
    for seed in 0..50 {
        let values: Vec<f32> = (0..LANES).map(|i| ((seed * 16 + i) as f32 * 1.7).sin() * 1e3).collect();
        let bits: Vec<u32> =
            Level::available().into_iter().map(|level| dispatch(level, Sum(&values))).collect();
        assert!(bits.iter().all(|b| *b == bits[0]), "{bits:?}");
    }
}

struct Bf16<'a>(&'a [f32]);
impl Kernel for Bf16<'_> {
    /// Even and odd values rounded, as they stand in pairs, and the products of pairs with (1, 2) added to 100.
    type Output = [Vec<f32>; 3];
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let (mut halves, mut dots) = ([[0.0; LANES]; 2], vec![0.0; LANES]);
        let even = simd.load(lanes(self.0, 0));
        let odd = simd.load(lanes(self.0, LANES));
        let factors = simd.pairs(simd.splat(1.0), simd.splat(2.0));
        let both = simd.pairs(even, odd);
        for (half, to) in simd.unpaired(both).into_iter().zip(&mut halves) {
            simd.store(half, to);
        }
        simd.store(simd.dot_pairs(both, factors, simd.splat(100.0)), lanes_mut(&mut dots, 0));
        let [even, odd] = halves.map(Vec::from);
        [even, odd, dots]
    }
}

#[test]
fn bf16_is_rounded_to_nearest_and_multiplied_in_pairs() {
    // Small integers over 2^k: sums are exact, so every level and the instruction give equal bits.
    let values: Vec<f32> = (0..32).map(|i| 1.0 + (i * 7 % 32) as f32 / 512.0).collect();
    let round = |v: f32| half::bf16::from_f32(v).to_f32();
    let expected: [Vec<f32>; 3] = [
        values[..16].iter().map(|&v| round(v)).collect(),
        values[16..].iter().map(|&v| round(v)).collect(),
        (0..16).map(|i| 100.0 + round(values[i]) + 2.0 * round(values[16 + i])).collect(),
    ];
    for level in Level::available() {
        assert_eq!(dispatch(level, Bf16(&values)), expected, "{level:?}");
        assert_eq!(dispatch_bf16(level, Bf16(&values)), expected, "{level:?}");
    }
    let special: Vec<f32> = [f32::INFINITY, f32::from_bits(0x7fff_ffff), f32::from_bits(0x7f80_0001), -0.0]
        .into_iter()
        .cycle()
        .take(32)
        .collect();
    for level in Level::available() {
        let [even, odd, dots] = dispatch_bf16(level, Bf16(&special));
        assert!(dots[0] == f32::INFINITY && dots[1].is_nan() && dots[2].is_nan(), "{level:?}");
        assert_eq!(dots[3], 100.0, "{level:?}");
        for rounded in [even, odd] {
            assert!(rounded[0] == f32::INFINITY && rounded[1].is_nan() && rounded[2].is_nan(), "{level:?}");
            assert!(rounded[3] == 0.0 && rounded[3].is_sign_negative(), "{level:?}");
        }
    }
}

#[test]
fn exp2_is_accurate() {
    let mut inputs: Vec<f32> = (0..1600).map(|i| -125.9 + i as f32 * 0.158).collect();
    inputs.extend([-1e30, -200.0, -0.0, 0.0, 1e-30, 1.0, 0.5, -0.5, 126.9]);
    inputs.extend([0.0; 7]);
    for level in Level::available() {
        let powers = |values: Vec<f32>| dispatch(level, Exponentials { values, of_two: true });
        assert!(powers(vec![f32::NAN; 16]).iter().all(|v| v.is_nan()), "{level:?}");
        for (&x, &y) in inputs.iter().zip(&powers(inputs.clone())) {
            let exact = f64::from(x).exp2();
            let error = (f64::from(y) - exact).abs() / exact.max(1.2e-38);
            assert!(
                if x < -149.0 { y == 0.0 } else { error < 2.5e-7 },
                "{level:?}: 2^{x} = {y}, off {error}"
            );
        }
    }
}
