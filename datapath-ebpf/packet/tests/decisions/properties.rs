//! What holds for any frame, shown on random ones, on mutated honest ones and on every truncation.

use crate::honest::{
    ENTRY_IN, ENTRY_OUT, GUEST, GUEST_MAC, GUEST6, NOW, PEER, PEER6, PORT, SECOND, TAP, arp, carried,
    datagram, for_ipv6, from_guest, from_guest6, from_peer, judge_tap, judge_uplink, judge_uplink_of,
    over_ipv6, solicitation, with, wrapping,
};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pairgate_abi::{CARRIES_GRANTS, DropReason, GATEWAY_MAC, Settings};
use pairgate_packet::{
    Bytes, Checksum, Gso, Metadata, Packet,
    address::wide,
    grant,
    ip::Family,
    nd, outer,
    sender::{self, Said},
    transport::{TCP, UDP},
};
use proptest::prelude::*;

const LEASE: u64 = NOW + 1;

fn any_metadata() -> impl Strategy<Value = Metadata> {
    let partial = (0..120_u32, 0..40_u16).prop_map(|(start, offset)| Checksum::Partial { start, offset });
    let usual = (
        prop_oneof![Just(34), Just(54), Just(84), Just(104)],
        prop_oneof![Just(6), Just(16)],
    )
        .prop_map(|(start, offset)| Checksum::Partial { start, offset });
    let checksum = prop_oneof![Just(Checksum::Finished), usual, partial];
    let kinds = prop_oneof![
        Just(Gso::TCPV4),
        Just(Gso::TCPV6 | 2),
        Just(Gso::UDP_L4),
        any::<u32>()
    ];
    let gso = (prop_oneof![0..2000_u32, any::<u32>()], kinds).prop_map(|(size, kind)| Gso { size, kind });
    (
        proptest::bool::weighted(0.1),
        proptest::option::weighted(0.2, gso),
        checksum,
    )
        .prop_map(|(vlan, gso, checksum)| Metadata { vlan, gso, checksum })
}

/// An honest frame with a few bytes changed, and cut or grown.
fn mutated(honest: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((0..130_usize, any::<u8>()), 0..4);
    (changes, -3_isize..4).prop_map(move |(changes, by)| {
        let mut frame = honest.clone();
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame.resize(frame.len().saturating_add_signed(by), 0x5a);
        frame
    })
}

/// What arrives over IPv6 for an IPv6 guest.
fn from_peer6() -> Vec<u8> {
    carried(
        &over_ipv6().0,
        &datagram(Family::V6, false, (53, 40_000), b"hello guest"),
    )
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..160),
        mutated(from_guest()),
        mutated(from_guest6()),
        mutated(arp(PEER)),
        mutated(solicitation(PEER6)),
        mutated(from_peer()),
        mutated(from_peer6()),
    ]
}

/// The addresses and the whole length of a frame's packet as another parser sees them, and that it is no fragment.
/// Only the IP header: a pair carries any protocol, also one whose own header the other parser would refuse.
fn packet_of(frame: &[u8]) -> ([u8; 16], [u8; 16], usize) {
    if frame[12..14] == [8, 0] {
        let ip = etherparse::Ipv4HeaderSlice::from_slice(&frame[14..]).unwrap();
        assert!(!ip.is_fragmenting_payload());
        (wide(ip.source()), wide(ip.destination()), ip.total_len() as usize)
    } else {
        assert_eq!(frame[12..14], [0x86, 0xdd], "neither IPv4 nor IPv6: {frame:02x?}");
        let ip = etherparse::Ipv6HeaderSlice::from_slice(&frame[14..]).unwrap();
        let next = ip.next_header();
        assert!(!next.is_ipv6_ext_header_value(), "{next:?}");
        (ip.source(), ip.destination(), 40 + ip.payload_length() as usize)
    }
}

/// How many random frames: fewer where the tests are run for each of a thousand changes of the code.
fn cases() -> u32 {
    let asked = std::env::var("PAIRGATE_CASES").ok();
    asked.map_or(20_000, |text| text.parse().expect("PAIRGATE_CASES is a number"))
}

