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
