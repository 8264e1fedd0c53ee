use super::*;
use crate::{
    admit::{
        Refusal,
        tests::{Case, NOW, good, own},
    },
    keeper::{OpenError, Way, limits::PAIRS_PER_PEER},
    present::tests::join,
    request::mint::tests::minted,
};
use fake::Fake;
use pairgate_abi::NextHop;

mod addresses;
mod audit;
mod conversations;
mod fake;
mod local;
mod model;
mod refusals;
mod renewal;
mod ways;

const TAP: u32 = 7;
/// Of the second guest, if there is one.
const OTHER_TAP: u32 = 8;
const LEASE: Duration = Duration::from_secs(3600);
const WAY: Way = Way {
    hop: NextHop {
        interface: 2,
        neighbour: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 2],
    },
    mtu: 1550,
};

/// A ledger over this kernel with the case's goal state in force and a lease.
fn running(kernel: &Fake, case: &Case, revision: u64) -> Ledger<Fake> {
    let mut ledger = Ledger::read(kernel.clone(), NOW).unwrap();
    apply(&mut ledger, case, revision);
    ledger.grant(NOW, LEASE, revision).unwrap();
    ledger
}

fn apply(ledger: &mut Ledger<Fake>, case: &Case, revision: u64) -> Vec<Applied> {
    ledger.take_up(Arc::new(case.goal(revision)), NOW).unwrap();
    ledger.seat(&case.guest, TAP).unwrap().unwrap();
    if let Some(neighbour) = &case.neighbour {
        ledger.seat(neighbour, OTHER_TAP).unwrap().unwrap();
    }
    let (taken, _) = ledger.removals().unwrap();
    ledger.drained(taken, 0).unwrap()
}

fn admit(ledger: &mut Ledger<Fake>, case: &Case) -> Result<Handle, Refusal> {
    let pair = case.decide().unwrap();
    let admitted = ledger.admit(&pair, NOW);
    admitted
        .map(|admitted| admitted.handle)
        .map_err(|error| error.refusal())
}

fn later(case: &Case, secs: u64) -> Case {
    let mut case = case.clone();
    case.claims.expires_unix_secs += secs;
    case
}

#[test]
fn a_denial_takes_every_handle_of_the_pair_and_is_in_force_only_when_drained() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    admit(&mut ledger, &case).unwrap();
    admit(&mut ledger, &later(&case, 60)).unwrap();
    assert_eq!(kernel.0.borrow().incoming.len(), 2);

    case.tombstones.pairs.insert(case.claims.pair_id);
    kernel.0.borrow_mut().log.clear();
    ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
    assert!(kernel.0.borrow().incoming.is_empty());
    assert_eq!(kernel.0.borrow().log, ["remove_in", "remove_in", "quiesce"]);
    let (revision, removals) = ledger.removals().unwrap();
    assert_eq!((revision, removals.entries), (2, 2));
    assert_eq!(removals.taps.into_keys().collect::<Vec<_>>(), [TAP]);
    assert_eq!(ledger.applied(), Some(1), "queues are not drained yet");
    let applied = ledger.drained(2, 5).unwrap();
    let expected = Applied {
        revision: 2,
        closed: 2,
        undrained: 5,
    };
    assert_eq!(applied, [expected]);
}

#[test]
fn a_token_from_before_the_denial_is_refused_in_the_step_of_the_write() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let before = case.decide().unwrap();
    case.tombstones.pairs.insert(case.claims.pair_id);
    ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
    let refused = ledger.admit(&before, NOW).unwrap_err();
    assert_eq!(refused.refusal(), Refusal::DeadPair);
    assert!(kernel.0.borrow().incoming.is_empty());
}

#[test]
fn a_removal_that_fails_gives_no_receipt_and_no_lease_until_it_is_done() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    admit(&mut ledger, &case).unwrap();
    admit(&mut ledger, &later(&case, 60)).unwrap();
    case.tombstones.pairs.insert(case.claims.pair_id);
    let goal = Arc::new(case.goal(2));

    kernel.0.borrow_mut().fails = Some(("remove_in", 1));
    assert!(matches!(
        ledger.take_up(goal.clone(), NOW),
        Err(TakeUpError::Table { revision: 2, .. })
    ));
    let longer = LEASE * 2;
    ledger.grant(NOW, longer, 2).unwrap();
    assert_eq!(ledger.applied(), Some(1));
    assert_eq!(kernel.0.borrow().lease, NOW.after(LEASE));

    kernel.0.borrow_mut().fails = None;
    ledger.take_up(goal, NOW).unwrap();
    let (revision, removals) = ledger.removals().unwrap();
    assert_eq!(removals.entries, 2, "what went in the first try counts too");
    ledger.drained(revision, 0).unwrap();
    assert_eq!(kernel.0.borrow().lease, NOW.after(longer));
}

