use crate::{Direction, DropReason, limits::SLOTS};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Value of `TAPS`: what the guest behind a tap may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TapEntry {
    /// The guest's MAC address.
    pub mac: [u8; 6],
    /// Length of the guest's IPv4 prefix, 0..=32.
    pub ipv4_prefix: u8,
    /// Zero.
    pub reserved: u8,
    /// The guest's IPv4 address.
    pub ipv4: [u8; 4],
    /// The tap's place in the counters and budgets, 1..`limits::SLOTS`.
    pub slot: u32,
}

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

const _: () = assert!(size_of::<TapEntry>() == 16);
const _: () = assert!(size_of::<Count>() == 16);
const _: () = assert!(size_of::<Budget>() == 16);
