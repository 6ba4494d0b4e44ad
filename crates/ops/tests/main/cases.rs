//! Every operation over odd shapes, beside its composed twin.

use burn::tensor::{Device, Tensor};
use ops::{Activation, Documents, Format, Heads, RopeStyle, Rotation, Weight, reference};

use crate::{quantized, random};

type Run = Box<dyn Fn(&[Tensor<2>]) -> Vec<Tensor<2>>>;

/// An operation on matrices that its inputs alone determine.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) inputs: Vec<Tensor<2>>,
    pub(crate) run: Run,
    /// The same in Burn's operations.
    pub(crate) twin: Run,
}

fn case(
    name: String,
    inputs: Vec<Tensor<2>>,
    run: impl Fn(&[Tensor<2>]) -> Vec<Tensor<2>> + 'static,
    twin: impl Fn(&[Tensor<2>]) -> Vec<Tensor<2>> + 'static,
) -> Case {
    Case { name, inputs, run: Box::new(run), twin: Box::new(twin) }
}

fn flat(pattern: Tensor<3>) -> Tensor<2> {
    let [heads, tokens, positions] = pattern.dims();
    pattern.reshape([heads * tokens, positions])
}

fn vector(row: &Tensor<2>) -> Tensor<1> {
    row.clone().flatten(0, 1)
}

/// Every operation over odd shapes.
pub(crate) fn cases() -> Vec<Case> {
    // An element that a kernel leaves unwritten then shows.
    ops::memory::poison(true);
    let mut cases = rows();
    cases.extend(rope());
    cases.extend(attention());
    cases.extend(linear());
    cases.extend(vocabulary());
    cases.extend(recurrences());
    cases
}

fn rows() -> Vec<Case> {
    let mut cases = Vec::new();
    for (tokens, features) in [(1, 1), (1, 576), (3, 33), (70, 16), (2, 257)] {
        let shape = [tokens, features];
        let [a, b] = [1, 2].map(|seed| random(seed, shape));
        let weight = random(3, [1, features]);
        cases.push(case(
            format!("rms_norm {shape:?}"),
            vec![a.clone(), weight.clone()],
            |x| vec![ops::rms_norm(x[0].clone(), vector(&x[1]), 1e-5)],
            |x| vec![reference::rms_norm(x[0].clone(), vector(&x[1]), 1e-5)],
        ));
        cases.push(case(
            format!("add_rms_norm {shape:?}"),
            vec![a.clone(), b.clone(), weight],
            |x| {
                let (sum, normed) = ops::add_rms_norm(x[0].clone(), x[1].clone(), vector(&x[2]), 1e-5);
                vec![sum, normed]
            },
            |x| {
                let sum = x[0].clone() + x[1].clone();
                vec![sum.clone(), reference::rms_norm(sum, vector(&x[2]), 1e-5)]
            },
        ));
        cases.push(case(
            format!("swiglu {shape:?}"),
            vec![a.clone() * 3, b.clone()],
            |x| vec![ops::swiglu(x[0].clone(), x[1].clone())],
            |x| vec![reference::swiglu(x[0].clone(), x[1].clone())],
        ));
        cases.push(case(
            format!("add {shape:?}"),
            vec![a.clone(), b],
            |x| vec![ops::add(x[0].clone(), x[1].clone())],
            |x| vec![x[0].clone() + x[1].clone()],
        ));
        cases.push(case(
            format!("relu2 {shape:?}"),
            vec![a],
            |x| vec![ops::relu2(x[0].clone())],
            |x| vec![reference::relu2(x[0].clone())],
        ));
    }
    cases
}

