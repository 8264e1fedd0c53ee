//! Network cards that vouch for checksums. What a card has found right in the outer packet says nothing about
//! the inner one, and a guest that is told "checked" does not check again.
use crate::{
    device::Vnet,
    frames::{arriving, delivered, inner_udp},
    others::{self, Other},
    world::World,
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// In a virtio-net header: the checksum has been checked.
const CHECKED: u8 = 2;

/// The flags with which the guest gets a packet from such a card. The packet's inner checksum is wrong, so
/// only a card that says so may make it "checked".
fn guest_is_told(checksums: usize) -> u8 {
    let world = World::running();
    let _card = Other::on(world.uplink.index(), &others::vouch(checksums));
    let mut inner = inner_udp();
    inner[40] ^= 0x55;
    let frame = arriving(&world, &inner);
    world.uplink.send(Vnet::default(), &frame).unwrap();
    let (vnet, seen) = world
        .guest
        .receive(PATIENCE, |_| true)
        .expect("the pair's packet");
    assert_eq!(seen, delivered(&inner));
    vnet.flags
}

#[test]
fn a_checksum_found_right_outside_says_nothing_about_the_inside() {
    assert_eq!(guest_is_told(0), 0, "a card that checks nothing");
    assert_eq!(
        guest_is_told(1),
        0,
        "the guest would take the outer checksum for its own"
    );
}

#[test]
fn a_checksum_found_right_inside_spares_the_guest_the_work() {
    assert_eq!(guest_is_told(2), CHECKED);
}

#[test]
fn a_guests_own_word_about_its_checksum_does_not_cross() {
    // The guest says "checked" and lies; nobody on the way may pass that on.
    let world = World::running();
    let mut frame = crate::frames::udp();
    frame[40] ^= 0x55;
    let vnet = Vnet {
        flags: CHECKED,
        ..Vnet::default()
    };
    world.guest.send(vnet, &frame).unwrap();
    let is_ipv4 = |frame: &[u8]| frame[12..14] == [8, 0];
    let (vnet, _) = world
        .uplink
        .receive(PATIENCE, is_ipv4)
        .expect("the pair's packet");
    assert_eq!(vnet.flags, 0);
}
