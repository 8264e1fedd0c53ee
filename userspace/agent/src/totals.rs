//! The programs' counters, summed so that they never go back while the agent lives: a slot is given to another
//! guest one day, and its old counts are kept here. To them come the packets that the agent held and then sent or
//! dropped itself.

use crate::datapath::maps::Counters;
use pairgate_abi::{Count, DROP_REASONS, Direction, DropReason};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The counters of the kernel, and of slots whose guest is gone.
#[derive(Debug)]
pub struct Totals {
    counters: Counters,
    retired: Mutex<SlotCounts>,
    /// Of first packets that ended in the agent, by slot.
    late: Mutex<HashMap<u32, SlotCounts>>,
}

/// Everything that is counted for one slot.
#[derive(Clone, Debug)]
pub struct SlotCounts {
    /// By direction and reason, in the order of their numbers.
    dropped: Vec<u64>,
    passed: Vec<Count>,
    /// Events and first packets that found their ring full.
    lost: u64,
}

impl Default for SlotCounts {
    fn default() -> Self {
        Self {
            dropped: vec![0; Direction::ALL.len() * DROP_REASONS.len()],
            passed: vec![Count::default(); Direction::ALL.len()],
            lost: 0,
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

    /// What the agent was not told, because it did not listen fast enough.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    pub fn add(&mut self, other: &Self) {
        self.lost = self.lost.wrapping_add(other.lost);
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
            late: Mutex::default(),
        }
    }

    /// The counts of one slot; what cannot be read counts nothing.
    pub fn of_slot(&self, slot: u32) -> SlotCounts {
        let dropped = kinds().map(|(way, reason)| self.counters.dropped(slot, way, reason));
        let passed = Direction::ALL
            .into_iter()
            .map(|way| self.counters.passed(slot, way));
        let mut counts = SlotCounts {
            dropped: dropped.map(Option::unwrap_or_default).collect(),
            passed: passed.map(Option::unwrap_or_default).collect(),
            lost: self.counters.lost(slot).unwrap_or_default(),
        };
        if let Some(late) = self.late().get(&slot) {
            counts.add(late);
        }
        counts
    }

    /// A held packet of this slot was sent.
    pub fn sent_late(&self, slot: u32, bytes: u32) {
        let mut late = self.late();
        let passed = late
            .entry(slot)
            .or_default()
            .passed
            .get_mut(Direction::FromTap as usize);
        if let Some(count) = passed {
            count.packets = count.packets.wrapping_add(1);
            count.bytes = count.bytes.wrapping_add(u64::from(bytes));
        }
    }

    /// A held packet of this slot was not sent.
    pub fn dropped_late(&self, slot: u32, reason: DropReason) {
        let mut late = self.late();
        let place = kinds().position(|kind| kind == (Direction::FromTap, reason));
        let counts = late.entry(slot).or_default();
        if let Some(count) = place.and_then(|place| counts.dropped.get_mut(place)) {
            *count = count.wrapping_add(1);
        }
    }

    fn late(&self) -> MutexGuard<'_, HashMap<u32, SlotCounts>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.late().remove(&slot);
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.add(&counts);
    }

    /// Packets that `to_tap` let through to the guest of this slot.
    pub fn to_tap(&self, slot: u32) -> Option<i64> {
        let count = self.counters.passed(slot, Direction::ToTap)?;
        i64::try_from(count.packets).ok()
    }
}
