//! The programs' budgets, which they write themselves: an instant that no spending leads to would silence a guest for
//! as long as it lies ahead.

use super::{Finding, Kind};
use crate::{
    clock::BootTime,
    keeper::{Ledger, TableError, Tables},
};
use pairgate_abi::{Budget, map};
use std::time::Duration;

/// No budget leads further ahead of now than what its burst takes at its rate, which is less than this. What lies within
/// it is over as soon.
const FURTHEST: Duration = Duration::from_secs(10);

impl<T: Tables> Ledger<T> {
    /// Fills the budgets that are used up for longer than they can be. What the programs count while one is written is
    /// lost: of held packets the agent never says that it is done with more than were counted.
    pub(super) fn audit_budgets(
        &mut self,
        now: BootTime,
        found: &mut Vec<Finding>,
    ) -> Result<(), TableError> {
        let slots: Vec<u32> = self.seats.slots().collect();
        for slot in slots {
            if let Some(budget) = filled(self.tables.budget(slot)?, now) {
                found.push(Finding::new(
                    Kind::Altered,
                    format!("{} slot {slot}", map::BUDGETS),
                ));
                self.tables.set_budget(slot, budget)?;
            }
        }
        Ok(())
    }
}

/// The budget with what lies too far ahead as if nothing had been spent; none if nothing does. What it counts stays.
fn filled(budget: Budget, now: BootTime) -> Option<Budget> {
    let furthest = now.after(FURTHEST).nanos();
    let within = |instant: u64| if instant > furthest { 0 } else { instant };
    let filled = Budget {
        event_ns: within(budget.event_ns),
        answer_ns: within(budget.answer_ns),
        too_big_ns: within(budget.too_big_ns),
        question_ns: within(budget.question_ns),
        ..budget
    };
    (filled != budget).then_some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pairgate_abi::limits;

    #[test]
    fn only_what_no_spending_leads_to_is_filled_again() {
        let now = BootTime::from_nanos(1_000_000_000_000);
        for (rate, burst) in [
            (limits::EVENTS_PER_SECOND, limits::EVENT_BURST),
            (limits::ANSWERS_PER_SECOND, limits::ANSWER_BURST),
            (limits::TOO_BIG_PER_SECOND, limits::TOO_BIG_BURST),
            (limits::QUESTIONS_PER_SECOND, limits::QUESTION_BURST),
        ] {
            // A second for what the programs spend while the budgets are read.
            let longest = Duration::from_secs(burst.div_ceil(rate) + 1);
            assert!(
                longest <= FURTHEST,
                "a guest that spends much is found: {longest:?}"
            );
        }
        let spent = Budget {
            event_ns: now.after(FURTHEST).nanos(),
            held: 7,
            lost: 8,
            asked: 9,
            ..Budget::default()
        };
        assert_eq!(filled(spent, now), None);
        let stopped = Budget {
            answer_ns: u64::MAX,
            too_big_ns: u64::MAX,
            question_ns: u64::MAX,
            ..spent
        };
        assert_eq!(
            filled(stopped, now),
            Some(spent),
            "a count was lost, or a guest is silent"
        );
    }
}
