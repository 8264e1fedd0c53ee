//! From other hosts towards a guest.
use super::{Oracle, maps::touch, skb::Skb};
use pairgate_abi::{DropReason, InEntry, limits};
use pairgate_packet::{
    Metadata, Packet, Verdict, Way,
    ip::Family,
    outer::{self, Outer},
    receiver,
};

impl Oracle {
    pub(super) fn arrived(&mut self, skb: &mut Skb<'_>, slot: &mut u32) -> Result<Verdict, DropReason> {
        let underlay = Family::of(&self.maps.settings.host);
        if !skb.is_to_host {
            return Ok(Verdict::NotOurs);
        }
        let Some(outer) = outer::ours(skb, &self.maps.settings, underlay) else {
            return Ok(Verdict::NotOurs);
        };
        let (inner_at, metadata) = (outer::inner_at(underlay), skb.metadata());
        let (entry, packet) = self.arrival(skb, &metadata, &outer, inner_at, slot)?;
        if self.is_by_device(&metadata, &outer)? {
            return Ok(Verdict::ToDevice);
        }
        skb.unwrap(&receiver::delivery(entry.mac, packet.family), underlay);
        Ok(Verdict::Redirect(Way::Tap(entry.tap)))
    }

    fn arrival(
        &mut self,
        skb: &Skb<'_>,
        metadata: &Metadata,
        outer: &Outer,
        inner_at: usize,
        slot: &mut u32,
    ) -> Result<(InEntry, Packet), DropReason> {
        receiver::check_form(outer)?;
        let entry = self.maps.pairs_in.get(&outer.handle).copied();
        *slot = entry.map_or(0, |entry| entry.slot);
        let entry = match receiver::check_outer(outer, entry.as_ref()) {
            Ok(entry) => *entry,
            Err(reason) => {
                if let Some(event) = receiver::event(reason, outer, 0)
                    && self.may_tell(0)
                {
                    self.tell(event);
                }
                return Err(reason);
            }
        };
        let (lease_ns, now_ns) = (self.maps.lease_ns, self.maps.now_ns);
        let packet = receiver::check_inner(skb, metadata, inner_at, &entry, lease_ns, now_ns)?;
        self.receive(&entry.carries, &packet, entry.slot)?;
        self.maps.used_in.insert(outer.handle);
        Ok((entry, packet))
    }

    fn is_by_device(&mut self, metadata: &Metadata, outer: &Outer) -> Result<bool, DropReason> {
        if self.maps.settings.vxlan == 0 {
            return match metadata.gso {
                Some(_) => Err(DropReason::Offload),
                None => Ok(false),
            };
        }
        let now_ns = self.maps.now_ns;
        let last = self.maps.big(outer::big_cell(outer));
        if metadata.gso.is_some() {
            touch(last, now_ns, limits::BIG_NS / 16);
        }
        Ok(receiver::goes_big(metadata.gso.is_some(), *last, now_ns))
    }
}
