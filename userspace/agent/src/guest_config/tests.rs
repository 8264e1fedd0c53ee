//! Answers as clients would read them, with the codecs that clients' authors would use, and any bytes at all.

mod dhcp4;
mod dhcp6;

use super::{Asked, Facts, Protocol, Silence, answer, read};
use dhcp4::{ask4, told4};
use dhcp6::{ask6, association, told6};
use dhcproto::{v4::MessageType as Type4, v6::MessageType as Type6};
use etherparse::{
    Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice,
    icmpv6::{NdpOptionSlice, NdpOptionsIterator},
};
use pairgate_abi::{GATEWAY_LINK_LOCAL, GATEWAY_MAC};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0x11);

fn six(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last)
}

fn facts() -> Facts {
    Facts {
        mac: MAC,
        name: "web1".into(),
        v4: vec![(OWN, 24), (Ipv4Addr::new(10, 77, 0, 12), 24)],
        v6: vec![(six(0x11), 64), (six(0x12), 64)],
        gateway: Some(Ipv4Addr::new(10, 77, 0, 1)),
        dns: vec!["10.77.0.53".parse().unwrap(), "fd77::53".parse().unwrap()],
        domain: Some("lab.example".into()),
        mtu: 1400,
    }
}

#[test]
fn an_advertisement_names_the_router_the_prefix_and_where_addresses_come_from() {
    let told = answer(Asked::Router { from: LOCAL }, &facts()).unwrap();
    let packet = SlicedPacket::from_ethernet(&told.frame).unwrap();
    let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(message))) = (packet.net, packet.transport)
    else {
        panic!("not ICMPv6");
    };
    let header = ip.header();
    assert_eq!((header.hop_limit(), header.destination_addr()), (255, LOCAL));
    assert_eq!(header.source_addr().octets(), GATEWAY_LINK_LOCAL);
    assert!(message.is_checksum_valid(header.source(), header.destination()));
    let Icmpv6Type::RouterAdvertisement(router) = message.icmp_type() else {
        panic!("not an advertisement");
    };
    assert!(router.managed_address_config && router.router_lifetime > 9000);
    let options: Vec<_> = NdpOptionsIterator::from_slice(&message.payload()[8..])
        .map(Result::unwrap)
        .collect();
    let (mut prefixes, mut mtu, mut mac, mut others) = (0, None, None, Vec::new());
    for option in &options {
        match option {
            NdpOptionSlice::PrefixInformation(prefix) => {
                prefixes += 1;
                assert!(prefix.on_link(), "its peers are behind the router only");
                assert!(
                    !prefix.autonomous_address_configuration(),
                    "it would choose addresses that are not its own"
                );
                assert_eq!((prefix.prefix(), prefix.prefix_length()), (six(0).octets(), 64));
            }
            NdpOptionSlice::Mtu(option) => mtu = Some(option.mtu()),
            NdpOptionSlice::SourceLinkLayerAddress(option) => {
                mac = Some(option.link_layer_address().to_vec())
            }
            other => others.push(other.as_bytes().to_vec()),
        }
    }
    assert_eq!((prefixes, mtu, mac), (1, Some(1400), Some(GATEWAY_MAC.to_vec())));
    let [dns, search] = &others[..] else {
        panic!("{others:?}");
    };
    assert_eq!((dns[0], &dns[8..]), (25, &six(0x53).octets()[..]));
    assert_eq!((search[0], &search[8..21]), (31, &b"\x03lab\x07example\x00"[..]));
}

#[test]
fn a_solicitation_from_nobody_is_answered_to_everybody_on_the_link() {
    let told = answer(
        Asked::Router {
            from: Ipv6Addr::UNSPECIFIED,
        },
        &facts(),
    )
    .unwrap();
    assert_eq!(told.frame[..6], MAC);
    assert_eq!(
        told.frame[38..54],
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets()
    );
}

