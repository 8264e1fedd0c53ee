//! Our outer header: which frames on the uplink are ours, and what our own say.

use crate::honest::{
    ENTRY_OUT, HOST, NOW, PEER_HOST, SETTINGS, TAP, carried, from_guest, from_peer, over_ipv6, with, wrapping,
};
use pairgate_abi::{DropReason, Handle, OutEntry, Settings};
use pairgate_packet::{
    Bytes, Metadata, Packet,
    address::{Address, wide},
    ip::Family,
    outer, pair, receiver,
    sender::{self, Said},
};

fn packet() -> Packet {
    let Ok(Said::Packet(packet)) = sender::check(&Bytes(&from_guest()), &Metadata::PLAIN, &TAP) else {
        panic!("not a packet");
    };
    packet
}

fn is_ours(frame: &[u8], settings: &Settings, underlay: Family) -> bool {
    outer::ours(&Bytes(frame), settings, underlay).is_some()
}

/// One thing after the other is wrong. Wrong if one is taken: a frame of the host's own would die here, or a stranger's
/// would be judged by bytes that are not where they are looked for.
#[test]
fn ours_is_what_our_programs_send_and_nothing_else() {
    let (over_ipv6, _, _) = over_ipv6();
    for (underlay, settings, udp) in [(Family::V4, SETTINGS, 34), (Family::V6, over_ipv6, 54)] {
        let sound = carried(&settings, b"inside");
        let length = sound.len();
        let other = if underlay == Family::V4 {
            Family::V6
        } else {
            Family::V4
        };
        assert!(is_ours(&sound, &settings, underlay));
        assert!(!is_ours(&sound, &settings, other), "of the other family");
        let changed = |at: usize, by: u8| {
            let byte = sound[at] ^ by;
            with(sound.clone(), at, &[byte])
        };
        let (own, let_be) = match underlay {
            Family::V4 => (
                vec![
                    ("a header with options", changed(14, 0x03)),
                    ("another version", changed(14, 0x20)),
                    ("a longer packet", changed(17, 1)),
                    ("much longer", changed(16, 1)),
                    ("a first fragment", changed(20, 0x20)),
                    ("a later fragment", changed(21, 1)),
                    ("a late fragment", changed(20, 0x10)),
                    ("TCP", with(sound.clone(), 23, &[6])),
                    ("for another host", changed(33, 1)),
                    ("for another network", changed(30, 1)),
                ],
                vec![
                    ("traffic class", 15),
                    ("identification", 18),
                    ("time to live", 22),
                ],
            ),
            Family::V6 => (
                vec![
                    ("another version", changed(14, 0x20)),
                    ("a longer packet", changed(19, 1)),
                    ("much longer", changed(18, 1)),
                    ("options in front", with(sound.clone(), 20, &[0])),
                    ("TCP", with(sound.clone(), 20, &[6])),
                    ("for another host", changed(53, 1)),
                    ("for another network", changed(38, 1)),
                ],
                vec![("flow label", 16), ("hop limit", 21)],
            ),
        };
        let same = [
            ("another ethertype", changed(13, 1)),
            ("another port", changed(udp + 3, 1)),
            ("a port far away", changed(udp + 2, 1)),
            ("a longer datagram", changed(udp + 5, 1)),
            ("a much longer one", changed(udp + 4, 1)),
            ("VXLAN without a handle", changed(udp + 8, 0x08)),
            ("VXLAN as others use it", changed(udp + 8, 0x80)),
            ("a reserved flag", changed(udp + 9, 0x40)),
            ("a reserved byte", changed(udp + 15, 1)),
            ("a byte behind it", [&sound[..], &[0]].concat()),
            ("a byte too few", sound[..length - 1].to_vec()),
            ("cut within VXLAN", sound[..udp + 15].to_vec()),
            ("cut within UDP", sound[..udp + 7].to_vec()),
            ("cut within IP", sound[..udp - 1].to_vec()),
            ("cut within Ethernet", sound[..13].to_vec()),
        ];
        for (what, frame) in own.into_iter().chain(same) {
            assert!(!is_ours(&frame, &settings, underlay), "{underlay:?}: {what}");
        }
        let both = [
            ("port of the flow", udp + 1),
            ("network", udp + 12),
            ("group", udp + 10),
        ];
        for (what, at) in let_be.into_iter().chain(both) {
            assert!(
                is_ours(&changed(at, 1), &settings, underlay),
                "{underlay:?}: {what}"
            );
        }
        let judged =
            |frame: &[u8]| receiver::check_form(&outer::ours(&Bytes(frame), &settings, underlay).unwrap());
        assert_eq!(judged(&sound), Ok(()));
        for at in [udp + 6, udp + 7] {
            assert_eq!(judged(&changed(at, 1)), Err(DropReason::Outer), "a checksum");
        }
    }
    assert!(is_ours(&from_peer(), &SETTINGS, Family::V4));
}

