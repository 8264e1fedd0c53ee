//! One host twice: in the kernel, and as the oracle's tables. Every packet goes through both.
//!
//! What a packet changes is compared too: the action, the bytes and the mark at once; what the agent is told and
//! given, the counters, the flow tables, the budgets and which pairs were used by [`Bench::settle`].

mod state;

use crate::{
    kernel::{Counters, Host, TestRun},
    oracle::{Cell, DROP, Input, Oracle, Outcome, counted_bytes},
    world::{Device, Kind, Links},
};
use anyhow::Result;
use pairgate_abi::{Count, Handle, InEntry};
pub(crate) use state::tables;
pub use state::{Mood, SLOTS};
use std::collections::HashMap;

/// Why a packet is not proven.
#[derive(Debug)]
pub enum Fault {
    /// The kernel does something else than the oracle says.
    Differs(String),
    /// The comparison could not be made.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// See the module.
#[expect(missing_debug_implementations, reason = "the library's maps have none")]
pub struct Bench {
    pub(crate) host: Host,
    pub(crate) oracle: Oracle,
    run: TestRun,
    counters: Counters,
    expected: HashMap<Cell, Count>,
    mood: Mood,
    /// Nothing was put through since everything was compared and found equal.
    is_settled: bool,
    /// Pairs that are received on, in the place of those that every host has.
    pairs_in: Option<Vec<(Handle, InEntry)>>,
}

impl Bench {
    /// A host of this kind, in the thread's own namespaces.
    pub fn new(kind: Kind, links: &Links) -> Result<Self> {
        let host = Host::load(kind, links)?;
        let counters = Counters::of(&host.loaded, &SLOTS)?;
        let mut bench = Self {
            oracle: Oracle::new(tables(&host, Mood::default(), 0)),
            host,
            run: TestRun::new(),
            counters,
            expected: HashMap::new(),
            mood: Mood::default(),
            is_settled: false,
            pairs_in: None,
        };
        bench.begin(Mood::default())?;
        Ok(bench)
    }

    /// Puts one packet through both.
    pub fn check(&mut self, input: &Input) -> Result<Outcome, Fault> {
        self.is_settled = false;
        let outcome = self.oracle.judge(input);
        let program = self.host.program(input.program)?;
        let ran = self.run.run(program, input).map_err(|error| {
            let said = format!(
                "the kernel does not run {} on this frame: {error}",
                input.program.name()
            );
            anyhow::anyhow!("{said}: {}", crate::replay::hex(&input.frame))
        })?;
        if (ran.action, ran.mark) != (outcome.action, outcome.mark) {
            return Err(Fault::Differs(format!(
                "the oracle says {} (action {}, mark {:#x}), the kernel's action is {}, its mark {:#x}",
                outcome.word, outcome.action, outcome.mark, ran.action, ran.mark
            )));
        }
        if outcome.action != DROP && ran.frame != self.oracle.frame {
            return Err(Fault::Differs(format!(
                "{}: the oracle's bytes are {}, the kernel's {}",
                outcome.word,
                crate::replay::hex(&self.oracle.frame),
                crate::replay::hex(ran.frame)
            )));
        }
        if let Some(cell) = outcome.counted {
            let count = self.expected.entry(cell).or_default();
            count.packets += 1;
            if let Cell::Passed(_) = cell {
                count.bytes += counted_bytes(&self.oracle.frame);
            }
        }
        self.keep_going()?;
        Ok(outcome)
    }

    /// The same, and everything that it has changed at once: slow, and names the packet.
    pub fn check_alone(&mut self, input: &Input) -> Result<Outcome, Fault> {
        let outcome = self.check(input)?;
        self.compare_agent()?;
        self.compare_counters()?;
        Ok(outcome)
    }

    /// Compares everything that packets have changed since [`Self::begin`].
    pub fn settle(&mut self) -> Result<(), Fault> {
        self.compare_agent()?;
        self.compare_counters()?;
        self.compare_budgets()?;
        self.compare_flows()?;
        self.compare_used()?;
        self.is_settled = true;
        Ok(())
    }

    fn compare_counters(&mut self) -> Result<(), Fault> {
        let moved = self.counters.moved()?;
        let expected = std::mem::take(&mut self.expected);
        if moved == expected {
            return Ok(());
        }
        let mut lines = Vec::new();
        for cell in moved.keys().chain(expected.keys()) {
            let (kernel, oracle) = (moved.get(cell), expected.get(cell));
            if kernel != oracle {
                lines.push(format!(
                    "{cell:?}: the kernel counts {kernel:?}, the oracle {oracle:?}"
                ));
            }
        }
        lines.sort_unstable();
        lines.dedup();
        Err(Fault::Differs(lines.join("; ")))
    }

    /// What must be done between packets so that neither a clock nor a full ring has a say: budgets and rings.
    fn keep_going(&mut self) -> Result<(), Fault> {
        if self.oracle.told.len() >= 2000 || self.oracle.held.len() >= 100 || self.oracle.asked.len() >= 100 {
            self.compare_agent()?;
        }
        self.refill_budgets()?;
        if self.oracle.maps.big.is_empty() {
            return Ok(());
        }
        let idle = self.oracle.maps.idle_big;
        if self.host.kind.device == Device::Idle {
            for (cell, kept) in &self.oracle.maps.big {
                if *kept != idle {
                    self.host.big.set(cell, &idle)?;
                }
            }
        }
        self.oracle.maps.big.clear();
        Ok(())
    }
}

impl Bench {
    /// Which kind of host it is.
    pub fn kind(&self) -> Kind {
        self.host.kind
    }

    /// Puts these pairs that are received on in the place of all others.
    pub fn only_pairs_in(&mut self, pairs: Vec<(Handle, InEntry)>) -> Result<()> {
        for handle in self.oracle.maps.pairs_in.keys() {
            self.host.pairs_in.remove(handle)?;
        }
        for (handle, entry) in &pairs {
            self.host.pairs_in.set(handle, entry)?;
        }
        self.pairs_in = Some(pairs);
        self.begin(self.mood)
    }

    /// The MAC address that the last packet left for.
    pub fn last_destination(&self) -> [u8; 6] {
        std::array::from_fn(|at| self.oracle.frame.get(at).copied().unwrap_or_default())
    }

    /// The mark of its programs.
    pub fn mark(&self) -> u32 {
        self.host.settings.mark
    }
}
