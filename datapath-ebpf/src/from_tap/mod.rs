//! From a guest towards its peers.

mod answer;
mod ask;
mod encapsulate;
mod lookup;
mod next_door;

pub use ask::Homeless;

use crate::skb::{self, Skb};
use pairgate_abi::{DropReason, TapEntry};
use pairgate_packet::{
    Metadata, Verdict, Way,
    sender::{self, Said},
};

#[inline(always)]
pub fn run(skb: &Skb, slot: &mut u32) -> Result<Verdict, DropReason> {
    let tap = lookup::tap(skb)?; // which guest is this?
    *slot = tap.slot;
    let (said, metadata) = hear(skb, tap)?; // may it say this?
    let packet = match said {
        Said::Packet(packet) => packet,
        Said::Arp => return answer::arp(skb, tap).map(|()| back(skb)), // the tap itself answers
        Said::Neighbour => return answer::neighbour(skb, tap).map(|()| back(skb)),
    };
    let now = skb::now();
    let pair = match lookup::pair(skb, tap, &packet, now) {
        Ok(pair) => pair, // whom is it paired with, for what, and still?
        Err(reason) => return ask::about(skb, &packet, &metadata, tap.slot, reason, now),
    };
    if pair.local_tap != 0 {
        return next_door::deliver(skb, &packet, pair, now);
    }
    let next = lookup::next_hop(pair)?; // which way is that?
    encapsulate::push(skb, &packet, pair)?;
    Ok(Verdict::Redirect(Way::Neighbour(next)))
}

/// What the guest said. Like the other steps that need much room, a program of its own within the program: their
/// stacks would not fit into one.
#[inline(never)]
fn hear(skb: &Skb, tap: &TapEntry) -> Result<(Said, Metadata), DropReason> {
    skb.pull(sender::READ)?;
    let metadata = skb.metadata()?;
    Ok((sender::check(skb, &metadata, tap)?, metadata))
}

/// To where the frame came from.
#[inline(always)]
fn back(skb: &Skb) -> Verdict {
    Verdict::Redirect(Way::Tap(skb.interface()))
}