#[test]
fn programs_that_saw_a_removed_entry_are_waited_for_even_if_the_first_wait_fails() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    admit(&mut ledger, &case).unwrap();
    case.tombstones.pairs.insert(case.claims.pair_id);
    let goal = Arc::new(case.goal(2));
    kernel.0.borrow_mut().fails = Some(("quiesce", 0));
    assert!(ledger.take_up(goal.clone(), NOW).is_err());
    kernel.0.borrow_mut().fails = None;
    ledger.take_up(goal, NOW).unwrap();
    assert!(!kernel.0.borrow().unsettled);
}

#[test]
fn a_lower_revision_is_never_taken_up_and_the_same_one_may_come_again() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 5);
    assert!(matches!(
        ledger.take_up(Arc::new(case.goal(4)), NOW),
        Err(TakeUpError::Older {
            offered: 4,
            newest: 5
        })
    ));
    assert_eq!(apply(&mut ledger, &case, 5).len(), 1);
}

#[test]
fn a_receipt_waits_for_every_revision_before_it() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    for revision in [2, 3] {
        ledger.take_up(Arc::new(case.goal(revision)), NOW).unwrap();
        ledger.removals().unwrap();
    }
    assert!(
        ledger.drained(3, 0).unwrap().is_empty(),
        "2 is still being drained"
    );
    let revisions: Vec<_> = ledger
        .drained(2, 0)
        .unwrap()
        .iter()
        .map(|one| one.revision)
        .collect();
    assert_eq!(revisions, [2, 3]);
}

#[test]
fn a_lease_waits_for_its_revision_and_never_gets_shorter() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = Ledger::read(kernel.clone(), NOW).unwrap();
    ledger.grant(NOW, LEASE, 1).unwrap();
    assert_eq!(
        kernel.0.borrow().lease,
        BootTime::ZERO,
        "nothing has been applied"
    );
    apply(&mut ledger, &case, 1);
    assert_eq!(kernel.0.borrow().lease, NOW.after(LEASE));
    assert_eq!(
        kernel.0.borrow().log.last(),
        Some(&"set_lease"),
        "the lease is the last write"
    );
    ledger.grant(NOW, LEASE / 2, 1).unwrap();
    assert_eq!(kernel.0.borrow().lease, NOW.after(LEASE));
}

#[test]
fn a_host_without_its_address_has_no_lease_and_takes_none() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    ledger.end_lease().unwrap();
    assert_eq!(kernel.0.borrow().lease, BootTime::ZERO);
    ledger.grant(NOW, LEASE, 1).unwrap();
    assert_eq!(
        kernel.0.borrow().lease,
        BootTime::ZERO,
        "an answer was still on its way"
    );
    assert_eq!(admit(&mut ledger, &case), Err(Refusal::Lease));
    ledger.resume();
    ledger.grant(NOW, LEASE, 1).unwrap();
    assert!(admit(&mut ledger, &case).is_ok());
}

#[test]
fn nothing_opens_before_a_goal_state_is_in_force_or_after_the_lease() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = Ledger::read(kernel.clone(), NOW).unwrap();
    assert_eq!(admit(&mut ledger, &case), Err(Refusal::NotReady));
    ledger.take_up(Arc::new(case.goal(1)), NOW).unwrap();
    assert_eq!(admit(&mut ledger, &case), Err(Refusal::NotReady));
    apply(&mut ledger, &case, 1);
    ledger.grant(NOW, LEASE, 1).unwrap();
    let pair = case.decide().unwrap();
    let error = ledger.admit(&pair, NOW.after(LEASE)).unwrap_err();
    assert_eq!(error.refusal(), Refusal::Lease);
}

#[test]
fn a_guest_without_a_tap_receives_nothing() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    ledger.vacate(TAP, NOW).unwrap();
    assert_eq!(admit(&mut ledger, &case), Err(Refusal::NotHere));
}

#[test]
fn the_same_token_gets_the_same_handle_and_moves_no_deadline() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let handle = admit(&mut ledger, &case).unwrap();
    let before = kernel.0.borrow().incoming[&handle];
    assert_eq!(admit(&mut ledger, &case).unwrap(), handle);
    let kernel = kernel.0.borrow();
    assert_eq!(kernel.incoming.len(), 1);
    assert_eq!(kernel.incoming[&handle], before);
}

