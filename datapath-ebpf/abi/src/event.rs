use crate::Handle;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A guest sent to an address for which its tap has no entry.
pub const EVENT_MISS: u32 = 1;
/// A guest sent on a pair whose deadline has passed.
pub const EVENT_EXPIRED: u32 = 2;

/// A peer host sent under a handle that nothing is received under.
pub const EVENT_UNKNOWN_HANDLE: u32 = 3;

/// What the programs tell the agent. Losing one is harmless: the next packet raises it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Event {
    /// `EVENT_MISS`, `EVENT_EXPIRED` or `EVENT_UNKNOWN_HANDLE`.
    pub kind: u32,
    /// Interface index of the tap; 0 for an unknown handle.
    pub tap: u32,
    /// The guest's own address; for an unknown handle the outer source, which anybody can forge.
    pub source: [u8; 16],
    /// Where it wants to send; for an unknown handle the outer destination.
    pub destination: [u8; 16],
    /// The unknown handle; zero for the others.
    pub handle: Handle,
    /// Boot time in nanoseconds.
    pub at_ns: u64,
}

const _: () = assert!(size_of::<Event>() == 56);

/// Largest frame that is held, in bytes: 2 KiB of packet behind its Ethernet header.
pub const HELD_BYTES: usize = 14 + 2048;

/// Record of the ring `HELD`: a first packet for which there is no entry yet, as the guest sent it, after every
/// check that needs no pair. It is also the event of its miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Held {
    /// `EVENT_MISS` or `EVENT_EXPIRED`.
    pub kind: u32,
    /// Interface index of the tap.
    pub tap: u32,
    /// The tap's counter slot.
    pub slot: u32,
    /// Bytes of `frame` that count.
    pub length: u32,
    /// The guest's own address.
    pub source: [u8; 16],
    /// Where it wants to send.
    pub destination: [u8; 16],
    /// Boot time in nanoseconds.
    pub at_ns: u64,
    /// Where the sum that the transport checksum is still to be computed of begins, in bytes from the frame's
    /// start; 0 if the checksum is finished.
    pub checksum_start: u16,
    /// Where the checksum goes, in bytes from `checksum_start`.
    pub checksum_offset: u16,
    /// Zero.
    pub reserved: [u8; 6],
    /// The frame: Ethernet header and packet, nothing behind it.
    pub frame: [u8; HELD_BYTES],
}

const _: () = assert!(size_of::<Held>() == 2128);

/// Largest frame of a question for configuration, in bytes: 1 500 of packet behind its Ethernet header.
pub const QUESTION_BYTES: usize = 14 + 1500;

/// Record of the ring `QUESTIONS`: what a guest asks about its own configuration (DHCPv4, DHCPv6, router
/// solicitation), as it sent it, after the checks of `pairgate_packet::configuration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Question {
    /// Interface index of the tap.
    pub tap: u32,
    /// The tap's counter slot.
    pub slot: u32,
    /// Bytes of `frame` that count.
    pub length: u32,
    /// Not 0 if the transport checksum is still to be computed: nobody has to, the frame came by no wire.
    pub checksum_start: u16,
    /// Zero.
    pub reserved: u16,
    /// Boot time in nanoseconds.
    pub at_ns: u64,
    /// The frame: Ethernet header and packet, nothing behind it.
    pub frame: [u8; QUESTION_BYTES],
    /// Zero.
    pub reserved_end: [u8; 6],
}

const _: () = assert!(size_of::<Question>() == 1544);
