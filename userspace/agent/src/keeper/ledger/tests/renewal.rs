//! What use, and the lack of it, does to a ledger's entries.

use super::*;
use crate::request::mint::tests::minted_until;

fn key() -> OutKey {
    OutKey {
        tap: TAP,
        source: pairgate_token::address_bytes([10, 77, 0, 11].into()),
        destination: pairgate_token::address_bytes([10, 77, 0, 21].into()),
    }
}

/// What the program does when a packet passes.
fn send(kernel: &Fake, at: BootTime) {
    kernel.0.borrow_mut().outgoing.get_mut(&key()).unwrap().used_ns = at.nanos();
}

fn out(kernel: &Fake) -> pairgate_abi::OutEntry {
    kernel.0.borrow().outgoing[&key()]
}

#[test]
fn a_pair_in_use_asks_for_a_token_and_stays_as_it_is_until_it_is_there() {
    let (kernel, (case, pair)) = (Fake::default(), sender());
    let mut ledger = running(&kernel, &case, 1);
    ledger.carry(&pair(), WAY, NOW).unwrap();
    assert_eq!(ledger.look(NOW).unwrap(), []);
    let later = NOW.after(Duration::from_secs(3600 * 6 / 10));
    send(&kernel, later);
    let before = out(&kernel);
    assert_eq!(ledger.look(later).unwrap(), [key()]);
    assert_eq!(out(&kernel), before);
    assert_eq!(ledger.look(later).unwrap(), [], "one try at a time");
    let again = later.after(Duration::from_secs(60));
    assert_eq!(ledger.look(again).unwrap(), [key()], "it did not come");

    let newer = join(&minted_until(3600 + 2160), 8, 9, 1450).unwrap();
    ledger.carry(&newer, WAY, again).unwrap();
    let after = out(&kernel);
    assert_ne!(after.handle, before.handle);
    assert!(after.deadline_ns > before.deadline_ns);
    send(&kernel, again);
    assert_eq!(ledger.look(again).unwrap(), [], "it is new");
}

#[test]
fn a_late_answer_never_takes_the_place_of_a_newer_token() {
    let (kernel, (case, pair)) = (Fake::default(), sender());
    let mut ledger = running(&kernel, &case, 1);
    let newer = join(&minted_until(5000), 8, 9, 1450).unwrap();
    ledger.carry(&newer, WAY, NOW).unwrap();
    let before = out(&kernel);
    ledger.carry(&pair(), WAY, NOW).unwrap();
    assert_eq!(out(&kernel), before);
}

#[test]
fn a_pair_offered_again_keeps_its_end_and_what_was_due() {
    let (kernel, (case, pair)) = (Fake::default(), sender());
    let mut ledger = running(&kernel, &case, 1);
    ledger.carry(&pair(), WAY, NOW).unwrap();
    let end = out(&kernel).deadline_ns;
    let later = NOW.after(Duration::from_secs(200));
    let elsewhere = join(&minted(), 11, 12, 1450).unwrap();
    ledger.carry(&elsewhere, WAY, later).unwrap();
    assert_eq!(out(&kernel).deadline_ns, end);
    assert_eq!(out(&kernel).handle, elsewhere.handle());
    // Unused since its opening, whatever was offered in between.
    ledger.look(NOW.after(Duration::from_secs(300))).unwrap();
    assert!(kernel.0.borrow().outgoing.is_empty());
}

#[test]
fn an_unused_pair_goes_on_both_sides_and_its_handle_rests() {
    let (kernel, case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    ledger.set_idle(Duration::from_secs(10));
    let handle = admit(&mut ledger, &case).unwrap();
    ledger.look(NOW.after(Duration::from_secs(11))).unwrap();
    assert!(ledger.book().holds(handle), "its sender may still send");
    ledger.look(NOW.after(Duration::from_secs(14))).unwrap();
    assert!(kernel.0.borrow().incoming.is_empty() && !kernel.0.borrow().unsettled);
    assert!(ledger.resting.contains_key(&handle));
    // What a receipt counts is what a goal state ended.
    assert_eq!(ledger.removals().unwrap().1.entries, 0);

    let (kernel, (case, pair)) = (Fake::default(), sender());
    let mut ledger = running(&kernel, &case, 1);
    ledger.set_idle(Duration::from_secs(10));
    ledger.carry(&pair(), WAY, NOW).unwrap();
    ledger.look(NOW.after(Duration::from_secs(6))).unwrap();
    send(&kernel, NOW.after(Duration::from_secs(8)));
    ledger.look(NOW.after(Duration::from_secs(17))).unwrap();
    assert_eq!(kernel.0.borrow().outgoing.len(), 1, "used 9 s ago");
    ledger.look(NOW.after(Duration::from_secs(18))).unwrap();
    assert!(kernel.0.borrow().outgoing.is_empty());
}

#[test]
fn of_two_tokens_that_end_together_both_handles_live() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    let one = admit(&mut ledger, &case).unwrap();
    // Minted in the same second, in answer to the other end's question.
    case.claims.not_before_unix_secs -= 1;
    let other = admit(&mut ledger, &case).unwrap();
    assert_ne!(one, other);
    let kernel = kernel.0.borrow();
    let end = |handle| kernel.incoming[&handle].deadline_ns;
    assert_eq!(end(one), end(other));
}

#[test]
fn a_peer_at_its_quota_can_still_renew() {
    let (kernel, mut case) = (Fake::default(), good());
    let mut ledger = running(&kernel, &case, 1);
    for pair in 0..PAIRS_PER_PEER {
        case.claims.pair_id = 100 + pair as u64;
        admit(&mut ledger, &case).unwrap();
    }
    assert!(admit(&mut ledger, &later(&case, 60)).is_ok());
}