#[test]
fn a_newer_token_gets_a_new_handle_and_the_old_one_ends_within_half_a_minute() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let newer = later(&case, 60);
    let old = admit(&mut ledger, &case).unwrap();
    let new = admit(&mut ledger, &newer).unwrap();
    assert_ne!(old, new);
    let end = |handle| BootTime::from_nanos(kernel.0.borrow().incoming[&handle].deadline_ns);
    assert_eq!(NOW.until(end(old)).as_secs(), 30);
    let full = end(new);
    // The old token shown again takes nothing from the newer one.
    assert_eq!(admit(&mut ledger, &case).unwrap(), old);
    assert_eq!(end(new), full);
}

#[test]
fn a_restarted_agent_knows_what_is_in_the_kernel() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let handle = admit(&mut ledger, &case).unwrap();
    drop(ledger);
    let mut ledger = Ledger::read(kernel.clone(), NOW).unwrap();
    assert_eq!(ledger.lease(), NOW.after(LEASE));
    assert!(ledger.book().holds(handle));
    apply(&mut ledger, &case, 1);
    assert!(
        ledger.book().holds(handle),
        "a pair that nothing speaks against lives on"
    );
    case.tombstones.pairs.insert(case.claims.pair_id);
    apply(&mut ledger, &case, 2);
    assert!(kernel.0.borrow().incoming.is_empty());
}

#[test]
fn after_a_restart_a_removed_host_takes_with_it_every_pair_whose_host_is_unknown() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    admit(&mut ledger, &case).unwrap();
    // Known to be of another host: stays.
    case.tombstones.hosts.insert(uuid::Uuid::from_u128(0x99));
    apply(&mut ledger, &case, 2);
    assert_eq!(kernel.0.borrow().incoming.len(), 1);
    // Not known any more: goes.
    let mut ledger = Ledger::read(kernel.clone(), NOW).unwrap();
    apply(&mut ledger, &case, 2);
    assert!(kernel.0.borrow().incoming.is_empty());
}

#[test]
fn a_vm_that_leaves_or_gets_a_new_generation_takes_its_pairs_along() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 5] = [
        ("placed elsewhere", |case| {
            case.guest.id = uuid::Uuid::from_u128(0xc)
        }),
        ("a new generation", |case| case.guest.generation += 1),
        ("a new address", |case| {
            case.guest.addresses = vec![own("10.77.0.22", 24)]
        }),
        ("a floor for the source", |case| {
            case.tombstones.floors.insert(case.claims.source_vm, 3);
        }),
        ("the peer removed", |case| {
            case.tombstones.hosts.insert(case.offerer.id);
        }),
    ];
    for (what, change) in changes {
        let (kernel, mut case) = (Fake::default(), good());
        let mut ledger = running(&kernel, &case, 1);
        admit(&mut ledger, &case).unwrap();
        change(&mut case);
        ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
        assert!(kernel.0.borrow().incoming.is_empty(), "{what}");
    }
}

#[test]
fn a_taps_pairs_go_before_its_row() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    admit(&mut ledger, &case).unwrap();
    kernel.0.borrow_mut().log.clear();
    ledger.vacate(TAP, NOW).unwrap();
    assert_eq!(
        kernel.0.borrow().log,
        ["remove_in", "quiesce", "remove_tap", "quiesce", "drop_flows"]
    );
}

#[test]
fn a_new_agent_waits_again_for_what_a_killed_one_may_not_have_waited_for() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    admit(&mut ledger, &case).unwrap();
    // Killed between the removal and the waits.
    case.tombstones.pairs.insert(case.claims.pair_id);
    ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
    kernel.0.borrow_mut().log.clear();
    let mut ledger = Ledger::read(kernel.clone(), NOW).unwrap();
    ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
    assert_eq!(kernel.0.borrow().log, ["quiesce"]);
    let (_, removals) = ledger.removals().unwrap();
    assert_eq!(
        removals.taps.into_keys().collect::<Vec<_>>(),
        [TAP],
        "its queue may not be drained"
    );
}

#[test]
fn an_expired_entry_lingers_to_be_counted_and_then_goes_with_its_way() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    admit(&mut ledger, &case).unwrap();
    let end = NOW.after(Duration::from_secs(3600));
    ledger.sweep(end.after(LINGER - Duration::from_secs(1))).unwrap();
    assert_eq!(kernel.0.borrow().incoming.len(), 1);
    ledger.sweep(end.after(LINGER)).unwrap();
    assert!(kernel.0.borrow().incoming.is_empty());
    assert!(!kernel.0.borrow().unsettled);
}

