//! First packets: what the agent gets to hold, how much of it, and what happens while a refusal stands.
use crate::{
    checksums::unfinished,
    device::{GSO_TCPV4, Vnet},
    frames::{near, padded, tcp, udp_to, udp6_to, with},
    run::{Baggage, Case, DROP, Expect},
    world::{EXPIRED_PEER, GUEST, GUEST6, SLOT, World, out_key},
};
use pairgate_abi::{Budget, DropReason, EVENT_EXPIRED, EVENT_MISS, Event, limits};
use pairgate_agent::{
    clock::BootTime,
    datapath::{
        Pod, Program,
        maps::{Counters, Maps, Released},
    },
    hold::{HeldFrame, Hold},
    keeper::Tables,
    totals::Totals,
};
use pairgate_packet::address::wide;
use std::sync::Arc;
use zerocopy::FromBytes;

const NOBODY: [u8; 4] = [10, 77, 0, 99];

fn budget(world: &World) -> Budget {
    world.loaded.budgets().unwrap().get(&SLOT, 0).unwrap().0
}

/// The budget as if it were full again, and `held` as it is.
fn patient(world: &World) {
    let kept = Budget {
        event_ns: 0,
        ..budget(world)
    };
    world.loaded.budgets().unwrap().set(SLOT, Pod(kept), 0).unwrap();
}

#[test]
fn the_agent_gets_the_packet_as_the_guest_sent_it_and_everything_about_it() {
    let mut world = World::new();
    let interface = world.guest.index();
    for (frame, source, destination, kind) in [
        (udp_to(NOBODY, b"first"), wide(GUEST), wide(NOBODY), EVENT_MISS),
        (
            udp_to(EXPIRED_PEER, b"late"),
            wide(GUEST),
            wide(EXPIRED_PEER),
            EVENT_EXPIRED,
        ),
        (udp6_to(near(99), (1, 2), b"six"), GUEST6, near(99), EVENT_MISS),
    ] {
        let before = BootTime::now().nanos();
        world.run(
            Program::FromTap,
            interface,
            &padded(frame.clone(), 7),
            Baggage::default(),
        );
        let held = world.next_held().expect("nobody holds the packet");
        assert_eq!((held.kind, held.tap, held.slot), (kind, interface, SLOT));
        assert_eq!((held.source, held.destination), (source, destination));
        assert_eq!(
            &held.frame[..held.length as usize],
            frame,
            "with stray bytes, or without its own"
        );
        assert_eq!((held.checksum_start, held.checksum_offset), (0, 0));
        assert!((before..=BootTime::now().nanos()).contains(&held.at_ns));
    }
    assert_eq!(budget(&world).held, 3);
    let nothing = world.loaded.events().unwrap().next().is_none();
    assert!(nothing, "the agent is told twice of one packet");
}

#[test]
fn an_unfinished_checksum_is_told_and_segments_are_not_held() {
    let mut world = World::running();
    let frame = unfinished(udp_to(NOBODY, b"offloaded"), 6);
    world.guest.send(Vnet::partial(34, 6), &frame).unwrap();
    let held = world.next_held().expect("nobody holds the packet");
    assert_eq!((held.checksum_start, held.checksum_offset), (34, 6));
    assert_eq!(&held.frame[..held.length as usize], frame);
    let mut events = world.loaded.events().unwrap();
    let mut big = with(tcp(), 30, &NOBODY);
    big.extend([7; 1200]);
    let length = (big.len() - 14) as u16;
    let big = unfinished(with(big, 16, &length.to_be_bytes()), 16);
    let vnet = Vnet {
        gso_type: GSO_TCPV4,
        gso_size: 600,
        header_length: 54,
        ..Vnet::partial(34, 16)
    };
    let before = world.counts();
    world.guest.send(vnet, &big).unwrap();
    assert_eq!(world.counts().since(&before), [(SLOT, "from_tap", "no_pair", 1)]);
    assert!(world.next_held().is_none(), "a packet that is to be cut is held");
    let event = Event::read_from_bytes(&events.next().expect("nobody asks for the pair")).unwrap();
    assert_eq!(event.destination, wide(NOBODY));
}

#[test]
fn a_tap_has_so_many_packets_held_and_no_more_until_the_agent_lets_go_of_some() {
    let mut world = World::new();
    let interface = world.guest.index();
    let mut events = world.loaded.events().unwrap();
    let full = |world: &mut World| {
        let before = world.counts();
        patient(world);
        let ran = world.run(
            Program::FromTap,
            interface,
            &udp_to(NOBODY, b"x"),
            Baggage::default(),
        );
        assert_eq!(ran.action, DROP);
        world.counts().since(&before) == [(SLOT, "from_tap", "hold_full", 1)]
    };
    for number in 0..limits::HELD_PER_TAP {
        assert!(!full(&mut world), "full after {number}");
    }
    assert!(full(&mut world), "a guest fills the agent's memory");
    assert!(events.next().is_some(), "of what is not held, nobody hears");
    assert_eq!(budget(&world).held, limits::HELD_PER_TAP);
    let mut released = world.loaded.released().unwrap();
    released.set(SLOT, 1, 0).unwrap();
    assert!(!full(&mut world), "what the agent let go of makes no room");
    assert!(full(&mut world));
    // An agent that has set the one back without the other locks nobody out.
    released.set(SLOT, u64::MAX, 0).unwrap();
    assert!(!full(&mut world));
}

