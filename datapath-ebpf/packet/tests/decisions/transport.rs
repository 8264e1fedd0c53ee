//! What stands behind IP headers, and what the kernel would still do to it: whole or not, and whose.

use crate::honest::{
    ENTRY_IN, GUEST, GUEST_MAC, GUEST6, NOW, PEER, PEER6, SETTINGS, TAP, carried, datagram, judge_uplink,
    udp, with,
};
use etherparse::{IpNumber, PacketBuilder};
use pairgate_abi::{DropReason, GATEWAY_MAC, InEntry};
use pairgate_packet::{
    Bytes, Checksum, Gso, Metadata, Packet,
    ip::Family,
    sender::{self, Said},
};

const TCP: u8 = 6;
const SCTP: u8 = 132;
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A packet of the guest to its peer, of any protocol.
fn of(family: Family, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(GUEST_MAC, GATEWAY_MAC);
    let ip = match family {
        Family::V4 => ethernet.ipv4(GUEST, PEER, 64),
        Family::V6 => ethernet.ipv6(GUEST6, PEER6, 64),
    };
    let mut frame = Vec::new();
    ip.write(&mut frame, IpNumber(protocol), payload).unwrap();
    frame
}

/// A segment with so much behind its header of 20 bytes.
fn tcp(family: Family, payload: usize) -> Vec<u8> {
    let mut segment = vec![0; 20 + payload];
    segment[12] = 0x50;
    of(family, TCP, &segment)
}

fn at(family: Family) -> usize {
    if family == Family::V4 { 34 } else { 54 }
}

fn said(frame: &[u8], metadata: Metadata) -> Result<Packet, DropReason> {
    match sender::check(&Bytes(frame), &metadata, &TAP)? {
        Said::Packet(packet) => Ok(packet),
        other => panic!("no packet: {other:?}"),
    }
}

fn judged(frame: &[u8], metadata: Metadata) -> Result<(), DropReason> {
    said(frame, metadata).map(drop)
}

#[test]
fn a_transport_header_is_whole_or_the_packet_dies() {
    for family in FAMILIES {
        let (at, plain) = (at(family), Metadata::PLAIN);
        let ports = |from, to| datagram(family, true, (from, to), b"x");
        for (what, frame, expected) in [
            ("a segment", tcp(family, 0), Ok(())),
            (
                "nineteen bytes of TCP",
                of(family, TCP, &[0x50; 19]),
                Err(DropReason::TooShort),
            ),
            (
                "a TCP header of 16 bytes",
                with(tcp(family, 0), at + 12, &[0x40]),
                Err(DropReason::BadHeader),
            ),
            (
                "options as long as the rest",
                with(tcp(family, 4), at + 12, &[0x60]),
                Ok(()),
            ),
            (
                "options beyond it",
                with(tcp(family, 3), at + 12, &[0x60]),
                Err(DropReason::TooShort),
            ),
            ("SCTP", of(family, SCTP, &[7; 12]), Ok(())),
            (
                "eleven bytes of SCTP",
                of(family, SCTP, &[7; 11]),
                Err(DropReason::TooShort),
            ),
            ("UDP", of(family, 17, &[0, 1, 0, 2, 0, 8, 0, 0]), Ok(())),
            (
                "seven bytes of UDP",
                of(family, 17, &[0; 7]),
                Err(DropReason::TooShort),
            ),
            (
                "a UDP length that lies",
                of(family, 17, &[0, 1, 0, 2, 0, 9, 0, 0]),
                Err(DropReason::BadHeader),
            ),
            (
                "what nobody knows, and nothing of it",
                of(family, 200, &[]),
                Ok(()),
            ),
            ("a DHCP server's word", ports(67, 68), Err(DropReason::SpoofedNd)),
            (
                "a DHCPv6 server's word",
                ports(547, 546),
                Err(DropReason::SpoofedNd),
            ),
            ("from a server's port alone", ports(67, 69), Ok(())),
            (
                "to a client's port from any other",
                ports(1234, 68),
                Err(DropReason::SpoofedNd),
            ),
            (
                "to a DHCPv6 client's port from any other",
                ports(1234, 546),
                Err(DropReason::SpoofedNd),
            ),
            ("from DHCPv6 servers' port alone", ports(547, 545), Ok(())),
            ("to a port that ends like one", ports(67, 256 + 68), Ok(())),
            ("to another that ends like one", ports(547, 0x0122), Ok(())),
        ] {
            assert_eq!(judged(&frame, plain), expected, "{family:?}: {what}");
        }
        let (protocol, question) = if family == Family::V4 { (1, 8) } else { (58, 128) };
        let asked = said(
            &of(family, protocol, &[question, 0, 9, 9, 0x12, 0x34, 0, 1]),
            plain,
        )
        .unwrap();
        assert_eq!(
            asked.ports.source,
            [0x12, 0x34],
            "a question's flow is its identifier's"
        );
        let known = said(&of(family, SCTP, &[1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]), plain).unwrap();
        let ports = (known.ports.source, known.ports.destination);
        assert_eq!(ports, ([1, 2], [3, 4]), "SCTP has ports where grants name them");
    }
}

