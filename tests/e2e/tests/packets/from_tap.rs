//! What a guest sends, line by line.
use crate::{
    frames::{
        ETHERNET, IP, arp, arp_answer, arp_for, cut, ethernet, padded, ping, protocol, tcp, too_big, udp,
        udp_to, with, wrapped,
    },
    run::{Baggage, Case, Expect, REDIRECT},
    world::{EXPIRED_PEER, GATEWAY, GUEST, GUEST_MAC, LOST_PEER, MTU, PEER, SLOT, World},
};
use etherparse::{ArpOperation, EtherType};
use pairgate_abi::{EVENT_EXPIRED, EVENT_MISS, Event, limits};
use pairgate_agent::datapath::Program;
use pairgate_packet::address::wide;
use zerocopy::FromBytes;

const STRANGER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];
const STRANGER: [u8; 4] = [10, 77, 0, 66];

fn dies(what: &'static str, frame: Vec<u8>, reason: &'static str) -> (&'static str, Vec<u8>, Expect) {
    (what, frame, Expect::Drop(SLOT, reason))
}

fn told(what: &'static str, frame: Vec<u8>) -> (&'static str, Vec<u8>, Expect) {
    let answer = too_big(&frame, MTU);
    (what, frame, Expect::Told(SLOT, "too_big", answer))
}

fn waits(what: &'static str, frame: Vec<u8>) -> (&'static str, Vec<u8>, Expect) {
    let length = frame.len();
    (what, frame, Expect::Held(length))
}

#[rustfmt::skip] // one packet, one line
fn ethernet_lines() -> Vec<(&'static str, Vec<u8>, Expect)> {
    let with_type = |bytes: [u8; 2]| with(udp(), 12, &bytes);
    let ipv6 = || padded(with_type([0x86, 0xdd]), 2); // a test run wants a whole header behind a known type
    vec![
        dies("a source MAC of another", with(udp(), 6, &STRANGER_MAC), "spoofed_mac"),
        dies("the gateway's MAC as source", with(udp(), 6, &GATEWAY), "spoofed_mac"),
        dies("a unicast MAC that is not the gateway's", with(udp(), 0, &STRANGER_MAC), "bad_header"),
        dies("a broadcast datagram", with(udp(), 0, &[0xff; 6]), "multicast"),
        dies("a multicast datagram", with(udp(), 0, &[1, 0, 0x5e, 0, 0, 0xfb]), "multicast"),
        dies("IPv4 that says it is IPv6", ipv6(), "bad_header"),
        dies("the same to a group", with(ipv6(), 0, &[0x33, 0x33, 0, 0, 0, 1]), "multicast"),
        dies("a length instead of a type", with_type([0x00, 0x20]), "ethertype"),
        dies("MPLS", with_type([0x88, 0x47]), "ethertype"),
        dies("LLDP", with(with_type([0x88, 0xcc]), 0, &[1, 0x80, 0xc2, 0, 0, 0x0e]), "ethertype"),
        dies("a pause frame", with(with_type([0x88, 0x08]), 0, &[1, 0x80, 0xc2, 0, 0, 1]), "ethertype"),
        dies("an 802.1Q tag in the bytes", with_type([0x81, 0x00]), "vlan"),
        dies("an 802.1ad tag in the bytes", with_type([0x88, 0xa8]), "vlan"),
        dies("an old double tag", with_type([0x91, 0x00]), "vlan"),
        dies("a tag before a foreign MAC", with(with_type([0x81, 0x00]), 6, &STRANGER_MAC), "vlan"),
    ]
}

