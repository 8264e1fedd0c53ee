//! Random lives of a ledger over a kernel that fails and an agent that is killed: whatever happens, what was
//! promised holds. The host has two guests; another host offers pairs to one of them, with and without grants and
//! between addresses of both families, and the two are joined with each other.

use super::*;
use crate::{
    admit::tests::good_local,
    carries::Opposite,
    goal::Tombstones,
    keeper::{Memory, limits::REFUSALS_PER_TAP},
};
use pairgate_abi::{CARRIES_ALL, FlowKey};
use pairgate_packet::{Packet, address::Address, ip::Family, transport::Ports};
use pairgate_token::{Grant, Grants};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Offer { pair: u64, longer_secs: u64 },
    Join { pair: u64, longer_secs: u64 },
    Talk,
    Send { secs: u64 },
    Refuse { last: u8 },
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
    let verb = prop::sample::select(vec![
        "remove_in",
        "remove_out",
        "remove_flow",
        "remove_refusal",
        "quiesce",
        "set_lease",
    ]);
    prop_oneof![
        6 => (1u64..9, 0u64..3).prop_map(|(pair, longer)| Step::Offer { pair, longer_secs: longer * 10 }),
        4 => (11u64..15, 0u64..3).prop_map(|(pair, longer)| Step::Join { pair, longer_secs: longer * 10 }),
        3 => Just(Step::Talk),
        2 => (0u64..5000).prop_map(|secs| Step::Send { secs }),
        2 => any::<u8>().prop_map(|last| Step::Refuse { last }),
        3 => (1u64..15).prop_map(|pair| Step::Deny { pair }),
        1 => (1u32..5).prop_map(|generation| Step::Floor { generation }),
        4 => prop::option::of((verb, 0u32..3)).prop_map(|fails| Step::Take { fails }),
        3 => Just(Step::Drain),
        2 => (1u64..5000).prop_map(|secs| Step::Lease { secs }),
        1 => (0u64..8000).prop_map(|secs| Step::Sweep { secs }),
        1 => (0u64..8000).prop_map(|secs| Step::Look { secs }),
        1 => Just(Step::Kill),
    ]
}

const REMOTE: Uuid = Uuid::from_u128(0xaa);

/// An offer of another host. Every pair has an address of its own; odd ones are IPv6, and every third names a port.
fn offer(case: &Case, pair: u64, longer_secs: u64) -> Case {
    let mut offer = later(case, longer_secs);
    offer.tombstones = Tombstones::default();
    offer.claims.pair_id = pair;
    offer.claims.source_vm = REMOTE;
    offer.claims.source_host = [192, 0, 2, 1].into();
    offer.claims.source_address = [10, 77, 0, 100 + pair as u8].into();
    if !pair.is_multiple_of(2) {
        offer.claims.source_address = format!("fd77::{:x}", 100 + pair).parse().unwrap();
        offer.claims.destination_address = "fd77::21".parse().unwrap();
    }
    if pair.is_multiple_of(3) {
        offer.claims.grants = https();
    }
    offer
}

/// A token that joins the two guests, between addresses of one family or the other.
fn local(case: &Case, pair: u64, longer_secs: u64) -> Case {
    let mut local = later(case, longer_secs);
    local.tombstones = Tombstones::default();
    local.claims.pair_id = pair;
    if !pair.is_multiple_of(2) {
        local.claims.source_address = "fd77::11".parse().unwrap();
        local.claims.destination_address = "fd77::21".parse().unwrap();
    }
    local
}

fn https() -> Grants {
    Grants::new(vec![Grant {
        protocol: 6,
        first: 443,
        last: 443,
    }])
    .unwrap()
}

/// What the programs note while guests talk on pairs that carry grants.
fn talk(kernel: &Fake) {
    let mut kernel = kernel.0.borrow_mut();
    let entries: Vec<_> = kernel.incoming.values().copied().collect();
    for entry in entries.iter().filter(|entry| entry.carries.kind != CARRIES_ALL) {
        let flow = FlowKey {
            own: entry.dst_addr,
            peer: entry.src_addr,
            own_port: [195, 80],
            peer_port: [1, 187],
            protocol: 6,
            reserved: [0; 3],
        };
        kernel
            .flows
            .get_mut(&entry.slot)
            .unwrap()
            .insert(flow, NOW.nanos());
    }
}

fn packet(key: &OutKey) -> Packet {
    Packet {
        family: Family::of(&key.source),
        protocol: 17,
        is_error: false,
        length: 100,
        largest: 100,
        source: Address::of(&key.source),
        destination: Address::of(&key.destination),
        ports: Ports::default(),
    }
}

