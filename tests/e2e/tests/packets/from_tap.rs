//! What a guest sends: cuts, events and budgets. Line by line it is in `cases`.
use crate::{
    frames::{ETHERNET, IP, arp_for, ethernet, padded, ping, tcp, udp, udp_to, with},
    run::Baggage,
    world::{EXPIRED_PEER, GATEWAY, GUEST, GUEST_MAC, PEER, World},
};
use etherparse::EtherType;
use pairgate_abi::{EVENT_EXPIRED, EVENT_MISS, Event, limits};
use pairgate_agent::datapath::Program;
use pairgate_packet::address::wide;
use zerocopy::FromBytes;

const STRANGER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];

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
