//! Hosts that have not answered of late. Pure: instants in, decisions out.
//!
//! An offer that waits holds a place that other guests want too. So once a host has let one wait for all its time,
//! one offer to it may wait in as much time again, and the others end at once: a host that is gone, or wishes to look
//! like it, costs the others of this host a place for a moment and not all of them for ever.

use super::ANSWER_LIMIT;
use crate::clock::BootTime;
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;

/// Who was silent so long ago is not remembered: hosts come and go.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Silent {
    /// When the next offer may wait.
    next: HashMap<Uuid, BootTime>,
}

impl Silent {
    /// Whether an offer to this host may wait for its answer; if so, [`Self::ended`] should follow.
    pub(super) fn may_wait(&mut self, host: Uuid, now: BootTime) -> bool {
        match self.next.get_mut(&host) {
            None => true,
            Some(next) if *next <= now => {
                *next = now.after(ANSWER_LIMIT);
                true
            }
            Some(_) => false,
        }
    }

    /// An offer that waited was answered, whatever the answer, or was not.
    pub(super) fn ended(&mut self, host: Uuid, is_answered: bool, now: BootTime) {
        if is_answered {
            self.next.remove(&host);
        } else {
            self.next.retain(|_, next| now < next.after(FORGOTTEN));
            // The one that was let wait has set its successor's time already.
            self.next.entry(host).or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn at(secs: u64) -> BootTime {
        BootTime::from_nanos(secs * 1_000_000_000)
    }

    /// Wrong if false: guests of whom each has a pair to a host that is gone take all places for ever.
    #[test]
    fn of_a_host_that_was_silent_one_offer_waits_at_a_time() {
        let mut silent = Silent::default();
        assert!((0..64).all(|_| silent.may_wait(HOST, at(0))), "nobody knows yet");
        for _ in 0..64 {
            silent.ended(HOST, false, at(5));
        }
        let waiting = |silent: &mut Silent, secs| (0..64).filter(|_| silent.may_wait(HOST, at(secs))).count();
        assert_eq!(waiting(&mut silent, 5), 1);
        assert_eq!(waiting(&mut silent, 9), 0);
        silent.ended(HOST, false, at(10));
        assert_eq!(waiting(&mut silent, 10), 1);
        assert!(silent.may_wait(OTHER, at(10)), "another host is none the worse");
    }

    #[test]
    fn whoever_answers_is_silent_no_more() {
        let mut silent = Silent::default();
        silent.ended(HOST, false, at(5));
        assert!(silent.may_wait(HOST, at(6)) && !silent.may_wait(HOST, at(6)));
        silent.ended(HOST, true, at(7));
        assert!((0..64).all(|_| silent.may_wait(HOST, at(7))));
    }

    /// Wrong if false: an offer whose task has ended without a word closes the way to a host for ever.
    #[test]
    fn an_offer_that_nobody_hears_of_again_holds_the_next_up_no_longer_than_an_answer_may_take() {
        let mut silent = Silent::default();
        silent.ended(HOST, false, at(5));
        assert!(silent.may_wait(HOST, at(5)));
        assert!(silent.may_wait(HOST, at(10)));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut silent = Silent::default();
        silent.ended(HOST, false, at(0));
        silent.ended(OTHER, false, at(599));
        assert_eq!(silent.next.len(), 2);
        silent.ended(OTHER, false, at(600));
        assert_eq!(silent.next.len(), 1);
    }
}
