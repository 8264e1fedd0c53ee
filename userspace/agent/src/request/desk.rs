//! Which events become requests. Pure: events and instants in, decisions out.
//!
//! Guarantee: at any moment at most one request for a tap and two addresses, at most [`PER_TAP`] for a tap and
//! [`IN_ALL`] together; after a failure, a second of silence for that destination. One guest can waste its
//! own places and nobody else's: the bound for all is eight times what a tap may use, and a tap that is over its
//! own is not looked at. (Eight guests whose peers' hosts all fall silent take them all for once, until the first offers
//! have waited in vain; renewals have a bound for all, and none for a tap.) Wishes for which a packet is held wait for a
//! place, each guest's in their turn.

use crate::clock::BootTime;
use pairgate_abi::{OutKey, limits::HELD_PER_TAP};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

/// Requests of one tap at a time.
pub const PER_TAP: usize = 8;
/// Requests at a time: what a registry answers within milliseconds.
pub const IN_ALL: usize = 64;
/// Renewals at a time.
pub const ERRANDS: usize = 32;
/// How long a failure is remembered.
pub const REFUSAL_MEMORY: Duration = Duration::from_secs(1);
/// How long an answer is remembered, to tell events that were raised before it from new ones.
const ANSWER_MEMORY: Duration = Duration::from_secs(2);
/// Wishes of one tap that wait: no more packets of it are held.
const WAITING_PER_TAP: usize = HELD_PER_TAP as usize;
/// Remembered answers; a bound against a flood to ever new addresses. What is over it is simply asked again.
const REMEMBERED: usize = 65_536;

/// A guest, by its tap, the address it sends from, and where it wants to send.
pub type Wish = OutKey;

/// See the module.
#[derive(Debug, Default)]
pub struct Desk {
    pending: HashSet<Wish>,
    /// Pairs that are open and being renewed or offered again.
    errands: HashSet<Wish>,
    per_tap: HashMap<u32, usize>,
    answered: HashMap<Wish, Answered>,
    /// By tap: first packets that are held while there is no place to ask for them, oldest first.
    waiting: HashMap<u32, VecDeque<Wish>>,
    /// The taps of `waiting`, each once, in their turn.
    turns: VecDeque<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    at: BootTime,
    outcome: Outcome,
}

/// How a request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Opened,
    /// And the kernel keeps the guest from asking again.
    Refused,
    /// For now: a second of silence.
    Failed,
    /// Something has changed meanwhile: it may be asked again at once.
    Overtaken,
}

/// What an event leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A request starts; [`Desk::done`] must follow.
    Start,
    /// One is under way.
    UnderWay,
    /// There is no place for one.
    Busy,
    /// It was raised before the answer to the last request.
    Stale(Outcome),
    /// The last one failed a moment ago.
    Silent,
}

impl Desk {
    /// Decides about an event. One that starts nothing needs no memory: the guest's next packet raises it again.
    pub fn take(&mut self, wish: Wish, raised: BootTime, now: BootTime) -> Taken {
        if self.is_under_way(wish) {
            return Taken::UnderWay;
        }
        if let Some(answered) = self.answered.get(&wish) {
            if raised <= answered.at {
                return Taken::Stale(answered.outcome);
            }
            if answered.outcome == Outcome::Failed && now < answered.at.after(REFUSAL_MEMORY) {
                return Taken::Silent;
            }
        }
        if !self.has_place(wish.tap) {
            return Taken::Busy;
        }
        self.begin(wish);
        Taken::Start
    }

    /// A packet is held for this wish, for which there was no place.
    pub fn wait(&mut self, wish: Wish) {
        let of_tap = self.waiting.entry(wish.tap).or_default();
        if of_tap.is_empty() {
            self.turns.push_back(wish.tap);
        }
        if of_tap.len() < WAITING_PER_TAP && !of_tap.contains(&wish) {
            of_tap.push_back(wish);
        }
    }

