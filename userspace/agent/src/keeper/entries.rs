//! What an entry of a pair looks like. Pure: the proof in, the kernel's form out. Only [`super::Tables`] writes it.

use super::Seat;
use crate::{
    admit::{LocalPair, VerifiedPair},
    carries::{Opposite, carries},
    clock::BootTime,
    present::CarriedPair,
};
use pairgate_abi::{Handle, InEntry, OutEntry, OutKey};
use pairgate_token::{Claims, address_bytes};

/// What an outgoing entry says that its token does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The largest inner packet that both ends and the way between them take.
    pub mtu: u16,
    pub opposite: Opposite,
}

/// The entry under which our guest receives from another host, packets of at most `mtu` bytes.
pub fn incoming(pair: &VerifiedPair, seat: Seat, mtu: u16) -> InEntry {
    let claims = pair.claims();
    InEntry {
        deadline_ns: pair.deadline().nanos(),
        used_ns: 0,
        pair_id: claims.pair_id,
        src_host: address_bytes(claims.source_host),
        dst_host: address_bytes(claims.destination_host),
        src_addr: address_bytes(claims.source_address),
        dst_addr: address_bytes(claims.destination_address),
        tap: seat.tap,
        mac: seat.mac,
        mtu,
        reserved: [0; 4],
        slot: seat.slot,
        src_generation: claims.source_generation,
        dst_generation: claims.destination_generation,
        // Whether conversations are noted is for the sender's side to know.
        carries: carries(claims, Opposite::CarriesAll),
        src_vm: claims.source_vm.into_bytes(),
        dst_vm: claims.destination_vm.into_bytes(),
    }
}

/// The entry under which our guest sends to another host.
pub fn outgoing(pair: &CarriedPair, terms: Terms) -> OutEntry {
    let entry = outward(pair.claims(), pair.deadline(), terms);
    OutEntry {
        handle: pair.handle(),
        ..entry
    }
}

/// The entry under which our guest sends to another guest of ours, whose seat is `to`.
pub fn local(pair: &LocalPair, to: Seat, terms: Terms) -> OutEntry {
    let entry = outward(pair.claims(), pair.deadline(), terms);
    OutEntry {
        local_tap: to.tap,
        local_slot: to.slot,
        local_mac: to.mac,
        ..entry
    }
}

/// Where a pair's outgoing entry stands.
pub fn out_key(claims: &Claims, tap: u32) -> OutKey {
    OutKey {
        tap,
        source: address_bytes(claims.source_address),
        destination: address_bytes(claims.destination_address),
    }
}

fn outward(claims: &Claims, deadline: BootTime, terms: Terms) -> OutEntry {
    OutEntry {
        deadline_ns: deadline.nanos(),
        used_ns: 0,
        pair_id: claims.pair_id,
        handle: Handle::from_wire([0; 3], [0; 2]),
        src_host: address_bytes(claims.source_host),
        dst_host: address_bytes(claims.destination_host),
        port: claims.overlay_port.to_be_bytes(),
        mtu: terms.mtu,
        src_generation: claims.source_generation,
        dst_generation: claims.destination_generation,
        local_tap: 0,
        local_slot: 0,
        local_mac: [0; 6],
        reserved: [0; 2],
        carries: carries(claims, terms.opposite),
        src_vm: claims.source_vm.into_bytes(),
        dst_vm: claims.destination_vm.into_bytes(),
    }
}
