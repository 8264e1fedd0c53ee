//! What a guest is told about a packet that is too big, read by another parser.

use crate::honest::{
    ENTRY_OUT, GUEST, GUEST_MAC, GUEST6, NOW, PEER, PEER6, TAP, datagram, from_guest, from_guest6, with,
};
use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice, icmpv4};
use pairgate_abi::{DropReason, GATEWAY_MAC, OutEntry};
use pairgate_packet::{
    Bytes, Checksum, Metadata, Packet,
    ip::Family,
    pair,
    sender::{self, Said},
    too_big,
};
use proptest::prelude::*;

/// The packet in a guest's frame.
fn said(frame: &[u8]) -> Packet {
    match sender::check(&Bytes(frame), &Metadata::PLAIN, &TAP) {
        Ok(Said::Packet(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

/// The answer to a packet whose checksum is in this state, as it reaches the guest: with the checksum finished, as the
/// kernel does it.
fn answer(frame: &[u8], checksum: Checksum, mtu: u16) -> Option<Vec<u8>> {
    let packet = said(frame);
    let mut kept = frame[..14 + too_big::quoted(&packet, mtu)? as usize].to_vec();
    let headers = match packet.family {
        Family::V4 => too_big::headers_v4(&Bytes(&kept), checksum, TAP.mac, &packet, mtu).to_vec(),
        Family::V6 => too_big::headers_v6(&Bytes(&kept), checksum, TAP.mac, &packet, mtu).to_vec(),
    };
    if let Checksum::Partial { start, offset } = checksum {
        let (start, field) = (start as usize, start as usize + offset as usize);
        let finished = etherparse::checksum::Sum16BitWords::new()
            .add_slice(&kept[start..])
            .ones_complement();
        kept[field..field + 2].copy_from_slice(&finished.to_ne_bytes());
    }
    Some([&headers, &kept[14..]].concat())
}

/// A TCP segment of the guest with so much payload, and room for the checksum.
fn segment(family: Family, payload: usize) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(GUEST_MAC, GATEWAY_MAC);
    let ip = match family {
        Family::V4 => ethernet.ipv4(GUEST, PEER, 64),
        Family::V6 => ethernet.ipv6(GUEST6, PEER6, 64),
    };
    let mut frame = Vec::new();
    let payload: Vec<u8> = (0..payload).map(|at| (at * 7 % 251) as u8).collect();
    ip.tcp(40_000, 80, 7, 1000).write(&mut frame, &payload).unwrap();
    frame
}

/// What must hold for an answer, whatever was too big: who it is from and for, what it says, and both checksums.
fn check(frame: &[u8], reply: &[u8], mtu: u16) {
    assert_eq!(reply[..12], [GUEST_MAC, GATEWAY_MAC].concat()[..]);
    let parsed = SlicedPacket::from_ethernet(reply).unwrap();
    match (&parsed.net, &parsed.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) => {
            let header = ip.header();
            assert_eq!((header.source(), header.destination()), (PEER, GUEST));
            assert_eq!(
                header.header_checksum(),
                header.to_header().calc_header_checksum()
            );
            assert_eq!((header.ttl(), header.dont_fragment()), (64, true));
            let sum = icmp.icmp_type().calc_checksum(icmp.payload());
            assert_eq!(icmp.checksum(), sum, "the guest's stack would drop it");
            let expected = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
            assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(expected));
            assert!(reply.len() <= 14 + 576, "larger than every stack takes");
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) => {
            let header = ip.header();
            assert_eq!((header.source(), header.destination()), (PEER6, GUEST6));
            assert!(
                icmp.is_checksum_valid(PEER6, GUEST6),
                "the guest's stack would drop it"
            );
            assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: mtu.into() });
            assert!(reply.len() <= 14 + 1280, "larger than every link carries");
        }
        other => panic!("{other:?}"),
    }
    let inside = &reply[if frame[12..14] == [8, 0] { 42 } else { 62 }..];
    assert!(inside.len() >= 28, "{} bytes name no flow", inside.len());
    let transport = if frame[12..14] == [8, 0] { 20 } else { 40 };
    assert_eq!(
        inside[..transport + 6],
        frame[14..14 + transport + 6],
        "another flow is blamed"
    );
}

