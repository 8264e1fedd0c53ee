//! How often it is written down that somebody was turned away. Anybody on the underlay can be, at any rate, and
//! must not be able to fill the disk with it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const PERIOD: Duration = Duration::from_secs(10);
/// Lines in a period.
const LINES: u32 = 20;

#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Complaints {
    /// Whether a line may be written now, and then how many were left out since the last one.
    pub(crate) fn may_write(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .began
            .is_none_or(|began| now.duration_since(began) >= PERIOD)
        {
            state.began = Some(now);
            state.lines = 0;
        }
        if state.lines >= LINES {
            state.left_out += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_number() {
        let complaints = Complaints::default();
        let now = Instant::now();
        for _ in 0..LINES {
            assert_eq!(complaints.may_write(now), Some(0));
        }
        for _ in 0..1_000 {
            assert_eq!(complaints.may_write(now), None);
        }
        assert_eq!(complaints.may_write(now + PERIOD), Some(1_000));
        assert_eq!(complaints.may_write(now + PERIOD), Some(0));
    }
}
