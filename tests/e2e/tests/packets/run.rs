//! One packet through one loaded program, by `BPF_PROG_TEST_RUN`: nothing is sent, the answer is the action,
//! the frame and the packet mark as the program left them.
use crate::{frames::delivered, world::World};
use aya::programs::{TestRun, TestRunOptions};
use pairgate_agent::datapath::Program;
use pairgate_packet::ip::Family;

pub(crate) const PASS: i32 = 0;
pub(crate) const DROP: i32 = 2;
pub(crate) const REDIRECT: i32 = 7;
/// Let the next program, or the host, decide.
pub(crate) const NEXT: i32 = -1;

/// Places in the kernel's `struct __sk_buff`.
const CONTEXT: usize = 192;
const MARK: usize = 8;
const INTERFACE: usize = 40;
const GSO_SEGMENTS: usize = 164;
const GSO_SIZE: usize = 176;

/// What a frame brings besides its bytes, as far as a test run can carry it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Baggage {
    pub(crate) mark: u32,
    pub(crate) gso_size: u32,
    pub(crate) gso_segments: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) action: i32,
    pub(crate) frame: Vec<u8>,
    pub(crate) mark: u32,
}

impl World {
    pub(crate) fn run(&mut self, program: Program, interface: u32, frame: &[u8], baggage: Baggage) -> Ran {
        let mut context = [0; CONTEXT];
        let mut set = |at: usize, number: u32| context[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        set(INTERFACE, interface);
        set(MARK, baggage.mark);
        set(GSO_SIZE, baggage.gso_size);
        set(GSO_SEGMENTS, baggage.gso_segments);
        let (mut frame_out, mut context_out) = (vec![0; frame.len() + 256], [0; CONTEXT]);
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut frame_out),
            ctx_in: Some(&context),
            ctx_out: Some(&mut context_out),
            ..TestRunOptions::default()
        };
        let result = self
            .loaded
            .program(program)
            .unwrap()
            .test_run(options)
            .unwrap_or_else(|error| {
                panic!(
                    "the kernel does not run {} on {frame:02x?}: {error:?}",
                    program.name(),
                )
            });
        frame_out.truncate(result.data_size_out as usize);
        let mark = u32::from_ne_bytes(context_out[MARK..MARK + 4].try_into().unwrap());
        Ran {
            action: result.return_value as i32,
            frame: frame_out,
            mark,
        }
    }
}

impl World {
    /// What must come of this packet of a pair when it arrives on the uplink: this host has no VXLAN device.
    pub(crate) fn arrives(&self, inner: &[u8]) -> Expect {
        let family = if inner[12..14] == [8, 0] {
            Family::V4
        } else {
            Family::V6
        };
        if self.is_by_device(family) {
            Expect::Drop(crate::world::SLOT, "room")
        } else {
            Expect::Out(delivered(inner))
        }
    }
}

/// What must come of a frame.
#[derive(Debug)]
pub(crate) enum Expect {
    /// It dies, counted once under this slot and word.
    Drop(u32, &'static str),
    /// It goes on, as these bytes.
    Out(Vec<u8>),
    /// It dies, counted once under this slot and word, and its guest gets this frame instead.
    Told(u32, &'static str, Vec<u8>),
    /// It ends here, and the agent has a copy of so many bytes of it.
    Held(usize),
    /// It ends here, and the agent is asked with a copy of so many bytes of it.
    Asked(usize),
    /// It goes to the VXLAN device as it came, counted as passed.
    ToDevice,
    /// It goes to the host as it came, and nobody counts it.
    Untouched,
}

/// One line of a table.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) interface: u32,
    pub(crate) frame: Vec<u8>,
    pub(crate) baggage: Baggage,
    pub(crate) expect: Expect,
}

impl Case {
    /// Runs the line, and asserts the action, the bytes, the mark and that exactly one counter moved.
    pub(crate) fn check(self, world: &mut World, program: Program) {
        world.reset_budget();
        let before = world.counts();
        while world.next_held().is_some() {}
        while world.next_question().is_some() {}
        let ran = world.run(program, self.interface, &self.frame, self.baggage);
        let moved = world.counts().since(&before);
        let what = format!("{}: {}", program.name(), self.what);
        match self.expect {
            Expect::Drop(slot, reason) => {
                assert_eq!(moved, [(slot, program.name(), reason, 1)], "{what}");
                assert_eq!(ran.action, DROP, "{what}: it was counted as dropped and lives");
            }
            Expect::Told(slot, reason, answer) => {
                assert_eq!(moved, [(slot, program.name(), reason, 1)], "{what}");
                assert_eq!(ran.action, REDIRECT, "{what}: nobody is told");
                assert_eq!(ran.frame, answer, "{what}: something else is said");
                let mark = world.loaded.mark();
                assert_eq!(ran.mark, mark, "{what}: the guard before the guest would drop it");
            }
            Expect::Out(frame) => {
                let slot = crate::world::SLOT;
                assert_eq!(moved, [(slot, program.name(), "passed", 1)], "{what}");
                let action = if program == Program::ToTap { PASS } else { REDIRECT };
                assert_eq!(ran.action, action, "{what}");
                assert_eq!(ran.frame, frame, "{what}: other bytes than it should have");
            }
            Expect::Held(length) => {
                assert_eq!(moved, [], "{what}: what is held is no drop");
                assert_eq!(
                    ran.action, DROP,
                    "{what}: the agent has it, and it goes on as well"
                );
                let held = world
                    .next_held()
                    .unwrap_or_else(|| panic!("{what}: nobody holds it"));
                assert_eq!(held.frame[..held.length as usize], self.frame[..length], "{what}");
            }
            Expect::Asked(length) => {
                assert_eq!(moved, [], "{what}: a question is no drop");
                assert_eq!(
                    ran.action, DROP,
                    "{what}: the agent has it, and it goes on as well"
                );
                let asked = world
                    .next_question()
                    .unwrap_or_else(|| panic!("{what}: nobody is asked"));
                assert_eq!(
                    (asked.tap, asked.slot),
                    (self.interface, crate::world::SLOT),
                    "{what}"
                );
                assert_eq!(
                    asked.frame[..asked.length as usize],
                    self.frame[..length],
                    "{what}"
                );
                assert!(world.next_held().is_none(), "{what}: it is held as well");
            }
            Expect::ToDevice => {
                let slot = crate::world::SLOT;
                assert_eq!(moved, [(slot, program.name(), "passed", 1)], "{what}");
                assert_eq!((ran.action, ran.frame), (PASS, self.frame), "{what}");
            }
            Expect::Untouched => {
                assert_eq!(moved, [], "{what}: what is the host's must not be counted");
                assert_eq!(
                    ran,
                    Ran {
                        action: NEXT,
                        frame: self.frame,
                        mark: self.baggage.mark
                    },
                    "{what}"
                );
            }
        }
    }
}
