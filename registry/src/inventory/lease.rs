//! What leases a host may hold, and what they stand for.
//!
//! A lease carries a revision, and the host's kernel takes it only once that revision is applied there. So a
//! lease that was granted after a change says nothing against the change having come into force: what the host
//! may still do without it ends with the last lease from *before* the change. Without this a host that goes on
//! renewing and applies nothing could never be fenced.

use std::collections::VecDeque;

/// More leases with different revisions are not told apart: the older ones then count as long as the next.
const TOLD_APART_MAX: usize = 64;
/// An honest agent holds a handful. From here on, leases that end within this part of one lease's length are one, so
/// that a host which asks at every revision cannot carry an old revision on from lease to lease.
const CROWD_LEN: u64 = 32;

/// The leases of one host that have not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases(
    /// Ascending in their ends, and as a rule in revision.
    VecDeque<Lease>,
);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    /// It carries this revision or a later one.
    revision: u64,
    ends_unix_ms: u64,
    /// When the first of those ends that are one with it.
    first_ends_unix_ms: u64,
}

impl Leases {
    /// What an earlier run of the service may have granted, at whatever revision.
    pub fn unknown(ends_unix_ms: u64) -> Self {
        Self(VecDeque::from([Lease {
            revision: 0,
            ends_unix_ms,
            first_ends_unix_ms: ends_unix_ms,
        }]))
    }

    /// Takes a lease that carries `revision` or a later one.
    pub fn grant(&mut self, revision: u64, ends_unix_ms: u64, now_unix_ms: u64) {
        while self
            .0
            .front()
            .is_some_and(|oldest| oldest.ends_unix_ms <= now_unix_ms)
        {
            self.0.pop_front();
        }
        let is_crowd = self.0.len() as u64 >= CROWD_LEN;
        let close_ms = ends_unix_ms.saturating_sub(now_unix_ms) / CROWD_LEN;
        if let Some(last) = self.0.back_mut() {
            // Two calls may come here in another order than they looked at the revision: the earlier revision
            // and the later end are the safe side.
            let is_close = ends_unix_ms.saturating_sub(last.first_ends_unix_ms) < close_ms;
            if revision <= last.revision || (is_crowd && is_close) {
                last.revision = last.revision.min(revision);
                last.ends_unix_ms = last.ends_unix_ms.max(ends_unix_ms);
                return;
            }
        }
        let ends_unix_ms = ends_unix_ms.max(self.ends_unix_ms());
        self.0.push_back(Lease {
            revision,
            ends_unix_ms,
            first_ends_unix_ms: ends_unix_ms,
        });
        if self.0.len() > TOLD_APART_MAX
            && let Some(oldest) = self.0.pop_front()
            && let Some(next) = self.0.front_mut()
        {
            next.revision = oldest.revision;
        }
    }

    /// When the last of them ends; 0 if there never was one.
    pub fn ends_unix_ms(&self) -> u64 {
        self.0.back().map_or(0, |last| last.ends_unix_ms)
    }

    /// When the last of them ends under which a host may still act as before `revision`.
    pub fn ends_before_unix_ms(&self, revision: u64) -> u64 {
        let before = self.0.iter().rev().find(|lease| lease.revision < revision);
        before.map_or(0, |lease| lease.ends_unix_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lease_granted_after_a_change_does_not_put_off_its_certainty() {
        let mut leases = Leases::default();
        assert_eq!((leases.ends_unix_ms(), leases.ends_before_unix_ms(9)), (0, 0));
        leases.grant(4, 100, 0);
        leases.grant(5, 200, 10);
        assert_eq!(leases.ends_unix_ms(), 200);
        assert_eq!(leases.ends_before_unix_ms(5), 100);
        assert_eq!(leases.ends_before_unix_ms(6), 200);
        assert_eq!(
            leases.ends_before_unix_ms(4),
            0,
            "it had no lease before that one"
        );
    }

    #[test]
    fn what_an_earlier_run_granted_counts_against_every_change() {
        let mut leases = Leases::unknown(100);
        leases.grant(7, 200, 0);
        assert_eq!(leases.ends_before_unix_ms(1), 100);
        assert_eq!(leases.ends_before_unix_ms(8), 200);
    }

    /// Wrong if it fails: a stolen host puts off every denial and every move away from it for as long as it likes.
    #[test]
    fn a_host_that_asks_at_every_revision_is_fenced_hardly_later_for_it() {
        const LENGTH: u64 = 10_000;
        let mut leases = Leases::default();
        for revision in 1..=10_000 {
            let now = revision * 10;
            leases.grant(revision, now + LENGTH, now);
            let changed = now.saturating_sub(2 * LENGTH) / 10;
            assert!(
                leases.ends_before_unix_ms(changed) <= now,
                "revision {changed} was two leases ago, and it is {now}"
            );
            assert!(leases.0.len() <= TOLD_APART_MAX);
        }
        let changed = 9_000;
        assert!(leases.ends_before_unix_ms(changed) <= changed * 10 + LENGTH + LENGTH / CROWD_LEN + 10);
    }

    proptest! {
        /// Wrong if false: a host would count as fenced while a lease from before the change holds, or the memory
        /// of one host would have no bound.
        #[test]
        fn no_lease_from_before_a_change_is_ever_missed(
            grants in proptest::collection::vec((0u64..5, 0u64..3, 1u64..50, 0u64..20), 0..400),
            asked in 0u64..1_000,
        ) {
            let mut leases = Leases::default();
            let (mut revision, mut now) = (1, 0);
            let mut granted: Vec<(u64, u64)> = Vec::new();
            for (changes, late, length, pause) in grants {
                revision += changes;
                now += pause;
                let seen = revision.saturating_sub(late);
                leases.grant(seen, now + length, now);
                granted.push((seen, now + length));
                prop_assert!(leases.0.len() <= TOLD_APART_MAX);
            }
            let holds = |before: u64| {
                let alive = granted.iter().filter(|(at, ends)| *at < before && *ends > now);
                alive.map(|(_, ends)| *ends).max().unwrap_or(0)
            };
            prop_assert!(leases.ends_before_unix_ms(asked) >= holds(asked));
            prop_assert!(leases.ends_unix_ms() >= holds(u64::MAX));
        }
    }
}
