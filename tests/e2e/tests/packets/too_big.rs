//! What is too big for its pair: the guest is told, and nobody else; and what is too big for a guest never reaches it.
use crate::{
    checksums::{checksum_is_right, finished, unfinished},
    device::{GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, Vnet, taps_know},
    frames::{self, arriving, arriving_under, turned, udp_to, udp6_to},
    pairs::{carries, in_handle6},
    run::{Baggage, Case, DROP, Expect, REDIRECT},
    world::{GUEST, GUEST_MAC, GUEST6, MTU, PEER, PEER6, SLOT, World, out_key, out_key6},
};
use etherparse::PacketBuilder;
use pairgate_abi::{CARRIES_ALL, DropReason, OutEntry, limits};
use pairgate_agent::datapath::{Pod, Program};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(100);

/// A stream of the guest, as it hands it over to be cut.
fn stream(six: bool, payload: usize) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(GUEST_MAC, crate::world::GATEWAY);
    let ip = if six {
        ethernet.ipv6(GUEST6, PEER6, 64)
    } else {
        ethernet.ipv4(GUEST, PEER, 64)
    };
    let mut frame = Vec::new();
    let payload: Vec<u8> = (0..payload).map(|at| (at % 251) as u8).collect();
    ip.tcp(40_000, 80, 7, 1000).write(&mut frame, &payload).unwrap();
    unfinished(frame, 16)
}

fn narrow(world: &World, mtu: u16) {
    let (tap, mut out) = (world.guest.index(), world.loaded.pairs_out().unwrap());
    let entry = OutEntry {
        mtu,
        carries: carries(CARRIES_ALL, &[]),
        ..world.out_entry_here()
    };
    for key in [out_key(tap, PEER), out_key6(tap, PEER)] {
        out.insert(Pod(key), Pod(entry), 0).unwrap();
    }
}

