//! From a guest towards its peers.

mod answer;
mod ask;
mod configure;
mod encapsulate;
mod hear;
mod lookup;
mod next_door;
mod too_big;

pub use ask::Homeless;
pub use configure::ForConfiguration;

use crate::skb::{self, Skb};
use hear::{Heard, Kind};
use pairgate_abi::DropReason;
use pairgate_packet::{Verdict, Way};

#[inline(always)]
pub fn run(skb: &Skb, slot: &mut u32) -> Result<Verdict, DropReason> {
    let tap = lookup::tap(skb)?; // which guest is this?
    *slot = tap.slot;
    let mut heard = Heard::NOTHING;
    hear::out(skb, tap, &mut heard)?; // may it say this?
    match heard.kind {
        Kind::Packet => {}
        Kind::Arp => return answer::arp(skb, tap).map(|()| back(skb)), // the tap itself answers
        Kind::Neighbour => return answer::neighbour(skb, tap).map(|()| back(skb)),
        Kind::Question => return configure::ask(skb, &heard, tap.slot), // the agent answers
    }
    let now = skb::now();
    let pair = match lookup::pair(skb, tap, &heard.packet, now) {
        Ok(pair) => pair, // whom is it paired with, for what, and still?
        Err(DropReason::TooBig) => return too_big::answer(skb, tap, &heard), // the guest can make it smaller
        Err(reason) => return ask::about(skb, &heard, tap.slot, reason, now),
    };
    if pair.local_tap != 0 {
        next_door::deliver(skb, &heard.packet, pair, now)?;
        return Ok(Verdict::Redirect(Way::Tap(pair.local_tap)));
    }
    let next = lookup::next_hop(pair)?; // which way is that?
    encapsulate::push(skb, &heard.packet, pair)?;
    Ok(Verdict::Redirect(Way::Neighbour(next)))
}

/// To where the frame came from.
#[inline(always)]
fn back(skb: &Skb) -> Verdict {
    Verdict::Redirect(Way::Tap(skb.interface()))
}
