//! Pairs between two guests of one host.

use super::*;
use crate::{
    admit::{LocalPair, tests::good_local},
    carries::Opposite,
};
use pairgate_abi::{CARRIES_ALL, CARRIES_ALL_NOTED, CARRIES_REPLIES, OutEntry};
use pairgate_token::{SecretKey, address_bytes};

/// The opposite pair of this one, under the other guest's key.
fn back(case: &Case) -> Case {
    let mut back = case.clone();
    let (there, claims) = (&case.claims, &mut back.claims);
    claims.pair_id += 1;
    claims.source_vm = there.destination_vm;
    claims.source_generation = there.destination_generation;
    claims.source_address = there.destination_address;
    claims.destination_vm = there.source_vm;
    claims.destination_generation = there.source_generation;
    claims.destination_address = there.source_address;
    back.key = SecretKey::from_bytes([6; 32]);
    back
}

fn pair(case: &Case) -> LocalPair {
    case.decide_local().unwrap()
}

fn join(ledger: &mut Ledger<Fake>, case: &Case) -> Result<(), Refusal> {
    let joined = ledger.join(&pair(case), Opposite::Other, NOW);
    joined.map_err(|error| error.refusal())
}

/// The entry on which the second guest sends to the first.
fn there(kernel: &Fake) -> Option<OutEntry> {
    let kernel = kernel.0.borrow();
    kernel.outgoing.get(&key(OTHER_TAP, 11, 21)).copied()
}

fn key(tap: u32, source: u8, destination: u8) -> OutKey {
    OutKey {
        tap,
        source: address_bytes([10, 77, 0, source].into()),
        destination: address_bytes([10, 77, 0, destination].into()),
    }
}

#[test]
fn two_guests_of_one_host_are_joined_by_outgoing_entries_alone() {
    let (kernel, case) = (Fake::default(), good_local());
    let mut ledger = running(&kernel, &case, 1);
    let opposite = back(&case);
    ledger
        .join(&pair(&opposite), Opposite::of(Some(&case.claims)), NOW)
        .unwrap();
    ledger
        .join(&pair(&case), Opposite::of(Some(&opposite.claims)), NOW)
        .unwrap();
    let entry = there(&kernel).unwrap();
    let seat = ledger.seats().of_vm(case.guest.id).unwrap();
    assert_eq!(
        (entry.local_tap, entry.local_slot, entry.local_mac),
        (TAP, seat.slot, case.guest.mac)
    );
    let kernel = kernel.0.borrow();
    assert_eq!(kernel.outgoing[&key(TAP, 21, 11)].local_tap, OTHER_TAP);
    assert!(kernel.incoming.is_empty() && kernel.hops.is_empty());
    let kinds: Vec<_> = kernel.outgoing.values().map(|entry| entry.carries.kind).collect();
    assert_eq!(kinds, [CARRIES_ALL, CARRIES_ALL], "answers come through anyway");
}

#[test]
fn one_way_between_two_guests_notes_what_is_opened() {
    let (kernel, case) = (Fake::default(), good_local());
    let mut ledger = running(&kernel, &case, 1);
    let mut opposite = back(&case);
    opposite.claims.replies_only = true;
    let known = Opposite::of(Some(&opposite.claims));
    ledger
        .join(&pair(&opposite), Opposite::of(Some(&case.claims)), NOW)
        .unwrap();
    ledger.join(&pair(&case), known, NOW).unwrap();
    assert_eq!(there(&kernel).unwrap().carries.kind, CARRIES_ALL_NOTED);
    let answers = kernel.0.borrow().outgoing[&key(TAP, 21, 11)];
    assert_eq!(answers.carries.kind, CARRIES_REPLIES);
}

#[test]
fn whatever_ends_a_pair_between_hosts_ends_one_inside_a_host_too() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 8] = [
        ("a denial", |case| {
            case.tombstones.pairs.insert(case.claims.pair_id);
        }),
        ("a floor for the sender", |case| {
            case.tombstones.floors.insert(case.claims.source_vm, 3);
        }),
        ("a floor for the receiver", |case| {
            case.tombstones.floors.insert(case.claims.destination_vm, 4);
        }),
        ("the sender's new generation", |case| {
            case.neighbour.as_mut().unwrap().generation += 1
        }),
        ("the receiver's new generation", |case| case.guest.generation += 1),
        ("the sender's new address", |case| {
            case.neighbour.as_mut().unwrap().addresses = vec![own("10.77.0.12", 24)]
        }),
        ("the receiver's new address", |case| {
            case.guest.addresses = vec![own("10.77.0.22", 24)]
        }),
        ("the sender placed elsewhere", |case| case.neighbour = None),
    ];
    for restarted in [false, true] {
        for (what, change) in changes {
            let (kernel, mut case) = (Fake::default(), good_local());
            let mut ledger = running(&kernel, &case, 1);
            join(&mut ledger, &case).unwrap();
            if restarted {
                ledger = Ledger::read(kernel.clone(), NOW).unwrap();
                apply(&mut ledger, &case, 1);
                assert!(there(&kernel).is_some(), "a restart ends nothing");
            }
            change(&mut case);
            ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
            assert_eq!(there(&kernel), None, "{what}, restarted: {restarted}");
            assert!(!kernel.0.borrow().unsettled);
            let (_, removals) = ledger.removals().unwrap();
            assert_eq!(removals.entries, 1);
            assert!(
                removals.taps.contains_key(&TAP),
                "{what}: the receiver's queue is drained before the receipt"
            );
        }
    }
}