#[test]
fn a_guest_is_told_what_its_pair_carries() {
    let mut world = World::new();
    let interface = world.guest.index();
    for (mtu, payload) in [
        (1400, 1400),
        (1280, 1300),
        (1300, 3000),
        (576, 576),
        (68, 60),
        (68, 200),
    ] {
        narrow(&world, mtu);
        let four = udp_to(PEER, &vec![7; payload]);
        let six = udp6_to(PEER6, (40_000, 53), &vec![7; payload]);
        for (frame, may_be) in [(four, true), (six, mtu >= 1280)] {
            let expect = if may_be {
                Expect::Told(SLOT, "too_big", frames::too_big(&frame, mtu))
            } else {
                Expect::Drop(SLOT, "too_big")
            };
            let baggage = Baggage::default();
            let what = "a datagram";
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
    narrow(&world, 67);
    let (frame, expect) = (udp_to(PEER, &[7; 60]), Expect::Drop(SLOT, "too_big"));
    Case {
        what: "no link carries so little",
        interface,
        frame,
        baggage: Baggage::default(),
        expect,
    }
    .check(&mut world, Program::FromTap);
}

/// Wrong if false: a guest could turn its host's time into answers.
#[test]
fn answers_have_a_budget_of_their_own_tap() {
    let mut world = World::new();
    let (interface, frame) = (world.guest.index(), udp_to(PEER, &[7; 1400]));
    world.reset_budget();
    let (mut told, before) = (0, world.dropped(SLOT, DropReason::TooBig));
    let many = limits::TOO_BIG_BURST * 4;
    for _ in 0..many {
        match world
            .run(Program::FromTap, interface, &frame, Baggage::default())
            .action
        {
            REDIRECT => told += 1,
            DROP => {}
            other => panic!("action {other}"),
        }
    }
    let counted = world.dropped(SLOT, DropReason::TooBig) - before;
    assert_eq!(counted, many, "what is told is counted as what is not");
    assert!(
        (limits::TOO_BIG_BURST..limits::TOO_BIG_BURST * 2).contains(&told),
        "{told} of {many} were answered"
    );
    let question = frames::arp_for(PEER);
    let ran = world.run(Program::FromTap, interface, &question, Baggage::default());
    assert_eq!(
        ran.action, REDIRECT,
        "neighbours are not found while too much is sent"
    );
}

/// Through a real tap, with everything a guest may leave to the kernel. Wrong if a checksum is: the guest's stack would
/// never hear of it, and the connection hang.
#[test]
fn segments_that_are_too_large_are_answered_once_and_with_right_checksums() {
    for finished_only in [false, true] {
        let world = World::running();
        if finished_only {
            world.guest.takes_finished_only();
        }
        for (what, gso_type, frame, headers) in [
            ("a stream", GSO_TCPV4, stream(false, 20_000), 40),
            ("an IPv6 stream", GSO_TCPV6, stream(true, 20_000), 60),
            (
                "datagrams",
                GSO_UDP_L4,
                unfinished(udp_to(PEER, &[7; 20_000]), 6),
                28,
            ),
            (
                "IPv6 datagrams",
                GSO_UDP_L4,
                unfinished(udp6_to(PEER6, (1, 2), &[7; 20_000]), 6),
                48,
            ),
            (
                "an unfinished datagram",
                0,
                unfinished(udp_to(PEER, &[7; 1400]), 6),
                0,
            ),
            ("an unfinished segment", 0, stream(true, 1400), 0),
        ] {
            if !taps_know(gso_type, what) {
                continue;
            }
            let start: u16 = if frame[12..14] == [8, 0] { 34 } else { 54 };
            let is_udp = frame[start as usize + 2..start as usize + 4] != [0, 80];
            let (offset, header) = if is_udp { (6, 8) } else { (16, 20) };
            let vnet = Vnet {
                gso_type,
                gso_size: if gso_type == 0 { 0 } else { MTU + 1 - headers },
                header_length: start + header,
                ..Vnet::partial(start, offset)
            };
            let before = world.counts();
            world.guest.send(vnet, &frame).unwrap();
            let (vnet, answer) = world
                .guest
                .receive(PATIENCE, |_| true)
                .unwrap_or_else(|| panic!("{what}: the guest is not told"));
            assert_eq!(vnet.gso_type, 0, "{what}: the answer is to be cut");
            if finished_only {
                assert_eq!(vnet.flags & 1, 0, "{what}: the kernel has left something to do");
            }
            let answer = finished(vnet, answer);
            assert!(checksum_is_right(&answer), "{what}");
            let expected = frames::too_big(&frame, MTU);
            assert_eq!(answer.len(), expected.len(), "{what}");
            // All but the two checksums, which are as right as the other parser says.
            let (sum, field) = (start as usize + 2, 2 * start as usize - 6 + offset as usize);
            for part in [0..sum, sum + 2..field, field + 2..answer.len()] {
                assert_eq!(answer[part.clone()], expected[part], "{what}");
            }
            assert_eq!(world.guest.receive(SILENCE, |_| true), None, "{what}: told twice");
            assert_eq!(
                world.counts().since(&before),
                [(SLOT, "from_tap", "too_big", 1), (SLOT, "to_tap", "passed", 1)],
                "{what}"
            );
            assert_eq!(
                world.uplink.receive(SILENCE, |frame| frame[12..14] == [8, 0]),
                None,
                "{what}: something left"
            );
        }
    }
}

/// What a host has put together from fragments of the underlay, or a peer's program has let out, ends here.
#[test]
fn what_is_larger_than_the_guest_takes_does_not_reach_it() {
    let mut world = World::new();
    let interface = world.uplink.index();
    for (six, headers) in [(false, 28), (true, 48)] {
        for (payload, fits) in [
            (MTU as usize - headers, true),
            (MTU as usize + 1 - headers, false),
        ] {
            let inner = if six {
                turned(udp6_to(PEER6, (53, 40_000), &vec![7; payload]))
            } else {
                turned(udp_to(PEER, &vec![7; payload]))
            };
            let (frame, expect) = (
                if six {
                    arriving_under(&world, in_handle6(), &inner)
                } else {
                    arriving(&world, &inner)
                },
                if fits {
                    world.arrives(&inner)
                } else {
                    Expect::Drop(SLOT, "too_big")
                },
            );
            let baggage = Baggage::default();
            let what = if fits {
                "as much as the guest takes"
            } else {
                "one byte more"
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
}
