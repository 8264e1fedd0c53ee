//! The contract between the eBPF programs and the agent.
//!
//! Every map's key and value, the read-only settings, the drop reasons and the events are defined here and
//! nowhere else. Both sides compile this crate; the layouts contain no implicit padding (the `zerocopy`
//! derives refuse to compile otherwise) and their sizes are asserted. Addresses stand at multiples of 8 wherever a
//! program compares them, because it does so eight bytes at a time. Byte order: fields that stand in a
//! packet are byte arrays in network order, everything else is in the machine's order.
//!
//! Pinned maps outlive the agent, so a change of any layout or map name needs a new [`ABI_VERSION`]; the
//! version is part of the pin path and an agent never adopts maps of another version.
#![no_std]

mod event;
mod flow;
mod grant;
mod handle;
mod pair;
mod reason;
mod settings;
mod tap;

pub use event::{
    EVENT_EXPIRED, EVENT_MISS, EVENT_UNKNOWN_HANDLE, Event, HELD_BYTES, Held, QUESTION_BYTES, Question,
};
pub use flow::FlowKey;
pub use grant::{CARRIES_ALL, CARRIES_ALL_NOTED, CARRIES_GRANTS, CARRIES_REPLIES, Carries, GRANTS, Grant};
pub use handle::Handle;
pub use pair::{InEntry, OutEntry, OutKey};
pub use reason::{DROP_REASONS, Direction, DropReason};
pub use settings::{NextHop, Settings, SkbLayout};
pub use tap::{Budget, Count, OWN_ADDRESSES, TapEntry, count_index, drop_index};

/// Version of everything in this crate.
pub const ABI_VERSION: u32 = 5;

/// Names of the maps, as they stand in the BPF object and in the pin directory. Kept to 15 bytes, the
/// kernel's limit for a map's name.
pub mod map {
    /// Hash, tap interface index (`u32`) to [`TapEntry`](crate::TapEntry): the guests of this host.
    pub const TAPS: &str = "TAPS";
    /// Hash, [`OutKey`](crate::OutKey) to [`OutEntry`](crate::OutEntry): pairs a local guest may send on.
    pub const PAIRS_OUT: &str = "PAIRS_OUT";
    /// Hash, [`Handle`](crate::Handle) to [`InEntry`](crate::InEntry): pairs a local guest may receive on.
    pub const PAIRS_IN: &str = "PAIRS_IN";
    /// Hash, peer host address (`[u8; 16]`) to [`NextHop`](crate::NextHop).
    pub const NEXT_HOPS: &str = "NEXT_HOPS";
    /// Array of one `u64`: the boot-time instant in nanoseconds at which the host lease ends; 0 = closed.
    pub const LEASE: &str = "LEASE";
    /// Per-CPU array of `u64` packets, indexed by [`drop_index`](crate::drop_index).
    pub const DROPS: &str = "DROPS";
    /// Per-CPU array of [`Count`](crate::Count), indexed by [`count_index`](crate::count_index).
    pub const PASSED: &str = "PASSED";
    /// Array of [`Budget`](crate::Budget), indexed by tap slot.
    pub const BUDGETS: &str = "BUDGETS";
    /// Ring buffer of [`Event`](crate::Event).
    pub const EVENTS: &str = "EVENTS";
    /// Ring buffer of [`Held`](crate::Held).
    pub const HELD: &str = "HELD";
    /// Ring buffer of [`Question`](crate::Question).
    pub const QUESTIONS: &str = "QUESTIONS";
    /// Array of `u64`, indexed by tap slot: how many held packets the agent is done with, ever.
    pub const RELEASED: &str = "RELEASED";
    /// Hash, [`OutKey`](crate::OutKey) to `u64`: the registry has refused this a moment ago; until that instant of
    /// boot time it is dropped as `denied` and nobody is asked again.
    pub const REFUSED: &str = "REFUSED";
    /// Hash of maps, tap slot (`u32`) to an LRU hash, [`FlowKey`](crate::FlowKey) to `u64`, the instant of the last
    /// packet: the conversations that the guest has opened, whose replies it may get on a pair that carries
    /// grants or replies only. One table per guest, so that none can push out another's.
    pub const FLOWS: &str = "FLOWS";
    /// Array of `u64`, indexed by a hash of handle and outer source port: when the flow last had a packet that arrived
    /// big. It chooses the way a packet takes, and authorises nothing.
    pub const BIG: &str = "BIG";
    /// Array of one `[u8; 8]`: the uplink's MAC address and two zeros. Zeros alone until the agent has written it.
    pub const UPLINK_MAC: &str = "UPLINK_MAC";
    /// Array of one `u32`: the mark of [`Settings`](crate::Settings), read back by a restarted agent.
    pub const MARK: &str = "MARK";
}

