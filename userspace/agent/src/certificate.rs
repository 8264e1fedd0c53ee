//! When this host's certificate is due for a new one: pure.
//!
//! ```text
//! begins            half    jitter   three quarters       ends
//!   |  fresh ........ | .... due, asked for ... | overdue .. | ended
//! ```
//!
//! The registry gives a new certificate in the second half of the old one's life and not before. Hosts that
//! were enrolled together must not ask together, so each waits for a random part of a twentieth more. Half
//! of the life is left for a registry that is away; what is left of the last quarter is an operator's.

use std::time::Duration;

/// Between two tries: at least this, and doubled with each failure up to the next.
const SHORTEST_PAUSE_MS: u64 = 500;
const LONGEST_PAUSE_MS: u64 = 300_000;

/// From when to when a certificate holds, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub begins_unix_ms: u64,
    pub ends_unix_ms: u64,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing to do.
    Fresh,
    /// A new one is asked for.
    Due,
    /// It should have been renewed long ago: an operator has to look.
    Overdue,
    /// Nobody takes it any more.
    Ended,
}

impl Life {
    /// Of whole seconds, as certificates have them; what lies before 1970 began then.
    pub fn of(not_before_unix_secs: i64, not_after_unix_secs: i64) -> Self {
        let ms = |secs| u64::try_from(secs).unwrap_or(0).saturating_mul(1000);
        Self {
            begins_unix_ms: ms(not_before_unix_secs),
            ends_unix_ms: ms(not_after_unix_secs),
        }
    }

    fn length(self) -> u64 {
        self.ends_unix_ms.saturating_sub(self.begins_unix_ms)
    }

    /// How it stands at `now`.
    pub fn stage(self, now_unix_ms: u64) -> Stage {
        let left = self.ends_unix_ms.saturating_sub(now_unix_ms);
        if left == 0 {
            Stage::Ended
        } else if left <= self.length() / 4 {
            Stage::Overdue
        } else if left <= self.length() / 2 {
            Stage::Due
        } else {
            Stage::Fresh
        }
    }

    /// How long to wait at `now` before asking; `share`, from 0 to 1, is this host's own random part. The
    /// clock may jump, so whoever sleeps for long should ask again meanwhile.
    pub fn wait(self, now_unix_ms: u64, share: f64) -> Duration {
        let apart = (self.length() as f64 / 20.0 * share.clamp(0.0, 1.0)) as u64;
        let due = self
            .begins_unix_ms
            .saturating_add(self.length() / 2)
            .saturating_add(apart);
        Duration::from_millis(due.saturating_sub(now_unix_ms))
    }

    /// How long to wait after so many failures in a row: a 64th of a short life, so that there is time for
    /// many tries, and minutes of a long one.
    pub fn pause(self, failures: u32) -> Duration {
        let longest = (self.length() / 64).clamp(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS);
        let doubled = SHORTEST_PAUSE_MS.saturating_mul(1 << failures.saturating_sub(1).min(20));
        Duration::from_millis(doubled.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;
    const DAY: Life = Life {
        begins_unix_ms: 100 * HOUR,
        ends_unix_ms: 124 * HOUR,
    };

    #[test]
    fn a_day_is_fresh_for_half_due_for_a_quarter_overdue_for_the_last() {
        let table = [
            (100 * HOUR, Stage::Fresh),
            (112 * HOUR - 1, Stage::Fresh),
            (112 * HOUR, Stage::Due),
            (118 * HOUR - 1, Stage::Due),
            (118 * HOUR, Stage::Overdue),
            (124 * HOUR - 1, Stage::Overdue),
            (124 * HOUR, Stage::Ended),
            (u64::MAX, Stage::Ended),
            // A clock that is behind.
            (0, Stage::Fresh),
        ];
        for (now, stage) in table {
            assert_eq!(DAY.stage(now), stage, "at {now}");
        }
    }

    #[test]
    fn nobody_asks_before_the_half_and_everybody_within_a_twentieth_after_it() {
        assert_eq!(DAY.wait(100 * HOUR, 0.0), Duration::from_secs(12 * 3600));
        assert_eq!(
            DAY.wait(100 * HOUR, 1.0),
            Duration::from_secs(12 * 3600 + 24 * 3600 / 20)
        );
        assert_eq!(DAY.wait(113 * HOUR + HOUR / 2, 1.0), Duration::ZERO);
    }

    #[test]
    fn tries_come_less_and_less_often_but_many_times_before_the_end() {
        assert_eq!(DAY.pause(1), Duration::from_millis(500));
        assert_eq!(DAY.pause(2), Duration::from_secs(1));
        assert_eq!(DAY.pause(100), Duration::from_secs(300));
        let minute = Life::of(0, 60);
        assert_eq!(minute.pause(9), Duration::from_millis(937));
    }

    #[test]
    fn a_certificate_that_makes_no_sense_is_not_waited_for_for_ever() {
        for life in [Life::of(10, 10), Life::of(10, 5), Life::of(-5, -1)] {
            assert_eq!(life.stage(HOUR), Stage::Ended);
            assert_eq!(life.wait(HOUR, 0.5), Duration::ZERO);
            assert!(life.pause(0) >= Duration::from_millis(500));
        }
    }

    proptest! {
        #[test]
        fn a_later_instant_is_never_a_younger_stage(begins: u32, life: u32, one: u64, other: u64) {
            let life = Life::of(i64::from(begins), i64::from(begins) + i64::from(life));
            prop_assert!(life.stage(one.min(other)) <= life.stage(one.max(other)));
        }
    }
}
