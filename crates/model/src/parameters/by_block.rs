//! Backward with little memory: every block is run again, tracked, when its turn comes.
//!
//! Burn hands out all gradients at the end of `backward()`, and a graph over the whole model keeps every block's
//! activations until then. Here the blocks run untracked and keep their inputs only; from the last to the first
//! each is run again from its input `x`, and `sum(y · dy)` is propagated back, which gives `dx` and the gradients
//! of that block alone.

use burn::tensor::Tensor;
use ops::{Activation, Documents};

use super::{Parameters, Tracked};
use crate::{Error, Packed, Transformer};

/// The loss of a model's hidden states.
type Loss<'l> = &'l mut dyn FnMut(&Transformer, Tensor<2>) -> Result<Tensor<1>, Error>;

impl Parameters {
    /// The value of a loss of the hidden states of `packed`, and the gradient of every trained weight it depends
    /// on, handed to `each` once, from the head down to the embedding. Equal to [`Parameters::track`] with
    /// [`Tracked::gradients`] but for rounding; every block's forward runs twice.
    ///
    /// # Errors
    /// As [`Transformer::hidden`], and whatever `loss` returns.
    pub fn backward_by_block(
        &self,
        packed: &Packed,
        activation: Activation,
        loss: Loss<'_>,
        each: &mut dyn FnMut(&str, Vec<f32>),
    ) -> Result<f32, Error> {
        // What is run again must be what was run: tracked operations never round to 8 bits.
        let activation = if activation == Activation::Int8 { Activation::F32 } else { activation };
        let (view, tracked) = (self.freeze(activation)?, self.track(activation)?);
        view.check_packed(packed)?;
        let documents = Documents::new(packed.starts(), packed.len());
        let rotation = view.rotation(0, &documents);
        let blocks = self.config.layers.len();
        ops::pool::forward(|| {
            let mut inputs = Vec::with_capacity(blocks + 1);
            inputs.push(view.embedded(packed.tokens())?);
            for block in 0..blocks {
                inputs.push(view.block(block, inputs[block].clone(), &documents, rotation.as_ref())?);
            }

            // The head and the final norm, which read what the last block returned.
            let model = tracked.transformer();
            let last = leaf(inputs.pop());
            let value = loss(model, model.normalized(last.clone()))?;
            let result = ops::values_of(value.clone())[0];
            if !value.is_tracked() {
                return Ok(result);
            }
            let mut gradients = value.backward();
            let mut down = last.grad_remove(&mut gradients);
            // A tied embedding gets its second part at the end.
            let mut embed = None;
            self.collect_gradients(
                &tracked,
                &mut gradients,
                &|name| !name.starts_with("blocks."),
                &mut |name, g| {
                    if name == "embed" { embed = Some(g) } else { each(name, g) }
                },
            );

            for block in (0..blocks).rev() {
                let (Some(dy), true) = (down.take(), self.trains_below(block + 1)) else { break };
                let x = leaf(inputs.pop());
                let y = model.block(block, x.clone(), &documents, rotation.as_ref())?;
                let mut gradients = (y * dy).sum().backward();
                down = x.grad_remove(&mut gradients);
                let prefix = format!("blocks.{block}.");
                self.collect_gradients(&tracked, &mut gradients, &|name| name.starts_with(&prefix), each);
            }

            if let (Some(dx), true) = (down, self.places.contains_key("embed")) {
                let mut gradients = (model.embedded(packed.tokens())? * dx).sum().backward();
                self.collect_gradients(&tracked, &mut gradients, &|name| name == "embed", &mut |_, own| {
                    match &mut embed {
                        Some(sum) => ops::optimizer::blend(sum, 1.0, &own, 1.0),
                        None => embed = Some(own),
                    }
                });
            }
            if let Some(gradient) = embed {
                each("embed", gradient);
            }
            Ok(result)
        })
    }

    /// Whether the embedding or a block before `block` has a trained weight.
    fn trains_below(&self, block: usize) -> bool {
        self.trained.iter().any(|trained| match trained.name.strip_prefix("blocks.") {
            Some(rest) => {
                rest.split('.').next().and_then(|i| i.parse().ok()).is_some_and(|i: usize| i < block)
            }
            None => trained.name == "embed",
        })
    }

    fn collect_gradients(
        &self,
        tracked: &Tracked,
        gradients: &mut burn::tensor::Gradients,
        wanted: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(&str, Vec<f32>),
    ) {
        for (trained, leaf) in self.trained.iter().zip(&tracked.leaves) {
            if wanted(&trained.name)
                && let Some(gradient) = leaf.gradient(gradients)
            {
                each(&trained.name, gradient);
            }
        }
    }
}

/// The start of a graph of its own.
fn leaf(x: Option<Tensor<2>>) -> Tensor<2> {
    let x = x.expect("one input was kept for every block and one for the head");
    x.autodiff().require_grad()
}
