//! The guard before a guest.
use crate::{
    frames::{delivered, turned, udp, with},
    run::{Baggage, Case, Expect},
    world::{SLOT, World},
};
use pairgate_agent::datapath::Program;

/// Some packet for the guest.
fn for_guest() -> Vec<u8> {
    delivered(&turned(udp()))
}

#[test]
fn only_what_our_programs_marked_reaches_a_guest_and_the_mark_stays_behind() {
    let mut world = World::new();
    let (interface, mark) = (world.guest.index(), world.loaded.mark());
    for (what, wrong) in [("no mark", 0), ("one bit off", mark ^ 1), ("all ones", u32::MAX)] {
        let baggage = Baggage {
            mark: wrong,
            ..Baggage::default()
        };
        let expect = Expect::Drop(SLOT, "not_delivered");
        Case {
            what,
            interface,
            frame: for_guest(),
            baggage,
            expect,
        }
        .check(&mut world, Program::ToTap);
    }
    let baggage = Baggage {
        mark,
        ..Baggage::default()
    };
    let ran = world.run(Program::ToTap, interface, &for_guest(), baggage);
    assert_eq!(
        ran.mark, 0,
        "the mark would go on with the packet, and someone could learn it"
    );
    let expect = Expect::Out(for_guest());
    Case {
        what: "our mark",
        interface,
        frame: for_guest(),
        baggage,
        expect,
    }
    .check(&mut world, Program::ToTap);
}

#[test]
fn a_tap_that_is_nobodys_gets_nothing_not_even_from_our_programs() {
    let mut world = World::new();
    let (interface, mark) = (world.guest.index(), world.loaded.mark());
    world.loaded.taps().unwrap().remove(&interface).unwrap();
    for mark in [0, mark] {
        let baggage = Baggage {
            mark,
            ..Baggage::default()
        };
        let expect = Expect::Drop(0, "no_state");
        Case {
            what: "a delivery to a tap whose guest is gone",
            interface,
            frame: for_guest(),
            baggage,
            expect,
        }
        .check(&mut world, Program::ToTap);
    }
}

#[test]
fn a_tap_that_is_another_guests_by_now_gets_nothing_that_an_old_entry_delivers() {
    let mut world = World::new();
    let (interface, mark) = (world.guest.index(), world.loaded.mark());
    for (what, at) in [("the first byte", 0), ("the last byte", 5)] {
        let frame = with(for_guest(), at, &[for_guest()[at] ^ 2]);
        let baggage = Baggage {
            mark,
            ..Baggage::default()
        };
        let expect = Expect::Drop(SLOT, "not_delivered");
        Case {
            what,
            interface,
            frame,
            baggage,
            expect,
        }
        .check(&mut world, Program::ToTap);
    }
}
