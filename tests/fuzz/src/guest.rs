//! What guests ask about themselves, and what they are told.

use crate::{
    question::{self, MAC},
    world,
};
use arbitrary::Unstructured;
use dhcproto::{Decodable, Decoder, v4, v6};
use etherparse::{Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};
use pairgate_abi::{GATEWAY_LINK_LOCAL, GATEWAY_MAC, SERVER_V4};
use pairgate_agent::guest_config::{Asked, Facts, Kind, answer, read};
use pairgate_packet::{
    Bytes, Metadata,
    sender::{self, Said},
};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of the largest frame that every tap takes.
const LARGEST: usize = 1514;

/// A guest with addresses of both families, or of one, and with all that can be told or with nothing.
fn facts(which: u8) -> Facts {
    let mut facts = Facts {
        mac: MAC,
        name: "web1".to_owned(),
        v4: vec![(own4(), 24), (Ipv4Addr::new(10, 77, 0, 12), 24)],
        v6: vec![(own6(), 64)],
        gateway: Some(Ipv4Addr::new(10, 77, 0, 1)),
        dns: vec![[10, 77, 0, 53].into(), Ipv6Addr::LOCALHOST.into()],
        domain: Some("lab.example".to_owned()),
        mtu: 1430,
    };
    if which & 1 != 0 {
        facts.v4.clear();
    }
    if which & 2 != 0 {
        facts.v6.clear();
    }
    if which & 4 != 0 {
        (facts.gateway, facts.dns, facts.domain) = (None, Vec::new(), None);
    }
    facts
}

fn own4() -> Ipv4Addr {
    world::GUEST.into()
}

fn own6() -> Ipv6Addr {
    world::GUEST6.into()
}

pub(crate) fn guest_question(data: &[u8]) {
    if let Some((which, frame)) = data.split_first()
        && let Ok((_, asked)) = read(frame)
    {
        ask(asked, &facts(*which));
    }
}

pub(crate) fn guest_question_built(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (Ok(which), Ok(frame)) = (u.arbitrary(), question::built(&mut u)) else {
        return;
    };
    let Ok(Said::Question(length)) = sender::check(&Bytes(&frame), &Metadata::PLAIN, &world::tap()) else {
        return;
    };
    let Ok((mac, asked)) = read(&frame[..14 + length as usize]) else {
        panic!("what the program takes for a question is none for the agent");
    };
    assert_eq!(mac, MAC);
    ask(asked, &facts(which));
}

/// Whoever asks whatever: it is told of its own addresses alone, by its own MAC address, in a form that another
/// reader takes.
fn ask(asked: Asked<'_>, facts: &Facts) {
    let Ok(told) = answer(asked, facts) else {
        return;
    };
    let again = answer(asked, facts);
    assert_eq!(again.as_ref(), Ok(&told), "something is remembered");
    assert_eq!(told.kind.protocol(), asked.protocol());
    assert_eq!(told.frame[..12], [MAC, GATEWAY_MAC].concat());
    assert!(told.frame.len() <= LARGEST, "no tap takes {}", told.frame.len());
    let packet = SlicedPacket::from_ethernet(&told.frame).unwrap();
    match (asked, &packet.net, &packet.transport) {
        (Asked::Dhcp4 { message }, Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) => {
            let header = ip.header().to_header();
            assert_eq!(header.source, SERVER_V4);
            assert_eq!(header.calc_header_checksum(), header.header_checksum);
            let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload());
            assert_eq!(sum, Ok(udp.checksum()));
            told4(told.kind, message, udp.payload(), facts);
        }
        (Asked::Dhcp6 { from, message }, Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) => {
            let header = ip.header().to_header();
            assert_eq!(
                (header.source, header.destination),
                (GATEWAY_LINK_LOCAL, from.octets())
            );
            let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload());
            assert_eq!(sum, Ok(udp.checksum()));
            told6(message, udp.payload(), facts);
        }
        (Asked::Router { .. }, Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(message))) => {
            let header = ip.header();
            assert_eq!((header.source(), header.hop_limit()), (GATEWAY_LINK_LOCAL, 255));
            assert!(message.is_checksum_valid(header.source(), header.destination()));
            assert!(matches!(message.icmp_type(), Icmpv6Type::RouterAdvertisement(_)));
        }
        _ => panic!("the answer is of another protocol than the question"),
    }
}

fn told4(kind: Kind, asked: &[u8], told: &[u8], facts: &Facts) {
    let told = v4::Message::decode(&mut Decoder::new(told)).unwrap();
    assert_eq!(told.opcode(), v4::Opcode::BootReply);
    assert_eq!(
        asked[4..8],
        told.xid().to_be_bytes(),
        "an answer to another question"
    );
    assert_eq!(told.chaddr(), MAC);
    let lent = told.yiaddr();
    assert!(
        lent.is_unspecified() || (kind != Kind::Nak && facts.v4.iter().any(|(own, _)| *own == lent)),
        "{lent} is not the guest's"
    );
    assert!(!facts.v4.is_empty(), "a guest without IPv4 is told of it");
}

fn told6(asked: &[u8], told: &[u8], facts: &Facts) {
    let told = v6::Message::decode(&mut Decoder::new(told)).unwrap();
    assert_eq!(asked[1..4], told.xid(), "an answer to another question");
    assert!(!facts.v6.is_empty(), "a guest without IPv6 is told of it");
    for option in told.opts().iter() {
        let v6::DhcpOption::IANA(association) = option else {
            continue;
        };
        for inside in association.opts.iter() {
            if let v6::DhcpOption::IAAddr(lent) = inside {
                let own = facts.v6.iter().any(|(own, _)| *own == lent.addr);
                assert!(own || lent.valid_life == 0, "{} is not the guest's", lent.addr);
            }
        }
    }
}
