//! ICMP errors, line by line: they pass with the packet that they are about, and with nothing else.
use crate::{
    frames::{
        arriving_under, delivered, ethernet, ping, ping6, protocol, protocol6, tcp, turned, udp_to, udp6_to,
        with, wrapped,
    },
    pairs::{granted_handle, in_handle, in_handle6, replies_handle},
    run::{Baggage, Case, Expect},
    world::{
        ANSWERED_PEER, DOOR_SLOT, GATEWAY, GRANTED_PEER, GUEST, NEXT_DOOR, NEXT_DOOR_MAC, PEER, PEER6, SLOT,
        World,
    },
};
use etherparse::EtherType;
use pairgate_abi::FlowKey;
use pairgate_agent::{
    clock::BootTime,
    datapath::{Program, maps::Maps},
    keeper::Tables,
};
use pairgate_packet::address::wide;

/// A packet as it stands in an error, without its Ethernet header.
fn inside(frame: &[u8]) -> &[u8] {
    &frame[14..]
}

/// The guest's ICMP message to a peer, with this body behind its first eight bytes.
fn news(peer: [u8; 4], kind: u8, body: &[u8]) -> Vec<u8> {
    with(
        protocol(1, &[&[kind, 3, 0, 0, 0, 0, 0, 0], body].concat()),
        30,
        &peer,
    )
}

/// The same over IPv6, to the good peer.
fn news6(kind: u8, body: &[u8]) -> Vec<u8> {
    protocol6(58, &[&[kind, 4, 0, 0, 0, 0, 0, 0], body].concat())
}

/// The guest's datagram between these ports.
fn datagram(peer: [u8; 4], from: u16, to: u16) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    with(udp_to(peer, b"what was sent"), 34, &ports)
}

/// The peer's datagram to the guest.
fn of_peer(peer: [u8; 4], from: u16, to: u16) -> Vec<u8> {
    turned(datagram(peer, from, to))
}

fn line(world: &mut World, program: Program, what: &'static str, frame: Vec<u8>, expect: Expect) {
    let interface = if program == Program::FromTap {
        world.guest.index()
    } else {
        world.uplink.index()
    };
    Case {
        what,
        interface,
        frame,
        baggage: Baggage::default(),
        expect,
    }
    .check(world, program);
}

/// A host whose guests have flow tables.
fn with_tables() -> (World, Maps) {
    let world = World::new();
    let mut maps = Maps::open(&world.loaded).unwrap();
    for slot in [SLOT, DOOR_SLOT] {
        maps.new_flows(slot).unwrap();
    }
    (world, maps)
}