#[rustfmt::skip] // one packet, one line
fn ipv4_lines() -> Vec<(&'static str, Vec<u8>, Expect)> {
    let ip = |at: usize, bytes: &[u8]| with(udp(), ETHERNET + at, bytes);
    let to = |address: [u8; 4]| udp_to(address, b"x");
    vec![
        dies("IP version 6 in IPv4", ip(0, &[0x65]), "bad_header"),
        dies("a header length of 16", ip(0, &[0x44]), "bad_header"),
        dies("a header length of 0", ip(0, &[0x40]), "bad_header"),
        dies("options", ip(0, &[0x46]), "bad_header"),
        dies("a total length below the header's", ip(2, &[0, 19]), "bad_header"),
        dies("a total length of 0", ip(2, &[0, 0]), "bad_header"),
        dies("a total length one over the frame", ip(2, &[0, 39]), "bad_header"),
        dies("a total length of 65535", ip(2, &[0xff, 0xff]), "bad_header"),
        dies("another's address as source", ip(12, &STRANGER), "spoofed_address"),
        dies("0.0.0.0 as source", ip(12, &[0; 4]), "spoofed_address"),
        dies("its peer's address as source", ip(12, &PEER), "spoofed_address"),
        dies("a fragment from another", with(ip(12, &STRANGER), ETHERNET + 6, &[0x20, 0]), "spoofed_address"),
        dies("a first fragment", ip(6, &[0x20, 0]), "fragment"),
        dies("a later fragment", ip(6, &[0, 1]), "fragment"),
        dies("a last fragment past the end of the world", ip(6, &[0x1f, 0xff]), "fragment"),
        dies("a group", to([224, 0, 0, 251]), "multicast"),
        dies("the limited broadcast", to([255; 4]), "multicast"),
        dies("the subnet's broadcast", to([10, 77, 0, 255]), "multicast"),
        dies("the old broadcast", to([0; 4]), "multicast"),
        dies("its own address", to(GUEST), "bad_header"),
        dies("loopback", to([127, 0, 0, 1]), "bad_header"),
        dies("a class E address", to([240, 0, 0, 1]), "bad_header"),
        dies("an address of network 0", to([0, 0, 0, 9]), "bad_header"),
        waits("no pair", to([10, 77, 0, 99])),
        waits("no pair and outside of its network", to([198, 51, 100, 1])),
        waits("a pair that has ended", to(EXPIRED_PEER)),
        waits("no pair, and as large as can be held", udp_to([10, 77, 0, 99], &[7; 2020])),
        dies("no pair, and larger", udp_to([10, 77, 0, 99], &[7; 2021]), "no_pair"),
        dies("a pair that has ended, and larger", udp_to(EXPIRED_PEER, &[7; 2021]), "expired"),
        dies("a pair to which no way is known", to(LOST_PEER), "next_hop"),
        told("one byte more than the pair carries", udp_to(PEER, &vec![0; MTU as usize - 27])),
    ]
}

#[rustfmt::skip] // one packet, one line
fn transport_lines() -> Vec<(&'static str, Vec<u8>, Expect)> {
    vec![
        dies("a UDP length beyond the packet", with(udp(), IP + 4, &[0, 19]), "bad_header"),
        dies("a UDP length short of the packet", with(udp(), IP + 4, &[0, 17]), "bad_header"),
        dies("a UDP length of 0", with(udp(), IP + 4, &[0, 0]), "bad_header"),
        dies("seven bytes of UDP", protocol(17, &[0; 7]), "too_short"),
        dies("nineteen bytes of TCP", protocol(6, &[0x50; 19]), "too_short"),
        dies("a TCP header of 16 bytes", with(tcp(), IP + 12, &[0x40]), "bad_header"),
        dies("a TCP header of 0 bytes", with(tcp(), IP + 12, &[0x00]), "bad_header"),
        dies("TCP options beyond the packet", with(tcp(), IP + 12, &[0x60]), "too_short"),
        dies("seven bytes of ICMP", protocol(1, &[8, 0, 0, 0, 0, 0, 0]), "too_short"),
        dies("eleven bytes of SCTP", protocol(132, &[0; 11]), "too_short"),
    ]
}

