//! What a guest asks about its own configuration, line by line: the agent is asked, or the frame dies.
use crate::{
    checksums::unfinished,
    device::{GSO_UDP_L4, Vnet, taps_know},
    frames::{cut, discovery, padded, with},
    run::{Baggage, Case, DROP, Expect},
    world::{GATEWAY, GUEST, GUEST_MAC, GUEST6, PEER, SLOT, World},
};
use etherparse::PacketBuilder;
use pairgate_abi::{Budget, DropReason, QUESTION_BYTES, SERVER_V4, limits};
use pairgate_agent::datapath::{Pod, Program};
use pairgate_agent::guest_config::{Asked, read};

const STRANGER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x11];
/// As a guest chooses one that does not show its MAC address (RFC 7217).
const STABLE: [u8; 16] = [
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x1b, 0x7e, 3, 0x99, 0x42, 0xa1, 7, 0x5c,
];
const ALL_SERVERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2];
const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const SERVERS_MAC: [u8; 6] = [0x33, 0x33, 0, 1, 0, 2];
const ROUTERS_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 2];
/// Where things stand in a frame.
const IP: usize = 14;
const BODY_4: usize = 42;
const BODY_6: usize = 54;

type Line = (&'static str, Vec<u8>, Expect);

fn dies(what: &'static str, frame: Vec<u8>, reason: &'static str) -> Line {
    (what, frame, Expect::Drop(SLOT, reason))
}

fn asks(what: &'static str, frame: Vec<u8>) -> Line {
    let length = frame.len();
    (what, frame, Expect::Asked(length))
}

/// A DHCPv4 message of a client, with so many bytes of options.
fn bootp(options: usize) -> Vec<u8> {
    let mut message = vec![0; 240 + options];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[28..34].copy_from_slice(&GUEST_MAC);
    message[236..240].copy_from_slice(&[99, 130, 83, 99]);
    message
}

fn dhcp4_to(mac: [u8; 6], addresses: ([u8; 4], [u8; 4]), ports: (u16, u16), message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2(GUEST_MAC, mac)
        .ipv4(addresses.0, addresses.1, 64)
        .udp(ports.0, ports.1);
    packet.write(&mut frame, message).unwrap();
    frame
}

fn discover() -> Vec<u8> {
    dhcp4_to([0xff; 6], ([0; 4], [255; 4]), (68, 67), &bootp(60))
}

fn dhcp6_to(mac: [u8; 6], addresses: ([u8; 16], [u8; 16]), ports: (u16, u16), kind: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2(GUEST_MAC, mac)
        .ipv6(addresses.0, addresses.1, 1)
        .udp(ports.0, ports.1);
    packet
        .write(&mut frame, &[kind, 1, 2, 3, 0, 1, 0, 2, 7, 7])
        .unwrap();
    frame
}

fn solicit(kind: u8) -> Vec<u8> {
    dhcp6_to(SERVERS_MAC, (LINK_LOCAL, ALL_SERVERS), (546, 547), kind)
}

fn routers(body: &[u8]) -> Vec<u8> {
    discovery(ROUTERS_MAC, (LINK_LOCAL, ALL_ROUTERS), 133, body)
}

#[rustfmt::skip] // one packet, one line
fn dhcp4_lines() -> Vec<Line> {
    let to = |mac, addresses| dhcp4_to(mac, addresses, (68, 67), &bootp(60));
    let body = |at: usize, bytes: &[u8]| with(discover(), BODY_4 + at, bytes);
    let largest = || dhcp4_to([0xff; 6], ([0; 4], [255; 4]), (68, 67), &bootp(QUESTION_BYTES - BODY_4 - 240));
    let larger = || dhcp4_to([0xff; 6], ([0; 4], [255; 4]), (68, 67), &bootp(QUESTION_BYTES - BODY_4 - 239));
    let whole = discover().len();
    vec![
        asks("a discovery", discover()),
        ("a discovery with stray bytes", padded(discover(), 9), Expect::Asked(whole)),
        asks("a discovery from an address that it has", to([0xff; 6], (GUEST, [255; 4]))),
        asks("a renewal", to(GATEWAY, (GUEST, SERVER_V4))),
        asks("no options at all", dhcp4_to([0xff; 6], ([0; 4], [255; 4]), (68, 67), &bootp(0))),
        asks("as large as a packet", largest()),
        dies("larger", larger(), "too_big"),
        dies("one byte short of the cookie", dhcp4_to([0xff; 6], ([0; 4], [255; 4]), (68, 67), &bootp(0)[..239]), "too_short"),
        dies("cut short", cut(discover(), 200), "bad_header"),
        dies("a source MAC of another", with(discover(), 6, &STRANGER_MAC), "spoofed_mac"),
        dies("from an address of another", to([0xff; 6], (PEER, [255; 4])), "spoofed_address"),
        dies("to a neighbour's MAC", to(STRANGER_MAC, ([0; 4], [255; 4])), "bad_header"),
        dies("to a group's MAC", to([1, 0, 0x5e, 0, 0, 1], ([0; 4], [255; 4])), "multicast"),
        dies("to the broadcast of its network", to([0xff; 6], (GUEST, [10, 77, 0, 255])), "multicast"),
        dies("from nobody to its peer", to(GATEWAY, ([0; 4], PEER)), "spoofed_address"),
        dies("a first fragment", with(discover(), IP + 6, &[0x20, 0]), "multicast"),
        dies("options of IPv4", with(discover(), IP, &[0x46]), "multicast"),
        dies("a UDP length that lies", with(discover(), IP + 24, &[0, 99]), "bad_header"),
        dies("a server's offer", dhcp4_to([0xff; 6], (GUEST, [255; 4]), (67, 68), &bootp(60)), "multicast"),
        dies("a reply from the client's port", body(0, &[2]), "bad_header"),
        dies("another hardware", body(1, &[6]), "bad_header"),
        dies("a hardware address of 16 bytes", body(2, &[16]), "bad_header"),
        dies("a hop", body(3, &[1]), "bad_header"),
        dies("a relay's address", body(24, &[10, 77, 0, 1]), "bad_header"),
        dies("another's hardware address", body(28, &STRANGER_MAC), "spoofed_mac"),
    ]
}

#[rustfmt::skip] // one packet, one line
fn dhcp6_lines() -> Vec<Line> {
    let from = |source| dhcp6_to(SERVERS_MAC, (source, ALL_SERVERS), (546, 547), 1);
    let to = |mac, address| dhcp6_to(mac, (LINK_LOCAL, address), (546, 547), 1);
    let mut lines: Vec<Line> = [1, 3, 4, 5, 6, 8, 9, 11].map(|kind| asks("a client's message", solicit(kind))).into();
    lines.extend([0, 2, 7, 10, 12, 13, 36, 255].map(|kind| dies("a server's, a relay's or nobody's", solicit(kind), "bad_header")));
    lines.extend([
        asks("from a stable address of the link", from(STABLE)),
        dies("from its own address", from(GUEST6), "spoofed_address"),
        dies("from nobody", from([0; 16]), "bad_header"),
        dies("to all nodes", to([0x33, 0x33, 0, 0, 0, 1], ALL_NODES), "multicast"),
        dies("to a neighbour's MAC", to(STRANGER_MAC, ALL_SERVERS), "bad_header"),
        dies("an advertisement from the server's port", dhcp6_to(SERVERS_MAC, (LINK_LOCAL, ALL_SERVERS), (547, 546), 2), "multicast"),
        dies("a relay's", dhcp6_to(SERVERS_MAC, (LINK_LOCAL, ALL_SERVERS), (547, 547), 12), "multicast"),
        dies("a UDP length that lies", with(solicit(1), BODY_6 + 4, &[0, 9]), "bad_header"),
        dies("a payload beyond the frame", with(solicit(1), IP + 4, &[0, 99]), "bad_header"),
        dies("behind an option of hops", with(solicit(1), IP + 6, &[0]), "multicast"),
    ]);
    lines
}

#[rustfmt::skip] // one packet, one line
fn router_lines() -> Vec<Line> {
    let mac = || routers(&[&[0; 4][..], &[1, 1], &GUEST_MAC].concat());
    let option = |bytes: [u8; 8]| routers(&[&[0; 4][..], &bytes].concat());
    vec![
        asks("a question for routers", routers(&[0; 4])),
        asks("with its MAC in it", mac()),
        asks("with a nonce in it", option([14, 1, 1, 2, 3, 4, 5, 6])),
        asks("from a stable address of the link", with(routers(&[0; 4]), IP + 8, &STABLE)),
        asks("from nobody", with(routers(&[0; 4]), IP + 8, &[0; 16])),
        dies("from its own address", with(routers(&[0; 4]), IP + 8, &GUEST6), "spoofed_nd"),
        dies("to all nodes", with(routers(&[0; 4]), IP + 24, &ALL_NODES), "spoofed_nd"),
        dies("with a code", with(routers(&[0; 4]), BODY_6 + 1, &[1]), "spoofed_nd"),
        dies("with another's MAC in it", with(mac(), BODY_6 + 10, &STRANGER_MAC), "spoofed_nd"),
        dies("with an option of length 0", option([1, 0, 2, 0, 0, 0, 0, 0x11]), "spoofed_nd"),
        dies("with an option of length 2 and one of bytes", option([1, 2, 2, 0, 0, 0, 0, 0x11]), "spoofed_nd"),
        dies("with an option that is cut", cut(mac(), BODY_6 + 12), "bad_header"),
        dies("from elsewhere", with(routers(&[0; 4]), IP + 7, &[254]), "bad_header"),
        dies("longer than its frame", with(routers(&[0; 4]), IP + 4, &[0, 99]), "bad_header"),
        dies("cut by its own length", with(routers(&[0; 4]), IP + 4, &[0, 7]), "too_short"),
        dies("to a neighbour's MAC", with(routers(&[0; 4]), 0, &STRANGER_MAC), "bad_header"),
        dies("a router's own word", discovery(ROUTERS_MAC, (LINK_LOCAL, ALL_NODES), 134, &[0; 12]), "spoofed_nd"),
    ]
}

#[test]
fn a_guest_may_ask_about_itself_and_nothing_else() {
    let mut world = World::new();
    let interface = world.guest.index();
    for (what, frame, expect) in [dhcp4_lines(), dhcp6_lines(), router_lines()]
        .into_iter()
        .flatten()
    {
        // What the programs hand over, the agent can read.
        if matches!(expect, Expect::Asked(_)) {
            let (mac, asked) = read(&frame).unwrap_or_else(|why| panic!("{what}: {why}"));
            assert_eq!(mac, GUEST_MAC, "{what}");
            assert!(
                !matches!(asked, Asked::Dhcp4 { message } if message.len() < 240),
                "{what}"
            );
        }
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

/// Wrong if false: a flood would keep the agent busy, or another guest's question would find the ring full.
#[test]
fn a_guest_asks_its_burst_and_then_its_rate() {
    let mut world = World::new();
    let interface = world.guest.index();
    world.reset_budget();
    let before = world.dropped(SLOT, DropReason::Multicast);
    let asked = |world: &World| world.loaded.budgets().unwrap().get(&SLOT, 0).unwrap().0.asked;
    let frames = [discover(), solicit(1), routers(&[0; 4])];
    for round in 0..60 {
        let ran = world.run(
            Program::FromTap,
            interface,
            &frames[round % 3],
            Baggage::default(),
        );
        assert_eq!(ran.action, DROP);
    }
    let taken = asked(&world);
    assert!(
        (limits::QUESTION_BURST..limits::QUESTION_BURST + 3).contains(&taken),
        "{taken} of 60 were asked"
    );
    assert_eq!(world.dropped(SLOT, DropReason::Multicast) - before, 60 - taken);
    let mut told = 0;
    while world.next_question().is_some() {
        told += 1;
    }
    assert_eq!(told, taken);
    // What one asks costs nothing of what else it may do.
    let kept = world.loaded.budgets().unwrap().get(&SLOT, 0).unwrap().0;
    assert_eq!(
        (kept.event_ns, kept.answer_ns, kept.held, kept.lost),
        (0, 0, 0, 0)
    );
}

/// Wrong if false: a full ring would go unnoticed, or be taken for an answer that comes.
#[test]
fn what_finds_the_ring_full_is_counted_as_lost() {
    let mut world = World::new();
    let interface = world.guest.index();
    let room = limits::QUESTION_RING_BYTES / 1544 + 1;
    let mut lost = 0;
    for _ in 0..room {
        world.reset_budget();
        world.run(Program::FromTap, interface, &discover(), Baggage::default());
        lost = world.loaded.budgets().unwrap().get(&SLOT, 0).unwrap().0.lost;
    }
    assert_eq!(lost, 1, "the ring has another size than it says");
    let kept = Budget::default();
    world.loaded.budgets().unwrap().set(SLOT, Pod(kept), 0).unwrap();
}

#[test]
fn an_unfinished_checksum_is_told_and_segments_are_refused() {
    let mut world = World::running();
    world.reset_budget();
    while world.next_question().is_some() {}
    let frame = unfinished(discover(), 6);
    world.guest.send(Vnet::partial(34, 6), &frame).unwrap();
    let question = world.next_question().expect("nobody is asked");
    assert_eq!(question.checksum_start, 34);
    assert_eq!(&question.frame[..question.length as usize], frame);
    for (what, vnet, frame) in [
        ("a checksum at another place", Vnet::partial(42, 6), discover()),
        (
            "segments",
            Vnet {
                gso_type: GSO_UDP_L4,
                gso_size: 100,
                header_length: 42,
                ..Vnet::partial(34, 6)
            },
            unfinished(discover(), 6),
        ),
    ] {
        if !taps_know(vnet.gso_type, what) {
            continue;
        }
        let before = world.counts();
        world.guest.send(vnet, &frame).unwrap();
        assert_eq!(
            world.counts().since(&before),
            [(SLOT, "from_tap", "offload", 1)],
            "{what}"
        );
        assert!(world.next_question().is_none(), "{what}");
    }
}