/// What a receipt says, held against the kernel.
fn holds(kernel: &Fake, ledger: &Ledger<Fake>, promised: &Tombstones) -> Result<(), TestCaseError> {
    let kernel = kernel.0.borrow();
    for (handle, entry) in &kernel.incoming {
        prop_assert!(
            !promised.pairs.contains(&entry.pair_id),
            "a denied pair is in the kernel"
        );
        prop_assert!(!promised.buries(Uuid::from_bytes(entry.src_vm), entry.src_generation));
        prop_assert!(ledger.book().holds(*handle), "an entry that nobody remembers");
        prop_assert_ne!(
            entry.src_host,
            entry.dst_host,
            "what comes from ourselves is received"
        );
    }
    for (key, entry) in &kernel.outgoing {
        prop_assert!(
            !promised.pairs.contains(&entry.pair_id),
            "a denied pair is in the kernel"
        );
        prop_assert!(!promised.buries(Uuid::from_bytes(entry.src_vm), entry.src_generation));
        prop_assert!(ledger.book().out(key).is_some(), "an entry that nobody remembers");
        prop_assert!(entry.local_tap != 0 && entry.local_tap != key.tap);
    }
    prop_assert_eq!(kernel.incoming.len(), ledger.book().incoming_len());
    prop_assert_eq!(kernel.outgoing.len(), ledger.book().outgoing_len());
    for flow in kernel.flows.values().flat_map(|flows| flows.keys()) {
        // The last byte of a remote address names its pair.
        let pair = flow.peer[15].checked_sub(100).map(u64::from);
        let over = pair.is_some_and(|pair| promised.pairs.contains(&pair));
        prop_assert!(!over, "a reply could come under a later grant");
    }
    for tap in [TAP, OTHER_TAP] {
        let of_tap = kernel.refused.keys().filter(|key| key.tap == tap).count();
        prop_assert!(of_tap <= REFUSALS_PER_TAP);
    }
    Ok(())
}

proptest! {
    /// Wrong if false: a denied pair would live on behind a receipt, a pair would outlive its token, a grant would
    /// bring replies under the next one, or a lease would be in force that its revision does not cover.
    #[test]
    fn what_a_receipt_says_is_true(steps in prop::collection::vec(step(), 1..60)) {
        let (kernel, mut case) = (Fake::default(), good_local());
        let mut ledger = running(&kernel, &case, 1);
        let (mut revision, mut draining, mut lease) = (1, Vec::new(), NOW.after(LEASE));
        // What the last receipt spoke of.
        let mut promised = case.tombstones.clone();
        let mut by_revision = HashMap::from([(1, promised.clone())]);
        for step in steps {
            match step {
                Step::Offer { pair, longer_secs } => {
                    let offer = offer(&case, pair, longer_secs);
                    if let Ok(handle) = admit(&mut ledger, &offer) {
                        let end = offer.decide().unwrap().deadline();
                        let entry = kernel.0.borrow().incoming[&handle];
                        prop_assert!(entry.deadline_ns <= end.nanos(), "a pair outlives its token");
                        prop_assert_eq!(entry.pair_id, pair);
                    }
                }
                Step::Join { pair, longer_secs } => {
                    let token = local(&case, pair, longer_secs).decide_local().unwrap();
                    // A refusal is as good; what was written is looked at below.
                    let _ = ledger.join(&token, Opposite::Other, NOW);
                    let longest = NOW.after(Duration::from_secs(3600 + 20)).nanos();
                    let kernel = kernel.0.borrow();
                    prop_assert!(kernel.outgoing.values().all(|entry| entry.deadline_ns <= longest));
                }
                Step::Talk => talk(&kernel),
                Step::Send { secs } => {
                    let now = NOW.after(Duration::from_secs(secs));
                    let open: Vec<_> = kernel.0.borrow().outgoing.clone().into_iter().collect();
                    for (key, entry) in open {
                        let sent = ledger.may_send(2, &entry, &packet(&key), now).unwrap();
                        prop_assert!(sent.is_err() || (now < ledger.lease() && now.nanos() < entry.deadline_ns));
                    }
                }
                Step::Refuse { last } => {
                    let key = OutKey { tap: TAP, source: [1; 16], destination: [last; 16] };
                    let newest = ledger.goal().map(|goal| goal.revision);
                    if ledger.refuse(key, newest, NOW).unwrap() == Memory::Kept {
                        prop_assert!(kernel.0.borrow().refused.contains_key(&key));
                    }
                }
                Step::Deny { pair } => {
                    case.tombstones.pairs.insert(pair);
                }
                Step::Floor { generation } => {
                    for vm in [REMOTE, case.claims.source_vm] {
                        let floor = case.tombstones.floors.entry(vm).or_default();
                        *floor = generation.max(*floor);
                    }
                }
                Step::Take { fails } => {
                    revision += 1;
                    by_revision.insert(revision, case.tombstones.clone());
                    kernel.0.borrow_mut().fails = fails;
                    if ledger.take_up(Arc::new(case.goal(revision)), NOW).is_ok() {
                        prop_assert!(!kernel.0.borrow().unsettled, "taken up before the wait");
                        prop_assert!(kernel.0.borrow().refused.is_empty(), "it may be allowed now");
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
            prop_assert!(kernel.0.borrow().lease >= lease, "the lease got shorter");
            lease = kernel.0.borrow().lease;
            holds(&kernel, &ledger, &promised)?;
        }
    }
}