/// Wrong if false: a guest makes its peer give up what the peer says to others.
#[test]
#[rustfmt::skip] // one packet, one line
fn a_guest_sends_errors_about_what_its_peer_has_sent_it() {
    let (mut world, maps) = with_tables();
    let (to_granted, to_answered) = (of_peer(GRANTED_PEER, 40_000, 1500), of_peer(ANSWERED_PEER, 9, 9));
    let about = |frame: Vec<u8>| inside(&frame).to_vec();
    let datagram_of_peer = about(of_peer(PEER, 1, 2));
    let six = about(turned(udp6_to(PEER6, (1, 2), b"x")));
    for (what, frame) in [
        ("unreachable", news(PEER, 3, &datagram_of_peer)),
        ("source quench", news(PEER, 4, &datagram_of_peer)),
        ("time exceeded", news(PEER, 11, &datagram_of_peer)),
        ("parameter problem", news(PEER, 12, &datagram_of_peer)),
        ("no more of it than there must be", news(PEER, 3, &datagram_of_peer[..28])),
        ("about a stream", news(PEER, 3, &about(turned(tcp())))),
        ("about a ping", news(PEER, 3, &about(turned(ping())))),
        ("about any protocol", news(PEER, 3, &about(turned(protocol(47, &[0; 8]))))),
        ("IPv6: unreachable", news6(1, &six)),
        ("IPv6: too big", news6(2, &six)),
        ("IPv6: time exceeded", news6(3, &six)),
        ("IPv6: parameter problem", news6(4, &six)),
        ("IPv6: one that is not defined yet", news6(127, &six)),
        ("IPv6: about a ping", news6(1, &about(turned(ping6())))),
        ("about what the grant names, which has no ICMP for it", news(GRANTED_PEER, 3, &about(to_granted))),
        ("about an answer from a granted port", news(GRANTED_PEER, 3, &about(of_peer(GRANTED_PEER, 1500, 9)))),
        ("to whom it may only answer", news(ANSWERED_PEER, 3, &about(to_answered))),
    ] {
        let ran = world.run(Program::FromTap, world.guest.index(), &frame, Baggage::default());
        let port = u16::from_be_bytes([ran.frame[34], ran.frame[35]]);
        let expect = Expect::Out(wrapped(&world, &frame, port));
        line(&mut world, Program::FromTap, what, frame, expect);
    }
    assert_eq!(maps.flows(SLOT).unwrap().unwrap(), [], "an error has opened a conversation");
    let with_inside = |at: usize, bytes: &[u8]| news(PEER, 3, &with(datagram_of_peer.clone(), at, bytes));
    let six_with = |at: usize, bytes: &[u8]| news6(1, &with(six.clone(), at, bytes));
    let an_error = about(turned(news(PEER, 3, &about(datagram(PEER, 1, 2)))));
    let a_redirect = about(turned(news(PEER, 5, &about(datagram(PEER, 1, 2)))));
    for (what, frame, reason) in [
        ("about a packet of another", with_inside(12, &[10, 77, 0, 66]), "inner"),
        ("about a packet to another", with_inside(16, &[10, 77, 0, 66]), "inner"),
        ("about a packet of its own", news(PEER, 3, &about(datagram(PEER, 1, 2))), "inner"),
        ("about another pair's packet", news(PEER, 3, &about(of_peer(GRANTED_PEER, 1, 2))), "inner"),
        ("about an error", news(PEER, 3, &an_error), "inner"),
        ("about a redirect", news(PEER, 3, &a_redirect), "inner"),
        ("about options", with_inside(0, &[0x46]), "inner"),
        ("about a header of 16 bytes", with_inside(0, &[0x44]), "inner"),
        ("about another version", with_inside(0, &[0x65]), "inner"),
        ("about a length below the header's", with_inside(2, &[0, 19]), "inner"),
        ("about a first fragment", with_inside(6, &[0x20, 0]), "inner"),
        ("about a later fragment", with_inside(6, &[0, 1]), "inner"),
        ("about seven bytes", news(PEER, 3, &datagram_of_peer[..27]), "too_short"),
        ("about nothing", news(PEER, 3, &[]), "too_short"),
        ("about what is behind the packet", with(news(PEER, 3, &datagram_of_peer), 16, &[0, 55]), "too_short"),
        ("a redirect", news(PEER, 5, &datagram_of_peer), "spoofed_nd"),
        ("a router's advertisement", news(PEER, 9, &[0; 8]), "spoofed_nd"),
        ("a question for routers", news(PEER, 10, &[]), "spoofed_nd"),
        ("about what no grant names", news(GRANTED_PEER, 3, &about(of_peer(GRANTED_PEER, 1, 2))), "grant"),
        ("IPv6: about a packet of another", six_with(23, &[0x66]), "inner"),
        ("IPv6: about a packet to another", six_with(39, &[0x66]), "inner"),
        ("IPv6: about a fragment", six_with(6, &[44]), "inner"),
        ("IPv6: about options", six_with(6, &[0]), "inner"),
        ("IPv6: about an error", six_with(6, &[58]), "inner"),
        ("IPv6: about IPv4", news6(1, &[&datagram_of_peer[..], &[0; 40]].concat()), "inner"),
        ("IPv6: about seven bytes", news6(1, &six[..47]), "too_short"),
    ] {
        line(&mut world, Program::FromTap, what, frame, Expect::Drop(SLOT, reason));
    }
}

