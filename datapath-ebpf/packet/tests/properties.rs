//! What holds for any frame, shown on random ones, on mutated honest ones and on every truncation.

mod honest;

use etherparse::Ipv4HeaderSlice;
use honest::{
    ENTRY_IN, ENTRY_OUT, GUEST, GUEST_MAC, HOST, NOW, PEER, PEER_HOST, PORT, arp, from_guest, from_peer,
    judge_tap, judge_uplink, udp,
};
use pairgate_abi::GATEWAY_MAC;
use pairgate_packet::{
    Bytes, Checksum, Metadata, outer,
    sender::{self, Said},
};
use proptest::prelude::*;

const LEASE: u64 = NOW + 1;

fn any_metadata() -> impl Strategy<Value = Metadata> {
    let partial = (0..120_u32, 0..40_u16).prop_map(|(start, offset)| Checksum::Partial { start, offset });
    let checksum = prop_oneof![
        Just(Checksum::Finished),
        Just(Checksum::Partial { start: 34, offset: 6 }),
        Just(Checksum::Partial { start: 84, offset: 6 }),
        partial
    ];
    (
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.1),
        checksum,
    )
        .prop_map(|(vlan, gso, checksum)| Metadata { vlan, gso, checksum })
}

/// An honest frame with a few bytes changed, and cut or grown.
fn mutated(honest: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((0..100_usize, any::<u8>()), 0..4);
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

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..160),
        mutated(from_guest()),
        mutated(arp(PEER)),
        mutated(from_peer()),
    ]
}

