//! What comes under a handle: from whom, for whom, and nothing behind it.

use crate::honest::{
    ENTRY_IN, GUEST, GUEST6, NOW, PEER, PEER_HOST, PEER6, SETTINGS, carried, for_ipv6, from_guest6,
    from_peer, judge_tap, judge_uplink, solicitation, udp, udp6, with,
};
use pairgate_abi::{DropReason, InEntry};
use pairgate_packet::{Metadata, address::wide};

const MACS: ([u8; 6], [u8; 6]) = ([0xaa; 6], [0xbb; 6]);

fn judged(frame: &[u8], entry: &InEntry) -> Result<(), DropReason> {
    judge_uplink(frame, Metadata::PLAIN, Some(entry), NOW + 1).map(|said| assert!(said.is_some(), "not ours"))
}

#[test]
fn a_handle_is_good_between_its_two_hosts_alone() {
    assert_eq!(judged(&from_peer(), &ENTRY_IN), Ok(()));
    let elsewhere = wide([192, 0, 2, 77]);
    for (what, entry) in [
        (
            "from another host",
            InEntry {
                src_host: elsewhere,
                ..ENTRY_IN
            },
        ),
        (
            "to another of our addresses",
            InEntry {
                dst_host: elsewhere,
                ..ENTRY_IN
            },
        ),
    ] {
        assert_eq!(judged(&from_peer(), &entry), Err(DropReason::Outer), "{what}");
    }
    assert_ne!(PEER_HOST, [192, 0, 2, 77]);
}

#[test]
fn a_packet_is_the_one_that_its_handle_is_for_and_whole() {
    let inner = Err(DropReason::Inner);
    let four = || udp(MACS, (PEER, GUEST), (53, 40_000), b"hello");
    let six = || udp6(MACS, (PEER6, GUEST6), (53, 40_000), b"hello");
    let for_six = for_ipv6(ENTRY_IN);
    let mut asks = with(solicitation(PEER6), 22, &PEER6);
    asks = with(asks, 38, &GUEST6);
    for (what, frame, entry, expected) in [
        ("IPv4", four(), &ENTRY_IN, Ok(())),
        ("IPv6", six(), &for_six, Ok(())),
        ("IPv4 under the handle of IPv6", four(), &for_six, inner),
        ("IPv6 under the handle of IPv4", six(), &ENTRY_IN, inner),
        ("a byte behind it", [four(), vec![0]].concat(), &ENTRY_IN, inner),
        (
            "a byte behind it over IPv6",
            [six(), vec![0]].concat(),
            &for_six,
            inner,
        ),
        ("from another guest", with(four(), 26, &GUEST), &ENTRY_IN, inner),
        ("for another guest", with(four(), 30, &PEER), &ENTRY_IN, inner),
        ("a fragment", with(four(), 20, &[0x20]), &ENTRY_IN, inner),
        ("with options", with(four(), 14, &[0x46]), &ENTRY_IN, inner),
        ("neighbour discovery", asks, &for_six, inner),
        ("of no family", with(four(), 12, &[8, 6]), &ENTRY_IN, inner),
    ] {
        assert_eq!(judged(&carried(&SETTINGS, &frame), entry), expected, "{what}");
    }
}

/// In the maps' form an IPv4 address is an address like others: on the wire it must not be one.
#[test]
fn no_ipv6_packet_has_an_ipv4_address_in_it() {
    let bad = Err(DropReason::BadHeader);
    for (what, frame) in [
        ("its source", with(from_guest6(), 22, &wide(GUEST))),
        ("its destination", with(from_guest6(), 38, &wide(PEER))),
        ("another version", with(from_guest6(), 14, &[0x40])),
    ] {
        let got = judge_tap(&frame, Metadata::PLAIN, None, NOW + 1).map(drop);
        assert_eq!(got, bad, "{what}");
    }
}
