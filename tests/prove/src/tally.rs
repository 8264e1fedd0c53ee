//! How often each program said what.
use pairgate_agent::datapath::Program;
use std::{collections::BTreeMap, fmt};

/// Counts by program and word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<(Program, &'static str), u64>,
}

/// What a packet can cause in a test run. `room`, and `lease` in the answers of the tap, are not among these: the first
/// needs a helper that fails. Neither are `vlan` on the uplink and other causes that lie outside the bytes.
const MUST: [(Program, &[&str]); 6] = [
    (
        Program::FromTap,
        &[
            "no_state",
            "too_short",
            "bad_header",
            "ethertype",
            "vlan",
            "offload",
            "spoofed_mac",
            "spoofed_address",
            "spoofed_arp",
            "spoofed_nd",
            "fragment",
            "extension_header",
            "multicast",
            "no_pair",
            "denied",
            "grant",
            "expired",
            "lease",
            "too_big",
            "told",
            "inner",
            "next_hop",
            "hold_full",
            "held",
            "internal",
            "to neighbour",
            "to tap",
        ],
    ),
    (
        Program::FromUplink,
        &[
            "not ours",
            "handle",
            "outer",
            "inner",
            "expired",
            "lease",
            "too_big",
            "grant",
            "offload",
            "to tap",
            "to device",
        ],
    ),
    (Program::ToTap, &["no_state", "not_delivered", "delivered"]),
    (Program::FromVxlan, &["outer"]),
    (Program::StopIn, &["no_state"]),
    (Program::StopOut, &["no_state"]),
];

impl Tally {
    /// Counts one.
    pub fn note(&mut self, program: Program, word: &'static str) {
        *self.counts.entry((program, word)).or_default() += 1;
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
    }

    /// All packets.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How often a program said this.
    pub fn of(&self, program: Program, word: &str) -> u64 {
        let found = self
            .counts
            .iter()
            .find(|((of, said), _)| (*of, *said) == (program, word));
        found.map_or(0, |(_, count)| *count)
    }

    /// What should have occurred and has not.
    pub fn missing(&self) -> Vec<String> {
        let all = MUST
            .iter()
            .flat_map(|(program, words)| words.iter().map(|word| (*program, *word)));
        let missing = all.filter(|(program, word)| self.of(*program, word) == 0);
        missing
            .map(|(program, word)| format!("{}: {word}", program.name()))
            .collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((program, word), count) in &self.counts {
            writeln!(f, "{:<12} {word:<18} {count:>13}", program.name())?;
        }
        Ok(())
    }
}
