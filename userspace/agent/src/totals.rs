//! The programs' counters, summed so that they never go back while the agent lives: a slot is given to another
//! guest one day, and its old counts are kept here.

use crate::datapath::maps::Counters;
use pairgate_abi::{Count, DROP_REASONS, Direction, DropReason};
use std::sync::{Mutex, PoisonError};

/// The counters of the kernel, and of slots whose guest is gone.
#[derive(Debug)]
pub struct Totals {
    counters: Counters,
    retired: Mutex<SlotCounts>,
}

/// Everything that is counted for one slot.
#[derive(Clone, Debug)]
pub struct SlotCounts {
    /// By direction and reason, in the order of their numbers.
    dropped: Vec<u64>,
    passed: Vec<Count>,
}

impl Default for SlotCounts {
    fn default() -> Self {
        Self {
            dropped: vec![0; Direction::ALL.len() * DROP_REASONS.len()],
            passed: vec![Count::default(); Direction::ALL.len()],
        }
    }
}

impl SlotCounts {
    pub fn dropped(&self) -> impl Iterator<Item = (Direction, DropReason, u64)> {
        kinds()
            .zip(&self.dropped)
            .map(|((direction, reason), packets)| (direction, reason, *packets))
    }

    pub fn passed(&self) -> impl Iterator<Item = (Direction, Count)> {
        Direction::ALL.into_iter().zip(self.passed.iter().copied())
    }

    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.dropped.iter_mut().zip(&other.dropped) {
            *sum = sum.wrapping_add(*more);
        }
        for (sum, more) in self.passed.iter_mut().zip(&other.passed) {
            sum.packets = sum.packets.wrapping_add(more.packets);
            sum.bytes = sum.bytes.wrapping_add(more.bytes);
        }
    }
}

fn kinds() -> impl Iterator<Item = (Direction, DropReason)> {
    Direction::ALL
        .into_iter()
        .flat_map(|direction| DROP_REASONS.iter().map(move |reason| (direction, *reason)))
}

impl Totals {
    pub fn new(counters: Counters) -> Self {
        Self {
            counters,
            retired: Mutex::default(),
        }
    }

    /// The counts of one slot; what cannot be read counts nothing.
    pub fn of_slot(&self, slot: u32) -> SlotCounts {
        let dropped = kinds().map(|(way, reason)| self.counters.dropped(slot, way, reason));
        let passed = Direction::ALL
            .into_iter()
            .map(|way| self.counters.passed(slot, way));
        SlotCounts {
            dropped: dropped.map(Option::unwrap_or_default).collect(),
            passed: passed.map(Option::unwrap_or_default).collect(),
        }
    }

    /// Of all guests that are gone.
    pub fn retired(&self) -> SlotCounts {
        self.retired
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Keeps the counts of a slot whose guest leaves.
    pub fn retire(&self, slot: u32) {
        let counts = self.of_slot(slot);
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.add(&counts);
    }

    /// Packets that `to_tap` let through to the guest of this slot.
    pub fn to_tap(&self, slot: u32) -> Option<i64> {
        let count = self.counters.passed(slot, Direction::ToTap)?;
        i64::try_from(count.packets).ok()
    }
}
