//! Parameters with an optimizer: one step, a snapshot to go back to, a folder to continue from.

#[cfg(test)]
mod architectures;
mod by_block;
mod folder;
mod memory;

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use model::memory::Stored;
use model::optimizer::{blend, global_norm};
use model::{Activation, Parameters, Transformer, pool, timing};

use crate::Error;
use crate::optimizer::{OptimizerConfig, State, Update};
use memory::Memory;

/// A model that learns: its parameters, the memory of the optimizer and the counters of steps.
pub struct Learner {
    parameters: Parameters,
    optimizer: OptimizerConfig,
    activation: Activation,
    /// In the order of [`Parameters::trainable`].
    states: Vec<State>,
    /// Averages of the weights, if they are kept; in the same order.
    averages: Vec<Stored<f32>>,
    /// Where they lie, if not in memory.
    folder: Option<PathBuf>,
    steps: u64,
    applied: u64,
    /// A step with a larger gradient norm is left out.
    norm_limit: f64,
    /// Why the state before the newest was taken up.
    recovered: Option<String>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepReport {
    /// Number of this step, from 1; skipped ones count.
    pub step: u64,
    /// Mean of the losses of the micro-batches.
    pub loss: f32,
    /// Global norm of the averaged gradients, before clipping.
    pub gradient_norm: f32,
    /// The loss or the norm was not finite, or the norm too large ([`Learner::skip_above`]): nothing was changed.
    pub skipped: bool,
}

/// A copy of everything that changes, in memory.
#[derive(Clone, Debug)]
pub struct Snapshot {
    values: Vec<Vec<f32>>,
    states: Vec<State>,
    averages: Vec<Stored<f32>>,
    steps: u64,
    applied: u64,
}

impl Learner {
    /// A learner before its first step; its linear operations run in f32.
    pub fn new(parameters: Parameters, optimizer: &OptimizerConfig) -> Self {
        Self::with_memory_in(None, parameters, optimizer).expect("memory on the heap asks no disk")
    }

    /// The same, while what the optimizer remembers (state and averages of the weights) lies in files without names in
    /// `folder`, mapped into memory: one parameter's share is there at a time, the rest is the disk's. The results are
    /// the same, to the bit.
    ///
    /// # Errors
    /// The folder takes no files, or not so many bytes.
    pub fn new_in(parameters: Parameters, optimizer: &OptimizerConfig, folder: &Path) -> Result<Self, Error> {
        Self::with_memory_in(Some(folder), parameters, optimizer)
    }

    fn with_memory_in(
        folder: Option<&Path>,
        parameters: Parameters,
        optimizer: &OptimizerConfig,
    ) -> Result<Self, Error> {
        let (states, mut averages) = empty_memory(folder, &parameters, optimizer)?;
        for ((name, _), average) in parameters.trainable().zip(&mut averages) {
            average.copy_from_slice(&parameters.values(name).unwrap_or_default());
            average.release();
        }
        // A bound of infinity is none; written down, the two would differ.
        let clip_norm = optimizer.clip_norm.filter(|norm| norm.is_finite());
        let optimizer = OptimizerConfig { clip_norm, ..optimizer.clone() };
        let (activation, recovered) = (Activation::F32, None);
        Ok(Self {
            parameters,
            optimizer,
            activation,
            states,
            averages,
            folder: folder.map(Path::to_path_buf),
            steps: 0,
            applied: 0,
            norm_limit: f64::INFINITY,
            recovered,
        })
    }

    /// How the linear operations of the following steps treat their input: f32, or the faster bf16.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The parameters, and an end of learning.
    pub fn into_parameters(self) -> Parameters {
        self.parameters
    }

    /// How the linear operations treat their input.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The settings of the optimizer.
    pub fn optimizer(&self) -> &OptimizerConfig {
        &self.optimizer
    }

    /// From now on a step whose gradient norm is above `limit` changes nothing but the count of steps.
    pub fn skip_above(&mut self, limit: f64) {
        self.norm_limit = limit;
    }

    /// Steps so far, skipped ones included.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Other weights of the same model, as [`Parameters::save`] wrote them; the optimizer's memory stays.
    ///
    /// # Errors
    /// The file is of another model; nothing is changed then.
    pub fn load_weights(&mut self, path: &Path) -> Result<(), Error> {
        Ok(self.parameters.load(path)?)
    }

