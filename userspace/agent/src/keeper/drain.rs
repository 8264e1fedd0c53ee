//! Waiting until guests have read what was queued to them.
//!
//! A tap's queue cannot be asked for its length, but everything that passes `to_tap` is later either read by
//! the guest or counted as dropped. So the queue holds nothing from before a moment once read and dropped
//! together have reached what had passed at that moment. What was thrown away uncounted when a guest closed
//! its tap is in the keeper's `lost`; if it missed such a moment the result is too high, never too low.

use super::limits::{DRAIN_LIMIT, DRAIN_POLL};
use crate::net::{Link, Net};
use tokio::time::{Instant, sleep};

/// Packets of before that this tap still holds, when everything of before is `target` packets since its
/// making. A tap that nobody has open holds nothing: closing it empties it.
pub fn undrained(target: i64, link: &Link) -> u64 {
    if !link.has_carrier {
        return 0;
    }
    let handed_on = i64::try_from(link.tx_packets.saturating_add(link.tx_dropped)).unwrap_or(i64::MAX);
    u64::try_from(target.saturating_sub(handed_on)).unwrap_or(0)
}

/// Waits until every tap has reached its target, or the time is up. Returns the packets that are left.
pub(super) async fn drain(net: &Net, targets: Vec<(u32, i64)>) -> u64 {
    let deadline = Instant::now() + DRAIN_LIMIT;
    loop {
        let mut left = 0_u64;
        for (tap, target) in &targets {
            match net.link(*tap).await {
                Ok(Some(link)) => left = left.saturating_add(undrained(*target, &link)),
                // Deleted, and its queue with it.
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot tell whether a tap has been drained");
                    left = left.saturating_add(1);
                }
            }
        }
        if left == 0 || Instant::now() >= deadline {
            return left;
        }
        sleep(DRAIN_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tap(tx_packets: u64, tx_dropped: u64, has_carrier: bool) -> Link {
        Link {
            tx_packets,
            tx_dropped,
            has_carrier,
            ..Link::default()
        }
    }

    #[test]
    fn a_queue_is_drained_when_read_and_dropped_reach_what_had_passed() {
        assert_eq!(undrained(10, &tap(4, 1, true)), 5);
        assert_eq!(undrained(10, &tap(8, 2, true)), 0);
    }

    #[test]
    fn packets_that_pass_later_do_not_hide_what_is_left() {
        // Read 10 of before and 3 of after: nothing of before is left.
        assert_eq!(undrained(10, &tap(13, 0, true)), 0);
    }

    #[test]
    fn a_tap_that_no_guest_has_open_holds_nothing() {
        assert_eq!(undrained(10, &tap(0, 0, false)), 0);
    }
}
