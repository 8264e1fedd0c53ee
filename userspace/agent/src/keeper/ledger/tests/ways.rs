//! What a change of routes or of the uplink does to pairs that are open.

use super::*;

fn gateway(last: u8) -> NextHop {
    let mut hop = WAY.hop;
    hop.neighbour[15] = last;
    hop
}

fn peer(kernel: &Fake) -> [u8; 16] {
    kernel.0.borrow().outgoing.values().next().unwrap().dst_host
}

fn carried() -> (Fake, Ledger<Fake>) {
    let (kernel, (case, pair)) = (Fake::default(), sender());
    let mut ledger = running(&kernel, &case, 1);
    ledger.carry(&pair(), WAY, NOW).unwrap();
    (kernel, ledger)
}

#[test]
fn a_live_pair_goes_by_the_new_gateway_and_by_none_while_there_is_none() {
    let (kernel, mut ledger) = carried();
    let host = peer(&kernel);
    assert_eq!(ledger.hosts(), [host].into());
    ledger.lead(&[(host, Some(gateway(9)))].into(), WAY.mtu).unwrap();
    assert_eq!(kernel.0.borrow().hops[&host], gateway(9));

    ledger.lead(&[(host, None)].into(), WAY.mtu).unwrap();
    assert!(
        kernel.0.borrow().hops.is_empty(),
        "packets go to a gateway that may be somebody else's now"
    );
    assert!(!kernel.0.borrow().unsettled);
    assert_eq!(
        ledger.book().outgoing_len(),
        1,
        "the pair itself is as good as before"
    );

    ledger.lead(&[(host, Some(gateway(1)))].into(), WAY.mtu).unwrap();
    assert_eq!(kernel.0.borrow().hops[&host], gateway(1));
}

#[test]
fn a_host_that_no_pair_leads_to_any_more_gets_no_way() {
    let (kernel, mut ledger) = carried();
    let other = [7; 16];
    ledger.lead(&[(other, Some(gateway(9)))].into(), WAY.mtu).unwrap();
    assert!(!kernel.0.borrow().hops.contains_key(&other));
}

#[test]
fn packets_become_smaller_with_the_uplink_and_not_larger_before_the_next_token() {
    let (kernel, mut ledger) = carried();
    let host = peer(&kernel);
    let ways = [(host, Some(WAY.hop))].into();
    let mtu = || kernel.0.borrow().outgoing.values().next().unwrap().mtu;
    let before = mtu();
    ledger.lead(&ways, before - 100).unwrap();
    assert_eq!(
        mtu(),
        before - 100,
        "packets that do not fit are lost without a word"
    );
    ledger.lead(&ways, before + 100).unwrap();
    assert_eq!(mtu(), before - 100, "the receiver may take no more than that");
}

#[test]
fn a_way_that_cannot_be_written_is_tried_again_with_the_next_look() {
    let (kernel, mut ledger) = carried();
    let ways = [(peer(&kernel), Some(gateway(9)))].into();
    kernel.0.borrow_mut().fails = Some(("set_next_hop", 0));
    assert!(ledger.lead(&ways, WAY.mtu).is_err());
    kernel.0.borrow_mut().fails = None;
    ledger.lead(&ways, WAY.mtu).unwrap();
    assert_eq!(kernel.0.borrow().hops[&peer(&kernel)], gateway(9));
}
