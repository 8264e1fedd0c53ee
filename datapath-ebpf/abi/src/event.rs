use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A guest sent to an address for which its tap has no entry.
pub const EVENT_MISS: u32 = 1;
/// A guest sent on a pair whose deadline has passed.
pub const EVENT_EXPIRED: u32 = 2;

/// What the programs tell the agent. Losing one is harmless: the next packet raises it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Event {
    /// `EVENT_MISS` or `EVENT_EXPIRED`.
    pub kind: u32,
    /// Interface index of the tap.
    pub tap: u32,
    /// The guest's own address.
    pub source: [u8; 16],
    /// Where it wants to send.
    pub destination: [u8; 16],
    /// Boot time in nanoseconds.
    pub at_ns: u64,
}

const _: () = assert!(size_of::<Event>() == 48);