/// Any ports but those of DHCP clients, to which no pair carries anything.
fn carried_ports() -> impl Strategy<Value = (u16, u16)> {
    any::<(u16, u16)>().prop_filter("a DHCP client's port", |(_, to)| ![68, 546].contains(to))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn any_bytes_with_any_metadata_are_judged_without_a_panic(frame in any_frame(), metadata in any_metadata()) {
        let (settings, out, pair) = over_ipv6();
        for entry in [Some(&ENTRY_OUT), Some(&out), None] {
            let _ = judge_tap(&frame, metadata, entry, LEASE);
        }
        for entry in [Some(&ENTRY_IN), Some(&pair), Some(&for_ipv6(pair)), None] {
            let _ = judge_uplink(&frame, metadata, entry, LEASE);
            let _ = judge_uplink_of(&settings, &frame, metadata, entry, LEASE);
        }
    }

    #[test]
    fn whatever_leaves_a_tap_carries_the_guests_own_addresses(frame in any_frame(), metadata in any_metadata()) {
        let Ok(Said::Packet(packet)) = sender::check(&Bytes(&frame), &metadata, &TAP) else {
            return Ok(());
        };
        prop_assert!(!metadata.vlan, "a tag got through");
        prop_assert_eq!(&frame[6..12], &GUEST_MAC);
        prop_assert_eq!(&frame[0..6], &GATEWAY_MAC);
        let (source, destination, length) = packet_of(&frame);
        prop_assert!([wide(GUEST), GUEST6, wide(SECOND)].contains(&source));
        prop_assert_eq!((source, destination), (packet.source.bytes(), packet.destination.bytes()));
        prop_assert_eq!(length, packet.length as usize);
        let transport = if packet.family == Family::V4 { 34 } else { 54 };
        if packet.family == Family::V6 && packet.protocol == 58 {
            prop_assert!(!(133..=137).contains(&frame[54]), "neighbour discovery leaves the tap");
        }
        if let Checksum::Partial { start, offset } = metadata.checksum {
            let field = match packet.protocol { TCP => 16, UDP => 6, other => panic!("protocol {other}") };
            prop_assert_eq!((start, offset), (transport, field), "the kernel would write elsewhere after the check");
        }
        if let Some(gso) = metadata.gso {
            prop_assert!(metadata.checksum != Checksum::Finished);
            prop_assert_eq!(frame.len(), 14 + length, "stray bytes would be cut into segments");
            let segments = packet.length.div_ceil(gso.size);
            prop_assert!(segments <= 257, "{} packets of one", segments);
            prop_assert!(packet.largest >= gso.size);
        } else {
            prop_assert_eq!(packet.largest, packet.length);
        }
    }

    #[test]
    fn whatever_is_answered_is_the_guests_own_question(frame in mutated(solicitation(PEER6))) {
        let Ok(Said::Neighbour) = sender::check(&Bytes(&frame), &Metadata::PLAIN, &TAP) else { return Ok(()); };
        let Ok(question) = nd::Question::of(&Bytes(&frame), &TAP) else { return Ok(()); };
        let (source, _, _) = packet_of(&frame);
        prop_assert!(source == GUEST6 || source[..2] == [0xfe, 0x80], "answered to {:02x?}", source);
        prop_assert_eq!(&question.target.bytes()[..8], &GUEST6[..8]);
        prop_assert_ne!(question.target.bytes(), GUEST6);
    }

    #[test]
    fn an_answer_is_an_advertisement_that_another_parser_takes(last in 0x12..255_u8, link in any::<bool>()) {
        let target = crate::honest::v6(last);
        let mut frame = solicitation(target);
        if link {
            frame = with(frame, 22, &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        let asker: [u8; 16] = frame[22..38].try_into().unwrap();
        let reply = judge_tap(&frame, Metadata::PLAIN, None, 0).unwrap();
        let parsed = SlicedPacket::from_ethernet(&reply).unwrap();
        let Some(NetSlice::Ipv6(ip)) = &parsed.net else { panic!("no IPv6") };
        prop_assert_eq!((ip.header().source(), ip.header().destination()), (target, asker));
        prop_assert_eq!(ip.header().hop_limit(), 255);
        let Some(TransportSlice::Icmpv6(icmp)) = &parsed.transport else { panic!("no ICMPv6") };
        prop_assert!(icmp.is_checksum_valid(target, asker), "the guest's stack would drop it");
        prop_assert_eq!((icmp.type_u8(), icmp.code_u8()), (136, 0));
        let body = &reply[58..];
        prop_assert_eq!(body, &[&[0x60, 0, 0, 0], &target[..], &[2, 1], &GATEWAY_MAC].concat()[..]);
        prop_assert_eq!(&reply[..12], &[GUEST_MAC, GATEWAY_MAC].concat()[..]);
    }

    #[test]
    fn whatever_reaches_a_guest_has_the_addresses_of_its_handle(frame in any_frame(), metadata in any_metadata()) {
        let (settings, _, pair) = over_ipv6();
        for (settings, entry) in [
            (crate::honest::SETTINGS, ENTRY_IN),
            (crate::honest::SETTINGS, for_ipv6(ENTRY_IN)),
            (settings, pair),
            (settings, for_ipv6(pair)),
        ] {
            let judged = judge_uplink_of(&settings, &frame, metadata, Some(&entry), LEASE);
            let Ok(Some(delivered)) = judged else { continue };
            let (host, peer_host, _) = packet_of(&frame);
            prop_assert_eq!((host, peer_host), (entry.src_host, entry.dst_host));
            prop_assert_eq!(&delivered[..6], &GUEST_MAC);
            prop_assert_eq!(&delivered[6..12], &GATEWAY_MAC);
            let (source, destination, length) = packet_of(&delivered);
            prop_assert_eq!((source, destination), (entry.src_addr, entry.dst_addr));
            prop_assert_eq!(delivered.len(), 14 + length, "stray bytes reach the guest");
        }
    }

    #[test]
    fn what_one_host_wraps_the_other_takes_for_ours(payload in proptest::collection::vec(any::<u8>(), 0..300),
                                                    ports in carried_ports(), inner6 in any::<bool>(),
                                                    over6 in any::<bool>()) {
        let inner = if inner6 { Family::V6 } else { Family::V4 };
        let (settings, out) = if over6 { let (s, o, _) = over_ipv6(); (s, o) } else { (crate::honest::SETTINGS, ENTRY_OUT) };
        let frame = datagram(inner, true, ports, &payload);
        let wrapped = judge_tap(&frame, Metadata::PLAIN, Some(&out), LEASE).unwrap();
        let ethertype = if over6 { [0x86, 0xdd] } else { [8, 0] };
        // The kernel writes the ethertype with the neighbour's address.
        let wrapped = with(wrapped, 12, &ethertype);
        let (source, destination, length) = packet_of(&wrapped);
        prop_assert_eq!((source, destination), (out.src_host, out.dst_host));
        prop_assert_eq!(length + 14, wrapped.len());
        if !over6 {
            let header = etherparse::Ipv4HeaderSlice::from_slice(&wrapped[14..]).unwrap().to_header();
            prop_assert_eq!(header.calc_header_checksum(), header.header_checksum, "the underlay would drop it");
            prop_assert!(header.dont_fragment && header.time_to_live == 64);
        }
        let there = Settings { host: out.dst_host, ..settings };
        let underlay = Family::of(&out.dst_host);
        let outer = outer::ours(&Bytes(&wrapped), &there, underlay).expect("the peer host would not know it");
        prop_assert_eq!(outer.handle, out.handle);
        prop_assert!(outer.checksum_is_zero);
        prop_assert_eq!(outer.source.bytes(), out.src_host);
        prop_assert_eq!(&wrapped[outer::inner_at(underlay) + 14..], &frame[14..]);
    }

    #[test]
    fn the_flow_port_depends_on_the_flow_alone(ports in carried_ports(), a in any::<u8>(), b in 0..900_usize,
                                               inner6 in any::<bool>()) {
        let family = if inner6 { Family::V6 } else { Family::V4 };
        let of = |payload: &[u8], ttl: u8| {
            let frame = datagram(family, true, ports, payload);
            let frame = with(frame, if inner6 { 21 } else { 22 }, &[ttl]);
            let wrapped = judge_tap(&frame, Metadata::PLAIN, Some(&ENTRY_OUT), LEASE).unwrap();
            u16::from_be_bytes([wrapped[34], wrapped[35]])
        };
        let port = of(b"", 64);
        prop_assert_eq!(port, of(&vec![a; b], a), "packets of one flow would overtake each other");
        prop_assert!(port >= 49_152, "not in the dynamic range: {port}");
        prop_assert_ne!(port, PORT);
    }

    /// Against a reading of the grant's own words: a protocol and a range of destination ports.
    #[test]
    fn grants_name_what_they_say(entries in proptest::collection::vec((prop_oneof![Just(6_u8), Just(17), Just(1), Just(47)], any::<u16>(), any::<u16>()), 0..17),
                                 protocol in prop_oneof![Just(6_u8), Just(17), Just(1), Just(47)], port in any::<u16>()) {
        let entries: Vec<_> = entries.into_iter().map(|(protocol, a, b)| {
            if matches!(protocol, 6 | 17) { (protocol, a.min(b), a.max(b)) } else { (protocol, 0, 0) }
        }).collect();
        let carries = crate::honest::carries(CARRIES_GRANTS, &entries);
        let expected = entries.iter().any(|(of, first, last)| {
            *of == protocol && (!matches!(protocol, 6 | 17) || (first..=last).contains(&&port))
        });
        prop_assert_eq!(grant::names(&carries, protocol, port.to_be_bytes()), expected);
    }
}

#[test]
fn every_truncation_is_judged_and_none_passes_that_lost_what_it_announces() {
    let (settings6, _, pair6) = over_ipv6();
    for honest in [from_guest(), from_guest6(), arp(PEER), solicitation(PEER6)] {
        for length in 0..honest.len() {
            assert!(
                judge_tap(&honest[..length], Metadata::PLAIN, Some(&ENTRY_OUT), LEASE).is_err(),
                "{length} of {} bytes left the tap",
                honest.len()
            );
        }
    }
    for (honest, settings, entry) in [
        (from_peer(), crate::honest::SETTINGS, ENTRY_IN),
        (from_peer6(), settings6, for_ipv6(pair6)),
    ] {
        assert!(judge_uplink_of(&settings, &honest, Metadata::PLAIN, Some(&entry), LEASE).is_ok());
        for length in 0..honest.len() {
            assert_eq!(
                judge_uplink_of(&settings, &honest[..length], Metadata::PLAIN, Some(&entry), LEASE),
                Ok(None),
                "{length} of {} bytes were taken for ours though their lengths lie",
                honest.len()
            );
        }
    }
}

#[test]
fn different_flows_spread_over_the_ports() {
    type Flow = fn(u16) -> Vec<u8>;
    let flows: [(&str, Flow); 4] = [
        ("source ports", |n| datagram(Family::V4, true, (n, 80), b"")),
        ("destination ports", |n| datagram(Family::V6, true, (80, n), b"")),
        ("last bytes of an address", |n| {
            let frame = datagram(Family::V4, true, (1, 2), b"");
            with(frame, 32, &n.to_be_bytes())
        }),
        ("middle bytes of an address", |n| {
            let frame = datagram(Family::V6, true, (1, 2), b"");
            with(frame, 44, &n.to_be_bytes())
        }),
    ];
    for (what, flow) in flows {
        let mut seen = std::collections::BTreeSet::new();
        for number in 0x1000..0x2000_u16 {
            let frame = flow(number);
            let Ok(Said::Packet(packet)) = sender::check(&Bytes(&frame), &Metadata::PLAIN, &TAP) else {
                panic!("{frame:02x?}")
            };
            seen.insert(outer::flow_port(&packet));
        }
        // 4096 balls into 16384 urns hit about 3600 different ones if the ports are spread evenly.
        assert!(
            seen.len() > 3400,
            "{what}: only {} ports for 4096 flows: they would crowd into few queues",
            seen.len()
        );
    }
}

#[test]
fn a_flow_and_its_answers_do_not_share_a_port_by_construction() {
    // Source and destination stand in different places of the sum: else every pair of flows would collide.
    let there = datagram(Family::V6, true, (7, 9), b"");
    let Ok(Said::Packet(packet)) = sender::check(&Bytes(&there), &Metadata::PLAIN, &TAP) else {
        panic!("refused")
    };
    let back = Packet {
        source: packet.destination,
        destination: packet.source,
        ..packet
    };
    assert_ne!(outer::flow_port(&packet), outer::flow_port(&back));
}

#[test]
fn a_packet_that_leaves_no_room_for_the_length_of_its_headers_is_too_big() {
    let frame = from_guest();
    let Ok(Said::Packet(packet)) = sender::check(&Bytes(&frame), &Metadata::PLAIN, &TAP) else {
        panic!("refused")
    };
    for (length, fits) in [(65_485, true), (65_486, false), (65_535, false)] {
        let packet = Packet { length, ..packet };
        assert_eq!(wrapping(&packet, &ENTRY_OUT).is_ok(), fits, "{length} over IPv4");
    }
    let (_, out, _) = over_ipv6();
    for (length, fits) in [(65_505, true), (65_506, false), (65_575, false)] {
        let packet = Packet { length, ..packet };
        assert_eq!(
            wrapping(&packet, &out).err(),
            (!fits).then_some(DropReason::TooBig),
            "{length} over IPv6"
        );
    }
}
