//! Every level's lanes against plain arithmetic.
use super::*;

struct Exponentials(Vec<f32>);
impl Kernel for Exponentials {
    type Output = Vec<f32>;
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) -> Vec<f32> {
        for chunk in self.0.chunks_exact_mut(LANES) {
            let value = simd.exp(simd.load(lanes(chunk, 0)));
            simd.store(value, lanes_mut(chunk, 0));
        }
        self.0
    }
}

#[test]
fn exp_is_accurate() {
    let mut inputs: Vec<f32> = (0..1600).map(|i| -87.2 + i as f32 * 0.109).collect();
    inputs.extend([f32::NEG_INFINITY, -200.0, -0.0, 0.0, 1e-30, 1.0, 88.2, -87.4]);
    inputs.extend([0.0; 8]);
    for level in Level::available() {
        let outputs = dispatch(level, Exponentials(inputs.clone()));
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

struct Sums<'a>(&'a [f32]);
impl Kernel for Sums<'_> {
    type Output = ([f32; LANES], Vec<f32>);
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let vectors = std::array::from_fn(|i| simd.load(lanes(self.0, i * LANES)));
        let mut out = [0.0; LANES];
        simd.store(simd.sums(vectors), &mut out);
        (out, vectors.iter().map(|&v| simd.sum(v)).collect())
    }
}

#[test]
fn lane_sums_agree() {
    let values: Vec<f32> = (0..256).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
    let expected: Vec<f32> = values.chunks(LANES).map(|row| row.iter().sum()).collect();
    for level in Level::available() {
        let (together, alone) = dispatch(level, Sums(&values));
        assert_eq!((&together[..], &alone), (&expected[..], &expected), "{level:?}");
    }
}
