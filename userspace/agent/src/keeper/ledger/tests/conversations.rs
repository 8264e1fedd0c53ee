//! What guests have opened under grants, and when it is forgotten.

use super::*;
use crate::request::mint::tests::minted_with;
use pairgate_abi::{CARRIES_ALL, CARRIES_ALL_NOTED, DropReason, FlowKey, OutEntry};
use pairgate_packet::{Packet, address::Address, ip::Family, transport::Ports};
use pairgate_token::{Claims, Grant, Grants, address_bytes};

const TCP: u8 = 6;
const WEB: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 77, 0, 11];
const DB: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 77, 0, 21];

fn https() -> Grants {
    Grants::new(vec![Grant {
        protocol: TCP,
        first: 443,
        last: 443,
    }])
    .unwrap()
}

fn packet(from: ([u8; 16], u16), to: ([u8; 16], u16)) -> Packet {
    Packet {
        family: Family::V4,
        protocol: TCP,
        is_error: false,
        length: 60,
        largest: 60,
        source: Address::of(&from.0),
        destination: Address::of(&to.0),
        ports: Ports {
            source: from.1.to_be_bytes(),
            destination: to.1.to_be_bytes(),
        },
    }
}

fn question() -> Packet {
    packet((WEB, 50_000), (DB, 443))
}

fn carried(change: impl FnOnce(&mut Claims)) -> crate::present::CarriedPair {
    join(&minted_with(change), 5, 6, 1450).unwrap()
}

/// Web1's host, with its pair to db1 open for https, and a conversation on it.
fn talking() -> (Fake, Case, Ledger<Fake>) {
    let (kernel, (case, _)) = (Fake::default(), sender());
    let mut ledger = running(&kernel, &case, 1);
    ledger
        .carry(&carried(|claims| claims.grants = https()), WAY, NOW)
        .unwrap();
    let entry = *kernel.0.borrow().outgoing.values().next().unwrap();
    assert_eq!(
        ledger.may_send(slot(&ledger), &entry, &question(), NOW).unwrap(),
        Ok(())
    );
    assert_eq!(flows(&kernel, &ledger).len(), 1, "the question was noted");
    (kernel, case, ledger)
}

fn slot(ledger: &Ledger<Fake>) -> u32 {
    ledger.seats().entry(TAP).unwrap().slot
}

fn flows(kernel: &Fake, ledger: &Ledger<Fake>) -> Vec<FlowKey> {
    let slot = slot(ledger);
    kernel.0.borrow().flows[&slot].keys().copied().collect()
}

#[test]
fn a_pair_that_ends_is_forgotten_before_its_receipt() {
    let (kernel, mut case, mut ledger) = talking();
    case.tombstones.pairs.insert(case.claims.pair_id);
    kernel.0.borrow_mut().log.clear();
    ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
    assert_eq!(kernel.0.borrow().log, ["remove_out", "quiesce", "remove_flow"]);
    assert!(flows(&kernel, &ledger).is_empty());
}

#[test]
fn what_cannot_be_forgotten_gives_no_receipt_until_it_is() {
    let (kernel, mut case, mut ledger) = talking();
    case.tombstones.pairs.insert(case.claims.pair_id);
    kernel.0.borrow_mut().fails = Some(("remove_flow", 0));
    assert!(ledger.take_up(Arc::new(case.goal(2)), NOW).is_err());
    kernel.0.borrow_mut().fails = None;
    ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
    assert!(
        flows(&kernel, &ledger).is_empty(),
        "the entry is gone already, the talk was not"
    );
}

#[test]
fn a_new_grant_that_overtakes_its_goal_state_brings_no_reply_to_the_old_one() {
    let (kernel, mut case, mut ledger) = talking();
    let regranted = carried(|claims| {
        claims.grants = https();
        claims.pair_id += 100;
    });
    kernel.0.borrow_mut().log.clear();
    ledger.carry(&regranted, WAY, NOW).unwrap();
    let log = kernel.0.borrow().log.clone();
    assert_eq!(log, ["remove_out", "quiesce", "remove_flow", "open_out"]);
    case.tombstones.pairs.insert(case.claims.pair_id);
    apply(&mut ledger, &case, 2);
    assert!(flows(&kernel, &ledger).is_empty());
    assert_eq!(kernel.0.borrow().outgoing.len(), 1, "the new pair stays");
}

#[test]
fn a_guest_that_floods_its_table_holds_no_receipt_up() {
    let (kernel, mut case, mut ledger) = talking();
    case.tombstones.pairs.insert(case.claims.pair_id);
    kernel.0.borrow_mut().flooded = true;
    kernel.0.borrow_mut().log.clear();
    ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
    assert_eq!(kernel.0.borrow().log, ["remove_out", "quiesce", "new_flows"]);
    assert!(flows(&kernel, &ledger).is_empty());
}

#[test]
fn a_renewal_forgets_nothing() {
    let (kernel, _, mut ledger) = talking();
    let newer = carried(|claims| {
        claims.grants = https();
        claims.expires_unix_secs += 60;
    });
    ledger.carry(&newer, WAY, NOW).unwrap();
    ledger.sweep(NOW).unwrap();
    assert_eq!(flows(&kernel, &ledger).len(), 1);
}

