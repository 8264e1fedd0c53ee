//! Sending on the first packets that were held for a pair, in the step that opens it: first what waits, then the
//! entry, then what came meanwhile. What the programs have not judged yet is judged here, by the same functions.

use super::{Keeper, Ledger, OpenError, TableError, Tables, Way};
use crate::{admit::LocalPair, carries::Opposite, clock::BootTime, present::CarriedPair};
use pairgate_abi::{DropReason, OutEntry, OutKey};
use pairgate_packet::{
    Packet,
    grant::{self, Admission, Note},
};

impl Keeper {
    pub(super) fn carry(&mut self, pair: &CarriedPair, way: Way) -> Result<(), OpenError> {
        let now = BootTime::now();
        let (key, entry) = self.ledger.foresee(pair, way, now)?;
        // Before: what the held packets open is to stay.
        self.ledger.supersede(key, entry.pair_id, now)?;
        self.deliver(key, &entry);
        self.ledger.carry(pair, way, now)?;
        self.deliver_open(key);
        Ok(())
    }

    /// The way back first: then the answer to the first packet finds it open.
    pub(super) fn join(&mut self, there: &LocalPair, back: Option<&LocalPair>) -> Result<(), OpenError> {
        if let Some(back) = back
            && let Err(error) = self.join_one(back, Opposite::of(Some(there.claims())))
        {
            tracing::warn!(%error, "the way back was not opened");
        }
        self.join_one(there, Opposite::of(back.map(LocalPair::claims)))
    }

    fn join_one(&mut self, pair: &LocalPair, opposite: Opposite) -> Result<(), OpenError> {
        let now = BootTime::now();
        let (key, entry) = self.ledger.foresee_local(pair, opposite, now)?;
        self.ledger.supersede(key, entry.pair_id, now)?;
        self.deliver(key, &entry);
        self.ledger.join(pair, opposite, now)?;
        self.deliver_open(key);
        Ok(())
    }

    /// Sends what is held for a pair that is open. For one that is not it goes on waiting.
    pub(super) fn deliver_open(&mut self, key: OutKey) {
        if let Some(entry) = self.ledger.book().out(&key).map(|open| open.entry) {
            self.deliver(key, &entry);
        }
    }

    fn deliver(&mut self, key: OutKey, entry: &OutEntry) {
        for frame in self.hold.take(&key) {
            let judged = self
                .ledger
                .may_send(frame.slot, entry, &frame.packet, BootTime::now());
            let judged = judged.unwrap_or_else(|error| {
                tracing::error!(%error, "a held packet could not be judged");
                Err(DropReason::Internal)
            });
            let done = judged.and_then(|()| self.sender.send(entry, &frame));
            self.hold.end(frame, done);
        }
    }
}

impl<T: Tables> Ledger<T> {
    /// Judges a held packet as the programs on its way would: ours, and between two guests of ours that of the
    /// receiver. Notes the conversation that it opens.
    pub(super) fn may_send(
        &mut self,
        slot: u32,
        entry: &OutEntry,
        packet: &Packet,
        now: BootTime,
    ) -> Result<Result<(), DropReason>, TableError> {
        if now >= self.lease() {
            return Ok(Err(DropReason::Lease));
        }
        if now.nanos() >= entry.deadline_ns {
            return Ok(Err(DropReason::Expired));
        }
        if packet.largest > u32::from(entry.mtu) {
            return Ok(Err(DropReason::TooBig));
        }
        let note = match grant::sends(&entry.carries, packet) {
            Ok(note) => note,
            Err(reason) => return Ok(Err(reason)),
        };
        if entry.local_tap != 0 {
            match grant::receives(&entry.carries, packet) {
                Ok(Admission::Granted) => {}
                Ok(Admission::IfAnswer) => {
                    let question = grant::answered(packet);
                    let used = self.tables.flow_used(entry.local_slot, question)?;
                    let live = |used| grant::is_live(packet.protocol, used, now.nanos());
                    if !used.is_some_and(live) {
                        return Ok(Err(DropReason::Grant));
                    }
                    if !packet.is_error {
                        self.tables.note_flow(entry.local_slot, question, now)?;
                    }
                }
                Err(reason) => return Ok(Err(reason)),
            }
        }
        match note {
            Note::Opened => self.tables.note_flow(slot, grant::opened(packet), now)?,
            Note::Nothing => {}
        }
        Ok(Ok(()))
    }
}