#[test]
fn a_peer_at_its_quota_is_refused_and_another_is_not() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    for pair in 0..PAIRS_PER_PEER {
        case.claims.pair_id = 100 + pair as u64;
        admit(&mut ledger, &case).unwrap();
    }
    case.claims.pair_id = 1;
    assert_eq!(admit(&mut ledger, &case), Err(Refusal::Quota));
    case.claims.source_host = [192, 0, 2, 3].into();
    case.offerer.address = Some(case.claims.source_host);
    assert!(admit(&mut ledger, &case).is_ok());
}

#[test]
fn a_write_that_fails_opens_nothing_and_is_told_as_internal() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    kernel.0.borrow_mut().fails = Some(("open_in", 0));
    assert_eq!(admit(&mut ledger, &case), Err(Refusal::Internal));
    assert_eq!(ledger.book().incoming_len(), 0);
    kernel.0.borrow_mut().fails = None;
    assert!(admit(&mut ledger, &case).is_ok());
}

/// The sending side: the guest is the source of the token that the registry gave.
fn sender() -> (Case, CarriedPairCase) {
    let mut case = good();
    case.guest.id = case.claims.source_vm;
    case.guest.generation = case.claims.source_generation;
    case.guest.addresses = vec![own("10.77.0.11", 24)];
    (case, || join(&minted(), 5, 6, 1450).unwrap())
}

type CarriedPairCase = fn() -> crate::present::CarriedPair;

#[test]
fn a_carried_pair_is_written_with_the_smallest_mtu_of_the_way() {
    let (kernel, (mut case, pair)) = (Fake::default(), sender());
    case.guest.mtu = 1500;
    let mut ledger = running(&kernel, &case, 1);
    ledger.carry(&pair(), WAY, NOW).unwrap();
    let narrow = Way { mtu: 1400, ..WAY };
    let entry = |kernel: &Fake| *kernel.0.borrow().outgoing.values().next().unwrap();
    assert_eq!(entry(&kernel).mtu, 1450);
    ledger.carry(&pair(), narrow, NOW).unwrap();
    assert_eq!(entry(&kernel).mtu, 1400);
    assert_eq!(kernel.0.borrow().outgoing.len(), 1);
}

#[test]
fn a_carried_pair_is_refused_for_whatever_died_since_it_was_asked_for() {
    type Change = fn(&mut Case);
    let changes: [(Refusal, Change); 6] = [
        (Refusal::DeadPair, |case| {
            case.tombstones.pairs.insert(case.claims.pair_id);
        }),
        (Refusal::DeadGeneration, |case| {
            case.tombstones.floors.insert(case.claims.destination_vm, 4);
        }),
        (Refusal::DeadGeneration, |case| {
            case.tombstones.floors.insert(case.claims.source_vm, 3);
        }),
        (Refusal::DeadHost, |case| {
            case.tombstones.hosts.insert(uuid::Uuid::from_bytes([2; 16]));
        }),
        (Refusal::Generation, |case| case.guest.generation += 1),
        (Refusal::NotHere, |case| {
            case.guest.id = uuid::Uuid::from_u128(0xc)
        }),
    ];
    for (refusal, change) in changes {
        let (kernel, (mut case, pair)) = (Fake::default(), sender());
        change(&mut case);
        let mut ledger = running(&kernel, &case, 1);
        let error = ledger.carry(&pair(), WAY, NOW).unwrap_err();
        assert!(
            matches!(error, OpenError::Refused(why) if why == refusal),
            "{error}"
        );
        assert!(kernel.0.borrow().outgoing.is_empty() && kernel.0.borrow().hops.is_empty());
    }
}

#[test]
fn a_way_that_no_pair_uses_is_removed() {
    let (kernel, (mut case, pair)) = (Fake::default(), sender());
    let mut ledger = running(&kernel, &case, 1);
    ledger.carry(&pair(), WAY, NOW).unwrap();
    ledger.sweep(NOW).unwrap();
    assert_eq!(kernel.0.borrow().hops.len(), 1);
    case.tombstones.pairs.insert(case.claims.pair_id);
    apply(&mut ledger, &case, 2);
    ledger.sweep(NOW).unwrap();
    assert!(kernel.0.borrow().hops.is_empty());
}
