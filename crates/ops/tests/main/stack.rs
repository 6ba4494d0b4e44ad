//! A small stack: every parameter's gradient through our nodes against the composed twins and Burn's own gradients,
//! and the bf16 path against f32.

use burn::tensor::{Gradients, Tensor};
use ops::{Activation, Documents, Format, Heads, RopeStyle, Rotation, Weight, reference, values_of};

use crate::{close, device, noise, random};

const HEADS: Heads = Heads { queries: 4, keys: 2, features: 8 };
const WIDTH: usize = 32;
const HIDDEN: usize = 64;
const VOCABULARY: usize = 70;

/// Of one block: norms and the seven matrices, each with the low-rank pair of the frozen matrix under it.
struct Block {
    norms: [Tensor<1>; 2],
    matrices: Vec<Tensor<2>>,
    pairs: Vec<[Tensor<2>; 2]>,
    frozen: Vec<Weight>,
}

struct Stack {
    embed: Tensor<2>,
    blocks: Vec<Block>,
    norm: Tensor<1>,
    low_rank: bool,
}

fn leaf<const D: usize>(seed: u64, shape: [usize; D], scale: f32, shift: f32) -> Tensor<D> {
    (random(seed, shape).to_device(&device()) * scale + shift).autodiff().require_grad()
}

/// Scaled like the trained matrices: larger ones saturate the softmax, and rounding decides the gradients.
fn frozen(seed: u64, rows: usize, columns: usize) -> Weight {
    let values: Vec<f32> = noise(seed, rows * columns).iter().map(|value| 0.3 * value).collect();
    let bytes = ops::quant::quantize(Format::Q8_0, &values).unwrap();
    Weight::from_bytes(Format::Q8_0, rows, columns, &bytes).unwrap()
}

impl Stack {
    fn new(low_rank: bool) -> Self {
        let narrow = HEADS.keys * HEADS.features;
        let shapes = [
            [WIDTH, WIDTH],
            [narrow, WIDTH],
            [narrow, WIDTH],
            [WIDTH, WIDTH],
            [HIDDEN, WIDTH],
            [HIDDEN, WIDTH],
            [WIDTH, HIDDEN],
        ];
        let block = |block: u64| {
            let seed = |i: usize| 100 * block + i as u64;
            let shapes = shapes.iter().enumerate();
            Block {
                norms: [50, 51].map(|i| leaf(seed(i), [WIDTH], 0.3, 1.0)),
                matrices: shapes.clone().map(|(i, &shape)| leaf(seed(i), shape, 0.3, 0.0)).collect(),
                pairs: shapes
                    .clone()
                    .map(|(i, &[rows, columns])| {
                        [leaf(seed(60 + i), [3, columns], 0.3, 0.0), leaf(seed(70 + i), [rows, 3], 0.3, 0.0)]
                    })
                    .collect(),
                frozen: shapes.map(|(i, &[r, c])| frozen(seed(80 + i), r, c)).collect(),
            }
        };
        Self {
            embed: leaf(1, [VOCABULARY, WIDTH], 1.0, 0.0),
            blocks: (1..3).map(block).collect(),
            norm: leaf(2, [WIDTH], 0.3, 1.0),
            low_rank,
        }
    }

    fn weight(&self, block: &Block, i: usize) -> Weight {
        match self.low_rank {
            true => {
                let [a, b] = block.pairs[i].clone();
                Weight::low_rank(block.frozen[i].clone(), a, b, 0.5)
            }
            false => Weight::dense(block.matrices[i].clone()),
        }
    }

    /// Every trained tensor.
    fn gradients(&self, gradients: &Gradients) -> Vec<Vec<f32>> {
        let mut all = vec![self.norm.grad(gradients).map(values_of)];
        if !self.low_rank {
            all.push(self.embed.grad(gradients).map(values_of));
        }
        for block in &self.blocks {
            all.extend(block.norms.iter().map(|x| x.grad(gradients).map(values_of)));
            match self.low_rank {
                true => all.extend(block.pairs.iter().flatten().map(|x| x.grad(gradients).map(values_of))),
                false => all.extend(block.matrices.iter().map(|x| x.grad(gradients).map(values_of))),
            }
        }
        all.into_iter().map(|gradient| gradient.expect("a gradient reaches every tensor")).collect()
    }

    fn head(&self) -> Tensor<2> {
        if self.low_rank { self.embed.clone().inner() } else { self.embed.clone() }
    }
}

