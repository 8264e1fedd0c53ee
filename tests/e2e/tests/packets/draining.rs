//! Whether a tap's queue is empty cannot be asked. A receipt concludes it from what `to_tap` let through and
//! what the tap has handed on: here the conclusion meets the kernel's counters.
use crate::{
    device::{Tap, Vnet},
    frames::{arriving, inner_udp},
    world::{SLOT, World},
};
use nix::errno::Errno;
use pairgate_abi::{Direction, count_index};
use pairgate_agent::{
    keeper::undrained,
    net::{Link, Net},
};
use std::time::Duration;

/// Frames that a tap queues for a guest that does not read.
const QUEUE: u64 = 1000;

/// What the keeper would look at.
fn link(world: &World) -> Link {
    link_of(world.guest.index())
}

fn link_of(index: u32) -> Link {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let look = async { Net::open().unwrap().link(index).await };
    runtime.block_on(look).unwrap().unwrap()
}

/// What `to_tap` has let through to the guest.
fn passed(world: &World) -> i64 {
    let index = count_index(SLOT, Direction::ToTap);
    let counts = world.loaded.passed().unwrap().get(&index, 0).unwrap();
    counts.iter().map(|count| count.0.packets as i64).sum()
}

fn deliver(world: &World, frames: u64) {
    let frame = arriving(world, &inner_udp());
    for _ in 0..frames {
        world.uplink.send(Vnet::default(), &frame).unwrap();
    }
}

fn read(tap: &Tap, frames: u64) {
    for _ in 0..frames {
        assert!(
            tap.receive(Duration::ZERO, |_| true).is_some(),
            "fewer frames than were queued"
        );
    }
}

#[test]
fn what_the_guest_has_not_read_is_what_is_left() {
    let world = World::running();
    assert_eq!(undrained(passed(&world), &link(&world)), 0);
    deliver(&world, 5);
    let target = passed(&world);
    assert_eq!(undrained(target, &link(&world)), 5);
    read(&world.guest, 2);
    assert_eq!(undrained(target, &link(&world)), 3);
    // More comes in after the moment that counts, and does not hide what was there before.
    deliver(&world, 4);
    assert_eq!(undrained(target, &link(&world)), 3);
    read(&world.guest, 3);
    assert_eq!(undrained(target, &link(&world)), 0);
    assert_eq!(undrained(passed(&world), &link(&world)), 4);
}

#[test]
fn what_a_full_queue_threw_away_is_not_waited_for() {
    let world = World::running();
    deliver(&world, QUEUE + 500);
    let target = passed(&world);
    assert_eq!(target, QUEUE as i64 + 500, "the guard is in front of the queue");
    assert_eq!(
        undrained(target, &link(&world)),
        QUEUE,
        "the tap's count of drops is not as expected"
    );
    read(&world.guest, QUEUE);
    assert_eq!(
        undrained(target, &link(&world)),
        0,
        "every receipt would wait in vain"
    );
}

#[test]
fn a_tap_that_is_down_still_holds_what_was_queued() {
    let world = World::running();
    deliver(&world, 3);
    let target = passed(&world);
    world.guest.down();
    assert!(link(&world).has_carrier, "the guest has it open all the same");
    assert_eq!(
        undrained(target, &link(&world)),
        3,
        "the receipt would say that all is read, and the guest would go on reading"
    );
    read(&world.guest, 3);
    assert_eq!(undrained(target, &link(&world)), 0);
}

#[test]
fn a_packet_that_the_guest_had_no_room_for_is_overestimated_and_never_the_other_way_round() {
    let world = World::running();
    deliver(&world, 2);
    let target = passed(&world);
    // Not even the virtio-net header fits: the kernel throws the packet away and counts it nowhere.
    assert_eq!(world.guest.receive_into(&mut [0; 5]), Err(Errno::EINVAL));
    read(&world.guest, 1);
    assert!(world.guest.receive(Duration::ZERO, |_| true).is_none());
    assert_eq!(undrained(target, &link(&world)), 1);
}

#[test]
fn closing_a_tap_empties_it() {
    let mut world = World::running();
    world.guest.persist();
    deliver(&world, 3);
    let target = passed(&world);
    let index = world.guest.index();
    world.guest.reopen(|| {
        let closed = link_of(index);
        assert!(!closed.has_carrier);
        assert_eq!(undrained(target, &closed), 0);
    });
    assert!(
        world.guest.receive(Duration::from_millis(20), |_| true).is_none(),
        "a guest that starts anew gets what was queued to the one before"
    );
    assert!(link(&world).has_carrier);
}