#[test]
fn what_is_to_be_cut_is_of_the_protocol_that_was_judged() {
    let most = Gso::MOST_UDP as usize;
    for family in FAMILIES {
        let (own, others) = match family {
            Family::V4 => (Gso::TCPV4, Gso::TCPV6),
            Family::V6 => (Gso::TCPV6, Gso::TCPV4),
        };
        let start = at(family) as u32;
        let cut = |kind, size, offset| Metadata {
            gso: Some(Gso { size, kind }),
            checksum: Checksum::Partial { start, offset },
            ..Metadata::PLAIN
        };
        let many = datagram(family, true, (1, 2), &vec![0; 10 * most]);
        let too_many = datagram(family, true, (1, 2), &vec![0; 10 * most + 1]);
        let padded = [tcp(family, 5_000), vec![0; 9]].concat();
        for (what, frame, metadata, expected) in [
            ("a stream", tcp(family, 5_000), cut(own, 256, 16), Ok(())),
            (
                "a stream with remarks",
                tcp(family, 5_000),
                cut(own | 1 << 1 | 1 << 2 | 1 << 19, 256, 16),
                Ok(()),
            ),
            (
                "another remark",
                tcp(family, 5_000),
                cut(own | 1 << 3, 256, 16),
                Err(DropReason::Offload),
            ),
            (
                "too small segments",
                tcp(family, 5_000),
                cut(own, 255, 16),
                Err(DropReason::Offload),
            ),
            (
                "none",
                tcp(family, 5_000),
                cut(own, 0, 16),
                Err(DropReason::Offload),
            ),
            (
                "of the other family",
                tcp(family, 5_000),
                cut(others, 256, 16),
                Err(DropReason::Offload),
            ),
            (
                "a stream as datagrams",
                tcp(family, 5_000),
                cut(Gso::UDP_L4, 256, 16),
                Err(DropReason::Offload),
            ),
            (
                "stray bytes behind it",
                padded,
                cut(own, 256, 16),
                Err(DropReason::Offload),
            ),
            ("datagrams", many.clone(), cut(Gso::UDP_L4, 10, 6), Ok(())),
            (
                "one too many",
                too_many,
                cut(Gso::UDP_L4, 10, 6),
                Err(DropReason::Offload),
            ),
            (
                "nothing, in datagrams of nothing",
                datagram(family, true, (1, 2), b""),
                cut(Gso::UDP_L4, 0, 6),
                Err(DropReason::Offload),
            ),
            (
                "datagrams as a stream",
                many.clone(),
                cut(own, 256, 6),
                Err(DropReason::Offload),
            ),
            (
                "another protocol",
                of(family, 200, &[0; 600]),
                cut(own, 256, 16),
                Err(DropReason::Offload),
            ),
            (
                "SCTP",
                of(family, SCTP, &[0; 600]),
                cut(Gso::UDP_L4, 256, 6),
                Err(DropReason::Offload),
            ),
        ] {
            assert_eq!(judged(&frame, metadata), expected, "{family:?}: {what}");
        }
        let finished = Metadata {
            checksum: Checksum::Finished,
            ..cut(own, 256, 16)
        };
        let refused = judged(&tcp(family, 5_000), finished);
        assert_eq!(refused, Err(DropReason::Offload), "nobody would write its sums");
        let largest = said(&tcp(family, 5_000), cut(own, 1_000, 16)).unwrap().largest;
        assert_eq!(largest, family.header() as u32 + 20 + 1_000, "{family:?}");
        let largest = said(&many, cut(Gso::UDP_L4, 10, 6)).unwrap().largest;
        assert_eq!(largest, family.header() as u32 + 8 + 10, "{family:?}");
    }
}