#[test]
fn a_frame_is_read_as_the_question_that_it_is() {
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2(MAC, [0xff; 6])
        .ipv4([0; 4], [255; 4], 64)
        .udp(68, 67);
    packet.write(&mut frame, b"message").unwrap();
    let (mac, asked) = read(&frame).unwrap();
    assert_eq!(
        (mac, asked, asked.protocol()),
        (MAC, Asked::Dhcp4 { message: b"message" }, Protocol::Dhcp4)
    );
    frame.swap(35, 37);
    assert_eq!(read(&frame), Err(Silence::Unreadable), "a server's message");
}

/// Wrong if false: a guest could stop the agent. Each of these stops the codec.
#[test]
fn options_that_stop_the_codec_do_not_reach_it() {
    let with4 = |option: &[u8]| {
        let mut message = ask4(Type4::Discover, |_| {});
        message.pop(); // the end
        message.extend(option);
        message.push(255);
        message
    };
    for option in [
        &[80, 1, 0][..],                 // "at once" with something in it
        &[121, 5, 200, 10, 0, 0, 1][..], // a route to a prefix of 200 bits
        &[94, 1, 0][..],                 // network interface of one byte
        &[81, 1, 0][..],                 // a name of one byte
    ] {
        let message = with4(option);
        assert!(told4(&message, &facts()).is_ok(), "{option:?}");
    }
    for code in [13_u8, 16, 17] {
        // A status, a vendor's class, a vendor's options: shorter than their first field.
        let message = [
            &ask6(Type6::Solicit, vec![association(1, &[])])[..],
            &[0, code, 0, 1, 0],
        ]
        .concat();
        assert!(told6(&message, &facts()).is_ok(), "{code}");
    }
}

#[test]
fn a_message_that_contradicts_itself_is_not_read() {
    let good = ask4(Type4::Discover, |_| {});
    let kind_twice = [&good[..good.len() - 1], &[53, 1, 1, 255]].concat();
    let cut = [&good[..good.len() - 1], &[50, 4, 10]].concat();
    let long_kind = [&good[..240], &[53, 2, 1, 1, 255]].concat();
    let no_cookie = [&good[..236], &[0; 4], &good[240..]].concat();
    for message in [kind_twice, cut, long_kind, no_cookie, good[..239].to_vec()] {
        assert_eq!(
            told4(&message, &facts()).err(),
            Some(Silence::Unreadable),
            "{message:?}"
        );
    }
    let good = ask6(Type6::Solicit, vec![association(1, &[])]);
    let client_twice = [&good[..], &[0, 1, 0, 1, 7]].concat();
    let cut = [&good[..], &[0, 6, 0, 9, 7]].concat();
    let short = [&good[..], &[0, 3, 0, 11], &[0; 11]].concat();
    for message in [client_twice, cut, short, good[..3].to_vec()] {
        assert_eq!(
            told6(&message, &facts()).err(),
            Some(Silence::Unreadable),
            "{message:?}"
        );
    }
}

proptest! {
    /// Wrong if false: a guest could stop the agent, or get a frame that is for somebody else.
    #[test]
    fn any_bytes_get_an_answer_for_their_guest_or_none(
        start in 0usize..4,
        mut bytes in prop::collection::vec(any::<u8>(), 0..700),
        at in any::<prop::sample::Index>(),
        value: u8,
    ) {
        let good = [
            ask4(Type4::Discover, |_| {}),
            ask4(Type4::Request, |message| { message.set_ciaddr(OWN); }),
            ask6(Type6::Solicit, vec![association(1, &[six(9)])]),
            Vec::new(),
        ];
        let good = &good[start];
        // A good message with a tail, and one byte of it changed.
        let tail = bytes.split_off(bytes.len() / 2);
        let mut message = if good.is_empty() { bytes } else { [good, &tail[..]].concat() };
        if !message.is_empty() {
            let at = at.index(message.len());
            message[at] = value;
        }
        let _ = read(&message);
        for asked in [Asked::Dhcp4 { message: &message }, Asked::Dhcp6 { from: LOCAL, message: &message }] {
            if let Ok(answer) = answer(asked, &facts()) {
                prop_assert_eq!(&answer.frame[..6], &MAC);
                prop_assert!(SlicedPacket::from_ethernet(&answer.frame).is_ok());
                prop_assert!(answer.frame.len() <= 1514, "{} bytes", answer.frame.len());
            }
        }
    }
}
