use crate::{Direction, DropReason, limits::SLOTS};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Value of `TAPS`: what the guest behind a tap may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TapEntry {
    /// The guest's MAC address.
    pub mac: [u8; 6],
    /// How many of `addresses` count.
    pub count: u8,
    /// Zero.
    pub reserved: u8,
    /// The guest's own addresses, IPv6 or IPv4 as `::ffff:a.b.c.d`; zeros behind `count`.
    pub addresses: [[u8; 16]; OWN_ADDRESSES],
    /// Lengths of the prefixes, in bits of the 16-byte form: an IPv4 prefix of 24 is 120 here.
    pub prefixes: [u8; OWN_ADDRESSES],
    /// The tap's place in the counters and budgets, 1..`limits::SLOTS`.
    pub slot: u32,
}

/// Most addresses that one guest can own. A packet's source is compared with each in turn.
pub const OWN_ADDRESSES: usize = 8;

/// Packets and bytes that passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes of the frames as the program saw them last.
    pub bytes: u64,
}

/// Rate limits of one tap, as theoretical arrival times (GCRA): an action is within its budget if its time
/// is not further ahead of now than the burst allows. Boot time in nanoseconds; two CPUs may lose each
/// other's update, which lets a few more actions through and never blocks one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Budget {
    /// For events to the agent.
    pub event_ns: u64,
    /// For neighbour answers.
    pub answer_ns: u64,
    /// For answers to packets that are too big.
    pub too_big_ns: u64,
    /// How many first packets of this tap were ever handed to the agent to be held. Less what the agent says in
    /// `RELEASED` that it has done with, this is how many it holds now. Written by atomic addition only.
    pub held: u64,
    /// How many events, first packets and questions of this tap were lost because a ring was full. Atomic addition only.
    pub lost: u64,
    /// For questions for configuration, as the other two.
    pub question_ns: u64,
    /// How many questions of this tap were ever handed to the agent. Atomic addition only.
    pub asked: u64,
}

/// Index into `DROPS`: one counter for each slot, direction and reason. A slot out of range counts in slot 0.
pub const fn drop_index(slot: u32, direction: Direction, reason: DropReason) -> u32 {
    count_index(slot, direction) * DropReason::COUNT + reason as u32
}

/// Index into `PASSED`: one counter for each slot and direction. A slot out of range counts in slot 0.
pub const fn count_index(slot: u32, direction: Direction) -> u32 {
    let slot = if slot < SLOTS { slot } else { 0 };
    slot * Direction::COUNT + direction as u32
}

const _: () = assert!(size_of::<TapEntry>() == 148);
const _: () = assert!(size_of::<Count>() == 16);
const _: () = assert!(size_of::<Budget>() == 56);