    /// The weights become their moving averages, if the optimizer keeps them; otherwise nothing happens.
    ///
    /// # Errors
    /// None in practice: the averages are of these weights.
    pub fn take_averages(&mut self) -> Result<(), Error> {
        let names: Vec<String> = self.parameters.trainable().map(|(name, _)| name.to_string()).collect();
        for (name, average) in names.iter().zip(&self.averages) {
            self.parameters.update(name, |values| values.copy_from_slice(average))?;
        }
        Ok(())
    }

    /// What was wrong with the newest saved state, if the one before it had to be taken up.
    pub fn recovered(&self) -> Option<&str> {
        self.recovered.as_deref()
    }

    /// One optimizer step at learning rate `rate`. `loss(transformer, micro)` returns the loss `[1]` of each of
    /// `micro_batches`; the gradients are averaged, and scaled down if their global norm exceeds the clipping
    /// norm. A loss or norm that is not finite changes nothing but the count of steps.
    ///
    /// # Errors
    /// Settings that make no step, and the errors of `loss`; nothing is changed then.
    pub fn step(
        &mut self,
        rate: f32,
        micro_batches: usize,
        loss: &mut dyn FnMut(&Transformer, usize) -> Result<Tensor<1>, Error>,
    ) -> Result<StepReport, Error> {
        self.check(rate, micro_batches)?;
        let (sums, total) = self.gradients(micro_batches, loss)?;
        self.take(rate, micro_batches, &sums, total)
    }

    /// What gradients of that norm are multiplied by.
    fn clipping(&self, norm: f64) -> f64 {
        let clip = self.optimizer.clip_norm.map_or(f64::INFINITY, f64::from);
        if norm > clip { clip / norm } else { 1.0 }
    }

    fn check(&self, rate: f32, micro_batches: usize) -> Result<(), Error> {
        self.optimizer.validate()?;
        let mut groups = self.optimizer.groups.iter();
        if let Some(group) =
            groups.find(|group| !self.parameters.trainable().any(|(name, _)| name.contains(&group.name)))
        {
            return Err(Error::Request(format!(
                "optimizer: no trained parameter's name contains `{}`, the name of a group",
                group.name
            )));
        }
        if micro_batches == 0 || !(rate.is_finite() && rate >= 0.0) {
            return Err(Error::Request(format!(
                "a step needs at least one micro-batch and a rate of at least 0: got {micro_batches}, {rate}"
            )));
        }
        Ok(())
    }

    /// Moves the parameters along the averaged gradients.
    fn take(
        &mut self,
        rate: f32,
        micro_batches: usize,
        sums: &[Option<Vec<f32>>],
        total: f64,
    ) -> Result<StepReport, Error> {
        let share = 1.0 / micro_batches as f64;
        let timer = timing::of("gradient norm");
        let norm = pool::forward(|| global_norm(sums.iter().flatten().map(Vec::as_slice))) * share;
        drop(timer);
        let loss = (total * share) as f32;
        self.steps += 1;
        let skipped = !(loss.is_finite() && norm.is_finite() && norm <= self.norm_limit);
        if !skipped {
            self.applied += 1;
            let scale = (self.clipping(norm) * share) as f32;
            pool::forward(|| self.apply(sums, rate, scale))?;
        }
        Ok(StepReport { step: self.steps, loss, gradient_norm: norm as f32, skipped })
    }

    /// The summed gradients and losses of the micro-batches.
    #[allow(clippy::type_complexity)]
    fn gradients(
        &self,
        micro_batches: usize,
        loss: &mut dyn FnMut(&Transformer, usize) -> Result<Tensor<1>, Error>,
    ) -> Result<(Vec<Option<Vec<f32>>>, f64), Error> {
        let timer = timing::of("view of the parameters");
        let tracked = self.parameters.track(self.activation)?;
        drop(timer);
        let mut sums: Vec<Option<Vec<f32>>> = Vec::new();
        let mut total = 0.0;
        for micro in 0..micro_batches {
            let timer = timing::of("all forward");
            let loss = loss(tracked.transformer(), micro)?;
            total += f64::from(value_of(&loss)?);
            drop(timer);
            let timer = timing::of("all backward");
            let gradients = tracked.gradients(loss);
            drop(timer);
            if micro == 0 {
                sums = gradients;
                continue;
            }
            sums.iter_mut().zip(gradients).for_each(|(sum, gradient)| add(sum, gradient));
        }
        Ok((sums, total))
    }