/// The IPv4 header of a frame, as another parser sees it. Only the header: a pair carries any protocol, also
/// one whose own header the other parser would refuse.
fn ipv4_of(frame: &[u8]) -> Ipv4HeaderSlice<'_> {
    assert_eq!(frame[12..14], [8, 0], "not IPv4: {frame:02x?}");
    Ipv4HeaderSlice::from_slice(&frame[14..]).unwrap_or_else(|error| panic!("{error}: {frame:02x?}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_bytes_with_any_metadata_are_judged_without_a_panic(frame in any_frame(), metadata in any_metadata()) {
        let _ = judge_tap(&frame, metadata, Some(&ENTRY_OUT), LEASE);
        let _ = judge_tap(&frame, metadata, None, 0);
        let _ = judge_uplink(&frame, metadata, Some(&ENTRY_IN), LEASE);
        let _ = judge_uplink(&frame, metadata, None, 0);
    }

    #[test]
    fn whatever_leaves_a_tap_carries_the_guests_own_addresses(frame in any_frame(), metadata in any_metadata()) {
        let Ok(Said::Packet(packet)) = sender::check(&Bytes(&frame), &metadata, &honest::TAP) else {
            return Ok(());
        };
        prop_assert!(!metadata.vlan && !metadata.gso, "a tag or a segmentation request got through");
        prop_assert_eq!(&frame[6..12], &GUEST_MAC);
        prop_assert_eq!(&frame[0..6], &GATEWAY_MAC);
        let ip = ipv4_of(&frame);
        prop_assert_eq!(ip.source(), GUEST);
        prop_assert!(!ip.is_fragmenting_payload());
        prop_assert_eq!(ip.total_len(), packet.ipv4.total);
        if let Checksum::Partial { start, offset } = metadata.checksum {
            let field = match packet.ipv4.protocol { 6 => 16, 17 => 6, other => panic!("protocol {other}") };
            prop_assert_eq!((start, offset), (34, field), "the kernel would write elsewhere after the check");
        }
    }

    #[test]
    fn whatever_reaches_a_guest_has_the_addresses_of_its_handle(frame in any_frame(), metadata in any_metadata()) {
        let Ok(Some(delivered)) = judge_uplink(&frame, metadata, Some(&ENTRY_IN), LEASE) else {
            return Ok(());
        };
        prop_assert_eq!(&frame[26..30], &PEER_HOST);
        prop_assert_eq!(&frame[30..34], &HOST);
        prop_assert_eq!(&delivered[..6], &GUEST_MAC);
        prop_assert_eq!(&delivered[6..12], &GATEWAY_MAC);
        let ip = ipv4_of(&delivered);
        prop_assert_eq!((ip.source(), ip.destination()), (PEER, GUEST));
        prop_assert_eq!(delivered.len(), 14 + ip.total_len() as usize, "stray bytes reach the guest");
        prop_assert!(!ip.is_fragmenting_payload());
    }

    #[test]
    fn what_one_host_wraps_the_other_takes_for_ours(payload in proptest::collection::vec(any::<u8>(), 0..300),
                                                    ports in any::<(u16, u16)>()) {
        let frame = udp((GUEST_MAC, GATEWAY_MAC), (GUEST, PEER), ports, &payload);
        let wrapped = judge_tap(&frame, Metadata::PLAIN, Some(&ENTRY_OUT), LEASE).unwrap();
        let header = ipv4_of(&wrapped).to_header();
        prop_assert_eq!(header.calc_header_checksum(), header.header_checksum, "the underlay would drop it");
        prop_assert!(header.dont_fragment && header.time_to_live == 64);
        prop_assert_eq!((header.source, header.destination), (HOST, PEER_HOST));
        let settings = pairgate_abi::Settings { host: honest::wide(PEER_HOST), ..honest::SETTINGS };
        let outer = outer::ours(&Bytes(&wrapped), &settings).expect("the peer host would not know it");
        prop_assert_eq!(outer.handle, ENTRY_OUT.handle);
        prop_assert!(outer.checksum_is_zero);
        prop_assert_eq!(&wrapped[64..], &frame[14..]);
    }

    #[test]
    fn the_flow_port_depends_on_the_flow_alone(ports in any::<(u16, u16)>(), a in any::<u8>(), b in 0..900_usize) {
        let of = |payload: &[u8], ttl: u8| {
            let frame = udp((GUEST_MAC, GATEWAY_MAC), (GUEST, PEER), ports, payload);
            let frame = honest::with(frame, 22, &[ttl]);
            let wrapped = judge_tap(&frame, Metadata::PLAIN, Some(&ENTRY_OUT), LEASE).unwrap();
            u16::from_be_bytes([wrapped[34], wrapped[35]])
        };
        let port = of(b"", 64);
        prop_assert_eq!(port, of(&vec![a; b], a), "packets of one flow would overtake each other");
        prop_assert!(port >= 49_152, "not in the dynamic range: {port}");
        prop_assert_ne!(port, PORT);
    }
}

#[test]
fn every_truncation_is_judged_and_none_passes_that_lost_what_it_announces() {
    for (honest, tap) in [(from_guest(), true), (arp(PEER), true), (from_peer(), false)] {
        for length in 0..honest.len() {
            let frame = &honest[..length];
            if tap {
                assert!(
                    judge_tap(frame, Metadata::PLAIN, Some(&ENTRY_OUT), LEASE).is_err(),
                    "{length} of {} bytes left the tap",
                    honest.len()
                );
            } else {
                assert_eq!(
                    judge_uplink(frame, Metadata::PLAIN, Some(&ENTRY_IN), LEASE),
                    Ok(None),
                    "{length} of {} bytes were taken for ours though their lengths lie",
                    honest.len()
                );
            }
        }
    }
}

#[test]
fn different_flows_spread_over_the_ports() {
    let mut seen = std::collections::BTreeSet::new();
    for source in 0..4096_u16 {
        let frame = udp((GUEST_MAC, GATEWAY_MAC), (GUEST, PEER), (source, 80), b"");
        let wrapped = judge_tap(&frame, Metadata::PLAIN, Some(&ENTRY_OUT), LEASE).unwrap();
        seen.insert([wrapped[34], wrapped[35]]);
    }
    // 4096 balls into 16384 urns hit about 3600 different ones if the ports are spread evenly.
    assert!(
        seen.len() > 3400,
        "only {} ports for 4096 flows: they would crowd into few queues",
        seen.len()
    );
}