#[test]
fn a_checksum_is_left_for_the_header_that_was_judged_alone() {
    for family in FAMILIES {
        let start = at(family) as u32;
        let left = |start, offset| Metadata {
            checksum: Checksum::Partial { start, offset },
            ..Metadata::PLAIN
        };
        let (stream, gram) = (tcp(family, 4), datagram(family, true, (1, 2), b"x"));
        for (what, frame, metadata, is_good) in [
            ("of TCP", &stream, left(start, 16), true),
            ("of UDP", &gram, left(start, 6), true),
            ("of TCP in UDP's place", &stream, left(start, 6), false),
            ("of UDP in TCP's place", &gram, left(start, 16), false),
            ("one byte before", &stream, left(start - 1, 16), false),
            ("one byte behind", &stream, left(start + 1, 16), false),
            ("one byte off", &stream, left(start, 17), false),
            ("the source address", &stream, left(26, 0), false),
            ("of SCTP", &of(family, SCTP, &[0; 12]), left(start, 8), false),
            (
                "of ICMP",
                &of(
                    family,
                    if family == Family::V4 { 1 } else { 58 },
                    &[128, 0, 0, 0, 0, 1, 0, 1],
                ),
                left(start, 2),
                false,
            ),
        ] {
            let expected = if is_good { Ok(()) } else { Err(DropReason::Offload) };
            assert_eq!(judged(frame, metadata), expected, "{family:?}: {what}");
        }
    }
}

/// A packet that was gathered from parts is as large as its largest part.
#[test]
fn what_arrives_gathered_is_measured_by_its_parts() {
    let macs = ([0xaa; 6], [0xbb; 6]);
    let inner = udp(macs, (PEER, GUEST), (53, 40_000), &[7; 500]);
    let frame = carried(&SETTINGS, &inner);
    let gathered = |size| Metadata {
        gso: Some(Gso {
            size,
            kind: Gso::UDP_L4,
        }),
        ..Metadata::PLAIN
    };
    for (what, metadata, mtu, expected) in [
        ("as it is", Metadata::PLAIN, 528, Ok(())),
        (
            "one byte too large",
            Metadata::PLAIN,
            527,
            Err(DropReason::TooBig),
        ),
        ("of parts that fit", gathered(100), 128, Ok(())),
        (
            "of parts of one byte more",
            gathered(101),
            128,
            Err(DropReason::TooBig),
        ),
        ("of one part, whatever is claimed", gathered(60_000), 528, Ok(())),
        (
            "of one part that does not fit",
            gathered(u32::MAX),
            527,
            Err(DropReason::TooBig),
        ),
    ] {
        let entry = InEntry { mtu, ..ENTRY_IN };
        let got = judge_uplink(&frame, metadata, Some(&entry), NOW + 1).map(drop);
        assert_eq!(got, expected, "{what}");
    }
}

#[test]
fn a_tag_is_a_tag_wherever_it_stands() {
    for ethertype in [[0x81, 0], [0x88, 0xa8], [0x91, 0], [0x92, 0], [0x93, 0]] {
        let frame = with(datagram(Family::V4, true, (1, 2), b"x"), 12, &ethertype);
        assert_eq!(
            judged(&frame, Metadata::PLAIN),
            Err(DropReason::Vlan),
            "{ethertype:02x?}"
        );
    }
    let frame = with(datagram(Family::V4, true, (1, 2), b"x"), 12, &[0x81, 1]);
    assert_eq!(judged(&frame, Metadata::PLAIN), Err(DropReason::Ethertype));
}