    /// Moves every parameter that has a gradient.
    fn apply(&mut self, gradients: &[Option<Vec<f32>>], rate: f32, scale: f32) -> Result<(), Error> {
        let _timer = timing::of("optimizer");
        let trainable: Vec<(String, Vec<usize>)> =
            self.parameters.trainable().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect();
        let step = self.applied;
        let (parameters, mut memory) = self.memory();
        for (place, ((name, shape), gradient)) in trainable.iter().zip(gradients).enumerate() {
            let Some(gradient) = gradient else { continue };
            memory.fetch(place + 1);
            let how = Update { name, shape, rate, decay: 0.0, scale, step };
            parameters.update(name, |values| memory.step(place, values, gradient, how))?;
        }
        Ok(())
    }

    /// The parameters, and what the optimizer remembers of them.
    fn memory(&mut self) -> (&mut Parameters, Memory<'_>) {
        let Self { parameters, optimizer, states, averages, folder, .. } = self;
        (parameters, Memory { optimizer, states, averages, mapped: folder.is_some() })
    }

    /// A copy in memory to go back to with [`restore`](Self::restore).
    pub fn snapshot(&self) -> Snapshot {
        let names = self.parameters.trainable();
        let values = names.map(|(name, _)| self.parameters.values(name).unwrap_or_default()).collect();
        Snapshot {
            values,
            states: self.states.clone(),
            averages: self.averages.clone(),
            steps: self.steps,
            applied: self.applied,
        }
    }

    /// Goes back to a snapshot of this learner.
    ///
    /// # Errors
    /// The snapshot is of another model; nothing is changed then.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let shapes: Vec<(String, usize)> = self
            .parameters
            .trainable()
            .map(|(name, shape)| (name.to_string(), shape.iter().product()))
            .collect();
        let fits = shapes.len() == snapshot.values.len()
            && shapes.iter().zip(&snapshot.values).all(|((_, length), values)| *length == values.len());
        if !fits {
            return Err(Error::Request("the snapshot was taken of another model".into()));
        }
        for ((name, _), values) in shapes.iter().zip(&snapshot.values) {
            self.parameters.update(name, |current| current.copy_from_slice(values))?;
        }
        self.states.iter_mut().zip(&snapshot.states).for_each(|(state, saved)| state.copy_from(saved));
        self.averages.iter_mut().zip(&snapshot.averages).for_each(|(now, saved)| now.copy_from_slice(saved));
        (self.steps, self.applied) = (snapshot.steps, snapshot.applied);
        Ok(())
    }
}

/// Zeros for what the optimizer remembers and for the averages of the weights, if it keeps them; on the heap or in files.
fn empty_memory(
    folder: Option<&Path>,
    parameters: &Parameters,
    optimizer: &OptimizerConfig,
) -> Result<(Vec<State>, Vec<Stored<f32>>), Error> {
    let states = parameters.trainable().map(|(name, shape)| State::new_in(folder, optimizer, name, shape));
    let averaged = parameters.trainable().filter(|_| optimizer.average > 0.0);
    let averages = averaged.map(|(_, shape)| Stored::zeros_in(folder, shape.iter().product()));
    let memory =
        states.collect::<Result<_, _>>().and_then(|states| Ok((states, averages.collect::<Result<_, _>>()?)));
    memory.map_err(Error::file("keep the optimizer's state in", folder.unwrap_or(Path::new(""))))
}

/// Adds a gradient to a sum of gradients.
fn add(sum: &mut Option<Vec<f32>>, gradient: Option<Vec<f32>>) {
    match (sum.as_mut(), gradient) {
        (Some(sum), Some(gradient)) => blend(sum, 1.0, &gradient, 1.0),
        (None, gradient) => *sum = gradient,
        (Some(_), None) => {}
    }
}

/// The number in a loss `[1]`.
fn value_of(loss: &Tensor<1>) -> Result<f32, Error> {
    let values = loss.clone().into_data().convert::<f32>().try_to_vec::<f32>();
    match values.as_deref() {
        Ok([value]) => Ok(*value),
        _ => Err(Error::Request("a loss must be one number; take the mean or sum of the rows".into())),
    }
}

#[cfg(test)]
mod tests;