#[test]
fn what_is_read_of_the_outer_header_is_what_stands_there() {
    let said = outer::ours(&Bytes(&from_peer()), &SETTINGS, Family::V4).unwrap();
    assert_eq!(said.source, Address::of(&wide(PEER_HOST)));
    assert_eq!(said.destination, Address::of(&wide(HOST)));
    assert_eq!(said.flow_port, 50_000_u16.to_be_bytes());
    assert_eq!(said.handle, Handle::from_wire([1, 2, 3], [4, 5]));
}

/// Wrong if it fails: an underlay would drop the frames between hosts whose addresses happen to sum up to a second carry.
#[test]
fn the_outer_checksum_is_right_for_every_end_of_an_address() {
    for last in 0..=u16::MAX {
        let [third, fourth] = last.to_be_bytes();
        let entry = OutEntry {
            dst_host: wide([192, 0, third, fourth]),
            ..ENTRY_OUT
        };
        let header = wrapping(&packet(), &entry).unwrap();
        let words = header[..20].as_chunks::<2>().0.iter();
        let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff, "{last:#x}");
    }
}

/// At its MTU a packet passes, one byte larger it does not.
#[test]
fn a_pair_takes_packets_up_to_its_mtu() {
    let packet = packet();
    let largest = u16::try_from(packet.largest).unwrap();
    for (mtu, expected) in [
        (largest + 1, Ok(())),
        (largest, Ok(())),
        (largest - 1, Err(DropReason::TooBig)),
    ] {
        let entry = OutEntry { mtu, ..ENTRY_OUT };
        let judged = pair::check(&TAP, &packet, Some(&entry), NOW + 1, NOW).map(drop);
        assert_eq!(judged, expected, "{mtu}");
    }
}

/// Programs have this many bytes of a guest's frame at hand: its headers, an ICMP error's, and those of the packet that it
/// is about.
#[test]
fn as_much_of_a_guests_frame_is_at_hand_as_is_judged() {
    assert_eq!(sender::READ, 14 + 40 + 8 + 40 + 8);
}

/// What spreads flows over links, queues and cells, as it was when the spread was measured. Whoever changes the function
/// changes these numbers, and looks at the spread again.
#[test]
fn flows_are_spread_as_they_were_measured() {
    let port = |ports: ([u8; 2], [u8; 2]), protocol| {
        let mut packet = packet();
        (packet.ports.source, packet.ports.destination) = ports;
        packet.protocol = protocol;
        outer::flow_port(&packet)
    };
    let ports = [
        port(([0, 0], [0, 0]), 0),
        port(([0x12, 0x34], [0x56, 0x78]), 6),
        port(([0x12, 0x34], [0x56, 0x78]), 17),
        port(([0xff, 0xff], [0xff, 0xff]), 255),
    ];
    let six = outer::flow_port(&Packet {
        family: Family::V6,
        source: Address::of(&[0xa5; 16]),
        destination: Address::of(&[
            0x3c, 0xf1, 0x6b, 0x87, 0xd2, 0x4e, 0x99, 0x5a, 1, 2, 3, 4, 5, 6, 7, 8,
        ]),
        ..packet()
    });
    let cell = |port, vni, group| {
        outer::big_cell(&outer::Outer {
            source: Address::NONE,
            destination: Address::NONE,
            flow_port: port,
            checksum_is_zero: true,
            handle: Handle::from_wire(vni, group),
        })
    };
    let cells = [
        cell([0xc0, 0], [0, 0, 1], [0, 1]),
        cell([0xff, 0xff], [0xff, 0xff, 0xfe], [0xff, 0xfe]),
        cell([0xde, 0xad], [1, 2, 3], [4, 5]),
        cell([0xde, 0xae], [1, 2, 3], [4, 5]),
    ];
    assert_eq!(ports, [53_746, 53_494, 57_467, 54_562]);
    assert_eq!(six, 51_245);
    assert_eq!(cells, [11_682, 2_965, 1_919, 7_290]);
}
