//! First packets: kept while their pair is being opened, then sent on or counted as what became of them.
//!
//! The program hands over what it would otherwise drop, up to a bound for each guest, and goes by two numbers that
//! only grow: how many it has handed over, and how many we are done with. Every packet therefore comes to exactly
//! one end here ([`Hold::end`]): it was sent, or it is counted under the reason for which it was not. An agent that
//! dies loses what it holds; the next one begins with the numbers even.
//!
//! Who may send is not decided here: the keeper takes packets out, in the step in which it opens their pair.

mod frame;
mod queue;
mod send;

pub use frame::HeldFrame;
pub use queue::{LONGEST, PER_PAIR, PER_TAP, Queue};
pub use send::Sender;

use crate::{clock::BootTime, datapath::maps::Released, totals::Totals};
use pairgate_abi::{DropReason, OutKey};
use std::sync::{Arc, Mutex, PoisonError};

/// See the module.
#[derive(Debug)]
pub struct Hold {
    queue: Mutex<Queue>,
    released: Mutex<Released>,
    totals: Arc<Totals>,
}

impl Hold {
    pub fn new(released: Released, totals: Arc<Totals>) -> Self {
        Self {
            queue: Mutex::default(),
            released: Mutex::new(released),
            totals,
        }
    }

    /// Keeps a packet; one for which there is no room has come to its end.
    pub fn keep(&self, frame: HeldFrame) {
        let kept = self.queue().push(frame);
        if let Err(frame) = kept {
            self.end(frame, Err(DropReason::HoldFull));
        }
    }

    pub fn holds(&self, key: &OutKey) -> bool {
        self.queue().holds(key)
    }

    pub fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }

    /// Everything that waits for one pair, oldest first; [`Self::end`] must follow for each.
    pub fn take(&self, key: &OutKey) -> Vec<HeldFrame> {
        self.queue().take(key)
    }

    /// A packet was sent, or was not for this reason.
    pub fn end(&self, frame: HeldFrame, how: Result<(), DropReason>) {
        match how {
            Ok(()) => self.totals.sent_late(frame.slot, frame.packet.frame_length()),
            Err(reason) => self.totals.dropped_late(frame.slot, reason),
        }
        self.release(frame.slot);
    }

    /// A record that could not be read.
    pub fn unreadable(&self, slot: u32) {
        self.totals.dropped_late(slot, DropReason::Internal);
        self.release(slot);
    }

    /// Nothing of this pair is to be sent.
    pub fn drop_all(&self, key: &OutKey, reason: DropReason) {
        for frame in self.take(key) {
            self.end(frame, Err(reason));
        }
    }

    /// Gives up what has waited too long.
    pub fn give_up(&self, now: BootTime) {
        let old = self.queue().take_old(now);
        for frame in old {
            self.end(frame, Err(DropReason::NoPair));
        }
    }

    fn release(&self, slot: u32) {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = released.add_one(slot) {
            tracing::error!(%error, "a held packet could not be given back");
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
