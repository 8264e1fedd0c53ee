//! First packets that wait for their pair. Pure.
//!
//! Guarantee: at most [`PER_PAIR`] between two addresses, at most [`PER_TAP`] of one guest, none longer than
//! [`LONGEST`], and what is taken out comes in the order in which it was sent. One guest's packets never push out
//! another's.

use super::HeldFrame;
use crate::clock::BootTime;
use pairgate_abi::{OutKey, limits::HELD_PER_TAP};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// Held packets between two addresses.
pub const PER_PAIR: usize = 8;
/// Held packets of one guest; the kernel hands over no more. With every tap of a host at this bound and every packet
/// of the largest size they take 128 MiB, for a second.
pub const PER_TAP: usize = HELD_PER_TAP as usize;
/// How long a packet waits: by then its sender has sent it again.
pub const LONGEST: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: HashMap<OutKey, VecDeque<HeldFrame>>,
    per_tap: HashMap<u32, usize>,
}

impl Queue {
    /// Keeps a packet, or hands it back if there is no room.
    pub fn push(&mut self, frame: HeldFrame) -> Result<(), HeldFrame> {
        let of_tap = self.per_tap.get(&frame.key.tap).copied().unwrap_or(0);
        let of_pair = self.waiting.get(&frame.key).map_or(0, VecDeque::len);
        if of_tap >= PER_TAP || of_pair >= PER_PAIR {
            return Err(frame);
        }
        *self.per_tap.entry(frame.key.tap).or_default() += 1;
        self.waiting.entry(frame.key).or_default().push_back(frame);
        Ok(())
    }

    pub fn holds(&self, key: &OutKey) -> bool {
        self.waiting.contains_key(key)
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Everything that waits for one pair, oldest first.
    pub fn take(&mut self, key: &OutKey) -> Vec<HeldFrame> {
        let taken = self.waiting.remove(key).unwrap_or_default();
        self.leave(key.tap, taken.len());
        taken.into()
    }

    /// Everything that has waited too long.
    pub fn take_old(&mut self, now: BootTime) -> Vec<HeldFrame> {
        let mut old = Vec::new();
        for of_pair in self.waiting.values_mut() {
            while let Some(frame) = of_pair.pop_front_if(|frame| frame.is_old(now)) {
                old.push(frame);
            }
        }
        self.waiting.retain(|_, of_pair| !of_pair.is_empty());
        for frame in &old {
            self.leave(frame.key.tap, 1);
        }
        old
    }

    fn leave(&mut self, tap: u32, frames: usize) {
        if let Some(count) = self.per_tap.get_mut(&tap) {
            *count = count.saturating_sub(frames);
            if *count == 0 {
                self.per_tap.remove(&tap);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::frame::tests::{record, whole};

    fn frame(tap: u32, last: u8, at_ns: u64) -> HeldFrame {
        let mut held = HeldFrame::read(&record(&whole(false, false, &[last]), false, None)).unwrap();
        held.key.tap = tap;
        held.key.destination[15] = last;
        held.raised = BootTime::from_nanos(at_ns);
        held
    }

    #[test]
    fn eight_wait_for_a_pair_and_come_out_in_their_order() {
        let mut queue = Queue::default();
        for at in 0..8 {
            queue.push(frame(1, 1, at)).unwrap();
        }
        let ninth = queue.push(frame(1, 1, 8)).unwrap_err();
        assert_eq!(ninth.raised.nanos(), 8, "the newest gives way, not the oldest");
        let order: Vec<_> = queue
            .take(&frame(1, 1, 0).key)
            .iter()
            .map(|f| f.raised.nanos())
            .collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(queue.is_empty() && queue.per_tap.is_empty());
    }

    #[test]
    fn a_guest_that_fills_its_places_takes_none_of_anothers() {
        let mut queue = Queue::default();
        let kept = (0..255)
            .filter(|last| queue.push(frame(1, *last, 0)).is_ok())
            .count();
        assert_eq!(kept, PER_TAP);
        assert!(queue.push(frame(2, 1, 0)).is_ok());
    }

    #[test]
    fn nothing_waits_longer_than_a_second() {
        let mut queue = Queue::default();
        let second = u64::try_from(LONGEST.as_nanos()).unwrap();
        queue.push(frame(1, 1, 0)).unwrap();
        queue.push(frame(1, 1, 10)).unwrap();
        assert!(queue.take_old(BootTime::from_nanos(second - 1)).is_empty());
        assert_eq!(queue.take_old(BootTime::from_nanos(second)).len(), 1);
        assert_eq!(queue.take(&frame(1, 1, 0).key).len(), 1);
        assert!(queue.per_tap.is_empty(), "places are given back");
    }
}
