//! DHCPv6.

use super::{LOCAL, MAC, facts, six};
use crate::guest_config::{Asked, Facts, Kind, Silence, answer, dhcp6::server_id};
use dhcproto::{
    Decodable, Decoder, Encodable,
    v6::{self, DhcpOption as Option6, MessageType as Type6, OptionCode as Code6},
};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pairgate_abi::GATEWAY_LINK_LOCAL;
use std::net::Ipv6Addr;

pub(super) fn ask6(kind: Type6, options: Vec<Option6>) -> Vec<u8> {
    let mut message = v6::Message::new_with_id(kind, [1, 2, 3]);
    message.opts_mut().insert(Option6::ClientId(vec![0, 3, 0, 1, 9]));
    for option in options {
        message.opts_mut().insert(option);
    }
    message.to_vec().unwrap()
}

pub(super) fn association(id: u32, named: &[Ipv6Addr]) -> Option6 {
    let mut opts = v6::DhcpOptions::new();
    for addr in named {
        opts.insert(Option6::IAAddr(v6::IAAddr {
            addr: *addr,
            preferred_life: 0,
            valid_life: 0,
            opts: v6::DhcpOptions::new(),
        }));
    }
    Option6::IANA(v6::IANA {
        id,
        t1: 0,
        t2: 0,
        opts,
    })
}

pub(super) fn told6(message: &[u8], facts: &Facts) -> Result<(Kind, v6::Message), Silence> {
    let answer = answer(Asked::Dhcp6 { from: LOCAL, message }, facts)?;
    assert_eq!(answer.frame[..6], MAC);
    let packet = SlicedPacket::from_ethernet(&answer.frame).unwrap();
    let (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) = (packet.net, packet.transport) else {
        panic!("not DHCPv6");
    };
    assert_eq!((udp.source_port(), udp.destination_port()), (547, 546));
    assert_eq!(ip.header().source_addr().octets(), GATEWAY_LINK_LOCAL);
    assert_eq!(ip.header().destination_addr(), LOCAL);
    let told = v6::Message::decode(&mut Decoder::new(udp.payload())).unwrap();
    assert_eq!(told.xid(), [1, 2, 3]);
    assert_eq!(
        told.opts().get(Code6::ClientId),
        Some(&Option6::ClientId(vec![0, 3, 0, 1, 9]))
    );
    assert_eq!(
        told.opts().get(Code6::ServerId),
        Some(&Option6::ServerId(server_id()))
    );
    Ok((answer.kind, told))
}

/// An association's number, its addresses with their lifetimes, and its status.
type Lent = (u32, Vec<(Ipv6Addr, u32)>, Option<v6::Status>);

fn lent(told: &v6::Message) -> Vec<Lent> {
    told.opts()
        .iter()
        .filter_map(|option| match option {
            Option6::IANA(association) => {
                let mut addresses = Vec::new();
                let mut status = None;
                for inside in association.opts.iter() {
                    match inside {
                        Option6::IAAddr(one) => addresses.push((one.addr, one.valid_life)),
                        Option6::StatusCode(code) => status = Some(code.status),
                        _ => {}
                    }
                }
                addresses.sort_unstable();
                Some((association.id, addresses, status))
            }
            _ => None,
        })
        .collect()
}

fn all() -> Vec<(Ipv6Addr, u32)> {
    vec![(six(0x11), 86_400), (six(0x12), 86_400)]
}

#[test]
fn one_association_gets_all_addresses_and_others_none() {
    let (kind, told) = told6(
        &ask6(Type6::Solicit, vec![association(1, &[]), association(2, &[])]),
        &facts(),
    )
    .unwrap();
    assert_eq!((kind, told.msg_type()), (Kind::Advertise, Type6::Advertise));
    let mut lent = lent(&told);
    lent.sort_by_key(|(id, ..)| *id);
    let [(1, first, None), (2, second, Some(v6::Status::NoAddrsAvail))] = &lent[..] else {
        panic!("{lent:?}");
    };
    assert_eq!((first, &second[..]), (&all(), &[][..]));
    assert_eq!(
        told.opts().get(Code6::DomainNameServers),
        Some(&Option6::DomainNameServers(vec![six(0x53)]))
    );
    assert!(told.opts().get(Code6::DomainSearchList).is_some());
}

#[test]
fn a_request_renewal_and_rebinding_lend_what_is_and_take_back_what_was() {
    let gone = six(0x99);
    for (kind, named) in [
        (Type6::Request, Some(Option6::ServerId(server_id()))),
        (Type6::Renew, Some(Option6::ServerId(server_id()))),
        (Type6::Rebind, None),
    ] {
        let mut options = vec![association(1, &[six(0x11), gone])];
        options.extend(named);
        let (answered, told) = told6(&ask6(kind, options), &facts()).unwrap();
        assert_eq!((answered, told.msg_type()), (Kind::Reply, Type6::Reply));
        let mut expected = all();
        expected.push((gone, 0));
        assert_eq!(lent(&told), [(1, expected, None)], "{kind:?}");
    }
}

#[test]
fn rapid_commit_confirmation_and_information() {
    let (kind, told) = told6(
        &ask6(Type6::Solicit, vec![Option6::RapidCommit, association(1, &[])]),
        &facts(),
    )
    .unwrap();
    assert_eq!((kind, lent(&told)), (Kind::Reply, vec![(1, all(), None)]));
    assert!(told.opts().get(Code6::RapidCommit).is_some());
    for (address, expected) in [
        (six(0x11), v6::Status::Success),
        (six(0x99), v6::Status::NotOnLink),
    ] {
        let (_, told) = told6(&ask6(Type6::Confirm, vec![association(1, &[address])]), &facts()).unwrap();
        let Some(Option6::StatusCode(code)) = told.opts().get(Code6::StatusCode) else {
            panic!("no status");
        };
        assert_eq!(code.status, expected);
    }
    let (_, told) = told6(&ask6(Type6::InformationRequest, vec![]), &facts()).unwrap();
    assert!(told.opts().get(Code6::DomainNameServers).is_some() && lent(&told).is_empty());
}

#[test]
fn messages_for_others_and_of_servers_are_not_answered() {
    let other = || Option6::ServerId(vec![0, 3, 0, 1, 7, 7]);
    let us = || Option6::ServerId(server_id());
    let no_address = Facts {
        v6: Vec::new(),
        ..facts()
    };
    for (what, message, facts, why) in [
        (
            "another server's",
            ask6(Type6::Request, vec![other()]),
            facts(),
            Silence::OtherServer,
        ),
        (
            "a renewal of nobody",
            ask6(Type6::Renew, vec![]),
            facts(),
            Silence::Unreadable,
        ),
        (
            "a solicitation of one",
            ask6(Type6::Solicit, vec![us()]),
            facts(),
            Silence::Unreadable,
        ),
        (
            "an information request for an address",
            ask6(Type6::InformationRequest, vec![association(1, &[])]),
            facts(),
            Silence::Unreadable,
        ),
        (
            "an advertisement",
            ask6(Type6::Advertise, vec![us()]),
            facts(),
            Silence::Unreadable,
        ),
        (
            "a reply",
            ask6(Type6::Reply, vec![us()]),
            facts(),
            Silence::Unreadable,
        ),
        (
            "no IPv6 address",
            ask6(Type6::Solicit, vec![]),
            no_address,
            Silence::NoAddress,
        ),
    ] {
        assert_eq!(told6(&message, &facts).err(), Some(why), "{what}");
    }
}