fn rope() -> Vec<Case> {
    let mut cases = Vec::new();
    for style in [RopeStyle::HalfSplit, RopeStyle::Interleaved] {
        for (tokens, heads, head_dim, turned) in [(1, 1, 2, 2), (3, 2, 10, 6), (5, 3, 64, 64)] {
            // Two documents where there is room for them.
            let positions = (7..7 + tokens as u32).map(|p| if p > 8 { p - 9 } else { p });
            let rotation = Rotation::new(&ops::rope_frequencies(turned, 1e4), positions, style);
            let again = rotation.clone();
            cases.push(case(
                format!("rope {style:?} {heads} × {head_dim}"),
                vec![random(4, [tokens, heads * head_dim]), random(5, [tokens, head_dim])],
                move |x| {
                    let (a, b) = ops::rope_pair(x[0].clone(), x[1].clone(), head_dim, &rotation);
                    vec![ops::rope(x[0].clone(), head_dim, &rotation), a, b]
                },
                move |x| {
                    let rope = |x: &Tensor<2>| reference::rope(x.clone(), head_dim, &again);
                    vec![rope(&x[0]), rope(&x[0]), rope(&x[1])]
                },
            ));
        }
    }
    cases
}

fn attention() -> Vec<Case> {
    let mut cases = Vec::new();
    for (starts, tokens, queries, keys, features) in [
        (vec![0], 1, 1, 1, 1),
        (vec![0], 5, 3, 1, 7),
        (vec![0, 1, 20], 37, 9, 3, 16),
        (vec![0, 70], 73, 2, 2, 33),
    ] {
        let (heads, documents) = (Heads { queries, keys, features }, Documents::new(&starts, tokens));
        let name = |part: &str| format!("attention{part} {documents:?}, {heads:?}");
        let (q, k) = (random(5, [tokens, queries * features]), random(6, [tokens, keys * features]));
        let v = random(7, [tokens, keys * features]);
        let [a, b, c, d] = [(); 4].map(|()| documents.clone());
        cases.push(case(
            name(""),
            vec![q.clone(), k.clone(), v.clone()],
            move |x| {
                vec![ops::attention(
                    x[0].clone(),
                    x[1].clone(),
                    x[2].clone(),
                    heads,
                    &a,
                    ops::Activation::F32,
                )]
            },
            move |x| vec![reference::attention(x[0].clone(), x[1].clone(), x[2].clone(), heads, &b)],
        ));
        cases.push(case(
            name("_pattern"),
            vec![q, k],
            move |x| vec![flat(ops::attention_pattern(x[0].clone(), x[1].clone(), heads, &c))],
            move |x| vec![flat(reference::attention_pattern(x[0].clone(), x[1].clone(), heads, &d))],
        ));
        let pattern = move |x: &Tensor<2>| x.clone().reshape([queries, tokens, tokens]);
        cases.push(case(
            name("_mix"),
            vec![random(8, [queries * tokens, tokens]), v],
            move |x| vec![ops::attention_mix(pattern(&x[0]), x[1].clone(), heads)],
            move |x| vec![reference::attention_mix(pattern(&x[0]), x[1].clone(), heads)],
        ));
    }
    cases
}

