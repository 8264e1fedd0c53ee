//! What arrives on the uplink, line by line.
use crate::{
    frames::{
        ETHERNET, INNER, INNER_IP, arriving, cut, delivered, inner_udp, padded, protocol, tcp, turned, udp,
        underlay, with,
    },
    pairs::{expired_handle, in_handle, moved_handle, out_handle},
    run::{Baggage, Case, Expect},
    world::{HOST, NEIGHBOUR_MAC, PEER_HOST, SLOT, World},
};
use pairgate_abi::Handle;
use pairgate_agent::datapath::Program;

type Line = (&'static str, Vec<u8>, Expect);
const UDP: usize = 34;
const VXLAN: usize = 42;

fn good(world: &World) -> Vec<u8> {
    arriving(world, &inner_udp())
}

/// Not ours by the definition: each differs from a good frame in one thing.
#[rustfmt::skip] // one packet, one line
fn foreign(world: &World) -> Vec<Line> {
    let (good, uplink) = (|| good(world), world.uplink.mac());
    let host = |what, frame| (what, frame, Expect::Untouched);
    vec![
        host("a frame for another machine", with(good(), 0, &[0x02, 9, 9, 9, 9, 9])),
        host("a broadcast frame", with(good(), 0, &[0xff; 6])),
        host("IPv6", with(good(), 12, &[0x86, 0xdd])),
        host("ARP", with(good(), 12, &[0x08, 0x06])),
        host("a VLAN tag in the bytes", with(good(), 12, &[0x81, 0x00])),
        host("IP options", with(good(), ETHERNET, &[0x46])),
        host("IP version 6", with(good(), ETHERNET, &[0x65])),
        host("a first fragment", with(good(), ETHERNET + 6, &[0x20, 0])),
        host("a later fragment", with(good(), ETHERNET + 6, &[0x40, 1])),
        host("TCP", with(good(), ETHERNET + 9, &[6])),
        host("another address of the host", with(good(), ETHERNET + 16, &[192, 0, 2, 77])),
        host("loopback", with(good(), ETHERNET + 16, &[127, 0, 0, 1])),
        host("another port", with(good(), UDP + 2, &[0x12, 0xb6])),
        host("an IP length short of the frame", with(good(), ETHERNET + 2, &[0, 20])),
        host("an IP length over the frame", with(good(), ETHERNET + 2, &[0xff, 0xff])),
        host("a UDP length short of the frame", with(good(), UDP + 4, &[0, 8])),
        host("a UDP length over the frame", with(good(), UDP + 4, &[0xff, 0xff])),
        host("padding behind the packet", padded(good(), 1)),
        host("no group", with(good(), VXLAN, &[0x08])),
        host("no network identifier", with(good(), VXLAN, &[0x80])),
        host("one more flag", with(good(), VXLAN, &[0x8c])),
        host("the O bit", with(good(), VXLAN, &[0x89])),
        host("no flag", with(good(), VXLAN, &[0])),
        host("the don't-learn bit", with(good(), VXLAN + 1, &[0x40])),
        host("the policy-applied bit", with(good(), VXLAN + 1, &[0x08])),
        host("the last reserved byte", with(good(), VXLAN + 7, &[1])),
        host("a cut VXLAN header", cut(good(), VXLAN + 7)),
        host("the host's own datagram", with(udp(), 0, &uplink)),
        host("the host's own TCP", with(tcp(), 0, &uplink)),
    ]
}

/// Ours, and not as the handle's pair is.
#[rustfmt::skip] // one packet, one line
fn refused(world: &World) -> Vec<Line> {
    let (good, uplink) = (|| good(world), world.uplink.mac());
    let stranger = |what, frame, reason| (what, frame, Expect::Drop(0, reason));
    let dies = |what, frame, reason| (what, frame, Expect::Drop(SLOT, reason));
    let macs = (NEIGHBOUR_MAC, uplink);
    let under = |handle, inner: &[u8]| underlay(macs, (PEER_HOST, HOST), 50_000, handle, inner);
    let inner = |at: usize, bytes: &[u8]| with(good(), INNER_IP + at, bytes);
    let carrying = |payload: &[u8]| arriving(world, payload);
    let stray = || padded(turned(protocol(200, &[3; 20])), 5);
    vec![
        stranger("an outer checksum", with(good(), UDP + 6, &[1, 2]), "outer"),
        stranger("an unknown handle", under(Handle::new(9, 9).unwrap(), &inner_udp()), "handle"),
        stranger("the handle of the other direction", under(out_handle(), &inner_udp()), "handle"),
        stranger("another group", with(good(), VXLAN + 3, &[0]), "handle"),
        stranger("another network identifier", with(good(), VXLAN + 6, &[0]), "handle"),
        stranger("a handle of zeros", under(Handle::from_wire([0; 3], [0; 2]), &inner_udp()), "handle"),
        dies("a handle of another address of this host", under(moved_handle(), &inner_udp()), "outer"),
        dies("another host as outer source", with(good(), ETHERNET + 12, &[192, 0, 2, 3]), "outer"),
        dies("this host as outer source", with(good(), ETHERNET + 12, &HOST), "outer"),
        dies("an inner source of another", inner(12, &[10, 77, 0, 66]), "inner"),
        dies("an inner destination of another", inner(16, &[10, 77, 0, 12]), "inner"),
        dies("inner addresses swapped", carrying(&udp()), "inner"),
        dies("inner IPv6", with(good(), INNER + 12, &[0x86, 0xdd]), "inner"),
        dies("inner ARP", with(good(), INNER + 12, &[0x08, 0x06]), "inner"),
        dies("an inner tag", with(good(), INNER + 12, &[0x81, 0x00]), "inner"),
        dies("inner options", inner(0, &[0x46]), "inner"),
        dies("inner version 6", inner(0, &[0x65]), "inner"),
        dies("an inner first fragment", inner(6, &[0x20, 0]), "inner"),
        dies("an inner later fragment", inner(6, &[0, 9]), "inner"),
        dies("an inner length short of the frame", inner(2, &[0, 38]), "inner"),
        dies("an inner length over the frame", inner(2, &[0, 40]), "inner"),
        dies("an inner length below the header's", inner(2, &[0, 19]), "inner"),
        dies("stray bytes behind an inner packet without a length of its own", carrying(&stray()), "inner"),
        dies("an inner UDP length that lies", inner(24, &[0, 8]), "inner"),
        dies("an inner TCP header of 16 bytes", carrying(&turned(with(tcp(), 46, &[0x40]))), "inner"),
        dies("seven inner bytes of ICMP", carrying(&turned(protocol(1, &[8; 7]))), "inner"),
        dies("nothing inside", carrying(&[]), "inner"),
        dies("half an inner Ethernet header", carrying(&[0xaa; 7]), "inner"),
        dies("an inner Ethernet header alone", carrying(&inner_udp()[..14]), "inner"),
        dies("half an inner IP header", carrying(&inner_udp()[..33]), "inner"),
        dies("a pair that has ended", under(expired_handle(), &inner_udp()), "expired"),
    ]
}

#[test]
fn what_is_not_ours_goes_to_the_host_untouched() {
    let mut world = World::new();
    let interface = world.uplink.index();
    for (what, frame, expect) in foreign(&world) {
        let baggage = Baggage {
            mark: 5,
            ..Baggage::default()
        };
        Case {
            what,
            interface,
            frame,
            baggage,
            expect,
        }
        .check(&mut world, Program::FromUplink);
    }
}

#[test]
fn what_is_ours_and_wrong_dies_of_its_own_reason() {
    let mut world = World::new();
    let interface = world.uplink.index();
    for (what, frame, expect) in refused(&world) {
        let baggage = Baggage::default();
        Case {
            what,
            interface,
            frame,
            baggage,
            expect,
        }
        .check(&mut world, Program::FromUplink);
    }
    for (gso_size, gso_segments) in [(1400, 0), (1400, 2)] {
        let baggage = Baggage {
            gso_size,
            gso_segments,
            ..Baggage::default()
        };
        let expect = Expect::Drop(SLOT, "offload");
        Case {
            what: "GSO on a host without a VXLAN device",
            interface,
            frame: good(&world),
            baggage,
            expect,
        }
        .check(&mut world, Program::FromUplink);
    }
    world.set_lease(1);
    let (baggage, expect) = (Baggage::default(), Expect::Drop(SLOT, "lease"));
    Case {
        what: "an ended lease",
        interface,
        frame: good(&world),
        baggage,
        expect,
    }
    .check(&mut world, Program::FromUplink);
}

#[test]
fn a_packet_of_a_pair_is_delivered_under_a_header_of_our_own() {
    let mut world = World::new();
    let interface = world.uplink.index();
    for (what, inner) in [
        ("a datagram", inner_udp()),
        ("TCP", turned(tcp())),
        ("a packet without payload", turned(protocol(255, &[]))),
        ("a full frame", turned(protocol(200, &[3; 1380]))),
    ] {
        let (frame, baggage) = (arriving(&world, &inner), Baggage::default());
        let ran = world.run(Program::FromUplink, interface, &frame, baggage);
        assert_eq!(
            ran.mark,
            world.loaded.mark(),
            "{what}: the guard before the guest would drop it"
        );
        let expect = Expect::Out(delivered(&inner));
        Case {
            what,
            interface,
            frame,
            baggage,
            expect,
        }
        .check(&mut world, Program::FromUplink);
    }
}

#[test]
fn every_cut_of_a_good_frame_is_the_hosts_or_dies() {
    let mut world = World::new();
    let interface = world.uplink.index();
    let frame = good(&world);
    for length in UDP..frame.len() {
        let cut_frame = frame[..length].to_vec();
        // As it came off the wire, and with outer lengths that fit the cut: once more ours to judge.
        let (expect, baggage) = (Expect::Untouched, Baggage::default());
        Case {
            what: "a cut frame",
            interface,
            frame: cut_frame.clone(),
            baggage,
            expect,
        }
        .check(&mut world, Program::FromUplink);
        if length >= INNER {
            let frame = with(cut_frame, ETHERNET + 2, &(length as u16 - 14).to_be_bytes());
            let frame = with(frame, UDP + 4, &(length as u16 - 34).to_be_bytes());
            let expect = Expect::Drop(SLOT, "inner");
            Case {
                what: "a cut frame with fitting lengths",
                interface,
                frame,
                baggage,
                expect,
            }
            .check(&mut world, Program::FromUplink);
        }
    }
    assert_eq!(in_handle().vni_number(), 0x0a_0b0c);
}
