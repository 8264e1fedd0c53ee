//! How often a host may ask for tokens, and how often in the name of one VM; and how often it may begin to follow.
//!
//! The generic cell rate algorithm: one number per bucket, the instant at which everything that was taken will have
//! been earned. A bucket that is not ahead of now is as good as none and is forgotten, so memory follows what
//! is asked at the moment; beyond a bound, VMs of one host share a bucket and those of other hosts notice nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};
use uuid::Uuid;

/// An honest host with thousands of pairs asks some times a second; after its start it may ask for all of them.
pub(crate) const OF_HOST: Rate = Rate {
    every_ms: 2,
    burst: 5_000,
};
/// Below the host's, so that one guest does not use up what the others of its host need. An agent raises at most
/// 50 questions a second for one tap.
pub(crate) const OF_VM: Rate = Rate {
    every_ms: 10,
    burst: 1_000,
};
/// An agent that has lost its stream waits before it begins the next one.
const FOLLOWS: Rate = Rate {
    every_ms: 500,
    burst: 100,
};
/// VMs of one host that are counted one by one. Who the VM is has not been proven here.
const VMS_MAX: usize = 4096;

/// One more every so often, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) every_ms: u64,
    pub(crate) burst: u64,
}

impl Rate {
    /// Takes one if there is one; `earned_at` is the bucket.
    fn take(self, earned_at: &mut u64, now_ms: u64) -> bool {
        let begins = (*earned_at).max(now_ms);
        if begins - now_ms > self.every_ms * (self.burst - 1) {
            return false;
        }
        *earned_at = begins + self.every_ms;
        true
    }
}

#[derive(Debug, Default)]
struct OfHost {
    earned_at: u64,
    follows_earned_at: u64,
    vms: HashMap<Uuid, u64>,
}

/// By the id in the caller's certificate, so there are no more hosts here than certificates were issued.
#[derive(Debug, Default)]
pub(crate) struct Quota(Mutex<HashMap<Uuid, OfHost>>);

impl Quota {
    /// Whether a stream may begin now: each is told in the log and costs a whole goal state.
    pub(crate) fn take_follow(&self, host: Uuid, now_ms: u64) -> bool {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        FOLLOWS.take(&mut hosts.entry(host).or_default().follows_earned_at, now_ms)
    }

    /// Whether this question may be asked now. What the VM's bucket refuses costs the host nothing.
    pub(crate) fn take_mint(&self, host: Uuid, vm: Uuid, now_ms: u64) -> bool {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = hosts.entry(host).or_default();
        if of_host.vms.len() >= VMS_MAX && !of_host.vms.contains_key(&vm) {
            of_host.vms.retain(|_, earned_at| *earned_at > now_ms);
        }
        let is_room = of_host.vms.len() < VMS_MAX || of_host.vms.contains_key(&vm);
        let bucket = if is_room { vm } else { Uuid::nil() };
        let of_vm = of_host.vms.entry(bucket).or_default();
        OF_VM.take(of_vm, now_ms) && OF_HOST.take(&mut of_host.earned_at, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: Uuid = Uuid::from_u128(1);
    const NOW: u64 = 1_000_000;

    fn vm(number: u128) -> Uuid {
        Uuid::from_u128(number + 1)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_for_every_interval() {
        let rate = Rate {
            every_ms: 10,
            burst: 3,
        };
        let mut bucket = 0;
        let taken = |bucket: &mut u64, now| (0..10).filter(|_| rate.take(bucket, now)).count();
        assert_eq!(taken(&mut bucket, NOW), 3);
        assert_eq!(taken(&mut bucket, NOW + 9), 0);
        assert_eq!(taken(&mut bucket, NOW + 10), 1);
        assert_eq!(taken(&mut bucket, NOW + 35), 2);
        assert_eq!(
            taken(&mut bucket, NOW + 1_000_000),
            3,
            "a pause earns no more than a burst"
        );
        let mut latest = u64::MAX - 100;
        assert!(rate.take(&mut latest, u64::MAX - 100), "no instant overflows");
    }

    #[test]
    fn a_vm_that_asks_too_often_leaves_the_others_of_its_host_and_other_hosts_alone() {
        let quota = Quota::default();
        let asked = (0..10_000).filter(|_| quota.take_mint(HOST, vm(1), NOW)).count();
        assert_eq!(asked as u64, OF_VM.burst);
        assert!(quota.take_mint(HOST, vm(2), NOW) && quota.take_mint(Uuid::from_u128(2), vm(1), NOW));
    }

    #[test]
    fn a_host_that_asks_for_everybody_has_its_share_and_fills_no_memory() {
        let quota = Quota::default();
        let asked = (0..20_000)
            .filter(|number| quota.take_mint(HOST, vm(*number), NOW))
            .count();
        assert_eq!(asked as u64, OF_HOST.burst.min(VMS_MAX as u64 + OF_VM.burst));
        assert!(quota.0.lock().unwrap()[&HOST].vms.len() <= VMS_MAX + 1);
        assert!(quota.take_mint(Uuid::from_u128(2), vm(1), NOW), "another host");
        assert!(!quota.take_mint(HOST, vm(30_000), NOW));
        assert!(
            quota.take_mint(HOST, vm(30_000), NOW + 60_000),
            "a minute later it may again"
        );
        assert!(
            quota.0.lock().unwrap()[&HOST].vms.len() < 3,
            "what is earned is forgotten"
        );
    }

    #[test]
    fn a_host_that_begins_to_follow_without_end_is_stopped_and_may_still_mint() {
        let quota = Quota::default();
        let begun = (0..1_000).filter(|_| quota.take_follow(HOST, NOW)).count();
        assert_eq!(begun as u64, FOLLOWS.burst);
        assert!(quota.take_mint(HOST, vm(1), NOW) && quota.take_follow(Uuid::from_u128(2), NOW));
        assert!(quota.take_follow(HOST, NOW + FOLLOWS.every_ms));
    }

    proptest! {
        /// Whatever the instants: never more than the burst and what the time between has earned.
        #[test]
        fn no_pattern_of_asking_gets_more_than_its_share(
            steps in proptest::collection::vec(0..40u64, 1..400), every_ms in 1..20u64, burst in 1..20u64
        ) {
            let rate = Rate { every_ms, burst };
            let (mut bucket, mut now, mut taken) = (0, NOW, 0);
            for step in steps {
                now += step;
                taken += u64::from(rate.take(&mut bucket, now));
                prop_assert!(taken <= burst + (now - NOW) / every_ms);
            }
        }
    }
}