fn linear() -> Vec<Case> {
    let mut cases = Vec::new();
    for (format, columns) in [(Format::F32, 33), (Format::F16, 40), (Format::Q8_0, 64), (Format::Q4_0, 96)] {
        for tokens in [1, 3, 17] {
            let [a, b] = [5, 18].map(|rows| quantized(format, 9, rows, columns));
            let [c, d, gate, up] = [a.clone(), b.clone(), b.clone(), quantized(format, 10, 18, columns)];
            let [gate_twin, up_twin] = [gate.clone(), up.clone()];
            let x = vec![random(10, [tokens, columns])];
            cases.push(case(
                format!("linear {format:?}, {tokens}"),
                x.clone(),
                move |x| {
                    let mut ys: Vec<_> = ops::linear_many(x[0].clone(), [&a, &b], Activation::F32).into();
                    ys.extend(ops::linear_many(x[0].clone(), [&b, &a, &b], Activation::F32));
                    ys.push(ops::linear(x[0].clone(), &a, Activation::F32));
                    ys
                },
                move |x| {
                    [&c, &d, &d, &c, &d, &c].map(|weight| reference::linear(x[0].clone(), weight)).into()
                },
            ));
            cases.push(case(
                format!("swiglu_linear {format:?}, {tokens}"),
                x,
                move |x| vec![ops::swiglu_linear(x[0].clone(), &gate, &up, Activation::F32)],
                move |x| {
                    let [gate, up] =
                        [&gate_twin, &up_twin].map(|weight| reference::linear(x[0].clone(), weight));
                    vec![reference::swiglu(gate, up)]
                },
            ));
        }
    }
    for (tokens, rows, columns, rank) in [(1, 1, 1, 1), (3, 5, 12, 2), (37, 40, 33, 8)] {
        let (x, w) = (random(11, [tokens, columns]), random(12, [rows, columns]));
        let (a, b) = (random(13, [rank, columns]), random(14, [rows, rank]));
        cases.push(case(
            format!("linear dense {tokens}, {rows} × {columns}"),
            vec![x.clone(), w.clone()],
            |x| vec![ops::linear(x[0].clone(), &Weight::dense(x[1].clone()), Activation::F32)],
            |x| vec![reference::linear(x[0].clone(), &Weight::dense(x[1].clone()))],
        ));
        let weight = |x: &[Tensor<2>]| {
            let low = |base| Weight::low_rank(base, x[x.len() - 2].clone(), x[x.len() - 1].clone(), 0.7);
            low(Weight::dense(x[1].clone()))
        };
        cases.push(case(
            format!("low_rank {tokens}, {rows} × {columns}, {rank}"),
            vec![x.clone(), w, a.clone(), b.clone()],
            move |x| vec![ops::linear(x[0].clone(), &weight(x), Activation::F32)],
            move |x| {
                let dense = weight(x).to_dense(&x[0].device());
                vec![x[0].clone().matmul(dense.transpose())]
            },
        ));
        let [base, base_twin] = [(); 2].map(|()| quantized(Format::F16, 15, rows, columns));
        let twice = |base: &Weight, x: &[Tensor<2>]| {
            let once = Weight::low_rank(base.clone(), x[1].clone(), x[2].clone(), 1.5);
            Weight::low_rank(once, x[1].clone(), x[2].clone(), -0.25)
        };
        cases.push(case(
            format!("low_rank packed {tokens}, {rows} × {columns}, {rank}"),
            vec![x, a, b],
            move |x| {
                let weight = twice(&base, x);
                let [y, z] = ops::linear_many(x[0].clone(), [&weight, &base], Activation::F32);
                vec![y, z, ops::swiglu_linear(x[0].clone(), &base, &weight, Activation::F32)]
            },
            move |x| {
                let weight = twice(&base_twin, x);
                let [y, z] = [&weight, &base_twin].map(|w| reference::linear(x[0].clone(), w));
                vec![y.clone(), z.clone(), reference::swiglu(z, y)]
            },
        ));
    }
    cases
}

