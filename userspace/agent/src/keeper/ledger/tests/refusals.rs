//! Refusals that the kernel remembers.

use super::*;
use crate::keeper::{
    Memory,
    limits::{REFUSAL_LIFE, REFUSALS_PER_TAP},
};

fn to(tap: u32, last: u8) -> OutKey {
    OutKey {
        tap,
        source: [1; 16],
        destination: [last; 16],
    }
}

fn refused(kernel: &Fake) -> usize {
    kernel.0.borrow().refused.len()
}

#[test]
fn a_refusal_stands_for_five_seconds() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    assert_eq!(ledger.refuse(to(TAP, 1), Some(1), NOW).unwrap(), Memory::Kept);
    let end = kernel.0.borrow().refused[&to(TAP, 1)];
    assert_eq!(NOW.until(end), REFUSAL_LIFE);
    ledger.sweep(NOW.after(REFUSAL_LIFE / 2)).unwrap();
    assert_eq!(refused(&kernel), 1);
    ledger.sweep(NOW.after(REFUSAL_LIFE)).unwrap();
    assert_eq!(refused(&kernel), 0);
}

#[test]
fn a_newer_revision_forgives_and_the_same_one_again_does_not() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    ledger.refuse(to(TAP, 1), Some(1), NOW).unwrap();
    apply(&mut ledger, &case, 1);
    assert_eq!(refused(&kernel), 1, "nothing has changed");
    apply(&mut ledger, &case, 2);
    assert_eq!(refused(&kernel), 0, "it may be allowed now");
}

#[test]
fn a_refusal_from_before_a_change_is_not_remembered() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 2);
    assert_eq!(ledger.refuse(to(TAP, 1), Some(1), NOW).unwrap(), Memory::Changed);
    assert_eq!(refused(&kernel), 0);
}

#[test]
fn a_guest_that_tries_every_address_fills_its_own_share() {
    let (kernel, case) = (Fake::default(), crate::admit::tests::good_local());
    let mut ledger = running(&kernel, &case, 1);
    for last in 0..REFUSALS_PER_TAP {
        assert_eq!(
            ledger.refuse(to(TAP, last as u8), Some(1), NOW).unwrap(),
            Memory::Kept
        );
    }
    assert_eq!(ledger.refuse(to(TAP, 200), Some(1), NOW).unwrap(), Memory::Full);
    assert_eq!(
        ledger.refuse(to(TAP, 0), Some(1), NOW).unwrap(),
        Memory::Kept,
        "known"
    );
    assert_eq!(
        ledger.refuse(to(OTHER_TAP, 0), Some(1), NOW).unwrap(),
        Memory::Kept
    );
    let later = NOW.after(REFUSAL_LIFE);
    assert_eq!(ledger.refuse(to(TAP, 200), Some(1), later).unwrap(), Memory::Kept);
}

#[test]
fn refusals_go_with_their_tap_and_with_the_agent() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    ledger.refuse(to(TAP, 1), Some(1), NOW).unwrap();
    ledger.vacate(TAP, NOW).unwrap();
    assert_eq!(refused(&kernel), 0);
    assert_eq!(ledger.refuse(to(TAP, 1), Some(1), NOW).unwrap(), Memory::Full);
    ledger.seat(&case.guest, TAP).unwrap().unwrap();
    ledger.refuse(to(TAP, 1), Some(1), NOW).unwrap();
    Ledger::read(kernel.clone(), NOW).unwrap();
    assert_eq!(refused(&kernel), 0, "nobody would forgive it");
}
