//! The optimizer's memory at work: one parameter moves, and if its memory lies in files, lets go of it again.

use model::memory::Stored;
use model::optimizer::blend;

use crate::optimizer::{OptimizerConfig, State, Update, average_keeps, update};

/// What the optimizer remembers, while it moves weights.
pub(super) struct Memory<'m> {
    pub(super) optimizer: &'m OptimizerConfig,
    pub(super) states: &'m mut [State],
    pub(super) averages: &'m mut [Stored<f32>],
    /// It lies in files.
    pub(super) mapped: bool,
}

impl Memory<'_> {
    /// Has the disk begin with what the parameter of that place needs.
    pub(super) fn fetch(&mut self, place: usize) {
        if let (true, Some(state)) = (self.mapped, self.states.get_mut(place)) {
            state.buffers().iter().for_each(|(_, buffer)| buffer.fetch());
        }
    }

    /// One step of the parameter of that place; its group decides its rate and decay.
    pub(super) fn step(&mut self, place: usize, values: &mut [f32], gradient: &[f32], how: Update<'_>) {
        let (factor, decay) = self.optimizer.group(how.name, how.shape);
        let (how, state) = (Update { rate: how.rate * factor, decay, ..how }, &mut self.states[place]);
        update(values, gradient, state, self.optimizer, how);
        let mut average = self.averages.get_mut(place);
        if let Some(average) = &mut average {
            let keep = average_keeps(self.optimizer.average, how.step);
            blend(average, keep, values, 1.0 - keep);
        }
        if self.mapped {
            state.buffers().iter_mut().for_each(|(_, buffer)| buffer.release());
            average.into_iter().for_each(|average| average.release());
        }
    }
}
