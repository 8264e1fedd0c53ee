//! Opening pairs: the only three writes that let packets through. Everything that can have changed since a
//! token was looked at is looked at again here, in the step of the write.

use super::{
    Ledger, Seat, TableError, Tables,
    agenda::Subject,
    book::{Origin, Outgoing},
    entries::{self, Terms},
    life::{Life, Start},
    limits::{
        HANDLE_TRIES, OLD_HANDLE_LIFE, PAIRS_PER_PEER, PAIRS_PER_TAP, PAIRS_RESERVE, RENEWALS_PER_PEER,
    },
};
use crate::{
    admit::{self, LocalPair, Refusal, VerifiedPair},
    carries::{Opposite, is_all},
    clock::BootTime,
    goal::Guest,
    present::CarriedPair,
    request::mint::MintedToken,
};
use pairgate_abi::{CARRIES_ALL, CARRIES_ALL_NOTED, Handle, NextHop, OutEntry, OutKey, limits::PAIRS};
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
        self.may_open(claims, pair.source_host(), now)?;
        let (guest, seat) = self.at_home(claims, End::Destination)?;
        let mtu = guest.mtu;
        is_good(pair.deadline(), now)?;
        if let Some((handle, _)) = self.book.of_token(pair.token_bytes()) {
            if self.tables.used_in(handle)?.is_some() {
                return Ok(Admitted { handle, mtu });
            }
            // Somebody else has removed it from the kernel: the offer says that it is missed.
            self.book.strike_in(handle);
        }
        let peer = address_bytes(claims.source_host);
        // Of the same two addresses: a pair has a handle for each two of its guests'.
        let mut older = self.book.of_pair(claims.pair_id);
        let between = (
            address_bytes(claims.source_address),
            address_bytes(claims.destination_address),
        );
        older.retain(|(_, entry)| (entry.src_addr, entry.dst_addr) == between);
        // A renewal has two handles for a while, and must not fail where the pair itself had room.
        let room = if older.is_empty() { 0 } else { RENEWALS_PER_PEER };
        if self.book.held_by(&peer) >= PAIRS_PER_PEER + room {
            return Err(Refusal::Quota.into());
        }
        if self.book.incoming_len() + PAIRS_RESERVE >= PAIRS as usize {
            return Err(Refusal::Full.into());
        }
        let handle = self.free_handle(now).ok_or(Refusal::Full)?;
        self.begin_notes(claims, seat.tap)?;
        let entry = self.tables.open_in(handle, pair, seat, mtu)?;
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
        let (seat, terms) = self.may_carry(pair, way, now)?;
        let claims = pair.claims();
        let Some(life) = self.succession(claims, seat.tap, pair.deadline(), now)? else {
            return Ok(());
        };
        self.supersede(entries::out_key(claims, seat.tap), claims.pair_id, now)?;
        let written = self.tables.open_out(pair, seat, way.hop, terms)?;
        self.ways.insert(written.1.dst_host, way.hop);
        self.note_opened(written, claims, pair.destination_host(), pair.minted(), life);
        Ok(())
    }

    /// What [`Self::carry`] would write now, for packets that are to go before everything that comes after it.
    pub fn foresee(
        &self,
        pair: &CarriedPair,
        way: Way,
        now: BootTime,
    ) -> Result<(OutKey, OutEntry), OpenError> {
        let (seat, terms) = self.may_carry(pair, way, now)?;
        Ok((
            entries::out_key(pair.claims(), seat.tap),
            entries::outgoing(pair, terms),
        ))
    }

    /// Opens a pair between two guests of this host, or moves it to a newer token, by the same rules.
    pub fn join(&mut self, pair: &LocalPair, opposite: Opposite, now: BootTime) -> Result<(), OpenError> {
        let (from, to, terms) = self.may_join(pair, opposite, now)?;
        let claims = pair.claims();
        let Some(life) = self.succession(claims, from.tap, pair.deadline(), now)? else {
            return Ok(());
        };
        self.supersede(entries::out_key(claims, from.tap), claims.pair_id, now)?;
        self.begin_notes(claims, to.tap)?;
        let written = self.tables.open_local(pair, from, to, terms)?;
        self.note_opened(written, claims, pair.host(), None, life);
        Ok(())
    }

    /// What [`Self::join`] would write now.
    pub fn foresee_local(
        &self,
        pair: &LocalPair,
        opposite: Opposite,
        now: BootTime,
    ) -> Result<(OutKey, OutEntry), OpenError> {
        let (from, to, terms) = self.may_join(pair, opposite, now)?;
        Ok((
            entries::out_key(pair.claims(), from.tap),
            entries::local(pair, to, terms),
        ))
    }

    /// Ends what stands in the place of this pair and is another one. A pair id is never used twice: another one between
    /// the same addresses is another grant, even while the goal state that says so is still on its way. When that
    /// arrives the old entry is no longer there to be ended, so what was said under it is forgotten here.
    pub(super) fn supersede(&mut self, key: OutKey, pair: u64, now: BootTime) -> Result<(), TableError> {
        let old = self.book.out(&key).map(|old| old.entry);
        match old.filter(|old| old.pair_id != pair) {
            Some(old) => self.remove(&[], &[(key, old)], now),
            None => Ok(()),
        }
    }

    /// Before a guest is answered on a pair that does not carry everything: its own way there, if it carries everything
    /// and was written when the answers did too, notes nothing. It is taken out, and the guest's next packet opens one
    /// that does.
    fn begin_notes(&mut self, answers: &Claims, tap: u32) -> Result<(), TableError> {
        let key = OutKey {
            tap,
            source: address_bytes(answers.destination_address),
            destination: address_bytes(answers.source_address),
        };
        let there = self.book.out(&key).map(|there| there.entry.carries.kind);
        if is_all(answers) || there != Some(CARRIES_ALL) {
            return Ok(());
        }
        self.take_out(key)?;
        self.settle()
    }

    fn may_carry(&self, pair: &CarriedPair, way: Way, now: BootTime) -> Result<(Seat, Terms), Refusal> {
        let claims = pair.claims();
        self.may_open(claims, pair.destination_host(), now)?;
        let (guest, seat) = self.at_home(claims, End::Source)?;
        is_good(pair.deadline(), now)?;
        let opposite = self.book.answers(
            seat.tap,
            address_bytes(claims.source_address),
            address_bytes(claims.destination_address),
        );
        let terms = Terms {
            mtu: guest.mtu.min(pair.mtu()).min(way.mtu),
            opposite,
        };
        Ok((seat, terms))
    }

    /// What is known of the opposite pair comes from its token, or from its entry.
    fn may_join(
        &self,
        pair: &LocalPair,
        opposite: Opposite,
        now: BootTime,
    ) -> Result<(Seat, Seat, Terms), Refusal> {
        let claims = pair.claims();
        self.may_open(claims, pair.host(), now)?;
        let (source, from) = self.at_home(claims, End::Source)?;
        let (destination, to) = self.at_home(claims, End::Destination)?;
        is_good(pair.deadline(), now)?;
        let back = self.book.out(&OutKey {
            tap: to.tap,
            source: address_bytes(claims.destination_address),
            destination: address_bytes(claims.source_address),
        });
        let carries_all =
            back.is_some_and(|back| matches!(back.entry.carries.kind, CARRIES_ALL | CARRIES_ALL_NOTED));
        let terms = Terms {
            mtu: source.mtu.min(destination.mtu),
            opposite: if carries_all {
                Opposite::CarriesAll
            } else {
                opposite
            },
        };
        Ok((from, to, terms))
    }

    /// The life of an entry that takes the place of what stands there; none if that ends later.
    fn succession(
        &self,
        claims: &Claims,
        tap: u32,
        deadline: BootTime,
        now: BootTime,
    ) -> Result<Option<Life>, Refusal> {
        let Some(old) = self.book.out(&entries::out_key(claims, tap)) else {
            self.has_room(tap)?;
            return Ok(Some(Life::new(Start::Fresh, now, deadline)));
        };
        let of_this_pair = old.origin.as_ref().filter(|old| is_same(&old.claims, claims));
        Ok(match of_this_pair.map(|old| old.claims.expires_unix_secs) {
            Some(old_expires) if old_expires > claims.expires_unix_secs => None,
            Some(old_expires) if old_expires == claims.expires_unix_secs => Some(old.life.moved(now)),
            _ => Some(Life::new(Start::After(old.life), now, deadline)),
        })
    }

    fn note_opened(
        &mut self,
        (key, entry): (OutKey, OutEntry),
        claims: &Claims,
        host: Uuid,
        token: Option<&MintedToken>,
        life: Life,
    ) {
        let origin = Origin {
            host,
            claims: claims.clone(),
        };
        let opened = Outgoing {
            entry,
            origin: Some(origin),
            token: token.cloned(),
            life,
        };
        self.book.note_out(key, opened);
        self.agenda.note(life.look_at, Subject::Out(key));
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

    /// Nothing that binds the whole host, and nothing dead, speaks against the pair now.
    fn may_open(&self, claims: &Claims, peer: Uuid, now: BootTime) -> Result<(), Refusal> {
        let goal = self.goal_in_force().ok_or(Refusal::NotReady)?;
        if now >= self.lease() {
            return Err(Refusal::Lease);
        }
        if goal.tombstones.hosts.contains(&peer) {
            return Err(Refusal::DeadHost);
        }
        admit::alive(claims, &goal.tombstones)
    }

    /// The guest at one end of the pair and its seat, if it is ours and what the token says it is.
    fn at_home(&self, claims: &Claims, end: End) -> Result<(&Guest, Seat), Refusal> {
        let goal = self.goal_in_force().ok_or(Refusal::NotReady)?;
        let (vm, generation, address) = match end {
            End::Source => (claims.source_vm, claims.source_generation, claims.source_address),
            End::Destination => (
                claims.destination_vm,
                claims.destination_generation,
                claims.destination_address,
            ),
        };
        let guest = goal.guests.get(&vm).ok_or(Refusal::NotHere)?;
        if guest.generation != generation {
            return Err(Refusal::Generation);
        }
        if !guest.owns(address) {
            return Err(Refusal::NotHere);
        }
        let seat = self.seats.of_vm(vm).ok_or(Refusal::NotHere)?;
        Ok((guest, seat))
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

fn is_good(deadline: BootTime, now: BootTime) -> Result<(), Refusal> {
    if now >= deadline {
        return Err(Refusal::Untimely(Untimely::Expired));
    }
    Ok(())
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
