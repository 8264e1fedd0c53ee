//! Which events become requests. Pure: events and instants in, decisions out.
//!
//! Guarantee: at any moment at most one request for a tap and destination, at most [`PER_TAP`] for a tap and
//! [`IN_ALL`] together; after an answer of no, a second of silence for that destination. A guest can waste its
//! own places and nobody else's: the bound for all is more than any tap may use, and a tap that is over its
//! own is not looked at.

use crate::clock::BootTime;
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// Requests of one tap at a time.
pub const PER_TAP: usize = 8;
/// Requests at a time: what a registry answers within milliseconds.
pub const IN_ALL: usize = 64;
/// Renewals at a time.
pub const ERRANDS: usize = 32;
/// How long a refusal, or a failure, is remembered.
pub const REFUSAL_MEMORY: Duration = Duration::from_secs(1);
/// How long an answer is remembered, to tell events that were raised before it from new ones.
const ANSWER_MEMORY: Duration = Duration::from_secs(2);
/// Remembered answers; a bound against a flood to ever new addresses. What is over it is simply asked again.
const REMEMBERED: usize = 65_536;

/// A guest, by its tap, and where it wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wish {
    pub tap: u32,
    pub destination: [u8; 16],
}

/// See the module.
#[derive(Debug, Default)]
pub struct Desk {
    pending: HashSet<Wish>,
    /// Pairs that are open and being renewed or offered again.
    errands: HashSet<Wish>,
    per_tap: HashMap<u32, usize>,
    answered: HashMap<Wish, Answered>,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    at: BootTime,
    opened: bool,
}

impl Desk {
    /// Whether this event starts a request; if so, [`Self::done`] must follow. What is not taken needs no
    /// memory: the guest's next packet raises the event again.
    pub fn take(&mut self, wish: Wish, raised: BootTime, now: BootTime) -> bool {
        if self.is_under_way(wish) || self.pending.len() >= IN_ALL {
            return false;
        }
        if self.per_tap.get(&wish.tap).is_some_and(|count| *count >= PER_TAP) {
            return false;
        }
        if let Some(answered) = self.answered.get(&wish) {
            let stale = raised <= answered.at;
            let silent = !answered.opened && now < answered.at.after(REFUSAL_MEMORY);
            if stale || silent {
                return false;
            }
        }
        self.pending.insert(wish);
        *self.per_tap.entry(wish.tap).or_default() += 1;
        true
    }

    /// A request has ended.
    pub fn done(&mut self, wish: Wish, opened: bool, now: BootTime) {
        if !self.pending.remove(&wish) {
            return;
        }
        if let Some(count) = self.per_tap.get_mut(&wish.tap) {
            *count -= 1;
            if *count == 0 {
                self.per_tap.remove(&wish.tap);
            }
        }
        if self.answered.len() < REMEMBERED {
            self.answered.insert(wish, Answered { at: now, opened });
        }
    }

    /// Whether a pair that is open may be renewed now; if so, [`Self::ran`] must follow. These have places of
    /// their own: no guest's first packet waits behind them.
    pub fn send(&mut self, wish: Wish) -> bool {
        !self.is_under_way(wish) && self.errands.insert(wish)
    }

    /// Whether another errand may be begun.
    pub fn has_errand_free(&self) -> bool {
        self.errands.len() < ERRANDS
    }

    /// An errand has ended.
    pub fn ran(&mut self, wish: Wish) {
        self.errands.remove(&wish);
    }

    fn is_under_way(&self, wish: Wish) -> bool {
        self.pending.contains(&wish) || self.errands.contains(&wish)
    }

    /// Forgets old answers.
    pub fn tidy(&mut self, now: BootTime) {
        self.answered
            .retain(|_, answered| now < answered.at.after(ANSWER_MEMORY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(nanos: u64) -> BootTime {
        BootTime::from_nanos(nanos)
    }

    fn wish(tap: u32, last: u8) -> Wish {
        let mut destination = [0; 16];
        destination[15] = last;
        Wish { tap, destination }
    }

    #[test]
    fn one_destination_is_asked_for_once_at_a_time() {
        let mut desk = Desk::default();
        assert!(desk.take(wish(1, 1), at(10), at(11)));
        assert!(!desk.take(wish(1, 1), at(12), at(13)));
        assert!(desk.take(wish(1, 2), at(12), at(13)));
    }

    #[test]
    fn an_event_from_before_the_answer_asks_nothing() {
        let mut desk = Desk::default();
        assert!(desk.take(wish(1, 1), at(10), at(11)));
        desk.done(wish(1, 1), true, at(20));
        assert!(!desk.take(wish(1, 1), at(19), at(21)));
        // The pair ended since, or was removed.
        assert!(desk.take(wish(1, 1), at(22), at(23)));
    }

    #[test]
    fn a_refusal_is_remembered_for_a_second_and_for_that_destination_alone() {
        let mut desk = Desk::default();
        assert!(desk.take(wish(1, 1), at(10), at(10)));
        desk.done(wish(1, 1), false, at(20));
        assert!(!desk.take(wish(1, 1), at(30), at(30)));
        assert!(desk.take(wish(1, 2), at(30), at(30)));
        assert!(desk.take(wish(2, 1), at(30), at(30)));
        let later = at(20 + SECOND);
        assert!(desk.take(wish(1, 1), later, later));
    }

    #[test]
    fn a_guest_that_hammers_takes_no_place_from_another() {
        let mut desk = Desk::default();
        let taken = (0..=255)
            .filter(|last| desk.take(wish(1, *last), at(1), at(1)))
            .count();
        assert_eq!(taken, PER_TAP);
        assert!(desk.take(wish(2, 1), at(1), at(1)));
    }

    #[test]
    fn all_taps_together_stay_within_the_bound() {
        let mut desk = Desk::default();
        let mut taken = 0;
        for tap in 0..100 {
            for last in 0..PER_TAP as u8 {
                taken += usize::from(desk.take(wish(tap, last), at(1), at(1)));
            }
        }
        assert_eq!(taken, IN_ALL);
    }

    #[test]
    fn a_pair_is_opened_or_renewed_but_never_both_at_once() {
        let mut desk = Desk::default();
        assert!(desk.send(wish(1, 1)));
        assert!(!desk.send(wish(1, 1)));
        assert!(
            !desk.take(wish(1, 1), at(1), at(1)),
            "its new token is on the way"
        );
        desk.ran(wish(1, 1));
        assert!(desk.take(wish(1, 1), at(1), at(1)));
        assert!(!desk.send(wish(1, 1)), "its first token is on the way");
    }

    #[test]
    fn renewals_take_no_place_from_first_packets() {
        let mut desk = Desk::default();
        for last in 0..ERRANDS as u8 {
            assert!(desk.has_errand_free() && desk.send(wish(1, last)));
        }
        assert!(!desk.has_errand_free());
        assert!(desk.take(wish(1, 200), at(1), at(1)));
    }

    #[test]
    fn nothing_is_remembered_for_long() {
        let mut desk = Desk::default();
        assert!(desk.take(wish(1, 1), at(1), at(1)));
        desk.done(wish(1, 1), false, at(2));
        desk.tidy(at(3 * SECOND));
        assert!(desk.answered.is_empty() && desk.pending.is_empty() && desk.per_tap.is_empty());
    }
}
