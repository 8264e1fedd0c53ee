//! Registry time: the one clock that every expiry, lease and tombstone is counted by.
//!
//! Guarantee: it never goes back, not over kill -9 and not over a reboot, and a step of the wall clock changes
//! nothing. It is counted by the boot clock (which also counts suspend) from a durable *mark*: at this instant of
//! this boot it was that late. Within one boot the mark alone decides; only where there is none, or the boot is
//! another, the wall clock is asked, and then the later of the two holds.
//!
//! What a wrong wall clock does cost is told and not hidden: [`Clock::wall_ahead_ms`] says how far it is from
//! registry time.

use nix::time::{ClockId, clock_gettime};
use std::{
    fmt, fs, io,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

/// A wall clock that is further off than this was stepped, or registry time began beside it.
const ALARM_MS: u64 = 5_000;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where "now" comes from. Tests bring their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Registry time in Unix milliseconds.
    fn now_unix_ms(&self) -> u64;

    /// Told once, before anybody asks for the time: what earlier runs have left.
    fn begin(&self, _remembered: Remembered) {}

    /// What is to be remembered of this instant; none if this clock needs no memory.
    fn mark(&self) -> Option<Mark> {
        None
    }

    /// How far the wall clock is ahead of registry time.
    fn wall_ahead_ms(&self) -> i64 {
        0
    }
}

/// Registry time at one instant of one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub boot_id: Uuid,
    /// Milliseconds since that boot, suspend counted.
    pub boot_ms: u64,
    pub unix_ms: u64,
}

/// What the store knows of earlier registry time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    pub mark: Option<Mark>,
    /// The latest instant that anything was written down for; it may be later than the mark.
    pub written_unix_ms: u64,
}

/// Why there is no registry time.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    #[error("cannot read the boot clock: {0}")]
    Boot(#[from] nix::Error),
    #[error("cannot read {BOOT_ID}: {0}; is /proc mounted?")]
    BootId(#[source] io::Error),
    #[error("{BOOT_ID} holds no id")]
    NoBootId,
    #[error("the wall clock is before 1970 or after any date that fits; set it and start again")]
    Wall,
}

/// The machine's clocks at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    boot_id: Uuid,
    boot_ms: u64,
    wall_unix_ms: u64,
}

/// What registry time is at this reading. A boot clock that stands before the mark of its own boot is none to
/// count by (a machine restored from a snapshot, say), so it is taken for another boot.
fn judge(remembered: Remembered, reading: Reading) -> u64 {
    let counted = remembered.mark.and_then(|mark| {
        let elapsed = reading.boot_ms.checked_sub(mark.boot_ms)?;
        (mark.boot_id == reading.boot_id).then(|| mark.unix_ms.saturating_add(elapsed))
    });
    let marked = remembered.mark.map_or(0, |mark| mark.unix_ms);
    counted
        .unwrap_or_else(|| reading.wall_unix_ms.max(marked))
        .max(remembered.written_unix_ms)
}

/// Whether a wall clock this far off deserves an alarm.
pub fn is_off(wall_ahead_ms: i64) -> bool {
    wall_ahead_ms.unsigned_abs() >= ALARM_MS
}

/// Registry time by the machine's own clocks.
#[derive(Debug)]
pub struct BootClock {
    start: Reading,
    /// Registry time at `start`.
    unix_ms_at_start: AtomicU64,
    /// The latest instant that was ever told: a clock that cannot be read stands still.
    latest_unix_ms: AtomicU64,
}

impl BootClock {
    /// Goes by the wall clock until it is told what is remembered.
    pub fn start() -> Result<Self, ClockError> {
        let start = Reading {
            boot_id: boot_id()?,
            boot_ms: boot_ms()?,
            wall_unix_ms: wall_unix_ms().ok_or(ClockError::Wall)?,
        };
        Ok(Self {
            start,
            unix_ms_at_start: AtomicU64::new(start.wall_unix_ms),
            latest_unix_ms: AtomicU64::new(0),
        })
    }

