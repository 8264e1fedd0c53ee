//! May this host say this to that guest? The check of a frame from the underlay that is ours, whether it came by
//! the uplink with its outer header or out of the VXLAN device without.
//!
//! The order: outer checksum, handle, outer addresses, inner packet, checksum lie, deadline, lease, size, grant. A frame
//! that passes has the outer addresses, the inner addresses and the time that its handle is bound to; what is
//! delivered is one whole packet under an Ethernet header of our own.
//!
//! Every fault of the inner packet is `inner`, whatever it is (ethertype, lengths, a fragment, an extension header,
//! neighbour discovery, a transport header that lies, an ICMP error about another pair's packet): the sender's own program lets none of them out, so they
//! all say one thing, that the peer host is not to be trusted, and no finer word would help anyone.
use crate::{
    Frame, Metadata, Packet,
    address::Address,
    ethernet::{self, Ethernet},
    icmp,
    ip::{Family, Ip},
    nd,
    outer::Outer,
};
use pairgate_abi::{DropReason, EVENT_UNKNOWN_HANDLE, Event, GATEWAY_MAC, Handle, InEntry, limits::BIG_NS};

/// Bytes that the decisions may read, from the inner Ethernet header on.
const READ_INNER: usize = ethernet::LENGTH + Family::V6.header() + icmp::READ;

/// Bytes of a frame that the decisions may read, with the inner Ethernet header at this place.
#[inline(always)]
pub const fn read(inner_at: usize) -> usize {
    inner_at + READ_INNER
}

/// Refuses a frame that nobody's program has sent: before anything is looked up.
#[inline(always)]
pub fn check_form(outer: &Outer) -> Result<(), DropReason> {
    if outer.checksum_is_zero {
        Ok(())
    } else {
        Err(DropReason::Outer)
    }
}

/// Judges a frame by its outer header and the entry found under its handle.
#[inline(always)]
pub fn check_outer<'a>(outer: &Outer, entry: Option<&'a InEntry>) -> Result<&'a InEntry, DropReason> {
    let Some(entry) = entry else {
        return Err(DropReason::Handle);
    };
    if Address::of(&entry.src_host) != outer.source || Address::of(&entry.dst_host) != outer.destination {
        return Err(DropReason::Outer);
    }
    Ok(entry)
}

/// Judges the frame's inner packet, the time, and whether the guest takes so much: a fragmented packet of the underlay,
/// put together by the host, may hold more than any honest sender lets out. At the very instant of a deadline it has
/// passed. What the pair carries comes after this.
#[inline(always)]
pub fn check_inner(
    frame: &impl Frame,
    metadata: &Metadata,
    inner_at: usize,
    entry: &InEntry,
    lease_ns: u64,
    now_ns: u64,
) -> Result<Packet, DropReason> {
    let packet = match frame.read::<2>(inner_at + 12) {
        Some(ethernet::IPV4) => bound(frame, metadata, inner_at, entry, Family::V4)?,
        Some(ethernet::IPV6) => bound(frame, metadata, inner_at, entry, Family::V6)?,
        _ => return Err(DropReason::Inner),
    };
    if now_ns >= entry.deadline_ns {
        return Err(DropReason::Expired);
    }
    if now_ns >= lease_ns {
        return Err(DropReason::Lease);
    }
    if packet.largest > entry.mtu as u32 {
        return Err(DropReason::TooBig);
    }
    Ok(packet)
}

/// The inner packet, if it is the one that the entry is bound to, and whole.
#[inline(always)]
fn bound(
    frame: &impl Frame,
    metadata: &Metadata,
    inner_at: usize,
    entry: &InEntry,
    family: Family,
) -> Result<Packet, DropReason> {
    let inner = DropReason::Inner;
    let at = inner_at + ethernet::LENGTH;
    let Ok(ip) = Ip::at(frame, at, family) else {
        return Err(inner);
    };
    if at as u32 + ip.length != frame.length()
        || ip.source != Address::of(&entry.src_addr)
        || ip.destination != Address::of(&entry.dst_addr)
        || ip.check_whole().is_err()
        || (family == Family::V6 && nd::is_at(frame, at))
    {
        return Err(inner);
    }
    match Packet::arrived(frame, at, &ip, metadata) {
        Ok(packet) => Ok(packet),
        Err(DropReason::Offload) => Err(DropReason::Offload),
        Err(_) => Err(inner),
    }
}

/// True if the agent is told of drops for this reason.
#[inline(always)]
pub fn is_told(reason: DropReason) -> bool {
    matches!(reason, DropReason::Handle)
}

/// The event that a drop raises: a sender who does not know that we have forgotten its pair can be told.
#[inline(always)]
pub fn event(reason: DropReason, outer: &Outer, now_ns: u64) -> Option<Event> {
    if !is_told(reason) {
        return None;
    }
    Some(Event {
        kind: EVENT_UNKNOWN_HANDLE,
        tap: 0,
        source: outer.source.bytes(),
        destination: outer.destination.bytes(),
        handle: outer.handle,
        at_ns: now_ns,
    })
}

/// The Ethernet header under which a packet is delivered to a guest. The one that travelled has no say in it.
#[inline(always)]
pub fn delivery(mac: [u8; 6], family: Family) -> [u8; ethernet::LENGTH] {
    Ethernet {
        destination: mac,
        source: GATEWAY_MAC,
        ethertype: family.ethertype(),
    }
    .bytes()
}

/// True if the frame goes by the VXLAN device: it is to be cut, or a packet of its flow was, a moment ago.
#[inline(always)]
pub fn goes_big(is_gso: bool, big_ns: u64, now_ns: u64) -> bool {
    is_gso || now_ns < big_ns.saturating_add(BIG_NS)
}

/// What a frame that the VXLAN device has taken apart said about itself.
#[inline(always)]
pub fn from_device(vni: u32, group: u32, source: Address, destination: Address) -> Outer {
    let (v, g) = (vni.to_be_bytes(), group.to_be_bytes());
    // Bits beyond a part of the handle are flags that none of ours has: they find no entry either.
    let handle = if v[0] == 0 && g[0] == 0 && g[1] == 0 {
        Handle::from_wire([v[1], v[2], v[3]], [g[2], g[3]])
    } else {
        Handle::from_wire([0; 3], [0; 2])
    };
    Outer {
        source,
        destination,
        flow_port: [0; 2],
        checksum_is_zero: true,
        handle,
    }
}
