//! What the programs tell about use: the mark of an entry's last packet, and handles that nobody knows.
use crate::{
    frames::{arriving, inner_udp, udp, underlay, with},
    pairs::{expired_handle, in_handle},
    run::{Baggage, DROP},
    world::{EXPIRED_PEER, GUEST, HOST, NEIGHBOUR_MAC, PEER, PEER_HOST, World, out_key},
};
use pairgate_abi::{EVENT_UNKNOWN_HANDLE, Event, Handle, limits};
use pairgate_agent::{
    clock::BootTime,
    datapath::{Pod, Program},
};
use pairgate_packet::address::wide;
use zerocopy::FromBytes;

fn out_mark(world: &World, peer: [u8; 4]) -> u64 {
    let key = Pod(out_key(world.guest.index(), peer));
    world.loaded.pairs_out().unwrap().get(&key, 0).unwrap().0.used_ns
}

fn in_mark(world: &World, handle: Handle) -> u64 {
    world
        .loaded
        .pairs_in()
        .unwrap()
        .get(&Pod(handle), 0)
        .unwrap()
        .0
        .used_ns
}

fn send(world: &mut World, frame: &[u8]) {
    let interface = world.guest.index();
    world.run(Program::FromTap, interface, frame, Baggage::default());
}

fn arrive(world: &mut World, frame: &[u8]) -> i32 {
    let interface = world.uplink.index();
    world
        .run(Program::FromUplink, interface, frame, Baggage::default())
        .action
}

#[test]
fn a_packet_that_passes_marks_its_entry_and_one_that_dies_does_not() {
    let mut world = World::new();
    let uplink = world.uplink.mac();
    let macs = (NEIGHBOUR_MAC, uplink);
    assert_eq!((out_mark(&world, PEER), in_mark(&world, in_handle())), (0, 0));

    let to = |peer: [u8; 4]| crate::frames::udp_to(peer, b"x");
    send(&mut world, &to(EXPIRED_PEER));
    assert_eq!(out_mark(&world, EXPIRED_PEER), 0, "an ended pair is not in use");
    send(&mut world, &with(udp(), 26, &[10, 77, 0, 66]));
    assert_eq!(out_mark(&world, PEER), 0, "a forged packet is no use");
    let ended = underlay(macs, (PEER_HOST, HOST), 50_000, expired_handle(), &inner_udp());
    arrive(&mut world, &ended);
    assert_eq!(in_mark(&world, expired_handle()), 0);
    let forged = with(arriving(&world, &inner_udp()), 26, &[192, 0, 2, 3]);
    assert_eq!(arrive(&mut world, &forged), DROP);
    assert_eq!(in_mark(&world, in_handle()), 0, "another host's packet is no use");

    let before = BootTime::now().nanos();
    send(&mut world, &to(PEER));
    let frame = arriving(&world, &inner_udp());
    arrive(&mut world, &frame);
    let after = BootTime::now().nanos();
    for mark in [out_mark(&world, PEER), in_mark(&world, in_handle())] {
        assert!((before..=after).contains(&mark), "{mark} is not now");
    }
}

#[test]
fn the_mark_is_written_once_in_a_step_and_not_for_each_packet() {
    let mut world = World::new();
    let frame = crate::frames::udp_to(PEER, b"x");
    let start = BootTime::now().nanos();
    let mut marks = std::collections::BTreeSet::new();
    while BootTime::now().nanos() < start + 2 * limits::USE_STEP_NS {
        send(&mut world, &frame);
        marks.insert(out_mark(&world, PEER));
    }
    assert!((2..=3).contains(&marks.len()), "marks {marks:?}");
}

#[test]
fn an_unknown_handle_tells_the_agent_within_the_uplinks_budget() {
    let mut world = World::new();
    let mut events = world.loaded.events().unwrap();
    let uplink = world.uplink.mac();
    let unknown = Handle::new(9, 9).unwrap();
    let macs = (NEIGHBOUR_MAC, uplink);
    let frame = underlay(macs, (PEER_HOST, HOST), 50_000, unknown, &inner_udp());
    world.reset_budget();
    arrive(&mut world, &frame);
    let event = Event::read_from_bytes(&events.next().expect("no event was raised")).unwrap();
    let expected = Event {
        kind: EVENT_UNKNOWN_HANDLE,
        tap: 0,
        source: wide(PEER_HOST),
        destination: wide(HOST),
        handle: unknown,
        at_ns: event.at_ns,
    };
    assert_eq!(event, expected);
    for known in [
        arriving(&world, &inner_udp()),
        underlay(macs, (PEER_HOST, HOST), 50_000, expired_handle(), &inner_udp()),
        with(arriving(&world, &inner_udp()), 26, &[192, 0, 2, 3]),
    ] {
        arrive(&mut world, &known);
        assert!(events.next().is_none(), "the handle is known");
    }
    let flood = 4 * limits::EVENT_BURST;
    let raised = (0..flood)
        .filter(|_| {
            arrive(&mut world, &frame);
            events.next().is_some()
        })
        .count() as u64;
    assert!(raised < flood, "a flood of handles reaches the agent whole");
    // And takes nothing from the guest.
    send(&mut world, &crate::frames::udp_to([10, 77, 0, 99], b"x"));
    let held = world.next_held().expect("the guest's first packet is lost");
    assert_eq!(held.source, wide(GUEST));
}
