//! From a guest towards its peers.

mod answer;
mod encapsulate;
mod lookup;

use crate::skb::Skb;
use pairgate_abi::DropReason;
use pairgate_packet::{
    Verdict, Way,
    sender::{self, Said},
};

#[inline(always)]
pub fn run(skb: &Skb, slot: &mut u32) -> Result<Verdict, DropReason> {
    let tap = lookup::tap(skb)?; // which guest is this?
    *slot = tap.slot;
    skb.pull(sender::READ)?;
    let metadata = skb.metadata()?;
    match sender::check(skb, &metadata, tap)? {
        Said::Question(question) => answer::reply(skb, tap, &question), // the tap itself answers
        Said::Packet(packet) => {
            let pair = lookup::pair(skb, tap, &packet)?; // whom is it paired with, and still?
            let next = lookup::next_hop(pair)?; // which way is that?
            encapsulate::push(skb, &packet, pair)?;
            Ok(Verdict::Redirect(Way::Neighbour(next)))
        }
    }
}
