//! IPv6 from and to guests, line by line, and IPv6 between hosts.
use crate::{
    frames::{
        ETHERNET, advertisement, arriving_under, cut, delivered, discovery, inner_udp, near, padded, ping6,
        protocol6, solicitation, tcp6, too_big, turned, udp, udp6, udp6_to, with, wrapped,
    },
    pairs::{in_handle, in_handle6},
    run::{Baggage, Case, Expect, REDIRECT},
    world::{EXPIRED_PEER, GATEWAY, GUEST6, HOST6, LOST_PEER, MTU, PEER6, SLOT, World, six},
};
use pairgate_abi::{GATEWAY_LINK_LOCAL, limits};
use pairgate_agent::datapath::Program;
use pairgate_packet::ip::Family;

type Line = (&'static str, Vec<u8>, Expect);

const STRANGER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];
/// A link-local address of the guest's.
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11];
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const SOURCE: usize = ETHERNET + 8;
const DESTINATION: usize = ETHERNET + 24;
/// Where the transport header stands.
const BODY: usize = ETHERNET + 40;

fn dies(what: &'static str, frame: Vec<u8>, reason: &'static str) -> Line {
    (what, frame, Expect::Drop(SLOT, reason))
}

fn told(what: &'static str, frame: Vec<u8>) -> Line {
    let answer = too_big(&frame, MTU);
    (what, frame, Expect::Told(SLOT, "too_big", answer))
}

fn stranger() -> [u8; 16] {
    near(0x66)
}

/// The IPv6 form of an IPv4 address that no packet may carry.
fn mapped(prefix: [u8; 2]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, prefix[0], prefix[1], 10, 77, 0, 11]
}

#[rustfmt::skip] // one packet, one line
fn packet_lines() -> Vec<Line> {
    let ip = |at: usize, bytes: &[u8]| with(udp6(), ETHERNET + at, bytes);
    let to = |address: [u8; 16]| udp6_to(address, (40_000, 53), b"x");
    let waits = |what, frame: Vec<u8>| { let length = frame.len(); (what, frame, Expect::Held(length)) };
    vec![
        dies("IP version 4 in IPv6", ip(0, &[0x45]), "bad_header"),
        dies("a payload one over the frame", ip(4, &[0, 19]), "bad_header"),
        dies("a payload of 65535", ip(4, &[0xff, 0xff]), "bad_header"),
        dies("a payload of 0: a giant, or nothing", ip(4, &[0, 0]), "too_short"),
        dies("another's address as source", with(udp6(), SOURCE, &stranger()), "spoofed_address"),
        dies("a link-local source", with(udp6(), SOURCE, &LINK_LOCAL), "spoofed_address"),
        dies("a group as source", with(udp6(), SOURCE, &ALL_NODES), "spoofed_address"),
        dies("its IPv4 address as source", with(udp6(), SOURCE, &mapped([0xff, 0xff])), "bad_header"),
        dies("a compatible source", with(udp6(), SOURCE, &mapped([0, 0])), "bad_header"),
        dies("no source", with(udp6(), SOURCE, &[0; 16]), "bad_header"),
        dies("an IPv4 address as destination", to(mapped([0xff, 0xff])), "bad_header"),
        dies("a compatible destination", to(mapped([0, 0])), "bad_header"),
        dies("no destination", to([0; 16]), "bad_header"),
        dies("loopback", with(udp6(), DESTINATION + 15, &[1]).into_iter().enumerate()
            .map(|(at, byte)| if (DESTINATION..DESTINATION + 15).contains(&at) { 0 } else { byte }).collect(), "bad_header"),
        dies("a group", to(ALL_NODES), "multicast"),
        dies("a group under its own MAC", with(to(ALL_NODES), 0, &ALL_NODES_MAC), "multicast"),
        dies("a unicast MAC that is not the gateway's", with(udp6(), 0, &STRANGER_MAC), "bad_header"),
        dies("its own address", to(GUEST6), "bad_header"),
        dies("a fragment", ip(6, &[44]), "fragment"),
        dies("hop-by-hop options", ip(6, &[0]), "extension_header"),
        dies("a routing header", ip(6, &[43]), "extension_header"),
        dies("destination options", ip(6, &[60]), "extension_header"),
        dies("an authentication header", ip(6, &[51]), "extension_header"),
        dies("an encrypted payload", ip(6, &[50]), "extension_header"),
        dies("a mobility header", ip(6, &[135]), "extension_header"),
        dies("a header of another's", with(ip(6, &[0]), SOURCE, &stranger()), "spoofed_address"),
        dies("a listener's report", with(with(udp6_to(ALL_NODES, (1, 2), &[0; 24]), ETHERNET + 6, &[0]), 0, &ALL_NODES_MAC), "multicast"),
        dies("seven bytes of UDP", protocol6(17, &[0; 7]), "too_short"),
        dies("a UDP length that lies", with(udp6(), BODY + 4, &[0, 19]), "bad_header"),
        dies("nineteen bytes of TCP", protocol6(6, &[0x50; 19]), "too_short"),
        dies("TCP options beyond the packet", with(tcp6(), BODY + 12, &[0x60]), "too_short"),
        dies("seven bytes of ICMPv6", protocol6(58, &[128, 0, 0, 0, 0, 0, 0]), "too_short"),
        dies("a pair to which no way is known", to(six(LOST_PEER)), "next_hop"),
        told("one byte more than the pair carries", udp6_to(PEER6, (1, 2), &vec![0; MTU as usize - 47])),
        dies("no pair, and too large to be held", udp6_to(near(99), (1, 2), &[7; 2001]), "no_pair"),
        waits("no pair", to(near(99))),
        waits("no pair and outside of its network", to(HOST6)),
        waits("no pair, and as large as can be held", udp6_to(near(99), (1, 2), &[7; 2000])),
        waits("a pair that has ended", to(six(EXPIRED_PEER))),
    ]
}

