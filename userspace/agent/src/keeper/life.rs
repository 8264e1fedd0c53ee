//! How long an entry is wanted: when to ask for its next token, and when nobody needs it any more. Pure.
//!
//! The kernel marks an entry with the instant of its last packet. A pair is *in use* if that mark has moved
//! since the entry was written. A pair in use is renewed from a random instant between 40 and 60 % of its
//! token's life on, so that neither a fleet nor both ends of a pair ask all at once, and so that two fifths
//! of the life remain for failures. Nothing here lengthens or shortens a deadline.

use super::limits::{LONGEST_PAUSE, RECEIVER_GRACE, RELOOK};
use crate::clock::BootTime;
use rand::Rng;
use std::time::Duration;

/// What the keeper remembers of one entry beside the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The kernel's mark when the entry was written.
    mark_ns: u64,
    /// The last use that is known, also under an older token.
    used: BootTime,
    /// The first instant at which a new token is asked for.
    renew_at: BootTime,
    end: BootTime,
    /// From the writing of the entry to its end.
    length: Duration,
    /// Renewals begun and not followed by a new token.
    tries: u32,
    /// When to look at the entry; anything else on the agenda is old.
    pub look_at: BootTime,
}

/// What a look leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    Renew,
    Remove,
}

/// How an entry has come.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// Opened for a packet that waits for it, now.
    Fresh,
    /// In the place of another entry of the pair.
    After(Life),
    /// Found in the kernel, with this mark.
    Found(u64),
}

impl Life {
    pub fn new(start: Start, now: BootTime, end: BootTime) -> Self {
        let length = now.until(end);
        let (mark_ns, used) = match start {
            Start::Fresh | Start::Found(0) => (0, now),
            Start::After(old) => (0, old.used),
            Start::Found(mark) => (mark, BootTime::from_nanos(mark).min(now)),
        };
        Self {
            mark_ns,
            used,
            renew_at: now.after(length.mul_f64(rand::rng().random_range(0.4..0.6))),
            end,
            length,
            tries: 0,
            look_at: now,
        }
    }

    /// The same token under a new handle: what was due stays due.
    pub fn moved(self, now: BootTime) -> Self {
        Self {
            mark_ns: 0,
            look_at: now,
            ..self
        }
    }

    fn learn(&mut self, mark_ns: u64) -> bool {
        let in_use = mark_ns != self.mark_ns;
        if in_use {
            self.used = self.used.max(BootTime::from_nanos(mark_ns));
        }
        in_use
    }

    /// A look at a pair that we send on. After its end there is nothing more to look for.
    pub fn look_out(&mut self, mark_ns: u64, idle: Duration, now: BootTime) -> Verdict {
        let in_use = self.learn(mark_ns);
        let unused_at = self.used.after(idle);
        if now >= self.end {
            return Verdict::Keep;
        }
        if now >= unused_at {
            return Verdict::Remove;
        }
        if now < self.renew_at {
            self.look_at = self.renew_at.min(unused_at);
            return Verdict::Keep;
        }
        if !in_use {
            self.look_at = now.after(self.step()).min(unused_at);
            return Verdict::Keep;
        }
        self.look_at = now.after(self.pause());
        self.tries = self.tries.saturating_add(1);
        Verdict::Renew
    }

    /// A look at a pair that we receive on. The sender ends it first: what it may still send must arrive.
    pub fn look_in(&mut self, mark_ns: u64, idle: Duration, now: BootTime) -> Verdict {
        self.learn(mark_ns);
        let unused_at = self.used.after(idle + idle / 8 + RECEIVER_GRACE);
        if now < self.end && now >= unused_at {
            return Verdict::Remove;
        }
        self.look_at = unused_at;
        Verdict::Keep
    }

    /// Between two looks at a pair whose renewal waits for a packet.
    fn step(&self) -> Duration {
        let (shortest, longest) = RELOOK;
        (self.length / 16).clamp(shortest, longest)
    }

