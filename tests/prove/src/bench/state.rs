//! What packets find and what they leave: budgets, rings, flow tables, use.
use super::{Bench, Fault};
use crate::{
    kernel::{Host, now_ns},
    oracle::{AskedPacket, HeldPacket, Maps, Oracle},
    world::{Device, Link, content},
};
use anyhow::{Context, Result};
use pairgate_abi::{Budget, Event, Held, Question, limits};
use std::{collections::HashMap, fmt, str::FromStr};
use zerocopy::FromBytes;

/// Every slot that something is counted in.
pub const SLOTS: [u32; 4] = [0, 7, 8, 1023];

/// What is used up before the first packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mood {
    /// Nobody may wake the agent.
    pub events_spent: bool,
    /// Nobody may ask for neighbours, or is told that a packet is too big.
    pub answers_spent: bool,
    /// The host's lease has ended.
    pub lease_ended: bool,
    /// Every tap holds as many packets as it may.
    pub holds_full: bool,
}

impl Mood {
    const WORDS: [&'static str; 4] = ["events-spent", "answers-spent", "lease-ended", "holds-full"];

    fn fields(&mut self) -> [&mut bool; 4] {
        [
            &mut self.events_spent,
            &mut self.answers_spent,
            &mut self.lease_ended,
            &mut self.holds_full,
        ]
    }
}

impl fmt::Display for Mood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copy = *self;
        let words = copy.fields().into_iter().zip(Self::WORDS);
        let words: Vec<_> = words.filter(|(is, _)| **is).map(|(_, word)| word).collect();
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Mood {
    type Err = anyhow::Error;

    fn from_str(words: &str) -> Result<Self> {
        let mut mood = Self::default();
        for word in words.split_whitespace() {
            let at = Self::WORDS.iter().position(|known| *known == word);
            let at = at.with_context(|| format!("there is no mood {word:?}"))?;
            *mood.fields()[at] = true;
        }
        Ok(mood)
    }
}

/// The oracle's tables before the first packet.
pub(crate) fn tables(host: &Host, mood: Mood, now_ns: u64) -> Maps {
    let (kind, links) = (host.kind, &host.links);
    let mut flows: HashMap<u32, HashMap<_, _>> = HashMap::new();
    for slot in host.tables.keys() {
        flows.insert(*slot, HashMap::new());
    }
    for (slot, key, is_over) in content::conversations() {
        let used_ns = if is_over && can_be_over(key.protocol, now_ns) {
            content::PAST
        } else {
            now_ns
        };
        flows.entry(slot).or_default().insert(key, used_ns);
    }
    let budget = Budget {
        event_ns: if mood.events_spent { content::FOREVER } else { 0 },
        answer_ns: if mood.answers_spent { content::FOREVER } else { 0 },
        too_big_ns: if mood.answers_spent { content::FOREVER } else { 0 },
        held: if mood.holds_full { limits::HELD_PER_TAP } else { 0 },
        lost: 0,
        question_ns: if mood.answers_spent { content::FOREVER } else { 0 },
        asked: 0,
    };
    Maps {
        now_ns,
        settings: host.settings,
        own_macs: HashMap::from([(links.index(Link::Uplink), links.uplink_mac)]),
        taps: (Link::TAPS.into_iter())
            .map(|tap| (links.index(tap), content::tap(tap)))
            .collect(),
        pairs_out: content::pairs_out(kind, links).into_iter().collect(),
        pairs_in: content::pairs_in(kind, links).into_iter().collect(),
        next_hops: content::next_hops(kind, links).into_iter().collect(),
        lease_ns: if mood.lease_ended {
            content::PAST
        } else {
            content::FOREVER
        },
        refused: content::refused(links).into_iter().collect(),
        budgets: SLOTS.into_iter().map(|slot| (slot, budget)).collect(),
        released: HashMap::new(),
        flows,
        big: HashMap::new(),
        idle_big: content::idle_big(kind),
        used_out: Default::default(),
        used_in: Default::default(),
    }
}

/// On a machine that has not run for as long as a conversation lives, none is over.
fn can_be_over(protocol: u8, now_ns: u64) -> bool {
    let life = if protocol == 6 {
        limits::FLOW_TCP_NS
    } else {
        limits::FLOW_OTHER_NS
    };
    now_ns > life + 1_000_000_000
}

impl Bench {
    /// Makes both sides as they are before the first packet. Whatever was there is not compared.
    pub fn begin(&mut self, mood: Mood) -> Result<()> {
        let now_ns = now_ns()?;
        self.mood = mood;
        let mut maps = tables(&self.host, mood, now_ns);
        if let Some(pairs) = &self.pairs_in {
            maps.pairs_in = pairs.iter().copied().collect();
        }
        for (slot, table) in &self.host.tables {
            while let Some(key) = table.any_key()? {
                table.take(&key)?;
            }
            for (key, used_ns) in maps.flows.get(slot).into_iter().flatten() {
                table.set(key, used_ns)?;
            }
        }
        for (slot, budget) in &maps.budgets {
            self.host.budgets.set(slot, budget)?;
            self.host.released.set(slot, &0)?;
        }
        self.host.lease.set(&0, &maps.lease_ns)?;
        if !self.is_settled {
            self.forget(&maps)?;
        }
        let frame = std::mem::take(&mut self.oracle.frame);
        self.oracle = Oracle {
            frame,
            ..Oracle::new(maps)
        };
        Ok(())
    }

