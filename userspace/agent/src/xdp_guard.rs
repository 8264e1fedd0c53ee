//! Whether a program in the uplink's driver brings more than it costs: the choice, what speaks against it, and the rule
//! of `auto`.
//!
//! The guard (`xdp_uplink`) makes each frame that dies in it cheaper and each that passes dearer, and putting it on makes
//! some drivers set up their queues anew, during which frames are lost. So it is off unless a flood of frames under
//! unknown handles has gone on for a while, and then stays on long after: a stranger who floods in turns gets it
//! put on a few times a day at most. All of this is about costs alone; what passes is the same with it and without.

use crate::clock::BootTime;
use clap::ValueEnum;
use serde::Deserialize;
use std::{fmt, time::Duration};

/// What the operator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// While it brings more than it costs, and never on a veth.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl Choice {
    /// As it stands in the settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// What is known of the uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    pub is_veth: bool,
    /// A VLAN device upon it. Cards that take tags out of frames show them to nobody in the driver, and a frame of
    /// another network could look like one of ours.
    pub other_network: Option<String>,
}

/// Why the guard is not on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Setting,
    Veth,
    OtherNetwork(String),
    /// `auto` has seen nothing that it would help against.
    Quiet,
    /// The driver has no such place.
    NotNative,
    /// Somebody else's program is there; its number, if the kernel says it.
    Taken(Option<u32>),
    Failed(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting => f.write_str("by the settings"),
            Self::Veth => {
                f.write_str("the uplink is a veth, whose peer would have to cut its packets itself")
            }
            Self::OtherNetwork(name) => write!(
                f,
                "{name} carries another network over the uplink, whose frames the driver may not tell from ours"
            ),
            Self::Quiet => f.write_str("there is no flood that it would help against"),
            Self::NotNative => f.write_str("the uplink's driver runs no XDP programs by itself"),
            Self::Taken(Some(program)) => write!(
                f,
                "the XDP program {program} has the uplink (`bpftool prog show id {program}`)"
            ),
            Self::Taken(None) => f.write_str("another XDP program has the uplink"),
            Self::Failed(why) => write!(f, "it could not be put on: {why}"),
        }
    }
}

/// What has come in on the uplink so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Frames that died, or would have died, in the guard.
    pub strays: u64,
    /// All frames, as the interface counts them. Some drivers leave out what a program of theirs drops.
    pub frames: u64,
}

/// What the guard costs each frame that passes it, and saves of each that dies in it, in nanoseconds. `cargo xtask bench
/// --guard` measures both on a tap, which has native XDP; what counts is how they compare.
const COST_NS: u64 = 240;
const SAVED_NS: u64 = 900;
/// What is saved must be this many times what is spent, because it is weighed by another machine's figures.
const MARGIN: u64 = 2;
/// Fewer strays a second than this are not worth a program, whatever else comes in: at a microsecond each, a hundredth of
/// a processor.
const LEAST_STRAYS: u64 = 10_000;
/// How long it must have been worth it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it stays on after it was last worth it. Each time that it comes back it stays twice as long as the time
/// before.
const STAY: Duration = Duration::from_secs(10 * 60);
const LONGEST_STAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What `auto` remembers.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    last: Option<(BootTime, Sample)>,
    worth_since: Option<BootTime>,
    worth_last: Option<BootTime>,
    /// How often it was put on.
    times: u32,
}

impl Rule {
    /// Whether the guard should be on from now. One that an earlier agent has left on counts as put on just now.
    fn next(&mut self, is_on: bool, sample: Sample, now: BootTime) -> bool {
        let before = self.last.replace((now, sample));
        let is_worth = before.is_some_and(|(then, before)| is_worth(before, sample, then.until(now)));
        if is_on {
            self.worth_since = None;
            if is_worth || self.worth_last.is_none() {
                self.worth_last = Some(now);
            }
            let until = self.worth_last.map_or(now, |last| last.after(self.stay()));
            return now < until;
        }
        self.worth_last = None;
        if !is_worth {
            self.worth_since = None;
            return false;
        }
        let since = *self.worth_since.get_or_insert(now);
        if since.until(now) < PATIENCE {
            return false;
        }
        self.worth_since = None;
        self.times = self.times.saturating_add(1);
        true
    }

    fn stay(&self) -> Duration {
        let doubled = 1_u32
            .checked_shl(self.times.saturating_sub(1))
            .unwrap_or(u32::MAX);
        STAY.saturating_mul(doubled).min(LONGEST_STAY)
    }
}

/// Counters that went back say nothing.
fn is_worth(before: Sample, now: Sample, took: Duration) -> bool {
    let strays = now.strays.saturating_sub(before.strays);
    let passing = now.frames.saturating_sub(before.frames).saturating_sub(strays);
    let least = u128::from(LEAST_STRAYS) * took.as_nanos() / 1_000_000_000;
    !took.is_zero()
        && u128::from(strays) >= least
        && strays.saturating_mul(SAVED_NS) > passing.saturating_mul(COST_NS * MARGIN)
}

/// Whether the guard should be on from now, and if not, why.
pub fn decide(
    choice: Choice,
    ground: &Ground,
    rule: &mut Rule,
    is_on: bool,
    sample: Sample,
    now: BootTime,
) -> Result<(), Why> {
    if choice == Choice::Off {
        return Err(Why::Setting);
    }
    if let Some(name) = &ground.other_network {
        return Err(Why::OtherNetwork(name.clone()));
    }
    if choice == Choice::On {
        return Ok(());
    }
    if ground.is_veth {
        return Err(Why::Veth);
    }
    if rule.next(is_on, sample, now) {
        Ok(())
    } else {
        Err(Why::Quiet)
    }
}

/// What the status shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub choice: Choice,
    /// Nothing while it is on.
    pub off: Option<Why>,
}

impl Shown {
    /// Before the first look.
    pub const fn new(choice: Choice) -> Self {
        Self {
            choice,
            off: Some(match choice {
                Choice::Off => Why::Setting,
                Choice::Auto | Choice::On => Why::Quiet,
            }),
        }
    }

    pub const fn is_on(&self) -> bool {
        self.off.is_none()
    }
}

#[cfg(test)]
mod tests;
