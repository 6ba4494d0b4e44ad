//! Values and gradients of every case: kernels and composed bodies against Burn's operations and its own gradients,
//! and against central differences.

use burn::tensor::{Device, Tensor};
use ops::{reference, tensor_from, values_of};

use crate::cases::{Case, cases};
use crate::{close, device, random};

/// Kernel and twin sum in different orders; relative to the largest value of the twin.
const TOLERANCE: f32 = 2e-5;
/// Central differences of f32 functions with the step below.
const DIFFERENCE_TOLERANCE: f32 = 2e-2;
const STEP: f32 = 1e-2;

#[test]
fn kernels_are_their_twins() {
    for case in cases() {
        let twins = (case.twin)(&case.inputs);
        let inputs: Vec<_> = case.inputs.iter().map(|x| x.clone().to_device(&device())).collect();
        for (body, outputs) in
            [("kernel", (case.run)(&inputs)), ("composed", reference::only(|| (case.run)(&inputs)))]
        {
            assert_eq!(outputs.len(), twins.len(), "{}", case.name);
            for (output, twin) in outputs.into_iter().zip(&twins) {
                assert_eq!(output.dims(), twin.dims(), "{}", case.name);
                let what = format!("{}, {body}", case.name);
                close(&what, &values_of(output), &values_of(twin.clone()), TOLERANCE);
            }
        }
    }
}

/// A weighted sum of all outputs.
fn loss(outputs: Vec<Tensor<2>>) -> Tensor<1> {
    let sums = outputs.into_iter().enumerate().map(|(i, y)| {
        let weights = random(20 + i as u64, y.dims()).to_device(&y.device());
        (y * weights).sum()
    });
    sums.reduce(|a, b| a + b).unwrap()
}

/// The gradients of the inputs that `tracked` (one bit each) names.
fn gradients(
    case: &Case,
    run: &dyn Fn(&[Tensor<2>]) -> Vec<Tensor<2>>,
    tracked: usize,
    device: &Device,
) -> Vec<Option<Vec<f32>>> {
    let inputs = case.inputs.iter().map(|x| x.clone().to_device(device)).enumerate();
    let inputs: Vec<_> =
        inputs.map(|(i, x)| if tracked >> i & 1 == 1 { x.autodiff().require_grad() } else { x }).collect();
    let gradients = loss(run(&inputs)).backward();
    inputs.iter().map(|x| x.is_tracked().then(|| x.grad(&gradients)).flatten().map(values_of)).collect()
}

#[test]
fn gradients_are_their_twins() {
    for case in cases() {
        for tracked in 1..1 << case.inputs.len() {
            let twins = gradients(&case, &case.twin, tracked, &Device::flex());
            let composed = reference::only(|| gradients(&case, &case.run, tracked, &device()));
            for (body, got) in
                [("kernel", gradients(&case, &case.run, tracked, &device())), ("composed", composed)]
            {
                for (which, (got, twin)) in got.iter().zip(&twins).enumerate() {
                    let what = format!("{}, {body}, gradient {which} of {tracked:b}", case.name);
                    assert_eq!(got.is_some(), tracked >> which & 1 == 1, "{what}");
                    if let (Some(got), Some(twin)) = (got, twin) {
                        close(&what, got, twin, TOLERANCE);
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_are_differences() {
    for case in cases() {
        let size: usize = case.inputs.iter().map(|x| x.shape().num_elements()).sum();
        if size > 2500 {
            continue;
        }
        let all = gradients(&case, &case.run, (1 << case.inputs.len()) - 1, &device());
        for (which, gradient) in all.into_iter().enumerate() {
            let gradient = gradient.unwrap();
            let largest = gradient.iter().fold(1.0f32, |m, v| m.max(v.abs()));
            let values = values_of(case.inputs[which].clone());
            for at in (0..values.len()).step_by(values.len().div_ceil(5)) {
                let moved = |by: f32| {
                    let mut values = values.clone();
                    values[at] += by;
                    let mut inputs = case.inputs.clone();
                    inputs[which] = tensor_from(values, inputs[which].dims());
                    f64::from(values_of(loss((case.run)(&inputs)))[0])
                };
                let difference = ((moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP)) as f32;
                assert!(
                    (difference - gradient[at]).abs() <= DIFFERENCE_TOLERANCE * largest,
                    "{}, input {which}, element {at}: {} by backward, {difference} by difference",
                    case.name,
                    gradient[at]
                );
            }
        }
    }
}
