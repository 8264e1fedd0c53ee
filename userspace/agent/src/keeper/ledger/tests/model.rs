//! Random lives of a ledger over a kernel that fails and an agent that is killed: whatever happens, what was
//! promised holds.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Offer { pair: u64, longer_secs: u64 },
    Deny { pair: u64 },
    Floor { generation: u32 },
    Take { fails: Option<(&'static str, u32)> },
    Drain,
    Lease { secs: u64 },
    Sweep { secs: u64 },
    Look { secs: u64 },
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let verb = prop::sample::select(vec!["remove_in", "quiesce", "set_lease"]);
    prop_oneof![
        6 => (1u64..6, 0u64..3).prop_map(|(pair, longer)| Step::Offer { pair, longer_secs: longer * 10 }),
        2 => (1u64..6).prop_map(|pair| Step::Deny { pair }),
        1 => (1u32..5).prop_map(|generation| Step::Floor { generation }),
        3 => prop::option::of((verb, 0u32..3)).prop_map(|fails| Step::Take { fails }),
        3 => Just(Step::Drain),
        2 => (1u64..5000).prop_map(|secs| Step::Lease { secs }),
        1 => (0u64..8000).prop_map(|secs| Step::Sweep { secs }),
        1 => (0u64..8000).prop_map(|secs| Step::Look { secs }),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    /// Wrong if false: a denied pair would live on behind a receipt, a pair would outlive its token, or a
    /// lease would be in force that its revision does not cover.
    #[test]
    fn what_a_receipt_says_is_true(steps in prop::collection::vec(step(), 1..60)) {
        let (kernel, mut case) = (Fake::default(), good());
        let mut ledger = running(&kernel, &case, 1);
        let (mut revision, mut draining, mut lease) = (1, Vec::new(), NOW.after(LEASE));
        // What the last receipt spoke of.
        let mut promised = case.tombstones.clone();
        let mut by_revision = HashMap::from([(1, promised.clone())]);
        for step in steps {
            match step {
                Step::Offer { pair, longer_secs } => {
                    let mut offer = later(&case, longer_secs);
                    offer.claims.pair_id = pair;
                    offer.tombstones = Default::default();
                    if let Ok(handle) = admit(&mut ledger, &offer) {
                        let end = offer.decide().unwrap().deadline();
                        let entry = kernel.0.borrow().incoming[&handle];
                        prop_assert!(entry.deadline_ns <= end.nanos(), "a pair outlives its token");
                        prop_assert_eq!(entry.pair_id, pair);
                    }
                }
                Step::Deny { pair } => {
                    case.tombstones.pairs.insert(pair);
                }
                Step::Floor { generation } => {
                    let floor = case.tombstones.floors.entry(case.claims.source_vm).or_default();
                    *floor = generation.max(*floor);
                }
                Step::Take { fails } => {
                    revision += 1;
                    by_revision.insert(revision, case.tombstones.clone());
                    kernel.0.borrow_mut().fails = fails;
                    if ledger.take_up(Arc::new(case.goal(revision)), NOW).is_ok() {
                        prop_assert!(!kernel.0.borrow().unsettled, "taken up before the wait");
                        draining.push(ledger.removals().unwrap().0);
                    }
                    kernel.0.borrow_mut().fails = None;
                }
                Step::Drain => {
                    if let Some(revision) = draining.pop() {
                        for applied in ledger.drained(revision, 0).unwrap() {
                            promised = by_revision[&applied.revision].clone();
                        }
                    }
                }
                Step::Lease { secs } => {
                    ledger.grant(NOW, Duration::from_secs(secs), revision).unwrap();
                    if ledger.applied() < Some(revision) {
                        prop_assert_eq!(kernel.0.borrow().lease, lease, "a lease before its revision");
                    }
                }
                Step::Sweep { secs } => ledger.sweep(NOW.after(Duration::from_secs(secs))).unwrap(),
                Step::Look { secs } => {
                    ledger.look(NOW.after(Duration::from_secs(secs))).unwrap();
                    prop_assert!(!kernel.0.borrow().unsettled, "removed and not waited for");
                }
                Step::Kill => {
                    ledger = Ledger::read(kernel.clone(), NOW).unwrap();
                    draining.clear();
                    let restarted = apply(&mut ledger, &case, revision);
                    prop_assert_eq!(restarted.len(), 1);
                    promised = case.tombstones.clone();
                    by_revision.insert(revision, promised.clone());
                }
            }
            let kernel = kernel.0.borrow();
            prop_assert!(kernel.lease >= lease, "the lease got shorter");
            lease = kernel.lease;
            for (handle, entry) in &kernel.incoming {
                prop_assert!(!promised.pairs.contains(&entry.pair_id), "a denied pair is in the kernel");
                let source = Uuid::from_bytes(entry.src_vm);
                prop_assert!(!promised.buries(source, entry.src_generation));
                prop_assert!(ledger.book().holds(*handle), "an entry that nobody remembers");
            }
            prop_assert_eq!(kernel.incoming.len(), ledger.book().incoming_len());
        }
    }
}