    /// What was left behind where a comparison ended early.
    fn forget(&mut self, maps: &Maps) -> Result<()> {
        while self.host.held.next().is_some() {}
        while self.host.events.next().is_some() {}
        while self.host.questions.next().is_some() {}
        self.counters.moved()?;
        self.expected.clear();
        for (key, entry) in &maps.pairs_out {
            self.host.pairs_out.set(key, entry)?;
        }
        for (handle, entry) in &maps.pairs_in {
            self.host.pairs_in.set(handle, entry)?;
        }
        self.oracle.maps.big.clear();
        if self.host.kind.device == Device::Idle {
            for cell in 0..limits::BIG_CELLS {
                self.host.big.set(&cell, &0)?;
            }
        }
        Ok(())
    }

    /// Compares what the agent was told and given, and takes it; held packets are released.
    pub(super) fn compare_agent(&mut self) -> Result<(), Fault> {
        for expected in std::mem::take(&mut self.oracle.told) {
            let told = self.host.events.next();
            let told = told.and_then(|record| Event::read_from_bytes(&record).ok());
            let told = told.map(|event| Event { at_ns: 0, ..event });
            if told != Some(expected) {
                return differs(format!("the agent is told {told:?} instead of {expected:?}"));
            }
        }
        if let Some(record) = self.host.events.next() {
            return differs(format!(
                "the agent is told what the oracle is silent about: {:?}",
                &*record
            ));
        }
        for expected in std::mem::take(&mut self.oracle.held) {
            let held = self.host.held.next().and_then(|record| held(&record));
            if held.as_ref() != Some(&expected) {
                return differs(format!("the agent is given {held:?} instead of {expected:?}"));
            }
        }
        if let Some(record) = self.host.held.next() {
            let held = held(&record);
            return differs(format!("the agent is given what the oracle keeps: {held:?}"));
        }
        for expected in std::mem::take(&mut self.oracle.asked) {
            let asked = self.host.questions.next().and_then(|record| asked(&record));
            if asked.as_ref() != Some(&expected) {
                return differs(format!("the agent is asked {asked:?} instead of {expected:?}"));
            }
        }
        if let Some(record) = self.host.questions.next() {
            let asked = asked(&record);
            return differs(format!(
                "the agent is asked what the oracle does not ask: {asked:?}"
            ));
        }
        if self.mood.holds_full {
            return Ok(());
        }
        for (slot, budget) in &self.oracle.maps.budgets {
            let released = self.oracle.maps.released.entry(*slot).or_default();
            if *released != budget.held {
                *released = budget.held;
                self.host.released.set(slot, released)?;
            }
        }
        Ok(())
    }

