use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One entry of a grant: what it lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Grant {
    /// IP protocol, exactly as in the packet: ICMP (1) and ICMPv6 (58) are two.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
    /// First destination port, in the machine's order; 0 for protocols without ports.
    pub first: u16,
    /// Last destination port, inclusive; 0 for protocols without ports.
    pub last: u16,
}

/// Most entries that one token, and so one pair, can have.
pub const GRANTS: usize = 16;

/// What a pair carries, as it stands in its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Carries {
    /// `CARRIES_ALL`, `CARRIES_ALL_NOTED`, `CARRIES_GRANTS` or `CARRIES_REPLIES`. Anything else carries nothing.
    pub kind: u8,
    /// How many of `grants` count.
    pub count: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// The token's entries, ascending; zeros behind `count`.
    pub grants: [Grant; GRANTS],
}

/// Everything.
pub const CARRIES_ALL: u8 = 1;
/// What the grants name, and replies to what the receiving guest has opened.
pub const CARRIES_GRANTS: u8 = 2;
/// Replies to what the receiving guest has opened, and nothing else.
pub const CARRIES_REPLIES: u8 = 3;
/// Everything; and what the sender opens is noted in its flow table, because the opposite direction does not carry
/// everything (or it is not known whether it does), so that answers must find their question there.
pub const CARRIES_ALL_NOTED: u8 = 4;

const _: () = assert!(size_of::<Grant>() == 6);
const _: () = assert!(size_of::<Carries>() == 100);