#[test]
fn a_silent_conversation_outlives_the_entries_of_its_pair_and_ends_with_the_pair() {
    let (kernel, mut case, mut ledger) = talking();
    ledger.look(NOW.after(IDLE)).unwrap();
    assert!(kernel.0.borrow().outgoing.is_empty());
    assert_eq!(flows(&kernel, &ledger).len(), 1, "the pair lives on");
    case.tombstones.pairs.insert(77);
    apply(&mut ledger, &case, 2);
    assert_eq!(flows(&kernel, &ledger).len(), 1, "another pair has ended");
    case.tombstones.pairs.insert(case.claims.pair_id);
    apply(&mut ledger, &case, 3);
    assert!(flows(&kernel, &ledger).is_empty());
}

#[test]
fn a_new_agent_keeps_what_belongs_to_an_entry_and_nothing_else() {
    let (kernel, case, ledger) = talking();
    let stray = FlowKey {
        peer: [9; 16],
        ..flows(&kernel, &ledger)[0]
    };
    let slot = slot(&ledger);
    kernel
        .0
        .borrow_mut()
        .flows
        .get_mut(&slot)
        .unwrap()
        .insert(stray, 1);
    let mut ledger = Ledger::read(kernel.clone(), NOW).unwrap();
    apply(&mut ledger, &case, 1);
    let left = flows(&kernel, &ledger);
    assert_eq!(left.len(), 1);
    assert_ne!(left[0].peer, stray.peer);
}

#[test]
fn another_guest_in_the_same_slot_finds_an_empty_table() {
    let (kernel, mut case, mut ledger) = talking();
    let slot = slot(&ledger);
    ledger.vacate(TAP, NOW).unwrap();
    assert!(!kernel.0.borrow().flows.contains_key(&slot));
    case.guest.generation += 1;
    ledger.seat(&case.guest, TAP + 5).unwrap().unwrap();
    assert!(kernel.0.borrow().flows[&slot].is_empty());
}

#[test]
fn a_held_packet_is_judged_as_the_program_would_have() {
    let (kernel, _, mut ledger) = talking();
    let slot = slot(&ledger);
    let entry = *kernel.0.borrow().outgoing.values().next().unwrap();
    let mut judge = |entry: &OutEntry, packet: &Packet, at| ledger.may_send(slot, entry, packet, at).unwrap();
    let other_port = packet((WEB, 50_000), (DB, 444));
    assert_eq!(judge(&entry, &other_port, NOW), Err(DropReason::Grant));
    let large = Packet {
        largest: u32::from(entry.mtu) + 1,
        ..question()
    };
    assert_eq!(judge(&entry, &large, NOW), Err(DropReason::TooBig));
    let end = BootTime::from_nanos(entry.deadline_ns);
    let expired = OutEntry {
        deadline_ns: NOW.nanos(),
        ..entry
    };
    assert_eq!(judge(&expired, &question(), NOW), Err(DropReason::Expired));
    assert_eq!(
        judge(&entry, &question(), end.max(NOW.after(LEASE))),
        Err(DropReason::Lease)
    );
}

#[test]
fn between_two_guests_of_ours_the_receivers_table_decides_about_answers() {
    let (kernel, (case, _)) = (Fake::default(), sender());
    let mut ledger = running(&kernel, &case, 1);
    let slot = slot(&ledger);
    ledger.carry(&carried(|_| {}), WAY, NOW).unwrap();
    let outgoing = *kernel.0.borrow().outgoing.values().next().unwrap();
    // An entry to the guest itself stands for one to a neighbour: only its table counts.
    let mut answers = OutEntry {
        local_tap: TAP,
        local_slot: slot,
        ..outgoing
    };
    answers.carries.kind = pairgate_abi::CARRIES_REPLIES;
    let answer = packet((DB, 443), (WEB, 50_000));
    let judge = |ledger: &mut Ledger<Fake>| ledger.may_send(9, &answers, &answer, NOW).unwrap();
    assert_eq!(judge(&mut ledger), Err(DropReason::Grant), "nothing was asked");
    let mut noted = outgoing;
    noted.carries.kind = CARRIES_ALL_NOTED;
    ledger.may_send(slot, &noted, &question(), NOW).unwrap().unwrap();
    assert_eq!(judge(&mut ledger), Ok(()));
}

