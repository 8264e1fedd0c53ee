//! Guests with several addresses: one pair id has an entry for each two of them.

use super::*;
use pairgate_token::address_bytes;

fn six(mut case: Case) -> Case {
    case.claims.source_address = "fd77::11".parse().unwrap();
    case.claims.destination_address = "fd77::21".parse().unwrap();
    case
}

#[test]
fn two_addresses_of_one_pair_have_handles_of_their_own() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let four = admit(&mut ledger, &case).unwrap();
    let full = kernel.0.borrow().incoming[&four].deadline_ns;
    let other = admit(&mut ledger, &later(&six(case.clone()), 60)).unwrap();
    assert_ne!(four, other);
    assert_eq!(
        kernel.0.borrow().incoming[&four].deadline_ns,
        full,
        "a newer token for other addresses takes nothing over"
    );
    case.tombstones.pairs.insert(case.claims.pair_id);
    apply(&mut ledger, &case, 2);
    assert!(kernel.0.borrow().incoming.is_empty(), "the pair ends whole");
}

#[test]
fn each_two_addresses_have_an_outgoing_entry() {
    let (kernel, (mut case, pair)) = (Fake::default(), sender());
    case.guest.addresses.push(own("fd77::11", 64));
    let mut ledger = running(&kernel, &case, 1);
    ledger.carry(&pair(), WAY, NOW).unwrap();
    let six = crate::present::tests::six();
    ledger.carry(&six, WAY, NOW).unwrap();
    assert_eq!(kernel.0.borrow().outgoing.len(), 2);
    case.guest.addresses.pop();
    ledger.take_up(Arc::new(case.goal(2)), NOW).unwrap();
    let left: Vec<_> = kernel.0.borrow().outgoing.keys().copied().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(
        left[0].source,
        address_bytes([10, 77, 0, 11].into()),
        "only the address that went took its entries along"
    );
}

#[test]
fn an_address_that_is_not_the_guests_opens_nothing() {
    let (kernel, mut case) = (Fake::default(), good());
    let before = six(case.clone()).decide().unwrap();
    case.guest.addresses.pop();
    let mut ledger = running(&kernel, &case, 1);
    assert_eq!(
        ledger.admit(&before, NOW).unwrap_err().refusal(),
        Refusal::NotHere
    );
}

#[test]
fn a_change_of_addresses_under_the_same_generation_reaches_the_programs() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let row = |kernel: &Fake| kernel.0.borrow().taps[&TAP];
    let before = row(&kernel);
    assert_eq!((before.count, &before.prefixes[..3]), (2, &[120, 64, 0][..]));
    assert_eq!(
        before.addresses[0],
        address_bytes([10, 77, 0, 21].into()),
        "IPv4 as a mapped address"
    );
    case.guest.addresses = vec![own("fd77::22", 64)];
    apply(&mut ledger, &case, 2);
    let after = row(&kernel);
    assert_eq!((after.count, after.slot), (1, before.slot));
    assert_eq!(
        after.addresses[1], [0; 16],
        "what went is not left behind the count"
    );
}
