//! The owner's memory of every kernel entry, so that a question about one pair, peer or token does not read a
//! whole map. What is in the book is in the kernel: the ledger writes the kernel first.

use super::life::Life;
use crate::{carries::Opposite, clock::BootTime, request::mint::MintedToken};
use pairgate_abi::{CARRIES_ALL, CARRIES_ALL_NOTED, Handle, InEntry, OutEntry, OutKey};
use pairgate_token::Claims;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// An entry of `PAIRS_IN`.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub entry: InEntry,
    /// Where it came from; unknown if an agent before this one accepted it.
    pub origin: Option<Origin>,
    /// The bytes of its token; unknown likewise.
    token: Option<Vec<u8>>,
    life: Life,
}

/// An entry of `PAIRS_OUT`.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub entry: OutEntry,
    /// Where it came from; unknown if it was an agent before this one that offered it.
    pub origin: Option<Origin>,
    /// The token behind it, for offering it again; none likewise, or if it came in an offer.
    pub token: Option<MintedToken>,
    pub life: Life,
}

/// What the kernel's entry does not hold.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The host at the other end.
    pub host: Uuid,
    pub claims: Claims,
}

/// All entries, and the ways to find them.
#[derive(Debug, Default)]
pub struct Book {
    incoming: HashMap<Handle, Incoming>,
    outgoing: HashMap<OutKey, Outgoing>,
    by_token: HashMap<Vec<u8>, Handle>,
    by_pair: HashMap<u64, HashSet<Handle>>,
    by_peer: HashMap<[u8; 16], usize>,
    /// Handles by the receiving tap, its guest's address, and the peer's.
    by_talk: HashMap<Talk, HashSet<Handle>>,
}

type Talk = (u32, [u8; 16], [u8; 16]);

/// An entry that stands in the book and has not ended: it was written from a proof, or found at the agent's start, and
/// nothing has taken it out since. With it the kernel's entry may be written once more, as it was.
#[derive(Clone, Copy, Debug)]
pub struct Declared<K, E> {
    key: K,
    entry: E,
}

impl<K: Copy, E: Copy> Declared<K, E> {
    pub fn key(&self) -> K {
        self.key
    }

    pub fn entry(&self) -> E {
        self.entry
    }
}

impl Book {
    pub fn declared_in(&self, handle: Handle, now: BootTime) -> Option<Declared<Handle, InEntry>> {
        let entry = self.entry_in(handle)?;
        (entry.deadline_ns > now.nanos()).then_some(Declared { key: handle, entry })
    }

    pub fn declared_out(&self, key: &OutKey, now: BootTime) -> Option<Declared<OutKey, OutEntry>> {
        let entry = self.out(key)?.entry;
        (entry.deadline_ns > now.nanos()).then_some(Declared { key: *key, entry })
    }

    pub fn incoming(&self) -> impl Iterator<Item = (Handle, &Incoming)> {
        self.incoming.iter().map(|(handle, incoming)| (*handle, incoming))
    }

    pub fn outgoing(&self) -> impl Iterator<Item = (OutKey, &Outgoing)> {
        self.outgoing.iter().map(|(key, outgoing)| (*key, outgoing))
    }

    pub fn holds(&self, handle: Handle) -> bool {
        self.incoming.contains_key(&handle)
    }

    pub fn incoming_len(&self) -> usize {
        self.incoming.len()
    }

    pub fn outgoing_len(&self) -> usize {
        self.outgoing.len()
    }

    /// Entries that one peer host holds here.
    pub fn held_by(&self, peer: &[u8; 16]) -> usize {
        self.by_peer.get(peer).copied().unwrap_or(0)
    }

    /// What a token was given before.
    pub fn of_token(&self, token: &[u8]) -> Option<(Handle, &Incoming)> {
        let handle = self.by_token.get(token)?;
        Some((*handle, self.incoming.get(handle)?))
    }

    /// What the pair carries by which a peer answers our guest.
    pub fn answers(&self, tap: u32, own: [u8; 16], peer: [u8; 16]) -> Opposite {
        let handles = self.by_talk.get(&(tap, own, peer)).into_iter().flatten();
        let mut entries = handles.filter_map(|handle| self.incoming.get(handle));
        let all =
            entries.any(|incoming| matches!(incoming.entry.carries.kind, CARRIES_ALL | CARRIES_ALL_NOTED));
        if all {
            Opposite::CarriesAll
        } else {
            Opposite::Other
        }
    }