#[rustfmt::skip] // one packet, one line
fn arp_lines() -> Vec<(&'static str, Vec<u8>, Expect)> {
    let ask = || arp_for(PEER);
    let reply = |mac, sender| arp(ArpOperation::REPLY, mac, sender, PEER);
    let request = |mac, sender, target| arp(ArpOperation::REQUEST, mac, sender, target);
    vec![
        dies("41 bytes of ARP", cut(ask(), 41), "too_short"),
        dies("ARP for another hardware", with(ask(), 14, &[0, 6]), "bad_header"),
        dies("ARP for another protocol", with(ask(), 16, &[0x86, 0xdd]), "bad_header"),
        dies("ARP with a long MAC", with(ask(), 18, &[8]), "bad_header"),
        dies("ARP with a long address", with(ask(), 19, &[16]), "bad_header"),
        dies("opcode 0", with(ask(), 20, &[0, 0]), "spoofed_arp"),
        dies("opcode 65535", with(ask(), 20, &[0xff, 0xff]), "spoofed_arp"),
        dies("a reply, even a true one", reply(GUEST_MAC, GUEST), "spoofed_arp"),
        dies("a reply for another", reply(GUEST_MAC, STRANGER), "spoofed_arp"),
        dies("a question in another's name", request(GUEST_MAC, STRANGER, PEER), "spoofed_arp"),
        dies("a question with another's MAC inside", request(STRANGER_MAC, GUEST, PEER), "spoofed_arp"),
        dies("another's announcement", request(GUEST_MAC, STRANGER, STRANGER), "spoofed_arp"),
        dies("a probe for another's address", request(GUEST_MAC, [0; 4], STRANGER), "spoofed_arp"),
        dies("a probe for its own address", request(GUEST_MAC, [0; 4], GUEST), "multicast"),
        dies("its own announcement", request(GUEST_MAC, GUEST, GUEST), "multicast"),
        dies("a question outside of its network", arp_for([10, 78, 0, 1]), "multicast"),
        dies("a question to a group", with(ask(), 0, &[1, 0, 0x5e, 0, 0, 1]), "multicast"),
        dies("a question to a neighbour", with(ask(), 0, &STRANGER_MAC), "bad_header"),
        dies("a question from another MAC", with(ask(), 6, &STRANGER_MAC), "spoofed_mac"),
        ("a question", ask(), Expect::Out(arp_answer(PEER))),
        (
            "a question with padding",
            padded(ask(), 18),
            Expect::Out(arp_answer(PEER)),
        ),
        (
            "a question to the gateway alone",
            with(ask(), 0, &GATEWAY),
            Expect::Out(arp_answer(PEER)),
        ),
        (
            "a question for an address that nobody has",
            arp_for([10, 77, 0, 200]),
            Expect::Out(arp_answer([10, 77, 0, 200])),
        ),
        (
            "a question with a target MAC in it",
            with(ask(), 32, &[9; 6]),
            Expect::Out(arp_answer(PEER)),
        ),
    ]
}

