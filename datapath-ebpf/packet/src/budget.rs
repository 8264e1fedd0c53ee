//! Rate limits in one number: the theoretical arrival time of the generic cell rate algorithm. No refill, no
//! timer, nothing to reset; zero is a full budget.

const SECOND_NS: u64 = 1_000_000_000;

/// Spends one action, and returns the number to keep; nothing if the budget is used up.
///
/// `spent_until_ns` is the number kept so far. A number further ahead than the burst allows (a clock that
/// went back, which boot time does not) counts as used up until the time catches up.
#[inline(always)]
pub fn spend(spent_until_ns: u64, now_ns: u64, per_second: u64, burst: u64) -> Option<u64> {
    let interval = SECOND_NS / per_second.max(1);
    let from = if spent_until_ns > now_ns {
        spent_until_ns
    } else {
        now_ns
    };
    let until = from.saturating_add(interval);
    (until - now_ns <= interval.saturating_mul(burst)).then_some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_tap_may_spend_its_burst_and_then_its_rate() {
        let (now, mut kept, mut allowed) = (5 * SECOND_NS, 0, 0);
        while let Some(next) = spend(kept, now, 50, 64) {
            (kept, allowed) = (next, allowed + 1);
        }
        assert_eq!(allowed, 64, "the burst is what a quiet tap may do at once");
        assert_eq!(
            spend(kept, now + SECOND_NS / 50 - 1, 50, 64),
            None,
            "sooner than the rate allows"
        );
        assert!(
            spend(kept, now + SECOND_NS / 50, 50, 64).is_some(),
            "one interval later one more is due"
        );
    }

    #[test]
    fn a_second_of_flood_gets_no_more_than_burst_and_rate() {
        let (mut kept, mut allowed) = (0, 0);
        for step in 0..1_000_000 {
            if let Some(next) = spend(kept, SECOND_NS + step * 1_000, 50, 64) {
                (kept, allowed) = (next, allowed + 1);
            }
        }
        assert!(
            (64 + 49..=64 + 51).contains(&allowed),
            "{allowed} events in one second of flood"
        );
    }

    #[test]
    fn extreme_numbers_do_not_wrap() {
        assert_eq!(spend(u64::MAX, 0, 50, 64), None);
        assert_eq!(spend(u64::MAX, u64::MAX - 1, 0, 1), Some(u64::MAX));
    }
}
