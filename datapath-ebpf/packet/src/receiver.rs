//! May this host say this to that guest? The check of a frame from the underlay that is ours.
//!
//! The order: outer checksum, segmentation, checksum lie, handle, outer addresses, inner packet, deadline,
//! lease. A frame that passes has the outer addresses, the inner addresses and the time that its handle is
//! bound to; what is delivered is one whole packet under an Ethernet header of our own.
//!
//! Every fault of the inner packet is `inner`, whatever it is (ethertype, lengths, a fragment, a transport
//! header that lies): the sender's own program lets none of them out, so they all say one thing, that the
//! peer host is not to be trusted, and no finer word would help anyone.
use crate::{
    Frame, Metadata,
    ethernet::{self, Ethernet},
    ipv4::{self, Ipv4},
    outer::{self, Outer},
    pair::{narrow, wide},
    transport::Ports,
};
use pairgate_abi::{DropReason, EVENT_UNKNOWN_HANDLE, Event, GATEWAY_MAC, InEntry};

/// Where the inner Ethernet header stands.
const INNER_AT: usize = outer::READ;
/// Where the inner IPv4 header stands.
const PACKET_AT: usize = INNER_AT + ethernet::LENGTH;
/// Where the inner transport header stands.
pub const TRANSPORT_AT: usize = PACKET_AT + ipv4::LENGTH;
/// Bytes of a frame on the underlay that the decisions may read.
pub const READ: usize = TRANSPORT_AT + crate::transport::READ;

/// Judges what can be judged without a map. No inner protocol can be read means that a half-done checksum
/// has no header it could belong to.
#[inline(always)]
pub fn check_carriage(frame: &impl Frame, metadata: &Metadata, outer: &Outer) -> Result<(), DropReason> {
    if !outer.checksum_is_zero {
        return Err(DropReason::Outer);
    }
    if metadata.gso {
        return Err(DropReason::Offload);
    }
    let [protocol] = frame.read(PACKET_AT + 9).unwrap_or([0]);
    metadata.checksum.check(TRANSPORT_AT as u32, protocol)
}

/// Judges a frame by the entry found under its handle. At the very instant of a deadline it has passed.
#[inline(always)]
pub fn check<'a>(
    frame: &impl Frame,
    outer: &Outer,
    entry: Option<&'a InEntry>,
    lease_ns: u64,
    now_ns: u64,
) -> Result<&'a InEntry, DropReason> {
    let Some(entry) = entry else {
        return Err(DropReason::Handle);
    };
    if narrow(&entry.src_host) != Some(outer.source) || narrow(&entry.dst_host) != Some(outer.destination) {
        return Err(DropReason::Outer);
    }
    if !is_bound(frame, entry) {
        return Err(DropReason::Inner);
    }
    if now_ns >= entry.deadline_ns {
        return Err(DropReason::Expired);
    }
    if now_ns >= lease_ns {
        return Err(DropReason::Lease);
    }
    Ok(entry)
}

/// The event that a drop raises: a sender who does not know that we have forgotten its pair can be told.
#[inline(always)]
pub fn event(reason: DropReason, outer: &Outer, now_ns: u64) -> Option<Event> {
    if !matches!(reason, DropReason::Handle) {
        return None;
    }
    Some(Event {
        kind: EVENT_UNKNOWN_HANDLE,
        tap: 0,
        source: wide(outer.source),
        destination: wide(outer.destination),
        handle: outer.handle,
        at_ns: now_ns,
    })
}

/// True if the inner packet is the one that the entry is bound to, and whole.
#[inline(always)]
fn is_bound(frame: &impl Frame, entry: &InEntry) -> bool {
    let Ok(ipv4) = Ipv4::at(frame, PACKET_AT) else {
        return false;
    };
    frame.read(INNER_AT + 12) == Some(ethernet::IPV4)
        && PACKET_AT as u32 + ipv4.total as u32 == frame.length()
        && narrow(&entry.src_addr) == Some(ipv4.source)
        && narrow(&entry.dst_addr) == Some(ipv4.destination)
        && !ipv4.is_fragment()
        && Ports::at(frame, TRANSPORT_AT, &ipv4).is_ok()
}

/// The Ethernet header under which the packet is delivered. The one that travelled has no say in it.
#[inline(always)]
pub fn delivery(entry: &InEntry) -> [u8; ethernet::LENGTH] {
    Ethernet {
        destination: entry.mac,
        source: GATEWAY_MAC,
        ethertype: ethernet::IPV4,
    }
    .bytes()
}