#[test]
fn other_hosts_that_were_removed_end_nothing_inside_this_one() {
    let (kernel, mut case) = (Fake::default(), good_local());
    let mut ledger = running(&kernel, &case, 1);
    join(&mut ledger, &case).unwrap();
    case.tombstones.hosts.insert(Uuid::from_u128(0x99));
    apply(&mut ledger, &case, 2);
    assert!(there(&kernel).is_some());
    let mut ledger = Ledger::read(kernel.clone(), NOW).unwrap();
    apply(&mut ledger, &case, 2);
    assert!(there(&kernel).is_some(), "after a restart neither");
}

#[test]
fn a_pair_inside_a_host_is_refused_for_whatever_changed_since_it_was_asked_for() {
    type Change = fn(&mut Case);
    let changes: [(Refusal, Change); 5] = [
        (Refusal::DeadPair, |case| {
            case.tombstones.pairs.insert(case.claims.pair_id);
        }),
        (Refusal::DeadGeneration, |case| {
            case.tombstones.floors.insert(case.claims.source_vm, 3);
        }),
        (Refusal::Generation, |case| {
            case.neighbour.as_mut().unwrap().generation += 1
        }),
        (Refusal::NotHere, |case| {
            case.guest.addresses = vec![own("10.77.0.22", 24)]
        }),
        (Refusal::NotHere, |case| case.neighbour = None),
    ];
    for (refusal, change) in changes {
        let (kernel, mut case) = (Fake::default(), good_local());
        let before = pair(&case);
        change(&mut case);
        let mut ledger = running(&kernel, &case, 1);
        let error = ledger.join(&before, Opposite::Other, NOW).unwrap_err();
        assert_eq!(error.refusal(), refusal);
        assert_eq!(there(&kernel), None);
    }
    let (kernel, case) = (Fake::default(), good_local());
    let mut ledger = running(&kernel, &case, 1);
    ledger.end_lease().unwrap();
    assert_eq!(join(&mut ledger, &case), Err(Refusal::Lease));
}

#[test]
fn either_tap_takes_the_pair_along() {
    for tap in [TAP, OTHER_TAP] {
        let (kernel, case) = (Fake::default(), good_local());
        let mut ledger = running(&kernel, &case, 1);
        join(&mut ledger, &case).unwrap();
        ledger.vacate(tap, NOW).unwrap();
        assert_eq!(there(&kernel), None);
    }
}

#[test]
fn a_start_in_the_middle_of_a_removal_leaves_no_entry_to_a_tap_without_a_row() {
    let (kernel, case) = (Fake::default(), good_local());
    let mut ledger = running(&kernel, &case, 1);
    join(&mut ledger, &case).unwrap();
    kernel.0.borrow_mut().taps.remove(&TAP);
    let mut ledger = Ledger::read(kernel.clone(), NOW).unwrap();
    ledger.remove_strays(NOW).unwrap();
    assert_eq!(there(&kernel), None);
}

#[test]
fn a_pair_inside_a_host_is_renewed_and_removed_when_unused_like_any_other() {
    let (kernel, mut case) = (Fake::default(), good_local());
    let mut ledger = running(&kernel, &case, 1);
    join(&mut ledger, &case).unwrap();
    let asks_at = NOW.after(Duration::from_secs(3600 * 6 / 10));
    kernel
        .0
        .borrow_mut()
        .outgoing
        .get_mut(&key(OTHER_TAP, 11, 21))
        .unwrap()
        .used_ns = asks_at.nanos();
    assert_eq!(ledger.look(asks_at).unwrap(), [key(OTHER_TAP, 11, 21)]);
    assert!(
        ledger.again(case.address, None, asks_at).is_empty(),
        "there is nobody to offer it to again"
    );
    let before = there(&kernel).unwrap();
    case.claims.expires_unix_secs += 60;
    join(&mut ledger, &case).unwrap();
    assert!(there(&kernel).unwrap().deadline_ns > before.deadline_ns);
    case.claims.expires_unix_secs -= 60;
    join(&mut ledger, &case).unwrap();
    assert!(
        there(&kernel).unwrap().deadline_ns > before.deadline_ns,
        "a late answer takes nothing from a newer token"
    );
    ledger.look(asks_at.after(IDLE)).unwrap();
    assert_eq!(there(&kernel), None);
}

#[test]
fn a_packet_inside_a_host_is_as_small_as_both_guests_want_it() {
    for (sender, receiver) in [(1300, 1450), (1450, 1300)] {
        let (kernel, mut case) = (Fake::default(), good_local());
        (case.neighbour.as_mut().unwrap().mtu, case.guest.mtu) = (sender, receiver);
        let mut ledger = running(&kernel, &case, 1);
        join(&mut ledger, &case).unwrap();
        assert_eq!(there(&kernel).unwrap().mtu, 1300);
    }
}

#[test]
fn a_taps_number_that_comes_back_as_another_guests_is_told() {
    let (kernel, case) = (Fake::default(), good_local());
    let neighbour = case.neighbour.clone().unwrap();
    let ledger = running(&kernel, &case, 1);
    assert!(!ledger.seats().is_anothers(TAP, &case.guest));
    assert!(ledger.seats().is_anothers(TAP, &neighbour));
    assert!(
        !ledger.seats().is_anothers(99, &neighbour),
        "nobody has a row there"
    );
    let found = Ledger::read(kernel.clone(), NOW).unwrap();
    assert!(
        !found.seats().is_anothers(TAP, &case.guest),
        "after a restart by the MAC address"
    );
    assert!(found.seats().is_anothers(TAP, &neighbour));
}
