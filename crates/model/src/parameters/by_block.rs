//! Backward with little memory: every block is run again, tracked, when its turn comes.
//!
//! Burn hands out all gradients at the end of `backward()`, and a graph over the whole model keeps every block's
//! activations until then. Here the blocks run untracked and keep their inputs only; from the last to the first
//! each is run again from its input `x`, and `sum(y · dy)` is propagated back, which gives `dx` and the gradients
//! of that block alone.

use burn::tensor::{Gradients, Tensor};
use ops::{Activation, Documents};

use super::{Parameters, Tracked, Value};
use crate::{Error, Packed, Transformer};

/// The loss of a model's hidden states.
type Loss<'l> = &'l mut dyn FnMut(&Transformer, Tensor<2>) -> Result<Tensor<1>, Error>;

/// What becomes of the gradient of the weight of that name.
type Take<'t> = &'t mut dyn FnMut(&str, Vec<f32>) -> Result<(), Error>;

/// What becomes of a weight: its name, its values, their gradient.
type Move<'m> = &'m mut dyn FnMut(&str, &mut [f32], &[f32]);

impl Parameters {
    /// The value of a loss of the hidden states of `packed`, and the gradient of every trained weight it depends
    /// on, handed to `each` once, from the head down to the embedding; of none if the loss is not finite. Equal to
    /// [`Parameters::track`] with [`Tracked::gradients`] but for rounding; every block's forward runs twice.
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
        let mut each = |name: &str, gradient: Vec<f32>| {
            each(name, gradient);
            Ok(())
        };
        Descent::new(self, activation)?.run(packed, loss, &mut each)
    }

    /// The same, while `each` may change the weight whose gradient it is handed: in place, for no view needs that
    /// weight any more, and no gradient that follows depends on it.
    ///
    /// # Errors
    /// As [`backward_by_block`](Self::backward_by_block).
    pub fn descend_by_block(
        &mut self,
        packed: &Packed,
        activation: Activation,
        loss: Loss<'_>,
        each: Move<'_>,
    ) -> Result<f32, Error> {
        let descent = Descent::new(self, activation)?;
        descent.run(packed, loss, &mut |name, gradient| {
            self.update(name, |values| each(name, values, &gradient))
        })
    }

    /// The lowest block with a trained weight; 0 if the embedding has one, the number of blocks if none has.
    fn lowest_trained(&self) -> usize {
        let block = |name: &str| match name.strip_prefix("blocks.") {
            Some(rest) => rest.split('.').next()?.parse().ok(),
            None => (name == "embed").then_some(0),
        };
        let blocks = self.trained.iter().filter_map(|trained| block(&trained.name));
        blocks.min().unwrap_or(self.config.layers.len())
    }
}

/// The views of one pass, which lets go of them part by part.
struct Descent {
    view: Transformer,
    tracked: Tracked,
    /// In the order of the leaves.
    names: Vec<String>,
    lowest: usize,
}

impl Descent {
    fn new(parameters: &Parameters, activation: Activation) -> Result<Self, Error> {
        // What is run again must be what was run: tracked operations never round to 8 bits.
        let activation = if activation == Activation::Int8 { Activation::F32 } else { activation };
        Ok(Self {
            view: parameters.freeze(activation)?,
            tracked: parameters.track(activation)?,
            names: parameters.trained.iter().map(|trained| trained.name.clone()).collect(),
            lowest: parameters.lowest_trained(),
        })
    }

    fn run(self, packed: &Packed, loss: Loss<'_>, each: Take<'_>) -> Result<f32, Error> {
        let Self { view, tracked: Tracked { transformer: mut model, mut leaves }, names, lowest } = self;
        view.check_packed(packed)?;
        let documents = Documents::new(packed.starts(), packed.len());
        let rotation = view.rotation(0, &documents);
        let blocks = view.config().layers.len();
        ops::pool::forward(|| {
            let mut inputs = Vec::with_capacity(blocks + 1);
            inputs.push(view.embedded(packed.tokens())?);
            for block in 0..blocks {
                inputs.push(view.block(block, inputs[block].clone(), &documents, rotation.as_ref())?);
            }
            drop(view);

            // The head and the final norm, which read what the last block returned.
            let last = leaf(inputs.pop());
            let value = loss(&model, model.normalized(last.clone()))?;
            let result = ops::values_of(value.clone())[0];
            if !value.is_tracked() || !result.is_finite() {
                return Ok(result);
            }
            let mut gradients = value.backward();
            let mut down = last.grad_remove(&mut gradients);
            drop(last);
            model.let_go_of_head();
            let found = take(&names, &mut leaves, &mut gradients, &|name| {
                !name.starts_with("blocks.") && name != "embed"
            });
            // The gradient of a tied embedding has its second part at the end.
            let embed = names.iter().position(|name| name == "embed");
            let mut sum = embed.and_then(|place| leaves[place].gradient(&mut gradients));
            drop(gradients);
            found.into_iter().try_for_each(|(name, gradient)| each(name, gradient))?;

            for block in (0..blocks).rev() {
                let (Some(dy), true) = (down.take(), block >= lowest) else { break };
                let x = leaf(inputs.pop());
                let y = model.block(block, x.clone(), &documents, rotation.as_ref())?;
                let mut gradients = (y * dy).sum().backward();
                down = x.grad_remove(&mut gradients);
                drop(x);
                model.let_go_of_last_block();
                let prefix = format!("blocks.{block}.");
                let found = take(&names, &mut leaves, &mut gradients, &|name| name.starts_with(&prefix));
                drop(gradients);
                found.into_iter().try_for_each(|(name, gradient)| each(name, gradient))?;
            }

            if let (Some(dx), Some(place)) = (down, embed) {
                let mut gradients = (model.embedded(packed.tokens())? * dx).sum().backward();
                if let Some(own) = leaves[place].gradient(&mut gradients) {
                    match &mut sum {
                        Some(sum) => ops::optimizer::blend(sum, 1.0, &own, 1.0),
                        None => sum = Some(own),
                    }
                }
            }
            drop((model, leaves));
            if let Some(gradient) = sum {
                each("embed", gradient)?;
            }
            Ok(result)
        })
    }
}

/// The gradients of the wanted leaves, which are let go of.
fn take<'n>(
    names: &'n [String],
    leaves: &mut [Value],
    gradients: &mut Gradients,
    wanted: &dyn Fn(&str) -> bool,
) -> Vec<(&'n str, Vec<f32>)> {
    let mut found = Vec::new();
    for (name, leaf) in names.iter().zip(leaves).filter(|(name, _)| wanted(name)) {
        let leaf = std::mem::replace(leaf, Value::new(Vec::new(), &[0]));
        found.extend(leaf.gradient(gradients).map(|gradient| (name.as_str(), gradient)));
    }
    found
}

/// The start of a graph of its own.
fn leaf(x: Option<Tensor<2>>) -> Tensor<2> {
    let x = x.expect("one input was kept for every block and one for the head");
    x.autodiff().require_grad()
}
