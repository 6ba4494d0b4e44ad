//! What a model remembers of the tokens it has read: one state per block.
//!
//! Keys and values can be cut off at any position. A recurrent state holds the past in a fixed number of values, so
//! it returns only to positions that were marked: the beginning, the end of the last few calls that read several
//! tokens ([`Cache::reachable`] says which), and any [`Snapshot`].

use crate::mixers::{Recurrent, State};
use crate::{Config, Error};

/// Marks kept; each holds one recurrent state per recurrent block.
const MARKS: usize = 8;

/// The states of all blocks after some number of positions.
#[derive(Clone, Debug)]
pub struct Cache {
    states: Vec<State>,
    positions: usize,
    limit: usize,
    /// Ascending positions; the beginning is always among them if a block is recurrent.
    marks: Vec<Mark>,
}

/// The recurrent states at one position.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    positions: usize,
    states: Vec<Option<Recurrent>>,
}

/// A copy of a cache at one moment, to return to.
#[derive(Clone, Debug)]
pub struct Snapshot(Cache);

impl Cache {
    /// An empty cache for at most `limit` positions (at most the model's context).
    ///
    /// # Panics
    /// If the configuration lacks the settings of one of its mixers, which `Config::validate` refuses.
    pub fn new(config: &Config, limit: usize) -> Self {
        let state = |mixer| State::empty(mixer, config).expect("a validated configuration has its settings");
        let states = config.layers.iter().map(state).collect();
        let mut cache = Self { states, positions: 0, limit: limit.min(config.context), marks: Vec::new() };
        if cache.is_recurrent() {
            cache.marks.push(cache.mark());
        }
        cache
    }

    /// Positions read so far.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// The most positions it takes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held by the states, without marks.
    pub fn bytes(&self) -> usize {
        self.states.iter().map(State::bytes).sum()
    }

    /// The state of a block.
    pub fn state(&self, block: usize) -> Option<&State> {
        self.states.get(block)
    }

    /// Whether a block cannot be cut off at any position.
    pub fn is_recurrent(&self) -> bool {
        self.states.iter().any(|state| state.recurrent().is_some())
    }

    /// The most positions, up to so many, that [`truncate`](Self::truncate) can return to; read the tokens after
    /// them again to get to `positions`.
    pub fn reachable(&self, positions: usize) -> usize {
        let positions = positions.min(self.positions);
        if positions == self.positions || !self.is_recurrent() {
            return positions;
        }
        let before = self.marks.iter().rev().find(|mark| mark.positions <= positions);
        before.map_or(0, |mark| mark.positions)
    }

    /// Forgets everything after the first `positions`.
    ///
    /// # Errors
    /// [`Error::Request`] if there are fewer positions, or a recurrent block was not marked there.
    pub fn truncate(&mut self, positions: usize) -> Result<(), Error> {
        if positions > self.positions {
            return Err(Error::Request(format!(
                "cache: cannot truncate to {positions} positions, it holds {}",
                self.positions
            )));
        }
        if positions == self.positions {
            return Ok(());
        }
        let reachable = self.reachable(positions);
        if reachable != positions {
            return Err(Error::Request(format!(
                "cache: a recurrent block cannot return to {positions} positions; truncate to {reachable} and read \
                 the tokens after them again"
            )));
        }
        let mark = self.marks.iter().find(|mark| mark.positions == positions).cloned();
        self.return_to(&mark.unwrap_or(Mark { positions, states: Vec::new() }));
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
        admit(self.positions, tokens, self.limit)
    }

    /// The present, to return to when a pass fails.
    pub(crate) fn mark(&self) -> Mark {
        let states = self.states.iter().map(|state| state.recurrent().cloned()).collect();
        Mark { positions: self.positions, states }
    }

    /// Returns to a mark of this cache's past.
    pub(crate) fn return_to(&mut self, mark: &Mark) {
        let marked = mark.states.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        for (state, marked) in self.states.iter_mut().zip(marked) {
            match (state, marked) {
                (State::KeyValues(memory), _) => memory.truncate(mark.positions),
                (State::Recurrent(memory), Some(marked)) => (**memory).clone_from(marked),
                (State::Recurrent(_), None) => {}
            }
        }
        self.positions = mark.positions;
        self.marks.retain(|other| other.positions <= mark.positions);
    }

    pub(crate) fn state_mut(&mut self, block: usize) -> Option<&mut State> {
        self.states.get_mut(block)
    }

    pub(crate) fn advance(&mut self, tokens: usize) {
        self.positions += tokens;
        if tokens > 1 && self.is_recurrent() {
            if self.marks.len() == MARKS {
                // The first is the beginning.
                self.marks.remove(1);
            }
            self.marks.push(self.mark());
        }
    }

    /// Whether this cache was made for a model of that many blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.states.len()
    }
}

/// Checks that `tokens` after `positions` fit a limit.
pub(crate) fn admit(positions: usize, tokens: usize, limit: usize) -> Result<(), Error> {
    if positions + tokens <= limit {
        return Ok(());
    }
    Err(Error::Request(format!(
        "{tokens} tokens after {positions} do not fit the context of {limit}; shorten the prompt or ask for fewer tokens"
    )))
}
