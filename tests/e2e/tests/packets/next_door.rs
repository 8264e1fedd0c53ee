//! Two guests of one host, through real taps: what the sender leaves to the kernel is finished on the way, and the
//! guard before the receiver lets it by.
use crate::{
    checksums::{checksum_is_right, finished, unfinished},
    device::{GSO_TCPV4, Tap, Vnet},
    frames::{tcp, udp6_to, with},
    world::{DOOR_SLOT, GATEWAY, NEXT_DOOR, NEXT_DOOR_MAC, SLOT, World, six},
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(2);

/// A stream to a granted port next door.
fn stream(payload: usize) -> Vec<u8> {
    let mut frame = with(with(tcp(), 30, &NEXT_DOOR), 36, &443_u16.to_be_bytes());
    frame[47] = 0x10;
    frame.extend((0..payload).map(|at| (at / 3) as u8));
    let length = (frame.len() - 14) as u16;
    unfinished(with(frame, 16, &length.to_be_bytes()), 16)
}

fn gets(door: &Tap) -> Vec<u8> {
    let (vnet, frame) = door.receive(PATIENCE, |_| true).expect("nothing comes next door");
    let frame = finished(vnet, frame);
    assert_eq!(
        frame[..12],
        [NEXT_DOOR_MAC, GATEWAY].concat(),
        "not under a header of our own"
    );
    assert!(checksum_is_right(&frame), "{frame:02x?}");
    frame
}

#[test]
fn what_a_guest_leaves_to_the_kernel_is_done_on_its_way_next_door() {
    let world = World::running();
    let counted = [
        (SLOT, "from_tap", "passed", 1),
        (DOOR_SLOT, "to_tap", "passed", 1),
    ];
    let datagram = unfinished(udp6_to(six(NEXT_DOOR), (7, 1000), b"over the fence"), 6);
    let before = world.counts();
    world.guest.send(Vnet::partial(54, 6), &datagram).unwrap();
    assert_eq!(world.counts().since(&before), counted);
    assert_eq!(gets(&world.door)[62..], datagram[62..]);

    let big = stream(6_000);
    let vnet = Vnet {
        gso_type: GSO_TCPV4,
        gso_size: 1_000,
        header_length: 54,
        ..Vnet::partial(34, 16)
    };
    let before = world.counts();
    world.guest.send(vnet, &big).unwrap();
    assert_eq!(
        world.counts().since(&before),
        counted,
        "whole until it is past the guard"
    );
    let mut payload: Vec<u8> = Vec::new();
    while payload.len() < 6_000 {
        payload.extend(&gets(&world.door)[54..]);
    }
    assert_eq!(payload, big[54..], "other bytes, or in another order");
    assert_eq!(world.door.receive(SILENCE, |_| true), None);
    assert_eq!(
        world.uplink.receive(SILENCE, |frame| frame[12..14] == [8, 0]),
        None,
        "it also went to the wire"
    );
}