    fn unix_ms_at(&self, boot_ms: u64) -> u64 {
        let elapsed = boot_ms.saturating_sub(self.start.boot_ms);
        let start = self.unix_ms_at_start.load(Ordering::Relaxed);
        let now = start.saturating_add(elapsed);
        self.latest_unix_ms.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

impl Clock for BootClock {
    fn now_unix_ms(&self) -> u64 {
        self.unix_ms_at(boot_ms().unwrap_or(0))
    }

    fn begin(&self, remembered: Remembered) {
        let start = judge(remembered, self.start);
        self.unix_ms_at_start.store(start, Ordering::Relaxed);
    }

    fn mark(&self) -> Option<Mark> {
        let boot_ms = boot_ms().ok()?;
        Some(Mark {
            boot_id: self.start.boot_id,
            boot_ms,
            unix_ms: self.unix_ms_at(boot_ms),
        })
    }

    fn wall_ahead_ms(&self) -> i64 {
        let wall = wall_unix_ms().unwrap_or(0);
        i64::try_from(i128::from(wall) - i128::from(self.now_unix_ms())).unwrap_or(i64::MAX)
    }
}

fn boot_id() -> Result<Uuid, ClockError> {
    let text = fs::read_to_string(BOOT_ID).map_err(ClockError::BootId)?;
    text.trim().parse().map_err(|_| ClockError::NoBootId)
}

fn wall_unix_ms() -> Option<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

fn boot_ms() -> nix::Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(part(time.tv_sec())
        .saturating_mul(1000)
        .saturating_add(part(time.tv_nsec()) / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOOT: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);
    const MARK: Mark = Mark {
        boot_id: BOOT,
        boot_ms: 1_000,
        unix_ms: 5_000_000,
    };

    fn remembered(mark: Mark) -> Remembered {
        Remembered {
            mark: Some(mark),
            written_unix_ms: 0,
        }
    }

    fn reading(boot_id: Uuid, boot_ms: u64, wall_unix_ms: u64) -> Reading {
        Reading {
            boot_id,
            boot_ms,
            wall_unix_ms,
        }
    }

    #[test]
    fn within_one_boot_the_wall_clock_is_not_even_looked_at() {
        for wall in [0, 5_000_600, u64::MAX] {
            assert_eq!(judge(remembered(MARK), reading(BOOT, 1_600, wall)), 5_000_600);
        }
    }

    #[test]
    fn another_boot_begins_at_the_later_of_mark_and_wall_clock() {
        for (wall, begins) in [(0, 5_000_000), (4_999_999, 5_000_000), (6_000_000, 6_000_000)] {
            assert_eq!(judge(remembered(MARK), reading(OTHER, 10, wall)), begins);
            let boot_clock_before_the_mark = reading(BOOT, 999, wall);
            assert_eq!(judge(remembered(MARK), boot_clock_before_the_mark), begins);
        }
        assert_eq!(
            judge(Remembered::default(), reading(BOOT, 1, 77)),
            77,
            "a first start"
        );
    }

    #[test]
    fn time_never_begins_before_what_was_written_down() {
        let late = Remembered {
            written_unix_ms: 5_059_000,
            ..remembered(MARK)
        };
        assert_eq!(judge(late, reading(OTHER, 1, 5_010_000)), 5_059_000);
        assert_eq!(judge(late, reading(BOOT, 1_000, 0)), 5_059_000);
    }

    proptest! {
        /// Runs one after the other, over any reboots and wall clocks, each cut off without a last mark.
        #[test]
        fn over_any_number_of_runs_it_never_goes_back(
            runs in proptest::collection::vec((any::<bool>(), 0..100_000u64, 0..10_000_000u64, 0..100_000u64), 1..30)
        ) {
            let (mut boot, mut boot_ms, mut last) = (0u128, 0u64, 0u64);
            let mut known = Remembered::default();
            for (reboots, down_ms, wall, up_ms) in runs {
                if reboots {
                    boot += 1;
                    boot_ms = 0;
                }
                boot_ms += down_ms;
                let begins = judge(known, reading(Uuid::from_u128(boot), boot_ms, wall));
                prop_assert!(begins >= last, "{begins} after {last}");
                known.mark = Some(Mark { boot_id: Uuid::from_u128(boot), boot_ms, unix_ms: begins });
                boot_ms += up_ms;
                last = begins + up_ms;
                // The last thing that this run did before it was killed.
                known.written_unix_ms = last;
            }
        }
    }

    #[test]
    fn registry_time_starts_at_wall_time_and_never_goes_back() {
        let clock = BootClock::start().unwrap();
        let first = clock.now_unix_ms();
        assert!(!is_off(clock.wall_ahead_ms()), "{}", clock.wall_ahead_ms());
        for _ in 0..1_000 {
            assert!(clock.now_unix_ms() >= first);
        }
    }

    #[test]
    fn a_mark_carries_registry_time_into_the_next_run_of_the_same_boot() {
        let first = BootClock::start().unwrap();
        first.begin(remembered(Mark {
            boot_id: OTHER,
            boot_ms: 0,
            unix_ms: u64::MAX / 2,
        }));
        assert!(first.now_unix_ms() >= u64::MAX / 2 && is_off(first.wall_ahead_ms()));
        let mark = first.mark().unwrap();
        let second = BootClock::start().unwrap();
        second.begin(remembered(mark));
        let now = second.now_unix_ms();
        assert!(now >= mark.unix_ms && now < mark.unix_ms + 60_000, "{now}");
    }
}
