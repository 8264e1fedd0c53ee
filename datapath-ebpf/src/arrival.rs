//! What the maps and the decisions say about a frame from another host, by whichever way it came.
use crate::{budgets, flows, maps, skb::Skb};
use pairgate_abi::{DropReason, InEntry};
use pairgate_packet::{Metadata, Packet, outer::Outer, receiver};

/// The pair that the frame belongs to, and its inner packet, which stands at `inner_at` under an Ethernet header.
/// Once the handle is known, faults count for its guest.
#[inline(always)]
pub fn pair(
    skb: &Skb,
    metadata: &Metadata,
    outer: &Outer,
    inner_at: usize,
    now: u64,
    slot: &mut u32,
) -> Result<(&'static InEntry, Packet), DropReason> {
    receiver::check_form(outer)?;
    let used = maps::pair_in(&outer.handle);
    let entry = used.as_ref().map(|used| used.entry);
    *slot = entry.map_or(0, |entry| entry.slot);
    let entry = match receiver::check_outer(outer, entry) {
        Ok(entry) => entry,
        Err(reason) => {
            tell(reason, outer, now);
            return Err(reason);
        }
    };
    let packet = receiver::check_inner(skb, metadata, inner_at, entry, maps::lease(), now)?;
    flows::receive(&entry.carries, &packet, entry.slot, now)?;
    if let Some(used) = &used {
        used.note(now);
    }
    Ok((entry, packet))
}

/// Tells the agent of a handle that nobody here has given, or has no more. Slot 0 is the uplink's: whoever floods it
/// with made-up handles takes no event from a guest.
#[inline(always)]
fn tell(reason: DropReason, outer: &Outer, now: u64) {
    if let Some(event) = receiver::event(reason, outer, now)
        && budgets::may_tell(0, now)
    {
        budgets::tell(0, event);
    }
}
