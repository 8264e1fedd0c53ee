//! What each tap has left: to wake the agent, to ask questions, to have first packets held.
use crate::{
    from_tap::{ForConfiguration, Homeless},
    maps, memory,
    skb::{self, Skb},
};
use core::mem::offset_of;
use pairgate_abi::{Budget, Event, limits};
use pairgate_packet::{budget, pair};

/// Spends one event.
#[inline(always)]
pub fn may_tell(slot: u32, now: u64) -> bool {
    let (rate, burst) = (limits::EVENTS_PER_SECOND, limits::EVENT_BURST);
    spend(slot, offset_of!(Budget, event_ns), now, rate, burst)
}

/// Whether [`may_tell`] would allow one more. Spends nothing.
#[inline(always)]
pub fn could_tell(slot: u32, now: u64) -> bool {
    let (rate, burst) = (limits::EVENTS_PER_SECOND, limits::EVENT_BURST);
    let Some(kept) = maps::budget(slot) else {
        return false;
    };
    let at = memory::field(kept, offset_of!(Budget, event_ns));
    budget::spend(memory::number(at), now, rate, burst).is_some()
}

/// Tells the agent of an event that the budget has paid.
#[inline(always)]
pub fn tell(slot: u32, event: Event) {
    if !maps::raise(event) {
        count(slot, offset_of!(Budget, lost));
    }
}

/// Spends one neighbour answer.
#[inline(always)]
pub fn may_answer(slot: u32) -> bool {
    let (rate, burst) = (limits::ANSWERS_PER_SECOND, limits::ANSWER_BURST);
    spend(slot, offset_of!(Budget, answer_ns), skb::now(), rate, burst)
}

/// Spends one answer to a packet that is too big.
#[inline(always)]
pub fn may_tell_size(slot: u32) -> bool {
    let (rate, burst) = (limits::TOO_BIG_PER_SECOND, limits::TOO_BIG_BURST);
    spend(slot, offset_of!(Budget, too_big_ns), skb::now(), rate, burst)
}

/// Hands a question for its configuration to the agent, if the guest may ask one more; true if it was taken.
#[inline(always)]
pub fn ask(skb: &Skb, question: &ForConfiguration) -> bool {
    let (slot, rate, burst) = (
        question.slot,
        limits::QUESTIONS_PER_SECOND,
        limits::QUESTION_BURST,
    );
    if !spend(slot, offset_of!(Budget, question_ns), question.at_ns, rate, burst) {
        return false;
    }
    let taken = maps::ask(skb, question);
    count(
        slot,
        if taken {
            offset_of!(Budget, asked)
        } else {
            offset_of!(Budget, lost)
        },
    );
    taken
}

/// A tap without a budget may do nothing.
#[inline(always)]
fn spend(slot: u32, at: usize, now: u64, per_second: u64, burst: u64) -> bool {
    let Some(kept) = maps::budget(slot) else {
        return false;
    };
    let at = memory::field(kept, at);
    match budget::spend(memory::number(at), now, per_second, burst) {
        Some(spent) => {
            memory::set_number(at, spent);
            true
        }
        None => false,
    }
}

/// Hands a packet to the agent, if the tap may have one more held; true if it was taken.
#[inline(always)]
pub fn take(slot: u32, skb: &Skb, packet: &Homeless) -> bool {
    let Some(kept) = maps::budget(slot) else {
        return false;
    };
    let held = memory::number(memory::field(kept, offset_of!(Budget, held)));
    if !pair::has_room(held, maps::released(slot)) {
        return false;
    }
    let taken = maps::hold(skb, packet);
    count(
        slot,
        if taken {
            offset_of!(Budget, held)
        } else {
            offset_of!(Budget, lost)
        },
    );
    taken
}

#[inline(always)]
fn count(slot: u32, at: usize) {
    if let Some(kept) = maps::budget(slot) {
        memory::count_one(memory::field(kept, at));
    }
}