    /// Every handle of one pair.
    pub fn of_pair(&self, pair: u64) -> Vec<(Handle, InEntry)> {
        let handles = self.by_pair.get(&pair).into_iter().flatten();
        handles
            .filter_map(|handle| Some((*handle, self.incoming.get(handle)?.entry)))
            .collect()
    }

    /// Writes down an entry that is in the kernel, with the token it came from, if known.
    pub fn note_in(&mut self, handle: Handle, entry: InEntry, origin: Option<(Origin, &[u8])>, life: Life) {
        self.strike_in(handle);
        self.by_pair.entry(entry.pair_id).or_default().insert(handle);
        *self.by_peer.entry(entry.src_host).or_default() += 1;
        self.by_talk.entry(talk(&entry)).or_default().insert(handle);
        let (origin, token) = origin.unzip();
        let token = token.map(<[u8]>::to_vec);
        if let Some(token) = &token {
            self.by_token.insert(token.clone(), handle);
        }
        let incoming = Incoming {
            entry,
            origin,
            token,
            life,
        };
        self.incoming.insert(handle, incoming);
    }

    /// Follows a change of an entry's deadline.
    pub fn note_deadline(&mut self, handle: Handle, deadline: BootTime) {
        if let Some(incoming) = self.incoming.get_mut(&handle) {
            incoming.entry.deadline_ns = deadline.nanos();
        }
    }

    pub fn note_mtu(&mut self, key: OutKey, mtu: u16) {
        if let Some(outgoing) = self.outgoing.get_mut(&key) {
            outgoing.entry.mtu = mtu;
        }
    }

    pub fn note_out(&mut self, key: OutKey, outgoing: Outgoing) {
        self.outgoing.insert(key, outgoing);
    }

    pub fn entry_in(&self, handle: Handle) -> Option<InEntry> {
        self.incoming.get(&handle).map(|incoming| incoming.entry)
    }

    pub fn out(&self, key: &OutKey) -> Option<&Outgoing> {
        self.outgoing.get(key)
    }

    /// When the token behind an incoming entry ends, if it is known.
    pub fn expires(&self, handle: Handle) -> Option<u64> {
        let origin = self.incoming.get(&handle)?.origin.as_ref()?;
        Some(origin.claims.expires_unix_secs)
    }

    pub fn origin_in(&self, handle: Handle) -> Option<&Origin> {
        self.incoming.get(&handle)?.origin.as_ref()
    }

    pub fn life_in(&self, handle: Handle) -> Option<Life> {
        self.incoming.get(&handle).map(|incoming| incoming.life)
    }

    pub fn life_out(&self, key: &OutKey) -> Option<Life> {
        self.outgoing.get(key).map(|outgoing| outgoing.life)
    }

    pub fn note_life_in(&mut self, handle: Handle, life: Life) {
        if let Some(incoming) = self.incoming.get_mut(&handle) {
            incoming.life = life;
        }
    }

    pub fn note_life_out(&mut self, key: &OutKey, life: Life) {
        if let Some(outgoing) = self.outgoing.get_mut(key) {
            outgoing.life = life;
        }
    }

    /// Forgets an entry that is no longer in the kernel.
    pub fn strike_in(&mut self, handle: Handle) {
        let Some(Incoming { entry, token, .. }) = self.incoming.remove(&handle) else {
            return;
        };
        if let Some(token) = token {
            self.by_token.remove(&token);
        }
        if let Some(handles) = self.by_pair.get_mut(&entry.pair_id) {
            handles.remove(&handle);
            if handles.is_empty() {
                self.by_pair.remove(&entry.pair_id);
            }
        }
        if let Some(handles) = self.by_talk.get_mut(&talk(&entry)) {
            handles.remove(&handle);
            if handles.is_empty() {
                self.by_talk.remove(&talk(&entry));
            }
        }
        if let Some(count) = self.by_peer.get_mut(&entry.src_host) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_peer.remove(&entry.src_host);
            }
        }
    }

    pub fn strike_out(&mut self, key: &OutKey) {
        self.outgoing.remove(key);
    }
}

fn talk(entry: &InEntry) -> Talk {
    (entry.tap, entry.dst_addr, entry.src_addr)
}
