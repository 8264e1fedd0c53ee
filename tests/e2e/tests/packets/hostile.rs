//! A guest that floods, beside one that has something to say: what the first may cost the agent is bounded, and the
//! second is heard in the same moment.
use crate::{
    device::Vnet,
    frames::{arp_for, udp_to, with},
    world::{DOOR_SLOT, GATEWAY, NEXT_DOOR, NEXT_DOOR_MAC, SLOT, World},
};
use etherparse::PacketBuilder;
use pairgate_abi::limits::{EVENT_BURST, EVENTS_PER_SECOND, HELD_PER_TAP};
use std::time::{Duration, Instant};

/// Frames of one flood.
const FLOOD: u16 = 5_000;
const PATIENCE: Duration = Duration::from_secs(2);

/// The neighbour's first packet to somebody.
fn neighbours_own(to: [u8; 4]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(NEXT_DOOR_MAC, GATEWAY)
        .ipv4(NEXT_DOOR, to, 64)
        .udp(1, 2);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"let me in").unwrap();
    frame
}

fn address(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [10, 77, 100 + high, low]
}

#[test]
fn first_packets_of_one_guest_take_no_place_from_anothers() {
    let mut world = World::running();
    let began = Instant::now();
    for number in 0..FLOOD {
        world
            .guest
            .send(Vnet::default(), &udp_to(address(number), b"flood"))
            .unwrap();
    }
    // In the same moment: nobody has read what the flood has left.
    world
        .door
        .send(Vnet::default(), &neighbours_own([10, 77, 0, 99]))
        .unwrap();
    let most = EVENT_BURST + EVENTS_PER_SECOND * (began.elapsed().as_secs() + 1);
    let mut held = Vec::new();
    while let Some(one) = world.next_held() {
        held.push(one.slot);
    }
    let of = |slot| held.iter().filter(|of| **of == slot).count() as u64;
    assert!(
        of(SLOT) <= HELD_PER_TAP.min(most) && of(SLOT) > 0,
        "{} held packets of one guest",
        of(SLOT)
    );
    assert_eq!(of(DOOR_SLOT), 1, "the neighbour's first packet was not held");
}

#[test]
fn a_guest_that_asks_without_pause_leaves_its_neighbour_its_answers() {
    let world = World::running();
    for number in 0..FLOOD {
        world
            .guest
            .send(Vnet::default(), &arp_for(address(number)))
            .unwrap();
    }
    // The neighbour asks once.
    let asked = [10, 77, 0, 77];
    let question = with(
        with(with(arp_for(asked), 6, &NEXT_DOOR_MAC), 22, &NEXT_DOOR_MAC),
        28,
        &NEXT_DOOR,
    );
    world.door.send(Vnet::default(), &question).unwrap();
    let is_answer = |frame: &[u8]| frame[12..14] == [8, 6] && frame[20..22] == [0, 2];
    assert!(
        world.door.receive(PATIENCE, is_answer).is_some(),
        "a neighbour's flood took its answer"
    );
    let mut answers = 0;
    while world
        .guest
        .receive(Duration::from_millis(50), is_answer)
        .is_some()
    {
        answers += 1;
    }
    assert!(answers < u64::from(FLOOD) / 2, "{answers} answers: no budget");
}