#[test]
fn a_two_way_pair_that_carries_everything_notes_nothing() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let answered = |ledger: &Ledger<Fake>| {
        let (own, peer) = (case.claims.destination_address, case.claims.source_address);
        ledger
            .book()
            .answers(TAP, address_bytes(own), address_bytes(peer))
    };
    assert_eq!(answered(&ledger), crate::carries::Opposite::Other);
    admit(&mut ledger, &case).unwrap();
    assert_eq!(answered(&ledger), crate::carries::Opposite::CarriesAll);
    let handle = admit(&mut ledger, &case).unwrap();
    assert_eq!(kernel.0.borrow().incoming[&handle].carries.kind, CARRIES_ALL);
    case.claims.replies_only = true;
    case.claims.pair_id += 1;
    let (kernel, case) = (Fake::default(), case);
    let mut ledger = running(&kernel, &case, 1);
    admit(&mut ledger, &case).unwrap();
    let (own, peer) = (case.claims.destination_address, case.claims.source_address);
    assert_eq!(
        ledger
            .book()
            .answers(TAP, address_bytes(own), address_bytes(peer)),
        crate::carries::Opposite::Other
    );
}

/// Web1's host, with both directions of a pair open.
fn both_ways(change: impl Fn(&mut Claims)) -> (Fake, Case, Ledger<Fake>) {
    let (kernel, mut case) = (Fake::default(), good());
    let there = case.claims.clone();
    // The other end offers: web1 is the guest here.
    let claims = &mut case.claims;
    (claims.source_address, claims.destination_address) = (there.destination_address, there.source_address);
    (claims.source_vm, claims.destination_vm) = (there.destination_vm, there.source_vm);
    (claims.source_generation, claims.destination_generation) =
        (there.destination_generation, there.source_generation);
    claims.pair_id += 50;
    change(claims);
    case.guest.id = there.source_vm;
    case.guest.generation = there.source_generation;
    case.guest.addresses = vec![own("10.77.0.11", 24)];
    let mut ledger = running(&kernel, &case, 1);
    admit(&mut ledger, &case).unwrap();
    ledger.carry(&carried(|_| {}), WAY, NOW).unwrap();
    (kernel, case, ledger)
}

fn kind(kernel: &Fake) -> Option<u8> {
    let kernel = kernel.0.borrow();
    kernel.outgoing.values().next().map(|entry| entry.carries.kind)
}

#[test]
fn a_pair_that_becomes_one_way_notes_what_its_guest_says_from_then_on() {
    let (kernel, mut case, mut ledger) = both_ways(|_| {});
    assert_eq!(kind(&kernel), Some(CARRIES_ALL));
    // The way there carries what it did before and keeps its id; the way back is another pair now.
    case.tombstones.pairs.insert(case.claims.pair_id);
    apply(&mut ledger, &case, 2);
    assert_eq!(
        kind(&kernel),
        None,
        "answers would die until the way there is renewed"
    );
    ledger.carry(&carried(|_| {}), WAY, NOW).unwrap();
    assert_eq!(kind(&kernel), Some(CARRIES_ALL_NOTED));
}

#[test]
fn an_offer_of_replies_alone_ends_a_way_there_that_notes_nothing() {
    let (kernel, mut case, mut ledger) = both_ways(|_| {});
    // The way back was idle when it ended, so nothing of it was here.
    case.claims.pair_id += 1;
    case.claims.replies_only = true;
    admit(&mut ledger, &case).unwrap();
    assert_eq!(kind(&kernel), None);
    let (kernel, ..) = both_ways(|claims| claims.replies_only = true);
    assert_eq!(
        kind(&kernel),
        Some(CARRIES_ALL_NOTED),
        "one that notes is left alone"
    );
}

#[test]
fn between_two_guests_of_ours_both_tables_are_forgotten() {
    let (kernel, mut case) = (Fake::default(), crate::admit::tests::good_local());
    case.claims.grants = https();
    let mut ledger = running(&kernel, &case, 1);
    ledger
        .join(
            &case.decide_local().unwrap(),
            crate::carries::Opposite::Other,
            NOW,
        )
        .unwrap();
    let (asker, asked) = (WEB, DB);
    let theirs = ledger.seats().entry(OTHER_TAP).unwrap().slot;
    let ours = slot(&ledger);
    let flow = |own, peer| FlowKey {
        own,
        peer,
        own_port: [1, 1],
        peer_port: [2, 2],
        protocol: TCP,
        reserved: [0; 3],
    };
    for (slot, flow) in [(theirs, flow(asker, asked)), (ours, flow(asked, asker))] {
        kernel
            .0
            .borrow_mut()
            .flows
            .get_mut(&slot)
            .unwrap()
            .insert(flow, 1);
    }
    case.tombstones.pairs.insert(case.claims.pair_id);
    ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
    for slot in [ours, theirs] {
        assert!(kernel.0.borrow().flows[&slot].is_empty());
    }
}

#[test]
fn a_slot_with_a_table_of_before_gives_its_next_guest_an_empty_one() {
    let (kernel, case) = (Fake::default(), good());
    let stray = FlowKey {
        own: DB,
        peer: WEB,
        own_port: [1, 1],
        peer_port: [2, 2],
        protocol: TCP,
        reserved: [0; 3],
    };
    // An agent has died between the removal of a tap's row and that of its table.
    for slot in 1..4 {
        kernel.0.borrow_mut().flows.insert(slot, [(stray, 1)].into());
    }
    let ledger = running(&kernel, &case, 1);
    assert!(flows(&kernel, &ledger).is_empty());
}
