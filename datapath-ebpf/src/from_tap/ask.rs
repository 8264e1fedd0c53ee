//! A packet that no pair carries yet, or no more: whether anybody is asked, and what becomes of it meanwhile.
//!
//! The agent is told as often as the tap's budget allows. It gets the packet itself, to hold until the answer is
//! there, if that is small and the tap has room; a copy is in the ring then, and the frame ends here without being
//! counted as dropped.
use super::hear::Heard;
use crate::{budgets, maps, skb::Skb};
use pairgate_abi::{DropReason, OutKey};
use pairgate_packet::{Verdict, pair};

/// A packet that no pair carries.
pub struct Homeless {
    /// `EVENT_MISS` or `EVENT_EXPIRED`.
    pub kind: u32,
    /// Counter slot of the tap.
    pub slot: u32,
    /// The pair that is missing.
    pub key: OutKey,
    /// Bytes of the frame that are the packet's.
    pub length: u32,
    /// It is to be cut into segments.
    pub is_gso: bool,
    /// Where the sum that is still to be computed begins; 0 if none is.
    pub checksum_start: u16,
    /// Where it goes, from there.
    pub checksum_offset: u16,
    /// Now.
    pub at_ns: u64,
}

#[inline(always)]
pub fn about(
    skb: &Skb,
    heard: &Heard,
    slot: u32,
    reason: DropReason,
    now: u64,
) -> Result<Verdict, DropReason> {
    let Some(kind) = pair::event_kind(reason) else {
        return Err(reason); // the registry could not help
    };
    let homeless = Homeless {
        kind,
        slot,
        key: pair::key(skb.interface(), &heard.packet),
        length: heard.packet.frame_length(),
        is_gso: heard.is_gso,
        checksum_start: heard.checksum_start,
        checksum_offset: heard.checksum_offset,
        at_ns: now,
    };
    match keep(skb, &homeless) {
        Ok(()) => Ok(Verdict::Held),
        Err(DropReason::NoPair) => Err(reason),
        Err(finer) => Err(finer),
    }
}

/// Done if the agent has the packet.
#[inline(never)]
fn keep(skb: &Skb, homeless: &Homeless) -> Result<(), DropReason> {
    let (key, slot, now) = (&homeless.key, homeless.slot, homeless.at_ns);
    if pair::is_refused(maps::refused_until(key), now) {
        return Err(DropReason::Denied);
    }
    if !budgets::may_tell(slot, now) {
        return Err(DropReason::NoPair);
    }
    let can_be_held = pair::can_be_held(homeless.length, homeless.is_gso);
    if can_be_held && budgets::take(slot, skb, homeless) {
        return Ok(());
    }
    budgets::tell(slot, pair::event(homeless.kind, key, now));
    Err(if can_be_held {
        DropReason::HoldFull
    } else {
        DropReason::NoPair
    })
}
