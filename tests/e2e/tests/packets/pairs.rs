//! Every pair of the small host: who may send to whom, who may receive from whom, and what.
use crate::world::{
    ANSWERED_PEER, DOOR_SLOT, EXPIRED_PEER, FOREVER, GRANTED_PEER, GUEST, GUEST_MAC, GUEST6, HOST, HOST6,
    LOST_HOST, LOST_PEER, MTU, NARROW_MTU, NARROW_PEER, NEXT_DOOR, NEXT_DOOR_MAC, PEER, PEER_HOST,
    PEER_HOST6, PEER6, PORT, SLOT, World, host_six, out_key, out_key6,
};
use pairgate_abi::{
    CARRIES_ALL, CARRIES_GRANTS, CARRIES_REPLIES, Carries, GRANTS, Grant, Handle, InEntry, NextHop, OutEntry,
    OutKey,
};
use pairgate_packet::address::wide;
use std::net::IpAddr;

/// What a pair carries, with these (protocol, first port, last port).
pub(crate) fn carries(kind: u8, entries: &[(u8, u16, u16)]) -> Carries {
    let mut grants = [Grant::default(); GRANTS];
    for (grant, (protocol, first, last)) in grants.iter_mut().zip(entries) {
        (grant.protocol, grant.first, grant.last) = (*protocol, *first, *last);
    }
    Carries {
        kind,
        count: entries.len() as u8,
        reserved: [0; 2],
        grants,
    }
}

/// TCP to 443, UDP to 1000–2000, and ICMP of both families.
pub(crate) fn some_ports() -> Carries {
    let entries = [(1, 0, 0), (6, 443, 443), (17, 1000, 2000), (58, 0, 0)];
    carries(CARRIES_GRANTS, &entries)
}

pub(crate) fn replies() -> Carries {
    carries(CARRIES_REPLIES, &[])
}

/// The handle under which the guest sends.
pub(crate) fn out_handle() -> Handle {
    Handle::new(0x01_0203, 0x0405).unwrap()
}

/// The handle under which the guest receives.
pub(crate) fn in_handle() -> Handle {
    Handle::new(0x0a_0b0c, 0x0d0e).unwrap()
}

/// As `in_handle`, but its deadline has passed.
pub(crate) fn expired_handle() -> Handle {
    Handle::new(0x0a_0b0d, 0x0d0e).unwrap()
}

/// As `in_handle`, for the guest's IPv6 address.
pub(crate) fn in_handle6() -> Handle {
    Handle::new(0x0a_0b0e, 0x0d0e).unwrap()
}

/// As `in_handle`, for the pair from the peer that has some ports only.
pub(crate) fn granted_handle() -> Handle {
    Handle::new(0x0a_0b0f, 0x0d0e).unwrap()
}

/// As `in_handle`, for the pair from the peer that may only answer.
pub(crate) fn replies_handle() -> Handle {
    Handle::new(0x0a_0b10, 0x0d0e).unwrap()
}

/// A handle bound to an address that this host had once; far from the others, so that no flipped bit finds it.
pub(crate) fn moved_handle() -> Handle {
    Handle::new(0x5c_71e3, 0x6b2f).unwrap()
}

impl World {
    /// Underlay addresses of this host and of its peer.
    pub(crate) fn hosts(&self) -> ([u8; 16], [u8; 16]) {
        match self.host {
            IpAddr::V4(_) => (wide(HOST), wide(PEER_HOST)),
            IpAddr::V6(_) => (HOST6, PEER_HOST6),
        }
    }

    /// Every pair that the guest may send on.
    pub(crate) fn known_pairs(&self) -> Vec<(OutKey, OutEntry)> {
        let good = self.out_entry_here();
        let expired = OutEntry {
            deadline_ns: 1,
            ..good
        };
        let lost = OutEntry {
            dst_host: match self.host {
                IpAddr::V4(_) => wide(LOST_HOST),
                IpAddr::V6(_) => host_six(3),
            },
            ..good
        };
        let granted = OutEntry {
            carries: some_ports(),
            ..good
        };
        let answered = OutEntry {
            carries: replies(),
            ..good
        };
        let narrow = OutEntry {
            mtu: NARROW_MTU,
            ..good
        };
        let next_door = OutEntry {
            local_tap: self.door.index(),
            local_slot: DOOR_SLOT,
            local_mac: NEXT_DOOR_MAC,
            dst_host: good.src_host,
            carries: some_ports(),
            ..good
        };
        let tap = self.guest.index();
        [
            (PEER, good),
            (EXPIRED_PEER, expired),
            (LOST_PEER, lost),
            (GRANTED_PEER, granted),
            (ANSWERED_PEER, answered),
            (NEXT_DOOR, next_door),
            (NARROW_PEER, narrow),
        ]
        .into_iter()
        .flat_map(|(peer, entry)| [(out_key(tap, peer), entry), (out_key6(tap, peer), entry)])
        .collect()
    }

    /// Every pair that the guest may receive on.
    pub(crate) fn known_handles(&self) -> Vec<(Handle, InEntry)> {
        let good = self.in_entry();
        let expired = InEntry {
            deadline_ns: 1,
            ..good
        };
        let moved = InEntry {
            dst_host: wide(LOST_HOST),
            ..good
        };
        let six = InEntry {
            src_addr: PEER6,
            dst_addr: GUEST6,
            ..good
        };
        let granted = InEntry {
            src_addr: wide(GRANTED_PEER),
            carries: some_ports(),
            ..good
        };
        let replies = InEntry {
            src_addr: wide(ANSWERED_PEER),
            carries: replies(),
            ..good
        };
        vec![
            (in_handle(), good),
            (expired_handle(), expired),
            (moved_handle(), moved),
            (in_handle6(), six),
            (granted_handle(), granted),
            (replies_handle(), replies),
        ]
    }

    /// The good pair of a host with an IPv4 underlay.
    pub(crate) fn out_entry() -> OutEntry {
        OutEntry {
            deadline_ns: FOREVER,
            used_ns: 0,
            pair_id: 1,
            handle: out_handle(),
            src_host: wide(HOST),
            dst_host: wide(PEER_HOST),
            port: PORT.to_be_bytes(),
            mtu: MTU,
            src_generation: 1,
            dst_generation: 1,
            local_tap: 0,
            local_slot: 0,
            local_mac: [0; 6],
            reserved: [0; 2],
            carries: carries(CARRIES_ALL, &[]),
            src_vm: [1; 16],
            dst_vm: [2; 16],
        }
    }

    /// The same on this host's underlay.
    pub(crate) fn out_entry_here(&self) -> OutEntry {
        let (src_host, dst_host) = self.hosts();
        OutEntry {
            src_host,
            dst_host,
            ..Self::out_entry()
        }
    }

    pub(crate) fn in_entry(&self) -> InEntry {
        let (dst_host, src_host) = self.hosts();
        InEntry {
            deadline_ns: FOREVER,
            used_ns: 0,
            pair_id: 2,
            src_host,
            dst_host,
            src_addr: wide(PEER),
            dst_addr: wide(GUEST),
            tap: self.guest.index(),
            mac: GUEST_MAC,
            mtu: MTU,
            reserved: [0; 4],
            slot: SLOT,
            src_generation: 1,
            dst_generation: 1,
            carries: carries(CARRIES_ALL, &[]),
            src_vm: [2; 16],
            dst_vm: [1; 16],
        }
    }

    pub(crate) fn next_hop(&self) -> NextHop {
        NextHop {
            interface: self.uplink.index(),
            neighbour: self.hosts().1,
        }
    }
}
