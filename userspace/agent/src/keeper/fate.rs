//! Which pairs a goal state ends. Pure: an entry and a goal state in, yes or no out.

use crate::goal::Goal;
use pairgate_abi::{InEntry, OutEntry, OutKey};
use pairgate_token::address_from_bytes;
use std::net::IpAddr;
use uuid::Uuid;

/// What a goal state can say something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pair: u64,
    source: End,
    destination: End,
    place: Place,
}

/// One VM of a pair, as the pair's token named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    vm: Uuid,
    generation: u32,
    address: IpAddr,
}

/// Which of the two is a guest of ours, and what is known of the host of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Source { peer: Option<Uuid> },
    Destination { peer: Option<Uuid> },
    Both,
}

impl Ends {
    pub(super) fn of_incoming(entry: &InEntry, peer: Option<Uuid>) -> Self {
        Self {
            pair: entry.pair_id,
            source: end(entry.src_vm, entry.src_generation, entry.src_addr),
            destination: end(entry.dst_vm, entry.dst_generation, entry.dst_addr),
            place: Place::Destination { peer },
        }
    }

    pub(super) fn of_outgoing(key: &OutKey, entry: &OutEntry, peer: Option<Uuid>) -> Self {
        Self {
            pair: entry.pair_id,
            source: end(entry.src_vm, entry.src_generation, key.source),
            destination: end(entry.dst_vm, entry.dst_generation, key.destination),
            place: if entry.local_tap == 0 {
                Place::Source { peer }
            } else {
                Place::Both
            },
        }
    }

    /// Whether no entry of this pair may exist under this goal state.
    pub(super) fn are_over(&self, goal: &Goal) -> bool {
        let (home, peer_is_dead) = match self.place {
            Place::Source { peer } => (self.source.is_home(goal), is_dead(peer, goal)),
            Place::Destination { peer } => (self.destination.is_home(goal), is_dead(peer, goal)),
            Place::Both => (self.source.is_home(goal) && self.destination.is_home(goal), false),
        };
        let tombstones = &goal.tombstones;
        !home
            || peer_is_dead
            || tombstones.pairs.contains(&self.pair)
            || tombstones.buries(self.source.vm, self.source.generation)
            || tombstones.buries(self.destination.vm, self.destination.generation)
    }
}

impl End {
    fn is_home(&self, goal: &Goal) -> bool {
        let guest = goal.guests.get(&self.vm);
        guest.is_some_and(|guest| guest.generation == self.generation && guest.owns(self.address))
    }
}

fn end(vm: [u8; 16], generation: u32, address: [u8; 16]) -> End {
    End {
        vm: Uuid::from_bytes(vm),
        generation,
        address: address_from_bytes(address),
    }
}

fn is_dead(peer: Option<Uuid>, goal: &Goal) -> bool {
    match peer {
        Some(peer) => goal.tombstones.hosts.contains(&peer),
        // An entry from before the agent's last start: the kernel remembers the peer's address but not its
        // id. It may be the removed host, so it goes; a living one asks again.
        None => !goal.tombstones.hosts.is_empty(),
    }
}
