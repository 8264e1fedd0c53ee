//! DHCPv4.

use super::{MAC, OWN, facts};
use crate::guest_config::{Asked, Facts, Kind, Silence, answer};
use dhcproto::{
    Decodable, Decoder, Encodable,
    v4::{self, DhcpOption as Option4, MessageType as Type4, OptionCode as Code4},
};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pairgate_abi::{GATEWAY_MAC, SERVER_V4};
use std::net::Ipv4Addr;

/// A client's message.
pub(super) fn ask4(kind: Type4, change: impl FnOnce(&mut v4::Message)) -> Vec<u8> {
    let nobody = Ipv4Addr::UNSPECIFIED;
    let mut message = v4::Message::new_with_id(7, nobody, nobody, nobody, nobody, &MAC);
    message.opts_mut().insert(Option4::MessageType(kind));
    message
        .opts_mut()
        .insert(Option4::ClientIdentifier(vec![1, 2, 3]));
    change(&mut message);
    message.to_vec().unwrap()
}

/// The answer's kind, where its packet goes, and the message.
pub(super) fn told4(message: &[u8], facts: &Facts) -> Result<(Kind, Ipv4Addr, v4::Message), Silence> {
    let answer = answer(Asked::Dhcp4 { message }, facts)?;
    assert_eq!(answer.frame[..6], MAC, "the guard lets nothing else pass");
    assert_eq!(answer.frame[6..12], GATEWAY_MAC);
    let packet = SlicedPacket::from_ethernet(&answer.frame).unwrap();
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (packet.net, packet.transport) else {
        panic!("not DHCPv4");
    };
    assert_eq!((udp.source_port(), udp.destination_port()), (67, 68));
    assert_eq!(ip.header().source_addr().octets(), SERVER_V4);
    assert!(udp.payload().len() >= 300);
    let told = v4::Message::decode(&mut Decoder::new(udp.payload())).unwrap();
    assert_eq!((told.xid(), told.opcode()), (7, v4::Opcode::BootReply));
    assert_eq!(
        told.opts().get(Code4::ClientIdentifier),
        Some(&Option4::ClientIdentifier(vec![1, 2, 3]))
    );
    Ok((answer.kind, ip.header().destination_addr(), told))
}

#[test]
fn a_discovery_is_offered_the_registrys_facts() {
    let (kind, to, told) = told4(&ask4(Type4::Discover, |_| {}), &facts()).unwrap();
    assert_eq!((kind, to, told.yiaddr()), (Kind::Offer, OWN, OWN));
    assert_eq!(told.opts().msg_type(), Some(Type4::Offer));
    for expected in [
        Option4::SubnetMask([255, 255, 255, 0].into()),
        Option4::BroadcastAddr([10, 77, 0, 255].into()),
        Option4::Router(vec![[10, 77, 0, 1].into()]),
        Option4::DomainNameServer(vec![[10, 77, 0, 53].into()]),
        Option4::DomainName("lab.example".into()),
        Option4::Hostname("web1".into()),
        Option4::InterfaceMtu(1400),
        Option4::ServerIdentifier(SERVER_V4.into()),
        Option4::AddressLeaseTime(86_400),
        Option4::Renewal(43_200),
        Option4::Rebinding(75_600),
    ] {
        assert_eq!(told.opts().get(Code4::from(&expected)), Some(&expected));
    }
}

#[test]
fn what_a_network_does_not_have_is_not_told() {
    let bare = Facts {
        gateway: None,
        dns: Vec::new(),
        domain: None,
        ..facts()
    };
    let (_, _, told) = told4(&ask4(Type4::Discover, |_| {}), &bare).unwrap();
    for code in [Code4::Router, Code4::DomainNameServer, Code4::DomainName] {
        assert_eq!(told.opts().get(code), None, "{code:?}");
    }
}

