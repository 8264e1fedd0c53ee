//! What the maps' keys, counters' places and events are made of: numbers that the agent reads back.

use crate::honest::{ALL, ENTRY_OUT, HOST, PEER_HOST, SETTINGS, TAP, carries, from_guest, over_ipv6};
use pairgate_abi::{
    CARRIES_ALL_NOTED, CARRIES_GRANTS, CARRIES_REPLIES, DROP_REASONS, Direction, DropReason, EVENT_EXPIRED,
    EVENT_MISS, EVENT_UNKNOWN_HANDLE, Handle, OutEntry,
    limits::{BIG_CELLS, BIG_NS, FLOW_OTHER_NS, FLOW_TCP_NS, SLOTS},
};
use pairgate_packet::{
    Bytes, Metadata, Packet,
    address::{Address, wide},
    grant::{self, Admission, Note},
    ip::Family,
    outer::{self, Outer},
    pair, receiver,
    sender::{self, Said},
};

fn packet() -> Packet {
    match sender::check(&Bytes(&from_guest()), &Metadata::PLAIN, &TAP) {
        Ok(Said::Packet(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

fn outer() -> Outer {
    Outer {
        source: Address::of(&wide(PEER_HOST)),
        destination: Address::of(&wide(HOST)),
        flow_port: [0xc0, 1],
        checksum_is_zero: true,
        handle: Handle::from_wire([1, 2, 3], [4, 5]),
    }
}

/// Wrong if false: a guest's drops would be counted as another's.
#[test]
fn every_counter_has_a_place_of_its_own() {
    let ways = Direction::ALL;
    assert_eq!(ways.len() as u32, Direction::COUNT);
    let mut places = std::collections::BTreeSet::new();
    for slot in [0, 1, SLOTS - 1] {
        for way in ways {
            for reason in DROP_REASONS {
                assert!(places.insert(pairgate_abi::drop_index(slot, way, *reason)));
                assert!(!reason.word().is_empty() && !reason.meaning().is_empty());
            }
            let beyond = pairgate_abi::count_index(SLOTS, way);
            assert_eq!(beyond, pairgate_abi::count_index(0, way), "a slot out of range");
        }
    }
    assert_eq!(
        ways.map(Direction::word),
        ["from_tap", "from_uplink", "to_tap", "from_vxlan", "xdp_uplink"]
    );
}

#[test]
fn neither_part_of_a_handle_is_all_zeros_or_all_ones() {
    for (vni, group) in [
        (0, 1),
        (0xff_ffff, 1),
        (0x100_0000, 1),
        (1, 0),
        (1, 0xffff),
        (1, 0x1_0000),
    ] {
        assert_eq!(Handle::new(vni, group), None, "{vni} {group}");
    }
    for (vni, group) in [(1, 1), (0xff_fffe, 0xfffe), (0x01_02_03, 0x04_05)] {
        let handle = Handle::new(vni, group).unwrap();
        assert_eq!((handle.vni_number(), handle.group_number()), (vni, group));
    }
    assert_eq!(Handle::new(0x01_02_03, 0x04_05), Some(outer().handle));
}

#[test]
fn a_pair_is_looked_up_and_missed_under_the_packets_own_addresses() {
    let key = pair::key(7, &packet());
    assert_eq!(
        (key.tap, key.source, key.destination),
        (7, packet().source.bytes(), packet().destination.bytes())
    );
    let event = pair::event(EVENT_MISS, &key, 9);
    assert_eq!((event.kind, event.tap, event.at_ns), (EVENT_MISS, 7, 9));
    assert_eq!((event.source, event.destination), (key.source, key.destination));
    for reason in DROP_REASONS {
        let expected = match reason {
            DropReason::NoPair => Some(EVENT_MISS),
            DropReason::Expired => Some(EVENT_EXPIRED),
            _ => None,
        };
        assert_eq!(pair::event_kind(*reason), expected, "{reason:?}");
        let unknown = receiver::event(*reason, &outer(), 9);
        assert_eq!(unknown.is_some(), *reason == DropReason::Handle, "{reason:?}");
    }
    let event = receiver::event(DropReason::Handle, &outer(), 9).unwrap();
    assert_eq!((event.kind, event.tap, event.at_ns), (EVENT_UNKNOWN_HANDLE, 0, 9));
    assert_eq!((event.source, event.destination), (wide(PEER_HOST), wide(HOST)));
    assert_eq!(event.handle, outer().handle);
}

/// Wrong if false: an answer would find no question, or another's.
#[test]
fn an_answer_is_looked_up_as_its_question_was_noted() {
    let there = packet();
    let mut back = there;
    (back.source, back.destination) = (there.destination, there.source);
    (back.ports.source, back.ports.destination) = (there.ports.destination, there.ports.source);
    assert_eq!(grant::opened(&there), grant::answered(&back));
    assert_ne!(grant::opened(&there), grant::answered(&there));
    assert_eq!(grant::opened(&there).own, there.source.bytes());
    for (protocol, life) in [(6, FLOW_TCP_NS), (17, FLOW_OTHER_NS), (1, FLOW_OTHER_NS)] {
        assert!(grant::is_live(protocol, 5, 5 + life - 1), "{protocol}");
        assert!(!grant::is_live(protocol, 5, 5 + life), "{protocol}");
    }
}

#[test]
fn what_a_pair_carries_is_judged_by_its_kind_and_its_entries() {
    // The packet goes from port 40 000 to port 53 of UDP.
    let there = carries(CARRIES_GRANTS, &[(6, 53, 53), (17, 50, 53)]);
    let back = carries(CARRIES_GRANTS, &[(17, 40_000, 40_001)]);
    let other = carries(CARRIES_GRANTS, &[(17, 54, 39_999), (6, 0, 65_535)]);
    let of = |kind| carries(kind, &[]);
    let (opened, nothing) = (Ok(Note::Opened), Ok(Note::Nothing));
    let (granted, if_answer) = (Ok(Admission::Granted), Ok(Admission::IfAnswer));
    let refused = (Err(DropReason::Grant), Err(DropReason::Grant));
    for (what, carries, expected) in [
        ("everything", ALL, (nothing, granted)),
        ("everything, noted", of(CARRIES_ALL_NOTED), (opened, granted)),
        ("replies", of(CARRIES_REPLIES), (nothing, if_answer)),
        ("its port", there, (opened, granted)),
        ("the port it comes from", back, (nothing, if_answer)),
        ("other ports", other, (Err(DropReason::Grant), if_answer)),
        ("no kind", of(0), refused),
        ("an unknown kind", of(5), refused),
    ] {
        let said = (
            grant::sends(&carries, &packet()),
            grant::receives(&carries, &packet()),
        );
        assert_eq!(said, expected, "{what}");
    }
}

#[test]
fn a_flow_goes_big_for_a_while_after_a_big_packet() {
    assert!(receiver::goes_big(true, 0, u64::MAX));
    assert!(receiver::goes_big(false, 5, 5 + BIG_NS - 1));
    assert!(!receiver::goes_big(false, 5, 5 + BIG_NS));
    let cells: std::collections::BTreeSet<_> = (0..=255)
        .map(|port| {
            outer::big_cell(&Outer {
                flow_port: [0xc0, port],
                ..outer()
            })
        })
        .collect();
    assert!(cells.iter().all(|cell| *cell < BIG_CELLS));
    assert!(
        cells.len() > 240,
        "flows of one handle share {} cells",
        cells.len()
    );
}

/// Wrong if it fails: a tap's MTU, and what is read of a frame, would be counted from another place.
#[test]
fn our_headers_are_as_long_as_they_are() {
    for (family, length, inner_at) in [
        (Family::V4, outer::LENGTH_V4, 50),
        (Family::V6, outer::LENGTH_V6, 70),
    ] {
        assert_eq!((outer::length(family), length), (inner_at, inner_at));
        assert_eq!(outer::inner_at(family), inner_at);
        // The inner Ethernet and IPv6 headers, an error's header, and the headers of the packet that it is about.
        assert_eq!(receiver::read(inner_at), inner_at + 14 + 40 + 8 + 48);
    }
}

#[test]
fn an_entry_of_the_other_underlay_makes_no_header() {
    let (_, over_ipv6, _) = over_ipv6();
    for (one, other) in [
        (ENTRY_OUT.src_host, over_ipv6.dst_host),
        (over_ipv6.src_host, ENTRY_OUT.dst_host),
    ] {
        let mixed = OutEntry {
            src_host: one,
            dst_host: other,
            ..ENTRY_OUT
        };
        let internal = Err(DropReason::Internal);
        assert_eq!(
            outer::header_v4(&packet(), &mixed, &mut [0; outer::LENGTH_V4]),
            internal
        );
        assert_eq!(
            outer::header_v6(&packet(), &mixed, &mut [0; outer::LENGTH_V6]),
            internal
        );
    }
    let internal = Err(DropReason::Internal);
    assert_eq!(
        outer::header_v6(&packet(), &ENTRY_OUT, &mut [0; outer::LENGTH_V6]),
        internal
    );
    assert_eq!(
        outer::header_v4(&packet(), &over_ipv6, &mut [0; outer::LENGTH_V4]),
        internal
    );
}

#[test]
fn what_ends_before_an_overlay_header_is_the_hosts_own() {
    let short = crate::honest::udp(([2; 6], [4; 6]), (PEER_HOST, HOST), (50_000, 4789), &[0x88; 7]);
    assert_eq!(outer::ours(&Bytes(&short), &SETTINGS, Family::V4), None);
}