/// Neighbour discovery: a question of its own is answered, and everything else ends here.
#[rustfmt::skip] // one packet, one line
fn discovery_lines() -> Vec<Line> {
    let target = near(1);
    let ask = || solicitation(target);
    let nd = |what, frame| dies(what, frame, "spoofed_nd");
    let answered = |what, frame, to| (what, frame, Expect::Out(advertisement(to, target)));
    let body = |address: [u8; 16]| [&[0; 4], &address[..]].concat();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1];
    let mac = [0x33, 0x33, 0xff, 0, 0, 1];
    vec![
        answered("a question", ask(), GUEST6),
        answered("a question from the link's address", with(ask(), SOURCE, &LINK_LOCAL), LINK_LOCAL),
        answered("a question without its MAC in it", discovery(mac, (GUEST6, group), 135, &body(target)), GUEST6),
        answered("a question to the gateway alone", discovery(GATEWAY, (GUEST6, target), 135, &body(target)), GUEST6),
        ("a question for the router", solicitation(GATEWAY_LINK_LOCAL), Expect::Out(advertisement(GUEST6, GATEWAY_LINK_LOCAL))),
        answered("a question with stray bytes", padded(ask(), 9), GUEST6),
        nd("a question for its own address", solicitation(GUEST6)),
        nd("a probe for duplicates", with(solicitation(GUEST6), SOURCE, &[0; 16])),
        nd("a probe for another's address", with(ask(), SOURCE, &[0; 16])),
        nd("a question in another's name", with(ask(), SOURCE, &stranger())),
        nd("a question in an IPv4 name", with(ask(), SOURCE, &mapped([0xff, 0xff]))),
        nd("a question with another's MAC in it", with(ask(), BODY + 26, &STRANGER_MAC)),
        nd("a question with a long MAC in it", with(ask(), BODY + 25, &[2])),
        nd("a question outside of its network", solicitation(HOST6)),
        nd("a question for an address of the link that is not the router's", solicitation([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
        nd("a question for an IPv4 address", solicitation(mapped([0xff, 0xff]))),
        nd("a question for a group", solicitation(ALL_NODES)),
        nd("a question to everybody", with(ask(), DESTINATION, &ALL_NODES)),
        nd("a question with a code", with(ask(), BODY + 1, &[1])),
        nd("an advertisement, even a true one", discovery(GATEWAY, (GUEST6, PEER6), 136, &body(GUEST6))),
        nd("an advertisement to everybody", discovery(ALL_NODES_MAC, (GUEST6, ALL_NODES), 136, &body(GUEST6))),
        nd("a router's advertisement", discovery(ALL_NODES_MAC, (LINK_LOCAL, ALL_NODES), 134, &[0; 20])),
        nd("a redirect to its peer", discovery(GATEWAY, (GUEST6, PEER6), 137, &[0; 36])),
        dies("a question from elsewhere", with(ask(), ETHERNET + 7, &[254]), "bad_header"),
        dies("a question longer than its frame", with(ask(), ETHERNET + 4, &[0, 33]), "bad_header"),
        dies("a question cut by its own length", with(ask(), ETHERNET + 4, &[0, 23]), "too_short"),
        dies("a question cut within the address", cut(ask(), BODY + 20), "too_short"),
        dies("a question to a neighbour", with(ask(), 0, &STRANGER_MAC), "bad_header"),
        dies("a question from another MAC", with(ask(), 6, &STRANGER_MAC), "spoofed_mac"),
    ]
}

#[test]
fn everything_a_guest_must_not_say_over_ipv6_dies_of_its_own_reason() {
    let mut world = World::new();
    let interface = world.guest.index();
    for (what, frame, expect) in [packet_lines(), discovery_lines()].into_iter().flatten() {
        Case {
            what,
            interface,
            frame,
            baggage: Baggage::default(),
            expect,
        }
        .check(&mut world, Program::FromTap);
    }
}

#[test]
fn every_cut_of_a_question_dies() {
    let mut world = World::new();
    let interface = world.guest.index();
    let ask = solicitation(near(1));
    for length in BODY..ask.len() {
        let ran = world.run(Program::FromTap, interface, &ask[..length], Baggage::default());
        assert_eq!(
            ran.action,
            crate::run::DROP,
            "{length} of {} bytes passed",
            ask.len()
        );
    }
}

#[test]
fn questions_over_the_budget_get_no_answer_over_ipv6_either() {
    let mut world = World::new();
    let interface = world.guest.index();
    world.reset_budget();
    let (before, asked) = (world.counts(), limits::ANSWER_BURST * 8);
    for _ in 0..asked {
        world.run(
            Program::FromTap,
            interface,
            &solicitation(near(1)),
            Baggage::default(),
        );
    }
    let moved = world.counts().since(&before);
    let of = |word| moved.iter().find(|line| line.2 == word).map_or(0, |line| line.3);
    assert_eq!(of("passed") + of("spoofed_nd"), asked, "{moved:?}");
    assert!(
        (limits::ANSWER_BURST..limits::ANSWER_BURST * 3).contains(&of("passed")),
        "{moved:?}"
    );
}

/// Packets of both families over an underlay of either.
#[test]
fn packets_of_both_families_cross_an_underlay_of_either() {
    for host in [crate::world::HOST.into(), HOST6.into()] {
        let mut world = World::on(host);
        let (interface, uplink) = (world.guest.index(), world.uplink.index());
        for (what, frame) in [
            ("a datagram", udp()),
            ("an IPv6 datagram", udp6()),
            ("an IPv6 stream", tcp6()),
            ("an IPv6 ping", ping6()),
            ("no next header", protocol6(59, &[])),
            (
                "a full IPv6 packet",
                udp6_to(PEER6, (7, 9), &vec![7; MTU as usize - 48]),
            ),
        ] {
            let ran = world.run(Program::FromTap, interface, &frame, Baggage::default());
            assert_eq!(ran.action, REDIRECT, "{what} over {host}");
            let at = if host.is_ipv4() { 34 } else { 54 };
            let port = u16::from_be_bytes([ran.frame[at], ran.frame[at + 1]]);
            assert!(
                port >= 49_152,
                "{what}: the flow's port {port} is not a dynamic one"
            );
            let out = wrapped(&world, &frame, port);
            for frame in [frame.clone(), padded(frame, 9)] {
                Case {
                    what,
                    interface,
                    frame,
                    baggage: Baggage::default(),
                    expect: Expect::Out(out.clone()),
                }
                .check(&mut world, Program::FromTap);
            }
        }
        let arrivals = || {
            [
                ("a datagram", in_handle(), inner_udp(), Family::V4),
                ("an IPv6 datagram", in_handle6(), turned(udp6()), Family::V6),
                ("an IPv6 stream", in_handle6(), turned(tcp6()), Family::V6),
                ("an IPv6 ping", in_handle6(), turned(ping6()), Family::V6),
            ]
        };
        for (what, handle, inner, _) in arrivals() {
            let expect = world.arrives(&inner);
            Case {
                what,
                interface: uplink,
                frame: arriving_under(&world, handle, &inner),
                baggage: Baggage::default(),
                expect,
            }
            .check(&mut world, Program::FromUplink);
        }
        let mut world = World::with_device(host, 99);
        let uplink = world.uplink.index();
        for (what, handle, inner, family) in arrivals() {
            let expect = if world.is_by_device(family) {
                Expect::ToDevice
            } else {
                Expect::Out(delivered(&inner))
            };
            Case {
                what,
                interface: uplink,
                frame: arriving_under(&world, handle, &inner),
                baggage: Baggage::default(),
                expect,
            }
            .check(&mut world, Program::FromUplink);
        }
    }
}

#[test]
fn what_arrives_and_is_not_the_handles_ipv6_packet_dies() {
    let mut world = World::on(HOST6.into());
    let interface = world.uplink.index();
    let redirect = turned(discovery(GATEWAY, (GUEST6, PEER6), 137, &[0; 36]));
    let advertised = turned(discovery(GATEWAY, (GUEST6, PEER6), 136, &[0; 20]));
    let good = turned(udp6());
    for (what, handle, inner) in [
        ("IPv4 under an IPv6 pair", in_handle6(), inner_udp()),
        ("IPv6 under an IPv4 pair", in_handle(), good.clone()),
        ("a redirect", in_handle6(), redirect),
        ("an advertisement", in_handle6(), advertised),
        (
            "a fragment",
            in_handle6(),
            with(good.clone(), ETHERNET + 6, &[44]),
        ),
        ("options", in_handle6(), with(good.clone(), ETHERNET + 6, &[0])),
        (
            "another's address",
            in_handle6(),
            with(good.clone(), SOURCE, &stranger()),
        ),
        (
            "the addresses of its IPv4 pair",
            in_handle(),
            with(
                with(good.clone(), SOURCE, &mapped([0xff, 0xff])),
                DESTINATION,
                &mapped([0xff, 0xff]),
            ),
        ),
        ("stray bytes", in_handle6(), padded(good.clone(), 1)),
        ("another version", in_handle6(), with(good, ETHERNET, &[0x45])),
    ] {
        Case {
            what,
            interface,
            frame: arriving_under(&world, handle, &inner),
            baggage: Baggage::default(),
            expect: Expect::Drop(SLOT, "inner"),
        }
        .check(&mut world, Program::FromUplink);
    }
    let ours = arriving_under(&world, in_handle6(), &turned(udp6()));
    for (what, frame) in [
        ("IPv4", with(ours.clone(), 12, &[8, 0])),
        (
            "a fragment of the outer packet",
            with(ours.clone(), ETHERNET + 6, &[44]),
        ),
        (
            "an outer extension header",
            with(ours.clone(), ETHERNET + 6, &[0]),
        ),
        (
            "another address of the host",
            with(ours.clone(), DESTINATION + 15, &[9]),
        ),
        (
            "a length short of the frame",
            with(ours.clone(), ETHERNET + 4, &[0, 9]),
        ),
        (
            "a UDP length short of the frame",
            with(ours.clone(), BODY + 4, &[0, 9]),
        ),
        ("padding", padded(ours.clone(), 1)),
        ("one more flag", with(ours.clone(), BODY + 8, &[0x8c])),
    ] {
        Case {
            what,
            interface,
            frame,
            baggage: Baggage::default(),
            expect: Expect::Untouched,
        }
        .check(&mut world, Program::FromUplink);
    }
    for (what, frame, slot, reason) in [
        (
            "an outer checksum",
            with(ours.clone(), BODY + 6, &[1, 2]),
            0,
            "outer",
        ),
        ("another host", with(ours, SOURCE + 15, &[9]), SLOT, "outer"),
    ] {
        Case {
            what,
            interface,
            frame,
            baggage: Baggage::default(),
            expect: Expect::Drop(slot, reason),
        }
        .check(&mut world, Program::FromUplink);
    }
}