    /// Fills the budgets before they end, because they fill by themselves in the kernel meanwhile.
    pub(super) fn refill_budgets(&mut self) -> Result<(), Fault> {
        let (now_ns, second) = (self.oracle.maps.now_ns, 1_000_000_000);
        let nearly = |burst: u64, rate: u64| now_ns + (burst - 4) * (second / rate);
        let events = nearly(limits::EVENT_BURST, limits::EVENTS_PER_SECOND);
        let answers = nearly(limits::ANSWER_BURST, limits::ANSWERS_PER_SECOND);
        let sizes = nearly(limits::TOO_BIG_BURST, limits::TOO_BIG_PER_SECOND);
        let questions = nearly(limits::QUESTION_BURST, limits::QUESTIONS_PER_SECOND);
        for (slot, budget) in &mut self.oracle.maps.budgets {
            let size = budget.too_big_ns > sizes && budget.too_big_ns != content::FOREVER;
            let event = budget.event_ns > events && budget.event_ns != content::FOREVER;
            let answer = budget.answer_ns > answers && budget.answer_ns != content::FOREVER;
            let question = budget.question_ns > questions && budget.question_ns != content::FOREVER;
            if event || answer || size || question {
                budget.question_ns = if question { 0 } else { budget.question_ns };
                budget.event_ns = if event { 0 } else { budget.event_ns };
                budget.answer_ns = if answer { 0 } else { budget.answer_ns };
                budget.too_big_ns = if size { 0 } else { budget.too_big_ns };
                self.host.budgets.set(slot, budget)?;
            }
        }
        Ok(())
    }

    pub(super) fn compare_budgets(&self) -> Result<(), Fault> {
        for (slot, expected) in &self.oracle.maps.budgets {
            let found = self.host.budgets.get(slot)?.unwrap_or_default();
            let spent = |ns: u64| (ns == 0, ns == content::FOREVER);
            if (found.held, found.lost, found.asked) != (expected.held, expected.lost, expected.asked)
                || spent(found.question_ns) != spent(expected.question_ns)
                || spent(found.event_ns) != spent(expected.event_ns)
                || spent(found.answer_ns) != spent(expected.answer_ns)
                || spent(found.too_big_ns) != spent(expected.too_big_ns)
            {
                return differs(format!("slot {slot} has {found:?} left instead of {expected:?}"));
            }
        }
        Ok(())
    }

    /// Takes the conversations out while it compares them.
    pub(super) fn compare_flows(&mut self) -> Result<(), Fault> {
        for (slot, table) in &self.host.tables {
            let Some(expected) = self.oracle.maps.flows.get_mut(slot) else {
                continue;
            };
            for (key, used_ns) in expected.drain() {
                let found = table.take(&key)?;
                if found.map(|found| found == content::PAST) != Some(used_ns == content::PAST) {
                    return differs(format!(
                        "slot {slot} has {key:?} at {found:?} instead of {used_ns}"
                    ));
                }
            }
            if let Some(key) = table.any_key()? {
                return differs(format!("slot {slot} has {key:?}, which the oracle has not"));
            }
        }
        Ok(())
    }

    /// Which pairs were used. The kernel's entries are made unused again.
    pub(super) fn compare_used(&mut self) -> Result<(), Fault> {
        for (key, entry) in &self.oracle.maps.pairs_out {
            let found = self.host.pairs_out.get(key)?.context("a pair is gone")?;
            let expected = self.oracle.maps.used_out.contains(key);
            if (found.used_ns != 0) != expected {
                return differs(format!(
                    "{key:?} used in the kernel at {}, by the oracle {expected}",
                    found.used_ns
                ));
            }
            if expected {
                self.host.pairs_out.set(key, entry)?;
            }
        }
        for (handle, entry) in &self.oracle.maps.pairs_in {
            let found = self.host.pairs_in.get(handle)?.context("a pair is gone")?;
            let expected = self.oracle.maps.used_in.contains(handle);
            if (found.used_ns != 0) != expected {
                return differs(format!(
                    "{handle:?} used in the kernel at {}, by the oracle {expected}",
                    found.used_ns
                ));
            }
            if expected {
                self.host.pairs_in.set(handle, entry)?;
            }
        }
        Ok(())
    }
}

fn differs<T>(what: String) -> Result<T, Fault> {
    Err(Fault::Differs(what))
}

fn asked(record: &[u8]) -> Option<AskedPacket> {
    let question = Question::read_from_bytes(record).ok()?;
    Some(AskedPacket {
        tap: question.tap,
        slot: question.slot,
        frame: question.frame.get(..question.length as usize)?.to_vec(),
    })
}

fn held(record: &[u8]) -> Option<HeldPacket> {
    let held = Held::read_from_bytes(record).ok()?;
    let unfinished = held.checksum_start != 0 || held.checksum_offset != 0;
    Some(HeldPacket {
        // A test run has no unfinished checksum: such a record equals no expected one.
        kind: if unfinished { 0 } else { held.kind },
        tap: held.tap,
        slot: held.slot,
        source: held.source,
        destination: held.destination,
        frame: held.frame.get(..held.length as usize)?.to_vec(),
    })
}
