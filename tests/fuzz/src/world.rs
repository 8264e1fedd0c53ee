//! The installation that the targets stand in: one guest of each kind, one peer, both underlays.

use pairgate_abi::{
    CARRIES_ALL, Carries, GRANTS, Grant, Handle, InEntry, OWN_ADDRESSES, OutEntry, Settings, SkbLayout,
    TapEntry,
};
use pairgate_packet::{address::wide, ip::Family};

pub(crate) const GUEST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x11];
pub(crate) const GUEST: [u8; 4] = [10, 77, 0, 11];
pub(crate) const PEER: [u8; 4] = [10, 77, 0, 21];
pub(crate) const GUEST6: [u8; 16] = v6(0x11);
pub(crate) const PEER6: [u8; 16] = v6(0x21);
pub(crate) const NOW_NS: u64 = 1_000;
const PORT: [u8; 2] = 4789_u16.to_be_bytes();
pub(crate) const HANDLE: Handle = Handle::from_wire([1, 2, 3], [4, 5]);

/// `fd77::<last>`.
const fn v6(last: u8) -> [u8; 16] {
    [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// The address of host `last` on an underlay.
pub(crate) fn host(underlay: Family, last: u8) -> [u8; 16] {
    match underlay {
        Family::V4 => wide([192, 0, 2, last]),
        Family::V6 => [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, last],
    }
}

pub(crate) fn tap() -> TapEntry {
    let mut addresses = [[0; 16]; OWN_ADDRESSES];
    (addresses[0], addresses[1]) = (wide(GUEST), GUEST6);
    TapEntry {
        mac: GUEST_MAC,
        count: 2,
        reserved: 0,
        addresses,
        prefixes: [120, 64, 0, 0, 0, 0, 0, 0],
        slot: 1,
    }
}

/// Of host `last`, which has this underlay.
pub(crate) fn settings(underlay: Family, last: u8) -> Settings {
    Settings {
        mark: 2,
        uplink: 1,
        vxlan: 9,
        host: host(underlay, last),
        port: PORT,
        other_family_by_device: 0,
        reserved: 0,
        skb: SkbLayout {
            ip_summed: 0,
            ip_summed_shift: 0,
            head: 0,
            data: 0,
            csum_start: 0,
            end: 0,
            gso_type: 0,
        },
    }
}

const ALL: Carries = Carries {
    kind: CARRIES_ALL,
    count: 0,
    reserved: [0; 2],
    grants: [Grant {
        protocol: 0,
        reserved: 0,
        first: 0,
        last: 0,
    }; GRANTS],
};

/// The pair from the guest, on host 1, to whoever on host 2.
pub(crate) fn entry_out(underlay: Family) -> OutEntry {
    OutEntry {
        deadline_ns: NOW_NS + 1,
        used_ns: 0,
        pair_id: 1,
        handle: HANDLE,
        src_host: host(underlay, 1),
        dst_host: host(underlay, 2),
        port: PORT,
        mtu: u16::MAX,
        src_generation: 1,
        dst_generation: 1,
        local_tap: 0,
        local_slot: 0,
        local_mac: [0; 6],
        reserved: [0; 2],
        carries: ALL,
        src_vm: [1; 16],
        dst_vm: [2; 16],
    }
}

/// A pair from host 1 to host 2, between these two addresses.
pub(crate) fn entry_in(underlay: Family, source: [u8; 16], destination: [u8; 16]) -> InEntry {
    InEntry {
        deadline_ns: NOW_NS + 1,
        used_ns: 0,
        pair_id: 2,
        src_host: host(underlay, 1),
        dst_host: host(underlay, 2),
        src_addr: source,
        dst_addr: destination,
        tap: 5,
        mac: GUEST_MAC,
        mtu: u16::MAX,
        reserved: [0; 4],
        slot: 1,
        src_generation: 1,
        dst_generation: 1,
        carries: ALL,
        src_vm: [2; 16],
        dst_vm: [1; 16],
    }
}

/// The guest's and the peer's address of a family.
pub(crate) fn ends(family: Family) -> ([u8; 16], [u8; 16]) {
    match family {
        Family::V4 => (wide(GUEST), wide(PEER)),
        Family::V6 => (GUEST6, PEER6),
    }
}
