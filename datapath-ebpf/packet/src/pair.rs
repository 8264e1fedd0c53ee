//! May it say it to them, now? The pair's entry, its deadline, and the host's lease.
use crate::{Packet, address};
use pairgate_abi::{
    DropReason, EVENT_EXPIRED, EVENT_MISS, Event, HELD_BYTES, Handle, OutEntry, OutKey, TapEntry,
    limits::HELD_PER_TAP,
};

/// Key under which the pair of a packet from this tap is looked up.
#[inline(always)]
pub fn key(tap: u32, packet: &Packet) -> OutKey {
    OutKey {
        source: packet.source.bytes(),
        destination: packet.destination.bytes(),
        tap,
    }
}

/// Judges a packet by the entry found for it. At the very instant of a deadline it has passed.
#[inline(always)]
pub fn check<'a>(
    tap: &TapEntry,
    packet: &Packet,
    entry: Option<&'a OutEntry>,
    lease_ns: u64,
    now_ns: u64,
) -> Result<&'a OutEntry, DropReason> {
    let Some(entry) = entry else {
        address::check_peer(tap, packet.destination)?;
        return Err(DropReason::NoPair);
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
    Ok(entry)
}

/// The kind of event that a drop raises: only these two can be healed by asking the registry.
#[inline(always)]
pub fn event_kind(reason: DropReason) -> Option<u32> {
    match reason {
        DropReason::NoPair => Some(EVENT_MISS),
        DropReason::Expired => Some(EVENT_EXPIRED),
        _ => None,
    }
}

/// The event of a packet that is not held.
#[inline(always)]
pub fn event(kind: u32, key: &OutKey, now_ns: u64) -> Event {
    Event {
        kind,
        tap: key.tap,
        source: key.source,
        destination: key.destination,
        handle: Handle::from_wire([0; 3], [0; 2]),
        at_ns: now_ns,
    }
}

/// True while a refusal stands.
#[inline(always)]
pub fn is_refused(until_ns: Option<u64>, now_ns: u64) -> bool {
    until_ns.is_some_and(|until_ns| now_ns < until_ns)
}

/// True if a frame can be held at all: it is small, and is not to be cut.
#[inline(always)]
pub fn can_be_held(frame_length: u32, is_gso: bool) -> bool {
    !is_gso && frame_length <= HELD_BYTES as u32
}

/// True if the tap may have one more packet held. Both counts only grow.
#[inline(always)]
pub fn has_room(held: u64, released: u64) -> bool {
    held.saturating_sub(released) < HELD_PER_TAP
}
