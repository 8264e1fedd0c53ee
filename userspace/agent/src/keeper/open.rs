//! Opening pairs: the only two writes that let packets through. Everything that can have changed since a
//! token was looked at is looked at again here, in the step of the write.

use super::{
    Ledger, Seat, TableError, Tables,
    agenda::Subject,
    book::{Origin, Outgoing},
    life::{Life, Start},
    limits::{
        HANDLE_TRIES, OLD_HANDLE_LIFE, PAIRS_PER_PEER, PAIRS_PER_TAP, PAIRS_RESERVE, RENEWALS_PER_PEER,
    },
};
use crate::{
    admit::{self, Refusal, VerifiedPair},
    clock::BootTime,
    goal::Guest,
    present::CarriedPair,
};
use pairgate_abi::{Handle, NextHop, OutKey, limits::PAIRS};
use pairgate_token::{Claims, Untimely, address_bytes};
use rand::Rng;
use uuid::Uuid;

/// What an offering host is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub handle: Handle,
    /// Largest inner packet that the guest takes.
    pub mtu: u16,
}

/// The way to a peer host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub hop: NextHop,
    /// Largest inner packet that fits the uplink with our headers around it.
    pub mtu: u16,
}

/// Why a pair was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Table(#[from] TableError),
}

impl OpenError {
    /// What is told and counted.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Refused(refusal) => *refusal,
            Self::Table(_) => Refusal::Internal,
        }
    }
}

impl<T: Tables> Ledger<T> {
    /// Opens an incoming pair. The same token again gets the same handle, and no deadline ever moves later.
    pub fn admit(&mut self, pair: &VerifiedPair, now: BootTime) -> Result<Admitted, OpenError> {
        let claims = pair.claims();
        let (guest, seat) =
            self.may_open(claims, End::Destination, pair.source_host(), pair.deadline(), now)?;
        let mtu = guest.mtu;
        if let Some((handle, _)) = self.book.of_token(pair.token_bytes()) {
            if self.tables.used_in(handle)?.is_some() {
                return Ok(Admitted { handle, mtu });
            }
            // Somebody else has removed it from the kernel: the offer says that it is missed.
            self.book.strike_in(handle);
        }
        let peer = address_bytes(claims.source_host);
        let older = self.book.of_pair(claims.pair_id);
        // A renewal has two handles for a while, and must not fail where the pair itself had room.
        let room = if older.is_empty() { 0 } else { RENEWALS_PER_PEER };
        if self.book.held_by(&peer) >= PAIRS_PER_PEER + room {
            return Err(Refusal::Quota.into());
        }
        if self.book.incoming_len() + PAIRS_RESERVE >= PAIRS as usize {
            return Err(Refusal::Full.into());
        }
        let handle = self.free_handle(now).ok_or(Refusal::Full)?;
        let entry = self.tables.open_in(handle, pair, seat)?;
        let origin = Origin {
            host: pair.source_host(),
            claims: claims.clone(),
        };
        let life = Life::new(Start::Fresh, now, pair.deadline());
        self.book
            .note_in(handle, entry, Some((origin, pair.token_bytes())), life);
        self.agenda.note(life.look_at, Subject::In(handle));
        let end = now.after(OLD_HANDLE_LIFE);
        for (old, entry) in older {
            // Only what this token takes over from: a token that ends later keeps its handle, and of two that
            // end together the sender may have taken either.
            let is_older = self.book.expires(old).map_or_else(
                || entry.deadline_ns <= pair.deadline().nanos(),
                |expires| expires < claims.expires_unix_secs,
            );
            if is_older && entry.deadline_ns > end.nanos() {
                self.tables.shorten_in(old, entry, end)?;
                self.book.note_deadline(old, end);
            }
        }
        Ok(Admitted { handle, mtu })
    }