#[test]
fn a_request_for_its_own_address_is_granted_and_for_another_refused() {
    let wanted = |address: [u8; 4]| {
        ask4(Type4::Request, |message| {
            message
                .opts_mut()
                .insert(Option4::RequestedIpAddress(address.into()));
        })
    };
    let (kind, to, told) = told4(&wanted([10, 77, 0, 12]), &facts()).unwrap();
    assert_eq!(
        (kind, to, told.yiaddr()),
        (Kind::Ack, [10, 77, 0, 12].into(), [10, 77, 0, 12].into())
    );
    let (kind, to, told) = told4(&wanted([10, 77, 0, 99]), &facts()).unwrap();
    assert_eq!((kind, to), (Kind::Nak, Ipv4Addr::BROADCAST));
    assert_eq!(
        (told.yiaddr(), told.opts().msg_type()),
        (Ipv4Addr::UNSPECIFIED, Some(Type4::Nak))
    );
    assert_eq!(told.opts().get(Code4::AddressLeaseTime), None);
}

#[test]
fn a_renewal_is_answered_where_the_guest_is() {
    let renewal = ask4(Type4::Request, |message| {
        message.set_ciaddr(OWN);
    });
    let (kind, to, told) = told4(&renewal, &facts()).unwrap();
    assert_eq!(
        (kind, to, told.yiaddr(), told.ciaddr()),
        (Kind::Ack, OWN, OWN, OWN)
    );
}

#[test]
fn a_guest_that_asks_for_a_broadcast_gets_one() {
    let shouting = ask4(Type4::Discover, |message| {
        message.set_flags(v4::Flags::default().set_broadcast());
    });
    let (_, to, told) = told4(&shouting, &facts()).unwrap();
    assert_eq!((to, told.flags().broadcast()), (Ipv4Addr::BROADCAST, true));
}

#[test]
fn who_has_its_address_from_elsewhere_is_told_the_rest_without_a_lease() {
    let inform = ask4(Type4::Inform, |message| {
        message.set_ciaddr(OWN);
    });
    let (kind, to, told) = told4(&inform, &facts()).unwrap();
    assert_eq!((kind, to, told.yiaddr()), (Kind::Ack, OWN, Ipv4Addr::UNSPECIFIED));
    assert_eq!(told.opts().get(Code4::AddressLeaseTime), None);
    assert_eq!(
        told.opts().get(Code4::InterfaceMtu),
        Some(&Option4::InterfaceMtu(1400))
    );
}

#[test]
fn some_messages_are_not_answered() {
    let other = Option4::ServerIdentifier([10, 77, 0, 1].into());
    let stranger = [2, 0, 0, 0, 0, 0x66];
    let no_address = Facts {
        v4: Vec::new(),
        ..facts()
    };
    for (what, message, facts, why) in [
        ("a release", ask4(Type4::Release, |_| {}), facts(), Silence::Noted),
        ("a decline", ask4(Type4::Decline, |_| {}), facts(), Silence::Noted),
        (
            "a server's offer",
            ask4(Type4::Offer, |_| {}),
            facts(),
            Silence::Unreadable,
        ),
        (
            "a request that names nothing",
            ask4(Type4::Request, |_| {}),
            facts(),
            Silence::Unreadable,
        ),
        (
            "a request to another server",
            ask4(Type4::Request, |message| {
                message.opts_mut().insert(other.clone());
                message.opts_mut().insert(Option4::RequestedIpAddress(OWN));
            }),
            facts(),
            Silence::OtherServer,
        ),
        (
            "another's hardware address",
            ask4(Type4::Discover, |message| {
                message.set_chaddr(&stranger);
            }),
            facts(),
            Silence::Unreadable,
        ),
        (
            "a relay's",
            ask4(Type4::Discover, |message| {
                message.set_giaddr([10, 77, 0, 1]);
            }),
            facts(),
            Silence::Unreadable,
        ),
        (
            "a reply",
            ask4(Type4::Discover, |message| {
                message.set_opcode(v4::Opcode::BootReply);
            }),
            facts(),
            Silence::Unreadable,
        ),
        (
            "no IPv4 address",
            ask4(Type4::Discover, |_| {}),
            no_address,
            Silence::NoAddress,
        ),
    ] {
        assert_eq!(told4(&message, &facts).err(), Some(why), "{what}");
    }
}
