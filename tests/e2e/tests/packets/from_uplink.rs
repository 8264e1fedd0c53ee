//! Every cut of a good frame on the uplink. What arrives there otherwise, line by line, is in `cases::outer`.
use crate::{
    frames::{ETHERNET, INNER, arriving, inner_udp, with},
    run::{Baggage, Case, Expect},
    world::{SLOT, World},
};
use pairgate_agent::datapath::Program;

const UDP: usize = 34;

#[test]
fn every_cut_of_a_good_frame_is_the_hosts_or_dies() {
    let mut world = World::new();
    let interface = world.uplink.index();
    let frame = arriving(&world, &inner_udp());
    for length in UDP..frame.len() {
        let cut_frame = frame[..length].to_vec();
        // As it came off the wire, and with outer lengths that fit the cut: once more ours to judge.
        let (expect, baggage) = (Expect::Untouched, Baggage::default());
        Case {
            what: "a cut frame",
            interface,
            frame: cut_frame.clone(),
            baggage,
            expect,
        }
        .check(&mut world, Program::FromUplink);
        if length >= INNER {
            let frame = with(cut_frame, ETHERNET + 2, &(length as u16 - 14).to_be_bytes());
            let frame = with(frame, UDP + 4, &(length as u16 - 34).to_be_bytes());
            let expect = Expect::Drop(SLOT, "inner");
            Case {
                what: "a cut frame with fitting lengths",
                interface,
                frame,
                baggage,
                expect,
            }
            .check(&mut world, Program::FromUplink);
        }
    }
}
