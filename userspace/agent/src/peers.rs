//! Which hosts we have met, and how often we may speak to them about lost pairs.
//!
//! A host that has started anew may have lost what was accepted before. Two signs say so: its boot id has
//! changed, or it says that it knows no handle like ours. Both are hints and no more: what follows is that live
//! tokens are offered again, which moves no deadline and opens nothing that they do not prove. Each is bounded
//! per peer, so that neither a stolen host nor forged frames from the underlay can make us busy.

use crate::clock::BootTime;
use pairgate_abi::limits::PEERS;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// Between two rounds in which everything is offered to a peer again.
pub const ROUND_EVERY: Duration = Duration::from_secs(5);
/// Between two hints to one peer, and two hints of one peer that are looked at.
pub const HINT_EVERY: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Default)]
pub struct Peers(Mutex<HashMap<IpAddr, Peer>>);

/// A host that has proven its address and id to us.
#[derive(Debug)]
struct Peer {
    id: Uuid,
    at: SocketAddr,
    boot: Uuid,
    round: Option<BootTime>,
    hinted: Option<BootTime>,
    heard: Option<BootTime>,
}

impl Peers {
    /// A peer has said which start of its agent this is. Whether everything should be offered to it again: a
    /// change that comes too soon after another is found again at the next word of the peer.
    pub fn met(&self, id: Uuid, at: SocketAddr, boot: &[u8], now: BootTime) -> bool {
        let Ok(boot) = Uuid::from_slice(boot) else {
            return false;
        };
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = peers.len() >= PEERS as usize;
        let Some(peer) = peers.get_mut(&at.ip()).filter(|peer| peer.id == id) else {
            if full {
                // Rare, and all that is lost is hints.
                peers.clear();
            }
            let new = Peer {
                id,
                at,
                boot,
                round: None,
                hinted: None,
                heard: None,
            };
            peers.insert(at.ip(), new);
            return false;
        };
        peer.at = at;
        if peer.boot == boot || !spend(&mut peer.round, ROUND_EVERY, now) {
            return false;
        }
        peer.boot = boot;
        true
    }

    /// The host at this address, if it is known and may be given a hint now.
    pub fn to_hint(&self, address: IpAddr, now: BootTime) -> Option<(Uuid, SocketAddr)> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.get_mut(&address)?;
        spend(&mut peer.hinted, HINT_EVERY, now).then_some((peer.id, peer.at))
    }

    /// Whether a hint that this host gives us is looked at now. Only from a host that we know.
    pub fn may_hint(&self, id: Uuid, address: IpAddr, now: BootTime) -> bool {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.get_mut(&address).filter(|peer| peer.id == id);
        peer.is_some_and(|peer| spend(&mut peer.heard, HINT_EVERY, now))
    }
}

fn spend(last: &mut Option<BootTime>, every: Duration, now: BootTime) -> bool {
    if last.is_some_and(|last| now < last.after(every)) {
        return false;
    }
    *last = Some(now);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const H1: Uuid = Uuid::from_u128(1);
    const H2: Uuid = Uuid::from_u128(2);

    fn at(secs: u64) -> BootTime {
        BootTime::from_nanos(secs * 1_000_000_000)
    }

    fn address() -> SocketAddr {
        "192.0.2.1:7444".parse().unwrap()
    }

    #[test]
    fn only_a_known_peer_that_starts_anew_is_offered_everything_again() {
        let peers = Peers::default();
        assert!(!peers.met(H1, address(), &[1; 16], at(1)), "nothing was lost");
        assert!(!peers.met(H1, address(), &[1; 16], at(2)));
        assert!(peers.met(H1, address(), &[2; 16], at(3)));
        assert!(!peers.met(H1, address(), &[2; 16], at(30)));
        assert!(!peers.met(H1, address(), &[], at(40)), "no boot id says nothing");
        // Another machine under the address is another peer.
        assert!(!peers.met(H2, address(), &[3; 16], at(50)));
    }

    #[test]
    fn a_peer_that_changes_its_boot_id_all_the_time_costs_a_round_in_five_seconds() {
        let peers = Peers::default();
        peers.met(H1, address(), &[0; 16], at(0));
        let rounds = (1..=20)
            .filter(|second| peers.met(H1, address(), &[*second; 16], at(u64::from(*second))))
            .count();
        assert_eq!(rounds, 4);
        // The last change is not forgotten.
        assert!(peers.met(H1, address(), &[99; 16], at(30)));
    }

    #[test]
    fn hints_go_only_to_known_peers_and_not_for_every_frame() {
        let peers = Peers::default();
        assert_eq!(peers.to_hint(address().ip(), at(1)), None);
        assert!(!peers.may_hint(H1, address().ip(), at(1)));
        peers.met(H1, address(), &[0; 16], at(1));
        assert_eq!(peers.to_hint(address().ip(), at(1)), Some((H1, address())));
        assert_eq!(peers.to_hint(address().ip(), at(1)), None, "so soon again");
        assert!(peers.to_hint(address().ip(), at(2)).is_some());
        assert!(peers.may_hint(H1, address().ip(), at(1)));
        assert!(!peers.may_hint(H1, address().ip(), at(1)));
        assert!(
            !peers.may_hint(H2, address().ip(), at(9)),
            "another host in its name"
        );
    }
}