#[test]
fn a_flood_of_first_packets_ends_at_the_taps_budget_and_every_one_is_accounted_for() {
    let mut world = World::new();
    let interface = world.guest.index();
    world.reset_budget();
    let (before, flood) = (world.counts(), limits::EVENT_BURST * 8);
    for _ in 0..flood {
        world.run(
            Program::FromTap,
            interface,
            &udp_to(NOBODY, b"x"),
            Baggage::default(),
        );
    }
    let moved = world.counts().since(&before);
    let of = |word| moved.iter().find(|line| line.2 == word).map_or(0, |line| line.3);
    let held = budget(&world).held;
    assert_eq!(held, limits::HELD_PER_TAP);
    assert_eq!(of("no_pair") + of("hold_full") + held, flood, "{moved:?}");
    assert!(
        of("no_pair") > of("hold_full"),
        "the agent is woken for each: {moved:?}"
    );
}

#[test]
fn a_full_ring_loses_packets_and_counts_them() {
    let mut world = World::new();
    let interface = world.guest.index();
    let mut released = world.loaded.released().unwrap();
    let mut lost = 0;
    for number in 0..1_000 {
        patient(&world);
        released.set(SLOT, number, 0).unwrap();
        world.run(
            Program::FromTap,
            interface,
            &udp_to(NOBODY, b"x"),
            Baggage::default(),
        );
        lost = budget(&world).lost;
        if lost > 0 {
            break;
        }
    }
    assert!(lost > 0, "the ring has no end");
    let held = std::iter::from_fn(|| world.next_held()).count() as u64;
    assert_eq!(
        held,
        budget(&world).held,
        "what was lost counts as held: its place is never free again"
    );
}

#[test]
fn while_a_refusal_stands_nobody_is_asked_again() {
    let mut world = World::new();
    let mut maps = Maps::open(&world.loaded).unwrap();
    let interface = world.guest.index();
    let mut events = world.loaded.events().unwrap();
    let far = BootTime::from_nanos(u64::MAX);
    for peer in [NOBODY, EXPIRED_PEER] {
        let key = out_key(interface, peer);
        maps.refuse(key, far).unwrap();
        for frame in [udp_to(peer, b"x"), udp_to(peer, &[7; 2021])] {
            let (baggage, expect) = (Baggage::default(), Expect::Drop(SLOT, "denied"));
            Case {
                what: "a refused pair",
                interface,
                frame,
                baggage,
                expect,
            }
            .check(&mut world, Program::FromTap);
        }
        assert!(
            events.next().is_none() && world.next_held().is_none(),
            "a refused guest wakes the agent"
        );
        let again = |world: &mut World| {
            world.reset_budget();
            world.run(
                Program::FromTap,
                interface,
                &udp_to(peer, b"x"),
                Baggage::default(),
            );
            world.next_held().is_some()
        };
        maps.refuse(key, BootTime::now()).unwrap();
        assert!(again(&mut world), "a refusal outlives its time");
        maps.refuse(key, far).unwrap();
        maps.remove_refusal(key).unwrap();
        assert!(again(&mut world), "a refusal that was taken back still stands");
    }
    // It is one pair's, and no other's.
    maps.refuse(out_key(interface, NOBODY), far).unwrap();
    world.reset_budget();
    world.run(
        Program::FromTap,
        interface,
        &udp_to([10, 77, 0, 98], b"x"),
        Baggage::default(),
    );
    assert!(world.next_held().is_some());
}

#[test]
fn every_packet_gives_its_place_back_whatever_becomes_of_it() {
    let mut world = World::new();
    let totals = Arc::new(Totals::new(Counters::open(&world.loaded).unwrap()));
    let hold = Hold::new(Released::open(&world.loaded).unwrap(), totals);
    let interface = world.guest.index();
    let mut take = || {
        let frame = udp_to(NOBODY, b"first");
        world.run(Program::FromTap, interface, &frame, Baggage::default());
        let taken = HeldFrame::read(&world.next_held().unwrap()).unwrap();
        (taken, world.loaded.released().unwrap().get(&SLOT, 0).unwrap())
    };
    let (sent, given_back) = take();
    assert_eq!(given_back, 0);
    hold.end(sent, Ok(()));
    let (denied, given_back) = take();
    assert_eq!(given_back, 1, "a packet that was sent");
    hold.keep(denied.clone());
    hold.drop_all(&denied.key, DropReason::Denied);
    let (old, given_back) = take();
    assert_eq!(given_back, 2, "a packet that was refused");
    hold.keep(old);
    hold.give_up(BootTime::from_nanos(u64::MAX));
    let (_, given_back) = take();
    assert_eq!(given_back, 3, "a packet that waited too long");
    assert!(hold.is_empty());
}
