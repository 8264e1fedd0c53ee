//! From other hosts towards a guest.

mod decapsulate;
mod verify;

use crate::skb::Skb;
use pairgate_abi::DropReason;
use pairgate_packet::{Verdict, Way};

#[inline(always)]
pub fn run(skb: &Skb, slot: &mut u32) -> Result<Verdict, DropReason> {
    let Some(outer) = verify::ours(skb) else {
        return Ok(Verdict::NotOurs);
    };
    verify::carriage(skb, &outer)?; // is it as our peers send it?
    let pair = verify::pair(skb, &outer, slot)?; // may this host say this to that guest, and still?
    decapsulate::pull(skb, pair)?;
    Ok(Verdict::Redirect(Way::Tap(pair.tap)))
}