fn vocabulary() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width) in [(6, 4), (300, 33)] {
        let tokens: Vec<u32> = (0..150).map(|i| (i * i) % rows as u32).collect();
        let [again, targets] = [(); 2].map(|()| tokens.clone());
        let table = random(13, [rows, width]);
        cases.push(case(
            format!("embed {rows} × {width}"),
            vec![table.clone()],
            move |x| vec![ops::embed(&Weight::dense(x[0].clone()), &tokens).unwrap()],
            move |x| vec![reference::embed(x[0].clone(), &again)],
        ));
        let (hidden, twin) = (random(16, [targets.len(), width]) * 3, targets.clone());
        let [packed_targets, packed_twin] = [(); 2].map(|()| targets.clone());
        cases.push(case(
            format!("cross_entropy dense {rows} × {width}"),
            vec![hidden.clone(), table],
            move |x| {
                let losses = ops::cross_entropy(x[0].clone(), &Weight::dense(x[1].clone()), &targets);
                vec![losses.unwrap().unsqueeze()]
            },
            move |x| vec![reference::cross_entropy(x[0].clone(), x[1].clone(), &twin).unsqueeze()],
        ));
        let [head, head_twin] = [(); 2].map(|()| quantized(Format::F16, 17, rows, width));
        let low = |head: &Weight, device: &Device| {
            let [a, b] = [random(21, [2, head.columns()]), random(22, [head.rows(), 2])];
            let (a, b) = (a.to_device(device), b.to_device(device));
            Weight::low_rank(head.clone(), a, b, 0.5)
        };
        cases.push(case(
            format!("cross_entropy packed {rows} × {width}"),
            vec![hidden],
            move |x| {
                let losses = |head: &Weight| {
                    ops::cross_entropy(x[0].clone(), head, &packed_targets).unwrap().unsqueeze()
                };
                vec![losses(&head), losses(&low(&head, &x[0].device()))]
            },
            move |x| {
                let device = x[0].device();
                let losses = |head: &Weight| {
                    reference::cross_entropy(x[0].clone(), head.to_dense(&device), &packed_twin).unsqueeze()
                };
                vec![losses(&head_twin), losses(&low(&head_twin, &device))]
            },
        ));
    }
    cases
}

/// q, k (rows of length 1), v, g ≤ 0 and β for `heads` heads.
pub(crate) fn delta_inputs(
    tokens: usize,
    heads: usize,
    keys: usize,
    values: usize,
    most: f32,
) -> Vec<Tensor<2>> {
    let unit = |x: Tensor<2>| {
        let rows = x.reshape([tokens * heads, keys]);
        let length = rows.clone().square().sum_dim(1).sqrt();
        (rows / length).reshape([tokens, heads * keys])
    };
    vec![
        unit(random(31, [tokens, heads * keys])),
        unit(random(32, [tokens, heads * keys])),
        random(33, [tokens, heads * values]),
        (random(34, [tokens, heads]) - 1.0) * 0.3,
        (random(35, [tokens, heads]) + 1.0) * (most / 2.0),
    ]
}

fn recurrences() -> Vec<Case> {
    let mut cases = Vec::new();
    for (starts, tokens, heads, keys, values, most) in [
        (vec![0], 1, 1, 1, 1, 1.0),
        (vec![0, 1, 34], 70, 2, 8, 5, 1.0),
        (vec![0, 32], 37, 3, 16, 16, 2.0),
        (vec![0], 97, 1, 33, 7, 2.0),
    ] {
        let [a, b] = [(); 2].map(|()| Documents::new(&starts, tokens));
        let inputs = |x: &[Tensor<2>]| [0, 1, 2, 3, 4].map(|i| x[i].clone());
        cases.push(case(
            format!("delta_rule {a:?}, {heads} × {keys} × {values}"),
            delta_inputs(tokens, heads, keys, values, most),
            move |x| {
                let [q, k, v, g, beta] = inputs(x);
                vec![ops::delta_rule(q, k, v, g, beta, heads, &a)]
            },
            move |x| vec![reference::delta_rule(inputs(x), heads, &b)],
        ));
        let [a, b] = [(); 2].map(|()| Documents::new(&starts, tokens));
        for taps in [1, 2, 4] {
            let (a, b) = (a.clone(), b.clone());
            let channels = heads * keys;
            cases.push(case(
                format!("short_conv {a:?}, {channels} channels, {taps} taps"),
                vec![random(41, [tokens, channels]), random(42, [channels, taps])],
                move |x| vec![ops::short_conv(x[0].clone(), x[1].clone(), &a)],
                move |x| vec![reference::short_conv(x[0].clone(), x[1].clone(), &b)],
            ));
        }
    }
    cases
}