    /// Before the next try of a renewal that may have failed: longer each time, and never so long that the
    /// rest of the life has room for no other.
    fn pause(&self) -> Duration {
        let grown = self.step().saturating_mul(1 << self.tries.min(10));
        let longest = (self.length / 8).clamp(self.step(), LONGEST_PAUSE);
        grown.min(longest).mul_f64(rand::rng().random_range(0.7..1.3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IDLE: Duration = Duration::from_secs(300);
    const NOW: BootTime = BootTime::from_nanos(1_000_000_000_000);

    fn in_ms(ms: u64) -> BootTime {
        NOW.after(Duration::from_millis(ms))
    }

    #[test]
    fn a_pair_without_packets_is_not_renewed_and_goes_when_idle() {
        let mut life = Life::new(Start::Fresh, NOW, in_ms(3_600_000));
        let mut now = NOW;
        while life.look_out(0, IDLE, now) == Verdict::Keep {
            assert!(life.look_at > now);
            now = life.look_at;
        }
        assert_eq!(now, NOW.after(IDLE));
    }

    #[test]
    fn a_receiver_keeps_an_unused_pair_longer_than_its_sender() {
        let mut life = Life::new(Start::Fresh, NOW, in_ms(3_600_000));
        assert_eq!(life.look_in(0, IDLE, NOW), Verdict::Keep);
        assert!(life.look_at >= NOW.after(IDLE + RECEIVER_GRACE));
        assert_eq!(life.look_in(0, IDLE, life.look_at), Verdict::Remove);
    }

    #[test]
    fn use_puts_the_end_of_patience_off_on_both_sides() {
        let mark = in_ms(200_000).nanos();
        for look in [Life::look_out, Life::look_in] {
            let mut life = Life::new(Start::Fresh, NOW, in_ms(3_600_000));
            assert_eq!(look(&mut life, mark, IDLE, in_ms(450_000)), Verdict::Keep);
            assert!(life.look_at >= in_ms(500_000));
            assert_eq!(look(&mut life, mark, IDLE, in_ms(600_000)), Verdict::Remove);
        }
    }

    #[test]
    fn an_agent_that_starts_anew_does_not_take_old_marks_for_use() {
        let mark = NOW.nanos() - 1;
        let mut life = Life::new(Start::Found(mark), NOW, in_ms(100_000));
        assert_eq!(life.look_out(mark, IDLE, in_ms(70_000)), Verdict::Keep);
        assert_eq!(life.look_out(mark + 2, IDLE, in_ms(80_000)), Verdict::Renew);
    }

    proptest! {
        /// Wrong if false: a fleet would ask at once, a pair would be renewed all the time, or so late that a
        /// short outage ends it.
        #[test]
        fn a_used_pair_is_renewed_first_between_40_and_60_percent_of_its_life(life_ms in 2_000u64..86_400_000) {
            let mut life = Life::new(Start::Fresh, NOW, in_ms(life_ms));
            let mut now = NOW;
            while life.look_out(now.nanos(), IDLE, now) == Verdict::Keep {
                prop_assert!(life.look_at > now);
                now = life.look_at;
            }
            // Looks come when they are due, so the instant is exact.
            prop_assert!(now >= in_ms(life_ms * 4 / 10) && now <= in_ms(life_ms * 6 / 10 + 1));
        }

        /// Wrong if false: a registry that is away for a moment would end a pair in use, or be asked without
        /// pause.
        #[test]
        fn failed_renewals_are_tried_again_with_growing_pauses_until_the_end(life_ms in 4_000u64..86_400_000) {
            let mut life = Life::new(Start::Fresh, NOW, in_ms(life_ms));
            let (mut now, mut tries) = (NOW, Vec::new());
            while now < in_ms(life_ms) {
                if life.look_out(now.nanos(), IDLE, now) == Verdict::Renew {
                    tries.push(now);
                }
                prop_assert!(life.look_at > now);
                now = life.look_at;
            }
            prop_assert!(tries.len() >= 3, "{} tries", tries.len());
            prop_assert!(tries.len() as u64 <= 20 + life_ms / 30_000);
            prop_assert_eq!(life.look_out(now.nanos(), IDLE, now), Verdict::Keep, "over is over");
        }
    }
}
