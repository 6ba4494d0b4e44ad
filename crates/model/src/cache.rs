//! What a model remembers of the tokens it has read: one state per block.

use crate::mixers::State;
use crate::{Config, Error};

/// The states of all blocks after some number of positions.
#[derive(Clone, Debug)]
pub struct Cache {
    states: Vec<State>,
    positions: usize,
    limit: usize,
}

/// A copy of a cache at one moment, to return to.
#[derive(Clone, Debug)]
pub struct Snapshot(Cache);

impl Cache {
    /// An empty cache for at most `limit` positions (at most the model's context).
    pub fn new(config: &Config, limit: usize) -> Self {
        let states = config.layers.iter().map(|mixer| State::empty(mixer, config)).collect();
        Self { states, positions: 0, limit: limit.min(config.context) }
    }

    /// Positions read so far.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// The most positions it takes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.states.iter().map(State::bytes).sum()
    }

    /// Forgets everything after the first `positions`; exact for every mixer that allows it.
    ///
    /// # Errors
    /// [`Error::Request`] if there are fewer positions.
    pub fn truncate(&mut self, positions: usize) -> Result<(), Error> {
        if positions > self.positions {
            return Err(Error::Request(format!(
                "cache: cannot truncate to {positions} positions, it holds {}",
                self.positions
            )));
        }
        self.states.iter_mut().for_each(|state| state.truncate(positions));
        self.positions = positions;
        Ok(())
    }

    /// A copy to [`restore`](Self::restore) later.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.clone())
    }

    /// Returns to a snapshot.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.clone_from(&snapshot.0);
    }

    /// Checks that `tokens` more positions fit.
    pub(crate) fn admit(&self, tokens: usize) -> Result<(), Error> {
        if self.positions + tokens <= self.limit {
            return Ok(());
        }
        Err(Error::Request(format!(
            "{tokens} tokens after {} do not fit the context of {}; shorten the prompt or ask for fewer tokens",
            self.positions, self.limit
        )))
    }

    /// Forgets what a failed pass may have left in some of the blocks.
    pub(crate) fn rewind(&mut self, positions: usize) {
        self.states.iter_mut().for_each(|state| state.truncate(positions));
        self.positions = positions;
    }

    pub(crate) fn state_mut(&mut self, block: usize) -> Option<&mut State> {
        self.states.get_mut(block)
    }

    pub(crate) fn advance(&mut self, tokens: usize) {
        self.positions += tokens;
    }

    /// Whether this cache was made for a model of that many blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.states.len()
    }
}
