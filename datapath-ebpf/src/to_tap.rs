//! The guard before a guest: passes only what our own programs sent to this tap.
use crate::{maps, skb::Skb};
use pairgate_abi::DropReason;
use pairgate_packet::{Verdict, delivered};

#[inline(always)]
pub fn run(skb: &Skb, slot: &mut u32) -> Result<Verdict, DropReason> {
    *slot = maps::tap(skb.interface()).map_or(0, |tap| tap.slot);
    delivered::check(skb.mark(), maps::settings().mark)
}
