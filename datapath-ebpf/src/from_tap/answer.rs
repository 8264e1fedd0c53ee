//! Answers a guest's address question by turning its own frame round.
use crate::{
    budgets,
    skb::{Aligned, Skb},
};
use pairgate_abi::{DropReason, TapEntry};
use pairgate_packet::{arp, nd};

/// Over its budget the question dies like everything that nobody listens to: as `multicast`.
#[inline(never)]
pub fn arp(skb: &Skb, tap: &TapEntry) -> Result<(), DropReason> {
    let question = arp::Question::of(skb, tap)?;
    if !budgets::may_answer(tap.slot) {
        return Err(DropReason::Multicast);
    }
    let mut reply = Aligned([0; arp::FRAME]);
    question.reply(tap, &mut reply.0);
    skb.resize(arp::FRAME as u32)?;
    skb.store(0, &reply.0, 0)
}

/// Over its budget the question dies as every other one that is not answered: as `spoofed_nd`.
#[inline(never)]
pub fn neighbour(skb: &Skb, tap: &TapEntry) -> Result<(), DropReason> {
    let question = nd::Question::of(skb, tap)?;
    if !budgets::may_answer(tap.slot) {
        return Err(DropReason::SpoofedNd);
    }
    let mut reply = Aligned([0; nd::FRAME]);
    question.reply(tap, &mut reply.0);
    skb.resize(nd::FRAME as u32)?;
    skb.store(0, &reply.0, 0)
}
