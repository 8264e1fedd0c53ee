//! May it say it to them, now? The pair's entry, its deadline, and the host's lease.
use crate::sender::Packet;
use pairgate_abi::{DropReason, EVENT_EXPIRED, EVENT_MISS, Event, Handle, OutEntry, OutKey};

/// An IPv4 address as the contract has it: `::ffff:a.b.c.d`.
#[inline(always)]
pub fn wide(a: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]]
}

/// The IPv4 address in a contract address, if it is one.
#[inline(always)]
pub fn narrow(a: &[u8; 16]) -> Option<[u8; 4]> {
    let found = [a[12], a[13], a[14], a[15]];
    (*a == wide(found)).then_some(found)
}

/// Key under which the pair of a packet from this tap is looked up.
#[inline(always)]
pub fn key(tap: u32, packet: &Packet) -> OutKey {
    OutKey {
        tap,
        destination: wide(packet.ipv4.destination),
    }
}

/// Judges a packet by the entry found for it. At the very instant of a deadline it has passed.
#[inline(always)]
pub fn check<'a>(
    packet: &Packet,
    entry: Option<&'a OutEntry>,
    lease_ns: u64,
    now_ns: u64,
) -> Result<&'a OutEntry, DropReason> {
    let Some(entry) = entry else {
        return Err(DropReason::NoPair);
    };
    if now_ns >= entry.deadline_ns {
        return Err(DropReason::Expired);
    }
    if now_ns >= lease_ns {
        return Err(DropReason::Lease);
    }
    if packet.ipv4.total > entry.mtu {
        return Err(DropReason::TooBig);
    }
    Ok(entry)
}

/// The event that a drop raises: only these two can be healed by asking the registry.
#[inline(always)]
pub fn event(reason: DropReason, key: &OutKey, packet: &Packet, now_ns: u64) -> Option<Event> {
    let kind = match reason {
        DropReason::NoPair => EVENT_MISS,
        DropReason::Expired => EVENT_EXPIRED,
        _ => return None,
    };
    Some(Event {
        kind,
        tap: key.tap,
        source: wide(packet.ipv4.source),
        destination: key.destination,
        handle: Handle::from_wire([0; 3], [0; 2]),
        at_ns: now_ns,
    })
}