    /// Opens an outgoing pair, or moves it to a newer token.
    ///
    /// A token never takes the place of one of the same pair that ends later: it may have been under way
    /// while that one was renewed.
    pub fn carry(&mut self, pair: &CarriedPair, way: Way, now: BootTime) -> Result<(), OpenError> {
        let claims = pair.claims();
        let (guest, seat) =
            self.may_open(claims, End::Source, pair.destination_host(), pair.deadline(), now)?;
        let mtu = guest.mtu.min(pair.mtu()).min(way.mtu);
        let key = OutKey {
            tap: seat.tap,
            destination: address_bytes(claims.destination_address),
        };
        let mut life = Life::new(Start::Fresh, now, pair.deadline());
        if let Some(old) = self.book.out(&key) {
            let of_this_pair = old.origin.as_ref().filter(|old| is_same(&old.claims, claims));
            match of_this_pair.map(|old| old.claims.expires_unix_secs) {
                Some(old_expires) if old_expires > claims.expires_unix_secs => return Ok(()),
                Some(old_expires) if old_expires == claims.expires_unix_secs => life = old.life.moved(now),
                _ => life = Life::new(Start::After(old.life), now, pair.deadline()),
            }
        } else {
            self.has_room(seat.tap)?;
        }
        let (key, entry) = self.tables.open_out(pair, seat, way.hop, mtu)?;
        let origin = Origin {
            host: pair.destination_host(),
            claims: claims.clone(),
        };
        let carried = Outgoing {
            entry,
            origin: Some(origin),
            token: pair.minted().cloned(),
            life,
        };
        self.book.note_out(key, carried);
        self.agenda.note(life.look_at, Subject::Out(key));
        Ok(())
    }

    /// Whether a tap may have one outgoing pair more.
    fn has_room(&self, tap: u32) -> Result<(), Refusal> {
        if self.book.outgoing_len() + PAIRS_RESERVE >= PAIRS as usize {
            return Err(Refusal::Full);
        }
        // Counted only near the bound: below it no tap can be over its share.
        let of_tap = |(key, _): &(OutKey, &Outgoing)| key.tap == tap;
        if self.book.outgoing_len() >= PAIRS_PER_TAP
            && self.book.outgoing().filter(of_tap).count() >= PAIRS_PER_TAP
        {
            return Err(Refusal::Quota);
        }
        Ok(())
    }

    /// The guest at our end of the pair and its seat, if nothing speaks against the pair now.
    fn may_open(
        &self,
        claims: &Claims,
        our_end: End,
        peer: Uuid,
        deadline: BootTime,
        now: BootTime,
    ) -> Result<(Guest, Seat), Refusal> {
        let goal = self.goal_in_force().ok_or(Refusal::NotReady)?;
        if now >= self.lease() {
            return Err(Refusal::Lease);
        }
        if goal.tombstones.hosts.contains(&peer) {
            return Err(Refusal::DeadHost);
        }
        admit::alive(claims, &goal.tombstones)?;
        let (vm, generation) = match our_end {
            End::Source => (claims.source_vm, claims.source_generation),
            End::Destination => (claims.destination_vm, claims.destination_generation),
        };
        let guest = goal.guests.get(&vm).ok_or(Refusal::NotHere)?;
        if guest.generation != generation {
            return Err(Refusal::Generation);
        }
        let seat = self.seats.of_vm(vm).ok_or(Refusal::NotHere)?;
        if now >= deadline {
            return Err(Refusal::Untimely(Untimely::Expired));
        }
        Ok((guest.clone(), seat))
    }

    fn free_handle(&self, now: BootTime) -> Option<Handle> {
        let mut random = rand::rng();
        (0..HANDLE_TRIES)
            .filter_map(|_| Handle::new(random.random_range(1..0xff_ffff), random.random_range(1..0xffff)))
            .find(|handle| {
                let rests = self.resting.get(handle).is_some_and(|end| *end > now);
                !rests && !self.book.holds(*handle)
            })
    }
}

/// Whether two tokens are for the same thing at different times.
fn is_same(one: &Claims, other: &Claims) -> bool {
    let key = |claims: &Claims| {
        (
            claims.pair_id,
            claims.source_generation,
            claims.destination_generation,
            claims.destination_host,
        )
    };
    key(one) == key(other)
}

#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}
