use crate::{Carries, Handle};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Key of `PAIRS_OUT` and `REFUSED`: which guest is sending, from which of its addresses, to which one.
/// Addresses are IPv6, or IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct OutKey {
    /// The address that the guest sends from.
    pub source: [u8; 16],
    /// Where the guest sends to.
    pub destination: [u8; 16],
    /// Interface index of the sending guest's tap.
    pub tap: u32,
}

/// Value of `PAIRS_OUT`: how to carry the pair's packets, and until when. The fields after
/// `src_generation` are not read per packet; they let an agent that starts anew know what it is looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct OutEntry {
    /// Boot time in nanoseconds; from this instant on the entry carries nothing.
    pub deadline_ns: u64,
    /// When a packet last passed by this entry, in boot time, written by the programs at most once in
    /// [`USE_STEP_NS`](crate::limits::USE_STEP_NS); 0 = never since the agent wrote the entry. Nothing is
    /// decided by it per packet, and nobody but its writer reads it through a reference.
    pub used_ns: u64,
    /// The pair this entry carries.
    pub pair_id: u64,
    /// What the receiver calls this pair on the wire.
    pub handle: Handle,
    /// Source of the outer header.
    pub src_host: [u8; 16],
    /// Destination of the outer header, and key of `NEXT_HOPS`.
    pub dst_host: [u8; 16],
    /// Destination port of the outer UDP header, network order.
    pub port: [u8; 2],
    /// Largest inner IP packet in bytes.
    pub mtu: u16,
    /// Generation of the sending VM's placement.
    pub src_generation: u32,
    /// Generation of the receiving VM's placement.
    pub dst_generation: u32,
    /// Interface index of the receiving guest's tap if that guest is on this host; 0 if it is on another. Then
    /// the outer fields, handle included, mean nothing.
    pub local_tap: u32,
    /// Counter slot of the receiving guest's tap if it is on this host, whose flow table then decides about
    /// replies; else 0.
    pub local_slot: u32,
    /// MAC address of the receiving guest if it is on this host; else zero.
    pub local_mac: [u8; 6],
    /// Zero.
    pub reserved: [u8; 2],
    /// What the pair carries.
    pub carries: Carries,
    /// The sending VM.
    pub src_vm: [u8; 16],
    /// The receiving VM.
    pub dst_vm: [u8; 16],
}

/// Value of `PAIRS_IN`, found by [`Handle`]: what a frame under this handle must look like, and which
/// guest it is for. The fields after `src_generation` are not read per packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InEntry {
    /// Boot time in nanoseconds; from this instant on the entry delivers nothing.
    pub deadline_ns: u64,
    /// When a packet last passed by this entry, in boot time, written by the programs at most once in
    /// [`USE_STEP_NS`](crate::limits::USE_STEP_NS); 0 = never since the agent wrote the entry. Nothing is
    /// decided by it per packet, and nobody but its writer reads it through a reference.
    pub used_ns: u64,
    /// The pair this entry delivers.
    pub pair_id: u64,
    /// Outer source that the handle is bound to.
    pub src_host: [u8; 16],
    /// Outer destination that the handle is bound to.
    pub dst_host: [u8; 16],
    /// Inner source.
    pub src_addr: [u8; 16],
    /// Inner destination.
    pub dst_addr: [u8; 16],
    /// Interface index of the receiving guest's tap.
    pub tap: u32,
    /// MAC address of the receiving guest.
    pub mac: [u8; 6],
    /// Largest inner IP packet in bytes that the guest takes.
    pub mtu: u16,
    /// Zero.
    pub reserved: [u8; 4],
    /// The tap's place in the counters.
    pub slot: u32,
    /// Generation of the sending VM's placement.
    pub src_generation: u32,
    /// Generation of the receiving VM's placement.
    pub dst_generation: u32,
    /// What the pair carries.
    pub carries: Carries,
    /// The sending VM.
    pub src_vm: [u8; 16],
    /// The receiving VM.
    pub dst_vm: [u8; 16],
}

const _: () = assert!(size_of::<OutKey>() == 36);
const _: () = assert!(size_of::<OutEntry>() == 224);
const _: () = assert!(size_of::<InEntry>() == 248);