proptest! {
    #[test]
    fn every_answer_is_one_that_another_parser_takes(
        payload in 1200..4000_usize, mtu in 1280..1500_u16, six in any::<bool>(), is_partial in any::<bool>(),
        seed in any::<[u8; 2]>(),
    ) {
        let family = if six { Family::V6 } else { Family::V4 };
        let at = if six { 54 } else { 34 };
        for (frame, offset) in [
            (segment(family, payload), 16),
            (datagram(family, true, (40_000, 53), &vec![0x5a; payload]), 6),
        ] {
            // What a stack leaves there for the one who finishes it: the sum of a header that is not in the packet.
            let frame = if is_partial { with(frame, at + offset, &seed) } else { frame };
            let state = Checksum::Partial { start: at as u32, offset: offset as u16 };
            let state = if is_partial { state } else { Checksum::Finished };
            let reply = answer(&frame, state, mtu).unwrap();
            check(&frame, &reply, mtu);
            let most = if six { 1280 } else { 576 };
            prop_assert!(reply.len() > 14 + most - 8, "less is quoted than there is room for");
        }
    }

    #[test]
    fn small_packets_of_a_pair_that_carries_less_are_answered_too(payload in 30..600_usize, mtu in 68..100_u16) {
        let frame = datagram(Family::V4, true, (40_000, 53), &vec![0x5a; payload]);
        check(&frame, &answer(&frame, Checksum::Finished, mtu).unwrap(), mtu);
    }
}

/// Wrong if false: two stacks could keep each other busy, or a guest be made to believe in links that cannot be.
#[test]
fn nothing_is_said_about_an_error_and_no_mtu_below_what_every_link_has() {
    let packet = said(&from_guest());
    assert!(too_big::quoted(&packet, 68).is_some());
    assert_eq!(too_big::quoted(&packet, 67), None);
    let error = Packet {
        is_error: true,
        ..packet
    };
    assert_eq!(too_big::quoted(&error, 1400), None);
    let packet = said(&from_guest6());
    assert!(too_big::quoted(&packet, 1280).is_some());
    assert_eq!(too_big::quoted(&packet, 1279), None);
}

/// Wrong if false: a program that has not cut the packet yet would sum up bytes that the answer does not hold.
#[test]
fn no_more_is_summed_up_than_an_answer_holds() {
    let frame = segment(Family::V4, 3_000);
    let packet = said(&frame);
    let sum = |length: usize| {
        let kept = Bytes(&frame[..length]);
        let headers = too_big::headers_v4(&kept, Checksum::Finished, TAP.mac, &packet, 1400);
        [headers[36], headers[37]]
    };
    let quoted = too_big::quoted(&packet, 1400).unwrap() as usize;
    assert_eq!(sum(14 + quoted), sum(frame.len()));
    assert_ne!(sum(14 + quoted), sum(14 + quoted - 8), "it sums up less");
}

/// Wrong if false: a guest would learn of a pair's size after its end.
#[test]
fn size_comes_after_time() {
    let packet = said(&from_guest());
    for (deadline, lease, expected) in [
        (NOW, NOW + 1, DropReason::Expired),
        (NOW + 1, NOW, DropReason::Lease),
        (NOW + 1, NOW + 1, DropReason::TooBig),
    ] {
        let entry = OutEntry {
            mtu: 20,
            deadline_ns: deadline,
            ..ENTRY_OUT
        };
        assert_eq!(
            pair::check(&TAP, &packet, Some(&entry), lease, NOW),
            Err(expected)
        );
    }
}
