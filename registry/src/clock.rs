//! Registry time: the one clock that every expiry, lease and tombstone is counted by.
//!
//! Guarantee: it never goes back and a step of the wall clock changes nothing, because the wall clock is read
//! once, at the start, and everything after is counted by the boot clock (which also counts suspend).

use nix::time::{ClockId, clock_gettime};
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Where "now" comes from. Tests bring their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Registry time in Unix milliseconds.
    fn now_unix_ms(&self) -> u64;
}

/// Why there is no registry time.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    #[error("cannot read the boot clock: {0}")]
    Boot(#[from] nix::Error),
    #[error("the wall clock is before 1970 or after any date that fits; set it and start again")]
    Wall,
}

/// Unix time at the start plus boot time since.
#[derive(Debug)]
pub struct BootClock {
    unix_ms_at_start: u64,
    boot_ms_at_start: u64,
    /// The latest instant that was ever told: a clock that cannot be read stands still.
    latest_unix_ms: AtomicU64,
}

impl BootClock {
    pub fn start() -> Result<Self, ClockError> {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| ClockError::Wall)?;
        Ok(Self {
            unix_ms_at_start: u64::try_from(since.as_millis()).map_err(|_| ClockError::Wall)?,
            boot_ms_at_start: boot_ms()?,
            latest_unix_ms: AtomicU64::new(0),
        })
    }
}

impl Clock for BootClock {
    fn now_unix_ms(&self) -> u64 {
        let elapsed = boot_ms().map_or(0, |now| now.saturating_sub(self.boot_ms_at_start));
        let now = self.unix_ms_at_start.saturating_add(elapsed);
        self.latest_unix_ms.fetch_max(now, Ordering::Relaxed).max(now)
    }
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

    #[test]
    fn registry_time_starts_at_wall_time_and_never_goes_back() {
        let clock = BootClock::start().unwrap();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let first = clock.now_unix_ms();
        assert!(first.abs_diff(wall) < 5_000);
        for _ in 0..1_000 {
            assert!(clock.now_unix_ms() >= first);
        }
    }
}
