//! Which kernel entries a goal state ends. Pure: an entry and a goal state in, yes or no out.

use crate::goal::Goal;
use pairgate_abi::{InEntry, OutEntry};
use pairgate_token::address_bytes;
use std::net::IpAddr;
use uuid::Uuid;

/// The two VMs of an entry, each with its generation.
struct Ends {
    pair: u64,
    source: (Uuid, u32),
    destination: (Uuid, u32),
    /// The host at the other end, if known.
    peer: Option<Uuid>,
}

/// Whether this incoming entry must not exist under this goal state.
pub(super) fn ends_in(goal: &Goal, entry: &InEntry, peer: Option<Uuid>) -> bool {
    let ends = Ends {
        pair: entry.pair_id,
        source: (Uuid::from_bytes(entry.src_vm), entry.src_generation),
        destination: (Uuid::from_bytes(entry.dst_vm), entry.dst_generation),
        peer,
    };
    let (vm, generation) = ends.destination;
    let at_home = goal.guests.get(&vm).is_some_and(|guest| {
        guest.generation == generation && address_bytes(IpAddr::V4(guest.address)) == entry.dst_addr
    });
    !at_home || is_dead(goal, &ends)
}

/// Whether this outgoing entry must not exist under this goal state.
pub(super) fn ends_out(goal: &Goal, entry: &OutEntry, peer: Option<Uuid>) -> bool {
    let ends = Ends {
        pair: entry.pair_id,
        source: (Uuid::from_bytes(entry.src_vm), entry.src_generation),
        destination: (Uuid::from_bytes(entry.dst_vm), entry.dst_generation),
        peer,
    };
    let (vm, generation) = ends.source;
    let at_home = goal
        .guests
        .get(&vm)
        .is_some_and(|guest| guest.generation == generation);
    !at_home || is_dead(goal, &ends)
}

fn is_dead(goal: &Goal, ends: &Ends) -> bool {
    let tombstones = &goal.tombstones;
    let peer_is_dead = match ends.peer {
        Some(peer) => tombstones.hosts.contains(&peer),
        // An entry from before the agent's last start: the kernel remembers the peer's address but not its
        // id. It may be the removed host, so it goes; a living one asks again.
        None => !tombstones.hosts.is_empty(),
    };
    peer_is_dead
        || tombstones.pairs.contains(&ends.pair)
        || tombstones.buries(ends.source.0, ends.source.1)
        || tombstones.buries(ends.destination.0, ends.destination.1)
}
