//! What the maps and the decisions say about a frame on the uplink.
use crate::{
    maps,
    skb::{self, Skb},
};
use pairgate_abi::{DropReason, InEntry, limits};
use pairgate_packet::{
    budget,
    outer::{self, Outer},
    receiver,
};

/// The outer header, if the frame is ours. A frame that cannot be read is the host's to judge.
#[inline(always)]
pub fn ours(skb: &Skb) -> Option<Outer> {
    if skb.is_tagged() || !skb.is_to_host() || skb.pull(outer::READ).is_err() {
        return None;
    }
    outer::ours(skb, maps::settings())
}

/// Everything that needs no map.
#[inline(always)]
pub fn carriage(skb: &Skb, outer: &Outer) -> Result<(), DropReason> {
    skb.pull(receiver::READ)?;
    receiver::check_carriage(skb, &skb.metadata()?, outer)
}

/// The pair that the frame belongs to. Once the handle is known, faults count for its guest.
#[inline(always)]
pub fn pair(skb: &Skb, outer: &Outer, slot: &mut u32) -> Result<&'static InEntry, DropReason> {
    let (used, now) = (maps::pair_in(&outer.handle), skb::now());
    let entry = used.as_ref().map(|used| used.entry);
    *slot = entry.map_or(0, |entry| entry.slot);
    let found = receiver::check(skb, outer, entry, maps::lease(), now);
    if let (Ok(_), Some(used)) = (found, &used) {
        used.note(now);
    }
    if let Err(reason) = found
        && let Some(event) = receiver::event(reason, outer, now)
    {
        // Slot 0 is the uplink's: whoever floods it with made-up handles takes no event from a guest.
        skb::change(maps::budget(0), |kept| {
            let (rate, burst) = (limits::EVENTS_PER_SECOND, limits::EVENT_BURST);
            if let Some(spent) = budget::spend(kept.event_ns, now, rate, burst) {
                kept.event_ns = spent;
                maps::raise(event);
            }
        });
    }
    found
}
