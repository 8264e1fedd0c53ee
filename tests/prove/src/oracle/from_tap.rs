//! From a guest towards its peers.
use super::{AskedPacket, HeldPacket, Oracle, skb::Skb};
use pairgate_abi::{DropReason, OutEntry, TapEntry};
use pairgate_packet::{
    Packet, Verdict, Way, arp, ethernet,
    ip::Family,
    nd, outer, pair, receiver,
    sender::{self, Said},
    too_big,
};

impl Oracle {
    pub(super) fn sent(&mut self, skb: &mut Skb<'_>, slot: &mut u32) -> Result<Verdict, DropReason> {
        let tap = *self.maps.taps.get(&skb.interface).ok_or(DropReason::NoState)?;
        *slot = tap.slot;
        let packet = match sender::check(skb, &skb.metadata(), &tap)? {
            Said::Packet(packet) => packet,
            Said::Arp => return self.answer_arp(skb, &tap),
            Said::Neighbour => return self.answer_neighbour(skb, &tap),
            Said::Question(length) => return self.configure(skb, tap.slot, length),
        };
        let entry = match self.pair(skb, &tap, &packet) {
            Ok(entry) => entry,
            Err(DropReason::TooBig) => return self.answer_size(skb, &tap, &packet),
            Err(reason) => return self.ask(skb, &packet, tap.slot, reason),
        };
        if entry.local_tap != 0 {
            self.receive(&entry.carries, &packet, entry.local_slot)?;
            skb.resize(packet.frame_length());
            skb.store(0, &receiver::delivery(entry.local_mac, packet.family));
            return Ok(Verdict::Redirect(Way::Tap(entry.local_tap)));
        }
        let next = self.maps.next_hops.get(&entry.dst_host);
        let next = *next.ok_or(DropReason::NextHop)?;
        self.encapsulate(skb, &packet, &entry)?;
        Ok(Verdict::Redirect(Way::Neighbour(next)))
    }

    fn answer_arp(&mut self, skb: &mut Skb<'_>, tap: &TapEntry) -> Result<Verdict, DropReason> {
        let question = arp::Question::of(skb, tap)?;
        if !self.may_answer(tap.slot) {
            return Err(DropReason::Multicast);
        }
        let mut reply = [0; arp::FRAME];
        question.reply(tap, &mut reply);
        Ok(back(skb, &reply))
    }

    fn answer_neighbour(&mut self, skb: &mut Skb<'_>, tap: &TapEntry) -> Result<Verdict, DropReason> {
        let question = nd::Question::of(skb, tap)?;
        if !self.may_answer(tap.slot) {
            return Err(DropReason::SpoofedNd);
        }
        let mut reply = [0; nd::FRAME];
        question.reply(tap, &mut reply);
        Ok(back(skb, &reply))
    }

    fn answer_size(
        &mut self,
        skb: &mut Skb<'_>,
        tap: &TapEntry,
        packet: &Packet,
    ) -> Result<Verdict, DropReason> {
        let dies = DropReason::TooBig;
        let entry = self.maps.pairs_out.get(&pair::key(skb.interface, packet));
        let mtu = entry.map(|entry| entry.mtu).ok_or(dies)?;
        let quoted = too_big::quoted(packet, mtu).ok_or(dies)?;
        if !self.may_tell_size(tap.slot) {
            return Err(dies);
        }
        skb.resize(ethernet::LENGTH as u32 + quoted);
        let checksum = skb.metadata().checksum;
        match packet.family {
            Family::V4 => skb.precede(&too_big::headers_v4(skb, checksum, tap.mac, packet, mtu)),
            Family::V6 => skb.precede(&too_big::headers_v6(skb, checksum, tap.mac, packet, mtu)),
        }
        Ok(Verdict::Told(dies))
    }

    fn configure(&mut self, skb: &Skb<'_>, slot: u32, length: u32) -> Result<Verdict, DropReason> {
        let length = ethernet::LENGTH + length as usize;
        let asked = AskedPacket {
            tap: skb.interface,
            slot,
            frame: skb.frame.iter().take(length).copied().collect(),
        };
        if self.may_ask(slot, asked) {
            Ok(Verdict::Held)
        } else {
            Err(DropReason::Multicast)
        }
    }

    fn pair(&mut self, skb: &Skb<'_>, tap: &TapEntry, packet: &Packet) -> Result<OutEntry, DropReason> {
        let key = pair::key(skb.interface, packet);
        let entry = self.maps.pairs_out.get(&key);
        let entry = *pair::check(tap, packet, entry, self.maps.lease_ns, self.maps.now_ns)?;
        self.send(&entry.carries, packet, tap.slot)?;
        self.maps.used_out.insert(key);
        Ok(entry)
    }

    fn ask(
        &mut self,
        skb: &Skb<'_>,
        packet: &Packet,
        slot: u32,
        reason: DropReason,
    ) -> Result<Verdict, DropReason> {
        let Some(kind) = pair::event_kind(reason) else {
            return Err(reason);
        };
        let key = pair::key(skb.interface, packet);
        if pair::is_refused(self.maps.refused.get(&key).copied(), self.maps.now_ns) {
            return Err(DropReason::Denied);
        }
        if !self.may_tell(slot) {
            return Err(reason);
        }
        let length = packet.frame_length();
        let can_be_held = pair::can_be_held(length, skb.metadata().gso.is_some());
        let held = HeldPacket {
            kind,
            tap: key.tap,
            slot,
            source: key.source,
            destination: key.destination,
            frame: skb.frame.iter().take(length as usize).copied().collect(),
        };
        if can_be_held && self.take(slot, held) {
            return Ok(Verdict::Held);
        }
        self.tell(pair::event(kind, &key, 0));
        Err(if can_be_held { DropReason::HoldFull } else { reason })
    }

    fn encapsulate(&self, skb: &mut Skb<'_>, packet: &Packet, entry: &OutEntry) -> Result<(), DropReason> {
        match Family::of(&self.maps.settings.host) {
            Family::V4 => {
                let mut header = [0; outer::LENGTH_V4];
                outer::header_v4(packet, entry, &mut header)?;
                skb.resize(packet.frame_length());
                skb.wrap(&header);
            }
            Family::V6 => {
                let mut header = [0; outer::LENGTH_V6];
                outer::header_v6(packet, entry, &mut header)?;
                skb.resize(packet.frame_length());
                skb.wrap(&header);
            }
        }
        Ok(())
    }
}

fn back(skb: &mut Skb<'_>, reply: &[u8]) -> Verdict {
    skb.frame.clear();
    skb.frame.extend_from_slice(reply);
    Verdict::Redirect(Way::Tap(skb.interface))
}
