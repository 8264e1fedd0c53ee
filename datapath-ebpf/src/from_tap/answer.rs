//! Answers a guest's address question by turning its own frame round.
use crate::{
    maps,
    skb::{self, Skb},
};
use pairgate_abi::{DropReason, TapEntry, limits};
use pairgate_packet::{
    Verdict, Way,
    arp::{self, Question},
    budget,
};

/// Over its budget the question dies like everything that nobody listens to: as `multicast`.
#[inline(always)]
pub fn reply(skb: &Skb, tap: &TapEntry, question: &Question) -> Result<Verdict, DropReason> {
    let mut allowed = false;
    skb::change(maps::budget(tap.slot), |kept| {
        let (rate, burst) = (limits::ANSWERS_PER_SECOND, limits::ANSWER_BURST);
        if let Some(spent) = budget::spend(kept.answer_ns, skb::now(), rate, burst) {
            kept.answer_ns = spent;
            allowed = true;
        }
    });
    if !allowed {
        return Err(DropReason::Multicast);
    }
    let reply = question.reply(tap);
    skb.trim(arp::FRAME as u32)?;
    skb.store(0, &reply, 0)?;
    Ok(Verdict::Redirect(Way::Tap(skb.interface())))
}
