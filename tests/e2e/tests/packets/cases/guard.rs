//! The guard before a guest: what is about to be queued to its tap, by the packet's mark and the MAC address that it is
//! for. Whatever it lets by has lost its mark.
use super::{course::Course, seed::Frame, table::PASSES};
use crate::{
    frames::delivered,
    run::{Baggage, DROP, PASS},
    world::{GATEWAY, NEXT_DOOR_MAC, SLOT, World},
};
use pairgate_agent::datapath::{Pod, Program};
use pairgate_packet::ip::Family;

pub(crate) struct Guard {
    pub(crate) name: &'static str,
    /// The mark that it comes with, made from ours.
    mark: fn(u32) -> u32,
    change: fn(Frame) -> Frame,
    tap_known: bool,
    pub(crate) outcome: &'static str,
}

/// Runs the line with a packet of each family.
pub(crate) fn run(course: &mut Course, case: &Guard) {
    for family in [Family::V4, Family::V6] {
        let what = format!("{}, {family:?}", case.name);
        let packet = super::course::Way::UplinkToTap.seed(family).udp();
        let sent = (case.change)(Frame {
            bytes: delivered(&packet.bytes),
            ..packet
        })
        .bytes;
        let interface = course.world.guest.index();
        let mut taps = course.world.loaded.taps().unwrap();
        if !case.tap_known {
            taps.remove(&interface).unwrap();
        }
        let baggage = Baggage {
            mark: (case.mark)(course.world.loaded.mark()),
            ..Baggage::default()
        };
        course.runs += 1;
        let ran = course.world.run(Program::ToTap, interface, &sent, baggage);
        taps.insert(interface, Pod(World::tap_entry()), 0).unwrap();
        let slot = if case.tap_known { SLOT } else { 0 };
        let passes = case.outcome == PASSES;
        let counted = if passes { "passed" } else { case.outcome };
        assert_eq!(course.moved(), [(slot, "to_tap", counted, 1)], "{what}");
        assert_eq!(ran.action, if passes { PASS } else { DROP }, "{what}");
        if passes {
            assert_eq!(ran.frame, sent, "{what}: other bytes than it should have");
            assert_eq!(
                ran.mark, 0,
                "{what}: the mark goes on with the packet, and someone could learn it"
            );
        }
    }
}

fn line(
    name: &'static str,
    mark: fn(u32) -> u32,
    change: fn(Frame) -> Frame,
    outcome: &'static str,
) -> Guard {
    Guard {
        name,
        mark,
        change,
        tap_known: true,
        outcome,
    }
}

#[rustfmt::skip] // one case, one line
pub(crate) fn cases() -> Vec<Guard> {
    let stray = "not_delivered";
    vec![
        line("guard: what our programs send", |ours| ours, |f| f, PASSES),
        line("guard: no mark", |_| 0, |f| f, stray),
        line("guard: the mark, one bit off", |ours| ours ^ 1, |f| f, stray),
        line("guard: the mark, bytes swapped", |ours| ours.swap_bytes() ^ u32::from(ours == ours.swap_bytes()), |f| f, stray),
        line("guard: a mark of all ones", |ours| u32::MAX ^ u32::from(ours == u32::MAX), |f| f, stray),
        line("guard: the mark, for the guest next door", |ours| ours, |f| f.eth(0, &NEXT_DOOR_MAC), stray),
        line("guard: the mark, for nobody's MAC, one bit off in the first byte", |ours| ours, |f| f.eth(0, &[0x00]), stray),
        line("guard: the mark, for nobody's MAC, one bit off in the last byte", |ours| ours, |f| f.eth(5, &[0x10]), stray),
        line("guard: the mark, for everybody", |ours| ours, |f| f.eth(0, &[0xff; 6]), stray),
        line("guard: the mark, for the gateway", |ours| ours, |f| f.eth(0, &GATEWAY), stray),
        line("guard: no mark, from the host's own stack", |_| 0, |f| f.eth(6, &[2, 7, 7, 7, 7, 7]), stray),
        Guard { tap_known: false, ..line("guard: the mark, for a tap whose guest is gone", |ours| ours, |f| f, "no_state") },
        Guard { tap_known: false, ..line("guard: no mark, for a tap whose guest is gone", |_| 0, |f| f, "no_state") },
    ]
}
