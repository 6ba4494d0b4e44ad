//! The runs of the following steps, shuffled and packed on a thread of their own while a step computes.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use super::Batch;
use crate::packing::{Packing, Position};
use crate::{Error, Example};

/// Steps that wait ready.
const AHEAD: usize = 2;

/// What one step learns from.
pub(super) struct Supply {
    /// One run per micro-batch.
    pub(super) runs: Vec<Batch>,
    /// Where the data stand after it: what a state that is saved after this step has to hold, however far the feed is.
    pub(super) position: Position,
}

/// The supplies of all following steps, in order.
pub(super) struct Feed(Receiver<Supply>);

impl Feed {
    /// Begins where `packing` stands. The thread ends when the feed is dropped.
    pub(super) fn start<'scope, 'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        examples: &'env [Example],
        packing: Packing,
        micro_batches: usize,
    ) -> Self {
        let (sender, receiver) = sync_channel(AHEAD);
        scope.spawn(move || supply(examples, packing, micro_batches, &sender));
        Self(receiver)
    }

    /// What the next step learns from.
    pub(super) fn next(&self) -> Result<Supply, Error> {
        self.0.recv().map_err(|_| Error::Request("the thread that packs examples ended early".into()))
    }
}

fn supply(examples: &[Example], mut packing: Packing, micro_batches: usize, sender: &SyncSender<Supply>) {
    loop {
        let run =
            |packing: &mut Packing| Batch::new(packing.next_run().into_iter().map(|index| &examples[index]));
        let runs = (0..micro_batches).map(|_| run(&mut packing)).collect();
        if sender.send(Supply { runs, position: packing.position() }).is_err() {
            return;
        }
    }
}