/// Wrong if false: a peer, or who has its host, makes a guest give up what it says to others.
#[test]
#[rustfmt::skip] // one packet, one line
fn a_guest_gets_errors_about_what_it_has_sent() {
    let (mut world, mut maps) = with_tables();
    let about = |frame: Vec<u8>| inside(&frame).to_vec();
    let own = about(datagram(PEER, 1, 2));
    let six = about(udp6_to(PEER6, (1, 2), b"x"));
    let from = |peer, kind, body: &[u8]| turned(news(peer, kind, body));
    for (what, handle, inner) in [
        ("unreachable", in_handle(), from(PEER, 3, &own)),
        ("time exceeded", in_handle(), from(PEER, 11, &own)),
        ("parameter problem", in_handle(), from(PEER, 12, &own)),
        ("no more of it than there must be", in_handle(), from(PEER, 3, &own[..28])),
        ("IPv6: unreachable", in_handle6(), turned(news6(1, &six))),
        ("IPv6: too big", in_handle6(), turned(news6(2, &six))),
        ("about an answer from a granted port", granted_handle(), from(GRANTED_PEER, 3, &about(datagram(GRANTED_PEER, 1500, 9)))),
    ] {
        let expect = world.arrives(&inner);
        let frame = arriving_under(&world, handle, &inner);
        line(&mut world, Program::FromUplink, what, frame, expect);
    }
    let an_error = about(news(PEER, 3, &about(of_peer(PEER, 1, 2))));
    for (what, handle, inner, reason) in [
        ("about a packet of another", in_handle(), from(PEER, 3, &with(own.clone(), 12, &[10, 77, 0, 66])), "inner"),
        ("about a packet to another", in_handle(), from(PEER, 3, &about(datagram(GRANTED_PEER, 1, 2))), "inner"),
        ("about a packet of its own", in_handle(), from(PEER, 3, &about(of_peer(PEER, 1, 2))), "inner"),
        ("about an error", in_handle(), from(PEER, 3, &an_error), "inner"),
        ("about seven bytes", in_handle(), from(PEER, 3, &own[..27]), "inner"),
        ("a redirect", in_handle(), from(PEER, 5, &own), "inner"),
        ("a router's advertisement", in_handle(), from(PEER, 9, &own), "inner"),
        ("IPv6: about a packet of another", in_handle6(), turned(news6(2, &with(six.clone(), 23, &[0x66]))), "inner"),
        ("IPv6: about a packet to another", in_handle6(), turned(news6(2, &with(six.clone(), 39, &[0x66]))), "inner"),
        ("about what no grant names", granted_handle(), from(GRANTED_PEER, 3, &about(datagram(GRANTED_PEER, 7, 9))), "grant"),
        ("about what was not sent", replies_handle(), from(ANSWERED_PEER, 3, &about(datagram(ANSWERED_PEER, 7, 9))), "grant"),
    ] {
        let frame = arriving_under(&world, handle, &inner);
        line(&mut world, Program::FromUplink, what, frame, Expect::Drop(SLOT, reason));
    }
    // What it has sent is in its table, and the error is about that and nothing else.
    for (handle, peer) in [(granted_handle(), GRANTED_PEER), (replies_handle(), ANSWERED_PEER)] {
        maps.note_flow(SLOT, flow(GUEST, peer, 7, 9), BootTime::now()).unwrap();
        let inner = from(peer, 3, &about(datagram(peer, 7, 9)));
        let expect = Expect::Out(delivered(&inner));
        let frame = arriving_under(&world, handle, &inner);
        line(&mut world, Program::FromUplink, "about what was sent", frame, expect);
        for (what, from_port, to_port) in [("from another port", 8, 9), ("to another port", 7, 8), ("the other way", 9, 7)] {
            let inner = from(peer, 3, &about(datagram(peer, from_port, to_port)));
            let frame = arriving_under(&world, handle, &inner);
            line(&mut world, Program::FromUplink, what, frame, Expect::Drop(SLOT, "grant"));
        }
    }
}

fn flow(own: [u8; 4], peer: [u8; 4], own_port: u16, peer_port: u16) -> FlowKey {
    FlowKey {
        own: wide(own),
        peer: wide(peer),
        own_port: own_port.to_be_bytes(),
        peer_port: peer_port.to_be_bytes(),
        protocol: 17,
        reserved: [0; 3],
    }
}

#[test]
fn the_guest_next_door_gets_errors_by_the_same_rules() {
    let (mut world, mut maps) = with_tables();
    let at_the_door =
        |frame: &[u8]| [&ethernet(GATEWAY, NEXT_DOOR_MAC, EtherType::IPV4), &frame[14..]].concat();
    let frame = news(NEXT_DOOR, 3, inside(&of_peer(NEXT_DOOR, 7, 1500)));
    let not_sent = Expect::Drop(SLOT, "grant");
    line(
        &mut world,
        Program::FromTap,
        "about what was not sent",
        frame.clone(),
        not_sent,
    );
    maps.note_flow(DOOR_SLOT, flow(NEXT_DOOR, GUEST, 7, 1500), BootTime::now())
        .unwrap();
    let expect = Expect::Out(at_the_door(&frame));
    line(&mut world, Program::FromTap, "about what was sent", frame, expect);
    let frame = news(NEXT_DOOR, 3, inside(&of_peer(PEER, 7, 1500)));
    let expect = Expect::Drop(SLOT, "inner");
    line(
        &mut world,
        Program::FromTap,
        "about another's packet",
        frame,
        expect,
    );
}