    /// The next wish that waited and has a place now, each guest in its turn; [`Self::done`] must follow. Those for
    /// which nothing is held any more are passed over.
    pub fn next(&mut self, held: impl Fn(&Wish) -> bool) -> Option<Wish> {
        for _ in 0..self.turns.len() {
            let tap = self.turns.pop_front()?;
            let has_place = self.has_place(tap);
            let Some(of_tap) = self.waiting.get_mut(&tap) else {
                continue;
            };
            let mut found = None;
            while has_place && found.is_none() && !of_tap.is_empty() {
                found = of_tap.pop_front().filter(&held);
            }
            if of_tap.is_empty() {
                self.waiting.remove(&tap);
            } else {
                self.turns.push_back(tap);
            }
            if let Some(wish) = found.filter(|wish| !self.is_under_way(*wish)) {
                self.begin(wish);
                return Some(wish);
            }
        }
        None
    }

    fn has_place(&self, tap: u32) -> bool {
        self.pending.len() < IN_ALL && self.per_tap.get(&tap).is_none_or(|count| *count < PER_TAP)
    }

    fn begin(&mut self, wish: Wish) {
        self.pending.insert(wish);
        *self.per_tap.entry(wish.tap).or_default() += 1;
    }

    /// A request has ended.
    pub fn done(&mut self, wish: Wish, outcome: Outcome, now: BootTime) {
        if !self.pending.remove(&wish) {
            return;
        }
        if let Some(count) = self.per_tap.get_mut(&wish.tap) {
            *count -= 1;
            if *count == 0 {
                self.per_tap.remove(&wish.tap);
            }
        }
        if outcome == Outcome::Overtaken {
            self.answered.remove(&wish);
        } else if self.answered.len() < REMEMBERED {
            self.answered.insert(wish, Answered { at: now, outcome });
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
        Wish {
            tap,
            source: [1; 16],
            destination,
        }
    }

    #[test]
    fn one_destination_is_asked_for_once_at_a_time() {
        let mut desk = Desk::default();
        assert_eq!(desk.take(wish(1, 1), at(10), at(11)), Taken::Start);
        assert_eq!(desk.take(wish(1, 1), at(12), at(13)), Taken::UnderWay);
        assert_eq!(desk.take(wish(1, 2), at(12), at(13)), Taken::Start);
    }

    #[test]
    fn an_event_from_before_the_answer_asks_nothing() {
        let mut desk = Desk::default();
        assert_eq!(desk.take(wish(1, 1), at(10), at(11)), Taken::Start);
        desk.done(wish(1, 1), Outcome::Opened, at(20));
        assert_eq!(
            desk.take(wish(1, 1), at(19), at(21)),
            Taken::Stale(Outcome::Opened)
        );
        // The pair ended since, or was removed.
        assert_eq!(desk.take(wish(1, 1), at(22), at(23)), Taken::Start);
    }

    #[test]
    fn a_failure_is_remembered_for_a_second_and_for_that_destination_alone() {
        let mut desk = Desk::default();
        assert_eq!(desk.take(wish(1, 1), at(10), at(10)), Taken::Start);
        desk.done(wish(1, 1), Outcome::Failed, at(20));
        assert_eq!(desk.take(wish(1, 1), at(30), at(30)), Taken::Silent);
        assert_eq!(desk.take(wish(1, 2), at(30), at(30)), Taken::Start);
        assert_eq!(desk.take(wish(2, 1), at(30), at(30)), Taken::Start);
        let later = at(20 + SECOND);
        assert_eq!(desk.take(wish(1, 1), later, later), Taken::Start);
    }

    #[test]
    fn a_guest_that_hammers_takes_no_place_from_another() {
        let mut desk = Desk::default();
        let taken = (0..=255)
            .filter(|last| desk.take(wish(1, *last), at(1), at(1)) == Taken::Start)
            .count();
        assert_eq!(taken, PER_TAP);
        assert_eq!(desk.take(wish(2, 1), at(1), at(1)), Taken::Start);
    }

    #[test]
    fn all_taps_together_stay_within_the_bound() {
        let mut desk = Desk::default();
        let mut taken = 0;
        for tap in 0..100 {
            for last in 0..PER_TAP as u8 {
                taken += usize::from(desk.take(wish(tap, last), at(1), at(1)) == Taken::Start);
            }
        }
        assert_eq!(taken, IN_ALL);
    }

    #[test]
    fn a_refusal_is_the_kernels_to_remember_and_what_is_overtaken_is_forgotten() {
        let mut desk = Desk::default();
        assert_eq!(desk.take(wish(1, 1), at(10), at(11)), Taken::Start);
        desk.done(wish(1, 1), Outcome::Refused, at(20));
        assert_eq!(
            desk.take(wish(1, 1), at(15), at(21)),
            Taken::Stale(Outcome::Refused)
        );
        // The kernel has let an event through: it has been allowed since.
        assert_eq!(desk.take(wish(1, 1), at(21), at(22)), Taken::Start);
        desk.done(wish(1, 1), Outcome::Overtaken, at(30));
        assert_eq!(desk.take(wish(1, 1), at(25), at(31)), Taken::Start);
    }

    #[test]
    fn held_packets_wait_for_a_place_each_guest_in_its_turn() {
        let mut desk = Desk::default();
        for last in 0..PER_TAP as u8 {
            assert_eq!(desk.take(wish(1, last), at(1), at(1)), Taken::Start);
        }
        for last in 100..103 {
            assert_eq!(desk.take(wish(1, last), at(1), at(1)), Taken::Busy);
            desk.wait(wish(1, last));
            desk.wait(wish(1, last));
        }
        assert_eq!(desk.next(|_| true), None, "there is no place yet");
        desk.done(wish(1, 0), Outcome::Opened, at(2));
        let held = |waiting: &Wish| *waiting != wish(1, 100);
        assert_eq!(
            desk.next(held),
            Some(wish(1, 101)),
            "the first is not held any more"
        );
        assert_eq!(desk.next(held), None);
        desk.done(wish(1, 101), Outcome::Opened, at(3));
        assert_eq!(desk.next(held), Some(wish(1, 102)));
        assert!(desk.waiting.is_empty() && desk.turns.is_empty());
    }

    #[test]
    fn the_places_of_all_go_round_among_guests_that_wait() {
        let mut desk = Desk::default();
        for tap in 0..(IN_ALL / PER_TAP) as u32 {
            for last in 0..PER_TAP as u8 {
                assert_eq!(desk.take(wish(tap, last), at(1), at(1)), Taken::Start);
            }
        }
        for (tap, last) in [(100, 1), (100, 2), (101, 1)] {
            desk.wait(wish(tap, last));
        }
        for last in 0..3 {
            desk.done(wish(0, last), Outcome::Opened, at(2));
        }
        let turns: Vec<_> = std::iter::from_fn(|| desk.next(|_| true))
            .map(|wish| wish.tap)
            .collect();
        assert_eq!(turns, [100, 101, 100]);
    }

    #[test]
    fn a_pair_is_opened_or_renewed_but_never_both_at_once() {
        let mut desk = Desk::default();
        assert!(desk.send(wish(1, 1)));
        assert!(!desk.send(wish(1, 1)));
        assert_eq!(
            desk.take(wish(1, 1), at(1), at(1)),
            Taken::UnderWay,
            "its new token is on the way"
        );
        desk.ran(wish(1, 1));
        assert_eq!(desk.take(wish(1, 1), at(1), at(1)), Taken::Start);
        assert!(!desk.send(wish(1, 1)), "its first token is on the way");
    }

    #[test]
    fn renewals_take_no_place_from_first_packets() {
        let mut desk = Desk::default();
        for last in 0..ERRANDS as u8 {
            assert!(desk.has_errand_free() && desk.send(wish(1, last)));
        }
        assert!(!desk.has_errand_free());
        assert_eq!(desk.take(wish(1, 200), at(1), at(1)), Taken::Start);
    }

    #[test]
    fn nothing_is_remembered_for_long() {
        let mut desk = Desk::default();
        assert_eq!(desk.take(wish(1, 1), at(1), at(1)), Taken::Start);
        desk.done(wish(1, 1), Outcome::Failed, at(2));
        desk.tidy(at(3 * SECOND));
        assert!(desk.answered.is_empty() && desk.pending.is_empty() && desk.per_tap.is_empty());
    }
}
