//! The runs of the following steps, tokenized, shuffled and packed on a thread of their own while a step computes.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use super::Batch;
use crate::Error;
use crate::packing::{Packing, Position};

/// Steps that wait ready.
const AHEAD: usize = 2;

/// What one step learns from.
pub(super) struct Supply {
    /// One run per micro-batch.
    pub(super) runs: Vec<Batch>,
    /// Where the data stand after it: what a state that is saved after this step has to hold, however far the feed is.
    pub(super) position: Position,
    /// How many times the examples were used after it.
    pub(super) epochs: f64,
    /// Steps in all.
    pub(super) steps: usize,
}

/// How many steps there will be.
#[derive(Clone, Copy)]
pub(super) enum Steps {
    /// Known from the beginning.
    Known(usize),
    /// As many as so many epochs hold: the number is estimated until the last block is read.
    Epochs(usize),
}

/// The supplies of all following steps, in order.
pub(super) struct Feed(Receiver<Supply>);

impl Feed {
    /// Begins where `packing` stands, after `done` steps. The thread ends when the feed is dropped.
    pub(super) fn start<'scope, 'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        packing: Packing<'env>,
        micro_batches: usize,
        done: usize,
        steps: Steps,
    ) -> Self {
        let (sender, receiver) = sync_channel(AHEAD);
        scope.spawn(move || supply(packing, micro_batches, done, steps, &sender));
        Self(receiver)
    }

    /// What the next step learns from.
    pub(super) fn next(&self) -> Result<Supply, Error> {
        self.0.recv().map_err(|_| Error::Request("the thread that packs examples ended early".into()))
    }
}

fn supply(
    mut packing: Packing<'_>,
    micro_batches: usize,
    mut done: usize,
    steps: Steps,
    sender: &SyncSender<Supply>,
) {
    loop {
        let runs = (0..micro_batches).map(|_| Batch::new(&packing.next_run())).collect();
        done += 1;
        let in_all = match steps {
            Steps::Known(steps) => steps,
            Steps::Epochs(epochs) => done + packing.runs_left(epochs as u64).div_ceil(micro_batches),
        };
        let (position, epochs) = (packing.position(), packing.epochs());
        if sender.send(Supply { runs, position, epochs, steps: in_all }).is_err() {
            return;
        }
    }
}