#[test]
fn everything_a_guest_must_not_say_dies_of_its_own_reason() {
    let mut world = World::new();
    let interface = world.guest.index();
    for (what, frame, expect) in [ethernet_lines(), ipv4_lines(), transport_lines(), arp_lines()]
        .into_iter()
        .flatten()
    {
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
fn a_packet_of_a_pair_leaves_wrapped_and_otherwise_unchanged() {
    let mut world = World::new();
    let (interface, program) = (world.guest.index(), Program::FromTap);
    let whole_mtu = udp_to(PEER, &vec![7; MTU as usize - 28]);
    for (what, frame) in [
        ("a datagram", udp()),
        ("an empty datagram", udp_to(PEER, b"")),
        ("a datagram of exactly the pair's size", whole_mtu),
        ("the start of a TCP stream", tcp()),
        ("a ping", ping()),
        ("SCTP", protocol(132, &[1; 12])),
        ("GRE", protocol(47, &[0; 4])),
        ("IPv4 in IPv4", protocol(4, &[0x45; 20])),
        (
            "a protocol that nobody knows, and nothing in it",
            protocol(255, &[]),
        ),
    ] {
        // The flow's port is the program's choice; everything else must be as expected.
        let ran = world.run(program, interface, &frame, Baggage::default());
        assert_eq!(ran.action, REDIRECT, "{what}");
        let port = u16::from_be_bytes([ran.frame[34], ran.frame[35]]);
        assert!(
            port >= 49_152,
            "{what}: the flow's port {port} is not a dynamic one"
        );
        let out = wrapped(&world, &frame, port);
        let expect = || Expect::Out(out.clone());
        let baggage = Baggage::default();
        Case {
            what,
            interface,
            frame: frame.clone(),
            baggage,
            expect: expect(),
        }
        .check(&mut world, program);
        let frame = padded(frame.clone(), 9);
        Case {
            what: "the same with stray bytes behind it",
            interface,
            frame,
            baggage,
            expect: expect(),
        }
        .check(&mut world, program);
    }
}

#[test]
fn segmentation_is_refused_whatever_it_claims() {
    let mut world = World::new();
    let interface = world.guest.index();
    for (gso_size, gso_segments) in [(1, 0), (1400, 0), (65_535, 0), (0, 2), (1400, 2)] {
        let baggage = Baggage {
            gso_size,
            gso_segments,
            ..Baggage::default()
        };
        for (what, frame) in [("GSO", tcp()), ("GSO on ARP", arp_for(PEER))] {
            let expect = Expect::Drop(SLOT, "offload");
            Case {
                what,
                interface,
                frame,
                baggage,
                expect,
            }
            .check(&mut world, Program::FromTap);
        }
    }
}

#[test]
fn a_tap_without_an_entry_passes_nothing() {
    let mut world = World::new();
    let interface = world.uplink.index();
    for (what, frame) in [("a datagram", udp()), ("a question", arp_for(PEER))] {
        let expect = Expect::Drop(0, "no_state");
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
fn without_a_lease_nothing_leaves() {
    let mut world = World::new();
    let interface = world.guest.index();
    for lease in [0, 1] {
        world.set_lease(lease);
        let (baggage, expect) = (Baggage::default(), Expect::Drop(SLOT, "lease"));
        Case {
            what: "an ended lease",
            interface,
            frame: udp(),
            baggage,
            expect,
        }
        .check(&mut world, Program::FromTap);
    }
}

#[test]
fn every_cut_of_a_good_frame_dies_or_is_the_whole() {
    let mut world = World::new();
    let interface = world.guest.index();
    // A test run takes no IPv4 frame without a whole IP header: `devices` cuts those.
    for (frame, from) in [
        (udp(), IP),
        (tcp(), IP),
        (ping(), IP),
        (arp_for(PEER), ETHERNET + 1),
    ] {
        for length in from..frame.len() {
            world.reset_budget();
            let ran = world.run(Program::FromTap, interface, &frame[..length], Baggage::default());
            assert_eq!(
                ran.action,
                crate::run::DROP,
                "{length} of {} bytes passed",
                frame.len()
            );
        }
    }
}

#[test]
fn a_miss_and_an_ended_pair_tell_the_agent_within_the_taps_budget() {
    let mut world = World::new();
    let interface = world.guest.index();
    let mut events = world.loaded.events().unwrap();
    let stranger = [10, 77, 0, 99];
    // Too large to be held: only the agent is told.
    let large = |peer| udp_to(peer, &[7; 2021]);
    for (peer, kind) in [(stranger, EVENT_MISS), (EXPIRED_PEER, EVENT_EXPIRED)] {
        world.reset_budget();
        world.run(Program::FromTap, interface, &large(peer), Baggage::default());
        let event = Event::read_from_bytes(&events.next().expect("no event was raised")).unwrap();
        let expected = Event {
            kind,
            tap: interface,
            source: wide(GUEST),
            destination: wide(peer),
            handle: pairgate_abi::Handle::from_wire([0; 3], [0; 2]),
            at_ns: event.at_ns,
        };
        assert_eq!(
            event, expected,
            "the agent would ask the registry for another pair"
        );
        assert!(events.next().is_none(), "one packet, one event");
    }
    for frame in [
        udp(),
        with(udp_to(stranger, b"x"), 6, &STRANGER_MAC),
        ethernet(GUEST_MAC, GATEWAY, EtherType(5)),
    ] {
        world.run(Program::FromTap, interface, &padded(frame, 1), Baggage::default());
        assert!(
            events.next().is_none() && world.next_held().is_none(),
            "a packet for which the registry cannot help woke the agent"
        );
    }
    world.reset_budget();
    let flood = limits::EVENT_BURST * 20;
    for _ in 0..flood {
        world.run(Program::FromTap, interface, &large(stranger), Baggage::default());
    }
    let raised = std::iter::from_fn(|| events.next().map(drop)).count() as u64;
    assert!(
        (limits::EVENT_BURST..limits::EVENT_BURST * 3).contains(&raised),
        "{raised} events for {flood} packets: a guest can flood the agent, or one burst is not heard"
    );
}

#[test]
fn questions_over_the_budget_get_no_answer() {
    let mut world = World::new();
    let interface = world.guest.index();
    world.reset_budget();
    let (before, asked) = (world.counts(), limits::ANSWER_BURST * 8);
    for _ in 0..asked {
        world.run(Program::FromTap, interface, &arp_for(PEER), Baggage::default());
    }
    let moved = world.counts().since(&before);
    let of = |word| moved.iter().find(|line| line.2 == word).map_or(0, |line| line.3);
    assert_eq!(of("passed") + of("multicast"), asked, "{moved:?}");
    assert!(
        (limits::ANSWER_BURST..limits::ANSWER_BURST * 3).contains(&of("passed")),
        "{moved:?}"
    );
}
