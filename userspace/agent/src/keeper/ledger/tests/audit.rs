//! Somebody writes into the maps behind the owner's back: what comes of it.

use super::*;
use crate::keeper::audit::{Finding, Kind, Walks};
use pairgate_abi::{Budget, InEntry};
use std::collections::BTreeSet;

/// A whole walk, in steps of this size, and a look at the rest.
fn audit(ledger: &mut Ledger<Fake>, step: usize, now: BootTime) -> Vec<Kind> {
    let mut walks = Walks::default();
    walks.begin();
    let mut found = ledger.audit_rows(now, &mut BTreeSet::new()).unwrap();
    for _ in 0..1000 {
        if walks.are_over() {
            return found.into_iter().map(|Finding { kind, .. }| kind).collect();
        }
        found.extend(ledger.audit_pairs(&mut walks, step, now).unwrap());
    }
    panic!("the walk has no end");
}

fn forged(entry: &InEntry) -> InEntry {
    InEntry {
        deadline_ns: u64::MAX,
        ..*entry
    }
}

#[test]
fn entries_that_nobody_wrote_go_and_those_that_were_changed_or_removed_come_back() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let handle = admit(&mut ledger, &case).unwrap();
    let declared = kernel.0.borrow().incoming[&handle];
    let now = NOW;
    assert_eq!(audit(&mut ledger, 1, now), [], "what is as declared was found");

    // The programs' own mark is no change.
    kernel.0.borrow_mut().incoming.get_mut(&handle).unwrap().used_ns = 7;
    assert_eq!(audit(&mut ledger, 1, now), []);

    let stray = Handle::new(0x123456, 0x789a).unwrap();
    kernel.0.borrow_mut().incoming.insert(stray, forged(&declared));
    kernel.0.borrow_mut().incoming.insert(handle, forged(&declared));
    let mut found = audit(&mut ledger, 8, now);
    found.sort_unstable();
    assert_eq!(found, [Kind::Stray, Kind::Altered]);
    assert_eq!(
        kernel.0.borrow().incoming.len(),
        1,
        "a handle nobody gave still delivers"
    );
    assert_eq!(kernel.0.borrow().incoming[&handle], declared);
    assert!(!kernel.0.borrow().unsettled, "a program may still act on it");

    kernel.0.borrow_mut().incoming.clear();
    assert_eq!(audit(&mut ledger, 8, now), [Kind::Missing]);
    assert_eq!(kernel.0.borrow().incoming[&handle], declared);
    assert_eq!(audit(&mut ledger, 8, now), []);
}

#[test]
fn an_entry_that_is_over_is_not_brought_back() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let handle = admit(&mut ledger, &case).unwrap();
    let declared = kernel.0.borrow().incoming[&handle];
    let over = BootTime::from_nanos(declared.deadline_ns);
    kernel.0.borrow_mut().incoming.insert(handle, forged(&declared));
    assert_eq!(audit(&mut ledger, 8, over), [Kind::Altered]);
    assert!(
        kernel.0.borrow().incoming.is_empty(),
        "an entry lives beyond its deadline"
    );
    assert_eq!(audit(&mut ledger, 8, over), []);
}

#[test]
fn what_a_denial_has_taken_is_a_stray_when_somebody_writes_it_again() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let handle = admit(&mut ledger, &case).unwrap();
    let entry = kernel.0.borrow().incoming[&handle];
    let mut goal = case.goal(2);
    goal.tombstones.pairs.insert(entry.pair_id);
    ledger.take_up(Arc::new(goal), NOW).unwrap();
    assert!(kernel.0.borrow().incoming.is_empty());
    kernel.0.borrow_mut().incoming.insert(handle, entry);
    assert_eq!(audit(&mut ledger, 8, NOW), [Kind::Stray]);
    assert!(
        kernel.0.borrow().incoming.is_empty(),
        "a denied pair is open again"
    );
}

/// Wrong if it fails: whoever has ended a host's lease by hand has it opened again by the auditor.
#[test]
fn a_lease_that_was_ended_early_is_reported_and_stays_ended() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let granted = std::mem::replace(&mut kernel.0.borrow_mut().lease, BootTime::ZERO);
    let mut standing = BTreeSet::new();
    let mended = ledger.audit_rows(NOW, &mut standing).unwrap();
    assert_eq!(mended, [], "it is said to be mended, and is not");
    let kinds: Vec<_> = standing.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::Altered]);
    assert_eq!(kernel.0.borrow().lease, BootTime::ZERO);
    // The same words in each look: it is said once.
    ledger.audit_rows(NOW, &mut standing).unwrap();
    assert_eq!(standing.len(), 1);
    kernel.0.borrow_mut().lease = granted;
    standing.clear();
    assert_eq!(ledger.audit_rows(NOW, &mut standing).unwrap(), []);
    assert!(standing.is_empty(), "{standing:?}");
}

#[test]
fn rows_ways_lease_and_tables_are_put_right() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let (taps, lease) = (kernel.0.borrow().taps.clone(), kernel.0.borrow().lease);
    let slots: Vec<u32> = kernel.0.borrow().flows.keys().copied().collect();
    {
        let mut kernel = kernel.0.borrow_mut();
        let (tap, mut row) = taps.iter().next().map(|(tap, row)| (*tap, *row)).unwrap();
        row.mac = [2; 6];
        kernel.taps.insert(tap, row);
        kernel.taps.insert(4242, row);
        let hop = NextHop {
            interface: 1,
            neighbour: [9; 16],
        };
        kernel.hops.insert([9; 16], hop);
        kernel.lease = lease.after(Duration::from_secs(1));
        kernel.flows.clear();
        kernel.flows.insert(999, HashMap::new());
        let stopped = Budget {
            event_ns: u64::MAX,
            held: 7,
            ..Budget::default()
        };
        kernel.budgets = slots.iter().map(|slot| (*slot, stopped)).collect();
    }
    let mut found = audit(&mut ledger, 8, NOW);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            Kind::Stray,
            Kind::Stray,
            Kind::Stray,
            Kind::Altered,
            Kind::Altered,
            Kind::Altered,
            Kind::Missing
        ],
        "tap, way and table; row, lease and budget; table"
    );
    let kernel = kernel.0.borrow();
    assert_eq!(kernel.taps, taps);
    assert_eq!(kernel.lease, lease, "somebody else grants leases");
    assert!(kernel.hops.is_empty());
    let kept = kernel
        .budgets
        .values()
        .map(|budget| (budget.event_ns, budget.held));
    assert_eq!(kept.collect::<Vec<_>>(), [(0, 7)], "a guest stays silent");
    assert_eq!(kernel.flows.keys().copied().collect::<Vec<_>>(), slots);
}
