//! Looking at entries when their time comes: pairs in use are renewed, unused ones removed.

use super::{
    Errand, Ledger, TableError, Tables,
    agenda::Subject,
    book::Outgoing,
    life::{Life, Verdict},
};
use crate::clock::BootTime;
use pairgate_abi::{Handle, OutKey};
use pairgate_token::address_bytes;
use std::net::IpAddr;

impl<T: Tables> Ledger<T> {
    /// Looks at every entry whose time has come. Returns the pairs that want a new token; until it is there
    /// they go on as they are, and come again after a pause if it does not come.
    pub fn look(&mut self, now: BootTime) -> Result<Vec<OutKey>, TableError> {
        let (mut renew, mut unused_in, mut unused_out) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((at, subject)) = self.agenda.due(now) {
            match subject {
                Subject::In(handle) => {
                    if self.look_in(handle, at, now)? == Verdict::Remove {
                        unused_in.extend(self.book.entry_in(handle).map(|entry| (handle, entry)));
                    }
                }
                Subject::Out(key) => match self.look_out(key, at, now)? {
                    Verdict::Keep => {}
                    Verdict::Renew => renew.push(key),
                    Verdict::Remove => unused_out.push(key),
                },
            }
        }
        for (handle, entry) in unused_in {
            self.rest_in(handle, &entry, now)?;
        }
        for key in unused_out {
            self.rest_out(key)?;
        }
        self.settle()?;
        self.forget_ended()?;
        Ok(renew)
    }

    /// What to do about a peer that may have forgotten pairs that we send on: all of them, or the one with
    /// this handle. Where the token is not known, a new one is asked for.
    pub fn again(&self, peer: IpAddr, handle: Option<Handle>, now: BootTime) -> Vec<Errand> {
        let peer = address_bytes(peer);
        let forgotten = self.book.outgoing().filter(|(_, outgoing)| {
            outgoing.entry.dst_host == peer
                && outgoing.entry.local_tap == 0
                && outgoing.entry.deadline_ns > now.nanos()
                && handle.is_none_or(|handle| handle == outgoing.entry.handle)
        });
        let errand = |(key, outgoing): (OutKey, &Outgoing)| match &outgoing.token {
            Some(token) => Errand::Offer(key, Box::new(token.clone())),
            None => Errand::Renew(key),
        };
        forgotten.map(errand).collect()
    }

    fn look_in(&mut self, handle: Handle, at: BootTime, now: BootTime) -> Result<Verdict, TableError> {
        let Some(mut life) = self.book.life_in(handle).filter(|life| life.look_at == at) else {
            return Ok(Verdict::Keep);
        };
        let Some(mark_ns) = self.tables.used_in(handle)? else {
            // Somebody else has removed it; a token shown again opens it again.
            self.book.strike_in(handle);
            return Ok(Verdict::Keep);
        };
        let verdict = life.look_in(mark_ns, self.idle, now);
        self.book.note_life_in(handle, life);
        self.note_look(&life, Subject::In(handle), now);
        Ok(verdict)
    }

    fn look_out(&mut self, key: OutKey, at: BootTime, now: BootTime) -> Result<Verdict, TableError> {
        let Some(mut life) = self.book.life_out(&key).filter(|life| life.look_at == at) else {
            return Ok(Verdict::Keep);
        };
        let Some(mark_ns) = self.tables.used_out(key)? else {
            self.book.strike_out(&key);
            return Ok(Verdict::Keep);
        };
        let verdict = life.look_out(mark_ns, self.idle, now);
        self.book.note_life_out(&key, life);
        self.note_look(&life, Subject::Out(key), now);
        Ok(verdict)
    }

    /// An entry that wants no further look is left to the sweep.
    fn note_look(&mut self, life: &Life, subject: Subject, now: BootTime) {
        if life.look_at > now {
            self.agenda.note(life.look_at, subject);
        }
    }
}
