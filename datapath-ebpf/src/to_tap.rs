//! The guard before a guest: passes only what our own programs sent to this guest, and only while the tap is
//! some guest's.
use crate::{maps, skb::Skb};
use pairgate_abi::DropReason;
use pairgate_packet::{Verdict, delivered};

#[inline(always)]
pub fn run(skb: &Skb, slot: &mut u32) -> Result<Verdict, DropReason> {
    let tap = maps::tap(skb.interface()).ok_or(DropReason::NoState)?;
    *slot = tap.slot;
    delivered::check(skb, tap, skb.mark(), maps::settings().mark)
}
