//! Two clocks and the one bridge between them.
//!
//! Tokens end in wall time, the kernel compares boot time. [`RegistryClock`] holds the only thing that joins
//! the two: how far the registry's Unix time is ahead of this machine's boot clock. [`RegistryClock::deadline`]
//! is the only function that turns a token's end into an instant of the kernel.
//!
//! Guarantee: a deadline is never later than the token's true end by the registry's clock, as long as both
//! clocks run at the same rate. The answer to a question was written at some moment after the question was
//! sent; counting from the sending makes registry time look later than it is by at most the way there and
//! back, so every pair ends that much early and never late. The estimate is never lowered: a registry that
//! steps its clock back, or an old answer that arrives late, lengthens nothing.
//!
//! The wall clock of this machine is not read here or anywhere else for a decision about pairs.

use nix::time::{ClockId, clock_gettime};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

const NANOS_PER_SEC: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;

/// An instant of `CLOCK_BOOTTIME`, the clock that the programs compare deadlines with; it counts suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(u64);

impl BootTime {
    /// The beginning; as a deadline: nothing.
    pub const ZERO: Self = Self(0);

    /// The present instant. A kernel without this clock cannot run the programs either, so a failure is read
    /// as "the end of time": everything has expired.
    pub fn now() -> Self {
        let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
            return Self(u64::MAX);
        };
        let secs = u64::try_from(time.tv_sec()).unwrap_or(u64::MAX);
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
        Self(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// From the number that the kernel's maps hold.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// As the kernel's maps hold it.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// This much later.
    pub fn after(self, time: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// How long until `end`; nothing if it has passed.
    pub const fn until(self, end: Self) -> Duration {
        Duration::from_nanos(end.0.saturating_sub(self.0))
    }
}

/// What this agent knows about the registry's time. Clones share one estimate.
#[derive(Clone, Debug)]
pub struct RegistryClock {
    /// Registry's Unix time minus boot time, in nanoseconds.
    ahead_ns: Arc<AtomicI64>,
}

impl Default for RegistryClock {
    fn default() -> Self {
        Self {
            ahead_ns: Arc::new(AtomicI64::new(UNKNOWN)),
        }
    }
}

const UNKNOWN: i64 = i64::MIN;

impl RegistryClock {
    /// Takes an answer of the registry: what its clock showed when it answered a question sent at `asked`.
    pub fn learn(&self, asked: BootTime, unix_ms: u64) {
        // The answer is cut to whole milliseconds: up to one of them may be missing.
        let unix_ns = (i128::from(unix_ms) + 1) * NANOS_PER_MILLI;
        let ahead = i64::try_from(unix_ns - i128::from(asked.0)).unwrap_or(i64::MAX);
        self.ahead_ns.fetch_max(ahead, Ordering::AcqRel);
    }

    /// The registry's Unix time in milliseconds at a boot instant; none before its first answer.
    pub fn unix_ms(&self, at: BootTime) -> Option<u64> {
        let unix_ns = i128::from(at.0) + i128::from(self.ahead()?);
        u64::try_from(unix_ns / NANOS_PER_MILLI).ok()
    }

    /// The registry's Unix time in seconds.
    pub fn unix_secs(&self, at: BootTime) -> Option<u64> {
        self.unix_ms(at).map(|ms| ms / 1000)
    }

    /// **The** conversion: the boot instant at which something ends that ends at `unix_secs` of registry
    /// time. None before the registry's first answer: without registry time nothing can be given a deadline.
    pub fn deadline(&self, unix_secs: u64) -> Option<BootTime> {
        let boot_ns = i128::from(unix_secs) * NANOS_PER_SEC - i128::from(self.ahead()?);
        Some(BootTime(u64::try_from(boot_ns.max(0)).unwrap_or(u64::MAX)))
    }

    fn ahead(&self) -> Option<i64> {
        let ahead = self.ahead_ns.load(Ordering::Acquire);
        (ahead != UNKNOWN).then_some(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A registry whose true Unix time is `boot + ahead`.
    fn answer(ahead_ns: u64, written_at: BootTime) -> u64 {
        (written_at.0 + ahead_ns) / 1_000_000
    }

    #[test]
    fn without_an_answer_of_the_registry_nothing_gets_a_deadline() {
        let clock = RegistryClock::default();
        assert_eq!(clock.deadline(1_800_000_000), None);
        assert_eq!(clock.unix_secs(BootTime(5)), None);
    }

    #[test]
    fn an_end_before_this_machine_started_is_the_beginning_of_time() {
        let clock = RegistryClock::default();
        clock.learn(BootTime(0), 1_800_000_000_000);
        assert_eq!(clock.deadline(1), Some(BootTime::ZERO));
        assert!(clock.deadline(u64::MAX).is_some());
    }

    #[test]
    fn boot_time_runs() {
        let before = BootTime::now();
        assert!(before > BootTime::ZERO && BootTime::now() >= before);
        assert_eq!(before.until(BootTime::ZERO), Duration::ZERO);
        assert_eq!(
            before.until(before.after(Duration::from_secs(1))),
            Duration::from_secs(1)
        );
    }

    proptest! {
        /// Wrong if false: a pair would outlive its token.
        #[test]
        fn a_deadline_is_never_later_than_the_tokens_end(
            ahead_ns in 1_700_000_000_000_000_000u64..1_900_000_000_000_000_000,
            asked in 0u64..1_000_000_000_000_000,
            there in 0u64..5_000_000_000,
            life in 0u64..86_400,
        ) {
            let clock = RegistryClock::default();
            let written_at = BootTime(asked + there);
            clock.learn(BootTime(asked), answer(ahead_ns, written_at));
            let ends_unix_secs = (written_at.0 + ahead_ns) / 1_000_000_000 + life;
            let true_end = ends_unix_secs as i128 * NANOS_PER_SEC - ahead_ns as i128;
            let deadline = clock.deadline(ends_unix_secs).unwrap().0 as i128;
            prop_assert!(deadline <= true_end.max(0), "{deadline} > {true_end}");
            // And not early by more than the way of the answer and its rounding.
            prop_assert!(deadline >= true_end - there as i128 - NANOS_PER_MILLI);
        }

        /// Wrong if false: a registry clock that steps back, or a late answer, would lengthen pairs.
        #[test]
        fn no_later_answer_moves_a_deadline_later(
            answers in prop::collection::vec((0u64..1 << 50, 0u64..1 << 42), 1..10),
            ends in 0u64..1 << 33,
        ) {
            let clock = RegistryClock::default();
            let mut last = None;
            for (asked, unix_ms) in answers {
                clock.learn(BootTime(asked), unix_ms);
                let deadline = clock.deadline(ends);
                prop_assert!(last.is_none_or(|last| deadline <= last));
                last = Some(deadline);
            }
        }

        /// Wrong if false: an offer would be judged by another time than its deadline is made from.
        #[test]
        fn the_estimate_and_the_deadline_agree(at in 0u64..1 << 55, ahead_ms in 1u64 << 40..1 << 41, ends in 1u64..1 << 33) {
            let clock = RegistryClock::default();
            clock.learn(BootTime(0), ahead_ms);
            let expired = clock.unix_secs(BootTime(at)).unwrap() >= ends;
            let over = BootTime(at) >= clock.deadline(ends).unwrap();
            prop_assert_eq!(expired, over);
        }
    }
}
