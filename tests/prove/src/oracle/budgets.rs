//! What each tap has left, as the programs' `budgets` keeps it.
use super::{AskedPacket, HeldPacket, Oracle};
use pairgate_abi::{Event, limits};
use pairgate_packet::{budget, pair};

impl Oracle {
    pub(super) fn may_tell(&mut self, slot: u32) -> bool {
        let now_ns = self.maps.now_ns;
        let Some(kept) = self.maps.budget(slot) else {
            return false;
        };
        let (rate, burst) = (limits::EVENTS_PER_SECOND, limits::EVENT_BURST);
        spend(&mut kept.event_ns, now_ns, rate, burst)
    }

    pub(super) fn may_answer(&mut self, slot: u32) -> bool {
        let now_ns = self.maps.now_ns;
        let Some(kept) = self.maps.budget(slot) else {
            return false;
        };
        let (rate, burst) = (limits::ANSWERS_PER_SECOND, limits::ANSWER_BURST);
        spend(&mut kept.answer_ns, now_ns, rate, burst)
    }

    pub(super) fn may_tell_size(&mut self, slot: u32) -> bool {
        let now_ns = self.maps.now_ns;
        let Some(kept) = self.maps.budget(slot) else {
            return false;
        };
        let (rate, burst) = (limits::TOO_BIG_PER_SECOND, limits::TOO_BIG_BURST);
        spend(&mut kept.too_big_ns, now_ns, rate, burst)
    }

    /// True if the agent has it; its ring always has room, too.
    pub(super) fn may_ask(&mut self, slot: u32, packet: AskedPacket) -> bool {
        let now_ns = self.maps.now_ns;
        let Some(kept) = self.maps.budget(slot) else {
            return false;
        };
        let (rate, burst) = (limits::QUESTIONS_PER_SECOND, limits::QUESTION_BURST);
        if !spend(&mut kept.question_ns, now_ns, rate, burst) {
            return false;
        }
        kept.asked += 1;
        self.asked.push(packet);
        true
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.told.push(Event { at_ns: 0, ..event });
    }

    /// True if the agent has it. The ring always has room: whoever runs this empties it in time.
    pub(super) fn take(&mut self, slot: u32, packet: HeldPacket) -> bool {
        let released = self.maps.released(slot);
        let Some(kept) = self.maps.budget(slot) else {
            return false;
        };
        if !pair::has_room(kept.held, released) {
            return false;
        }
        kept.held += 1;
        self.held.push(packet);
        true
    }
}

fn spend(kept: &mut u64, now_ns: u64, per_second: u64, burst: u64) -> bool {
    match budget::spend(*kept, now_ns, per_second, burst) {
        Some(spent) => {
            *kept = spent;
            true
        }
        None => false,
    }
}