fn data() -> (Vec<u32>, Vec<u32>, Documents, Rotation) {
    ops::memory::poison(true);
    let documents = Documents::new(&[0, 5, 31], 40);
    let tokens: Vec<u32> = (0..40).map(|i| (i * 7 + i * i) % VOCABULARY as u32).collect();
    let targets = tokens.iter().map(|token| (token * 3 + 1) % VOCABULARY as u32).collect();
    let frequencies = ops::rope_frequencies(HEADS.features, 1e4);
    let rotation = Rotation::new(&frequencies, documents.positions(), RopeStyle::HalfSplit);
    (tokens, targets, documents, rotation)
}

/// The mean loss through the operations, as a model calls them.
fn ours(stack: &Stack, activation: Activation) -> Tensor<1> {
    let (tokens, targets, documents, rotation) = data();
    let mut x = ops::embed(&Weight::dense(stack.head()), &tokens).unwrap();
    for block in &stack.blocks {
        let w: Vec<Weight> = (0..7).map(|i| stack.weight(block, i)).collect();
        let n = ops::rms_norm(x.clone(), block.norms[0].clone(), 1e-5);
        let [q, k, v] = ops::linear_many(n, [&w[0], &w[1], &w[2]], activation);
        let (q, k) = ops::rope_pair(q, k, HEADS.features, &rotation);
        let mixed = ops::linear(ops::attention(q, k, v, HEADS, &documents, activation), &w[3], activation);
        let (sum, n) = ops::add_rms_norm(x, mixed, block.norms[1].clone(), 1e-5);
        let hidden = ops::swiglu_linear(n, &w[4], &w[5], activation);
        x = ops::add(sum, ops::linear(hidden, &w[6], activation));
    }
    let x = ops::rms_norm(x, stack.norm.clone(), 1e-5);
    ops::cross_entropy_with(x, &Weight::dense(stack.head()), &targets, activation).unwrap().mean()
}

/// The same in Burn's operations alone.
fn twin(stack: &Stack) -> Tensor<1> {
    let (tokens, targets, documents, rotation) = data();
    let mut x = reference::embed(stack.head(), &tokens);
    for block in &stack.blocks {
        let linear = |x: &Tensor<2>, i: usize| reference::linear(x.clone(), &stack.weight(block, i));
        let n = reference::rms_norm(x.clone(), block.norms[0].clone(), 1e-5);
        let [q, k] = [0, 1].map(|i| reference::rope(linear(&n, i), HEADS.features, &rotation));
        x = x + linear(&reference::attention(q, k, linear(&n, 2), HEADS, &documents), 3);
        let n = reference::rms_norm(x.clone(), block.norms[1].clone(), 1e-5);
        x = x + linear(&reference::swiglu(linear(&n, 4), linear(&n, 5)), 6);
    }
    let x = reference::rms_norm(x, stack.norm.clone(), 1e-5);
    reference::cross_entropy(x, stack.head(), &targets).mean()
}

/// |a − b| / |b|.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b))) / norm(&mut b.iter().map(|&b| f64::from(b)))
}

#[test]
fn gradients_of_a_stack_are_those_of_the_twins() {
    for low_rank in [false, true] {
        let stack = Stack::new(low_rank);
        let loss = twin(&stack);
        let twins = stack.gradients(&loss.clone().backward());
        let run = || {
            let loss = ours(&stack, Activation::F32);
            (values_of(loss.clone()), stack.gradients(&loss.backward()))
        };
        for (body, (value, gradients)) in [("kernels", run()), ("composed", reference::only(run))] {
            close(body, &value, &values_of(loss.clone()), 1e-6);
            for (i, (got, twin)) in gradients.iter().zip(&twins).enumerate() {
                let away = distance(got, twin);
                assert!(away < 2e-5, "{body}, low rank {low_rank}, tensor {i}: off by {away:.1e}");
            }
        }
    }
}

#[test]
fn bf16_is_near_f32_and_int8_is_f32() {
    for low_rank in [false, true] {
        let stack = Stack::new(low_rank);
        let gradients = |activation| stack.gradients(&ours(&stack, activation).backward());
        let exact = gradients(Activation::F32);
        let mut differ = false;
        for (i, (rounded, exact)) in gradients(Activation::Bf16).iter().zip(&exact).enumerate() {
            let away = distance(rounded, exact);
            assert!(away < 0.03, "low rank {low_rank}, tensor {i}: off by {away:.1e}");
            differ |= away > 0.0;
        }
        assert!(differ, "bf16 rounded nothing");
        assert!(gradients(Activation::Int8) == exact, "tracked operations never round to 8 bits");
    }
}