/// Name of the read-only global that holds [`Settings`].
pub const SETTINGS: &str = "SETTINGS";

/// Bounds, each with its reason.
pub mod limits {
    /// Taps on one host; also the number of counter slots. Slot 0 belongs to the uplink and to frames of
    /// no known tap. A counter slot costs about 1 200 bytes per CPU.
    pub const SLOTS: u32 = 1024;
    /// Entries in each direction. A hash entry of about 200 bytes makes this 25 MiB when full.
    pub const PAIRS: u32 = 131_072;
    /// Peer hosts that one host can send to at a time.
    pub const PEERS: u32 = 4_096;
    /// Bytes of the event ring: 4 000 events, which is the whole burst of 60 taps at once. What does not fit is
    /// lost, and the guest's next packet raises it again.
    pub const EVENT_RING_BYTES: u32 = 256 * 1024;
    /// A tap's events: at most this many a second once the burst is used up.
    pub const EVENTS_PER_SECOND: u64 = 50;
    /// Events that a quiet tap may raise at once: a guest that opens many pairs in one go.
    pub const EVENT_BURST: u64 = 64;
    /// How far behind the instant of an entry's last use may be, about a quarter of a second: an entry that
    /// carries a million packets a second is written to four times in it.
    pub const USE_STEP_NS: u64 = 1 << 28;
    /// Bytes of the ring of held packets: about 490 of them.
    pub const HELD_RING_BYTES: u32 = 1024 * 1024;
    /// First packets that are held at a time, per tap. The agent holds at most 8 of one pair.
    pub const HELD_PER_TAP: u64 = 64;
    /// Bytes of the ring of questions for configuration: about 330 of them, the whole burst of 20 taps.
    pub const QUESTION_RING_BYTES: u32 = 512 * 1024;
    /// A tap's questions for its configuration: at most this many a second once the burst is used up.
    pub const QUESTIONS_PER_SECOND: u64 = 4;
    /// Questions that a quiet tap may ask at once: three protocols that start together and repeat themselves.
    pub const QUESTION_BURST: u64 = 16;
    /// Refusals remembered at a time, on the whole host; the agent keeps at most 64 per tap.
    pub const REFUSALS: u32 = SLOTS * 64;
    /// Conversations remembered for one guest; the least recently used one gives way.
    pub const FLOWS_PER_TAP: u32 = 4_096;
    /// How long replies may come after the last packet of a TCP conversation.
    pub const FLOW_TCP_NS: u64 = 7_200_000_000_000;
    /// How long replies may come after the last packet of any other conversation.
    pub const FLOW_OTHER_NS: u64 = 180_000_000_000;
    /// Cells of `BIG`, a power of two.
    pub const BIG_CELLS: u32 = 16_384;
    /// How long a flow goes by the VXLAN device after a packet of it arrived big. Mixing the two ways inside a flow
    /// would reorder it wherever the uplink's driver gathers packets (NAPI).
    pub const BIG_NS: u64 = 10_000_000;
    /// Neighbour answers a second for one tap.
    pub const ANSWERS_PER_SECOND: u64 = 200;
    /// Neighbour answers that a quiet tap may ask for at once.
    pub const ANSWER_BURST: u64 = 256;
    /// Packets a second of one tap that are answered as too big. A stack needs one for each peer, and asks again when it
    /// has forgotten the answer.
    pub const TOO_BIG_PER_SECOND: u64 = 100;
    /// Packets of a quiet tap that are answered as too big at once: what was on its way to all peers when the uplink's
    /// MTU fell.
    pub const TOO_BIG_BURST: u64 = 256;
}

/// The MAC address under which every guest sees every peer: the one neighbour there is on a tap.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0x50, 0x47, 0x00, 0x00, 0x01];

/// The router's address on every tap: the link-local address that belongs to [`GATEWAY_MAC`] (RFC 4291, appendix A).
/// Router advertisements and DHCPv6 answers come from it, and questions for its MAC address are answered.
pub const GATEWAY_LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x47, 0xff, 0xfe, 0, 0, 1];

/// The DHCPv4 server on every tap: an IPv4 link-local address, so that it is none of a network's. A guest renews its
/// lease there.
pub const SERVER_V4: [u8; 4] = [169, 254, 169, 254];
