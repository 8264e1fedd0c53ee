//! Where a VM runs, and when it may run there.
//!
//! ```text
//!            place (first time)                     place on another host
//!  nowhere ───────────────────▶ open on h ───────────────────────────▶ waiting on k, fences {h}
//!                               ▲   │ ▲                                 │        │
//!                               └───┘ └─────────────────────────────────┘        └─▶ waiting on m, fences {h}
//!                  place on h again     every host of the fences is fenced           place on another again
//! ```
//!
//! Each arrow that comes from `place` burns a generation. Guarantee: a placement is open only when no other
//! host can still act for an older generation, so per VM at most one host sends and receives. A host that was
//! only waited on never got the key, so it needs no fence; one that was open keeps its fence until it is
//! fenced, however often the VM is moved meanwhile.

use uuid::Uuid;

/// Longest interface name that Linux takes, in bytes.
const INTERFACE_NAME_LEN_MAX: usize = 15;
/// Digits of the VM's id in a tap's name; with `tap-` they fill an interface name.
const ID_DIGITS: usize = 11;

/// Where the VM is placed before a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub host: Uuid,
    pub open: bool,
}

/// A host that may still act for an older generation until it is fenced from `revision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence {
    pub host: Uuid,
    pub revision: u64,
}

/// The fences that stand once the VM is placed on `target` by the change with this revision. The placement is
/// open if there are none.
pub fn fences_after(before: Option<Placed>, fences: &[Fence], target: Uuid, revision: u64) -> Vec<Fence> {
    let left = before.filter(|placed| placed.open).map(|placed| Fence {
        host: placed.host,
        revision,
    });
    // The target's own agent ends the old generation and begins the new one in one step.
    fences
        .iter()
        .copied()
        .filter(|fence| left.is_none_or(|left| left.host != fence.host))
        .chain(left)
        .filter(|fence| fence.host != target)
        .collect()
}

/// The tap's name on its host: by the VM's name where that fits and is free there, else by its id.
pub fn tap_name(vm_name: &str, vm_id: Uuid, is_taken: impl Fn(&str) -> bool) -> Option<String> {
    let by_name = format!("tap-{vm_name}");
    if by_name.len() <= INTERFACE_NAME_LEN_MAX && !is_taken(&by_name) {
        return Some(by_name);
    }
    let digits: String = vm_id.simple().to_string().chars().take(ID_DIGITS).collect();
    let by_id = format!("tap-{digits}");
    (!is_taken(&by_id)).then_some(by_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn a_second_move_while_waiting_keeps_the_first_hosts_fence() {
        let [h, k, m] = [1, 2, 3].map(Uuid::from_u128);
        let open_on_h = Some(Placed { host: h, open: true });
        let first = fences_after(open_on_h, &[], k, 10);
        assert_eq!(
            first,
            [Fence {
                host: h,
                revision: 10
            }]
        );
        let waiting_on_k = Some(Placed { host: k, open: false });
        assert_eq!(fences_after(waiting_on_k, &first, m, 11), first);
        assert_eq!(
            fences_after(waiting_on_k, &first, k, 11),
            first,
            "the same host again"
        );
        assert_eq!(fences_after(waiting_on_k, &first, h, 11), [], "back home");
    }

    #[test]
    fn the_first_placement_and_one_on_the_same_host_open_at_once() {
        let h = Uuid::from_u128(1);
        assert_eq!(fences_after(None, &[], h, 1), []);
        assert_eq!(fences_after(Some(Placed { host: h, open: true }), &[], h, 2), []);
    }

    #[test]
    fn a_tap_is_named_after_its_vm_or_its_id_and_always_fits() {
        let id: Uuid = "02069c7b-84ab-417f-9409-880c991c4f8e".parse().unwrap();
        let name = |vm: &str, taken: &'static str| tap_name(vm, id, |tap| tap == taken);
        assert_eq!(name("web1", "").as_deref(), Some("tap-web1"));
        assert_eq!(name("elevenchars", "").as_deref(), Some("tap-elevenchars"));
        assert_eq!(name("twelve-chars", "").as_deref(), Some("tap-02069c7b84a"));
        assert_eq!(name("web1", "tap-web1").as_deref(), Some("tap-02069c7b84a"));
        assert_eq!(name("twelve-chars", "tap-02069c7b84a"), None);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Place(u128),
        /// The host applies the newest goal state.
        Apply(u128),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![(0u128..4).prop_map(Step::Place), (0u128..4).prop_map(Step::Apply)]
    }

    proptest! {
        /// The model: which hosts hold a live generation is tracked directly, and a placement opens as the
        /// registry would open it. Two live hosts at once would be two hosts that deliver.
        #[test]
        fn at_most_one_host_ever_acts_for_a_vm(steps in proptest::collection::vec(step(), 0..40)) {
            let mut placed: Option<Placed> = None;
            let mut fences: Vec<Fence> = Vec::new();
            let mut revision = 0;
            let mut receipts: BTreeMap<Uuid, u64> = BTreeMap::new();
            let mut live: BTreeSet<Uuid> = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Place(host) => {
                        let target = Uuid::from_u128(host);
                        revision += 1;
                        fences = fences_after(placed, &fences, target, revision);
                        placed = Some(Placed { host: target, open: fences.is_empty() });
                    }
                    Step::Apply(host) => {
                        let host = Uuid::from_u128(host);
                        receipts.insert(host, revision);
                        let here = placed.is_some_and(|placed| placed.open && placed.host == host);
                        if here { live.insert(host); } else { live.remove(&host); }
                    }
                }
                let receipt = |host: &Uuid| receipts.get(host).copied().unwrap_or(0);
                if let Some(now) = placed.as_mut().filter(|now| !now.open)
                    && fences.iter().all(|fence| receipt(&fence.host) >= fence.revision)
                {
                    fences.clear();
                    now.open = true;
                    revision += 1;
                }
                prop_assert!(live.len() <= 1, "{live:?}");
            }
        }
    }
}
