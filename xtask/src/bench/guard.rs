//! The guard in the uplink's driver, with and without, in turn in one run: what it costs honest packets, and what it
//! saves a neighbour's pair while a stranger floods the host with unknown handles.
//!
//! First on a tap, whose driver runs such programs by itself; then between the hosts of two laboratories, one with the
//! guard and one without. Their uplinks are veths, where it costs most: a veth with such a program takes its peer's
//! segmentation offload away, and copies packets that have no room in front. That is why `auto` leaves veths alone.

use super::against::Against;
use super::measures::{Measure, Way};
use crate::place::Place;
use crate::prove;
use anyhow::{Context, Result, ensure};
use pairgate_lab::guard::Lab;
use pairgate_lab::links;
use pairgate_lab::netns::Netns;
use pairgate_lab::plan::{PAIR, Prefix, UPLINK, underlay_4};
use pairgate_lab::probe::{Hail, forge};
use pairgate_lab::programs::Programs;
use pairgate_lab::settings::{Ports, Wishes, XdpGuard};
use pairgate_lab::stranger::Stranger;
use pairgate_lab::{interrupt, patience};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// The host that is flooded, at which the neighbour's pair ends.
const HOST: &str = "h2";
const NUMBER: u8 = 2;
const STRANGER: u8 = 240;
/// For the guard to be on: a look of the auditor, and then some.
const PATIENCE: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_millis(500);
/// Different handles of a flood.
const HANDLES: u32 = 4096;
const MEASURES: [Measure; 3] = [Measure::Stream, Measure::SmallPackets, Measure::AnswerTail];

#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    unit: &'static str,
    under_flood: bool,
    against: Against,
}

/// A laboratory, its neighbour's pair and its stranger.
struct Ground {
    // Before the laboratory that it is joined to.
    stranger: Stranger,
    host: Netns,
    way: Way,
    _lab: Lab,
}

/// Measures and prints. There is no bound to keep: the figures are for whoever chooses.
pub(super) fn run(place: &Place, rounds: u32, how_long: Duration, json: Option<&Path>) -> Result<()> {
    prove::guard(place, rounds)?;
    eprintln!("==> the grounds: two laboratories, with the guard and without (usually 20 s)");
    let grounds = [
        Ground::start(place, "pgxon-", XdpGuard::On)?,
        Ground::start(place, "pgxoff-", XdpGuard::Off)?,
    ];
    let [on, _] = &grounds;
    patience::until(PATIENCE, &format!("the guard is on {UPLINK} of {HOST}"), || {
        Ok(on.has_guard()?.then_some(()))
    })?;
    let mut lines = Vec::new();
    for under_flood in [false, true] {
        for measure in MEASURES {
            let mut figures = [Vec::new(), Vec::new()];
            for round in 0..rounds as usize {
                for turn in 0..2 {
                    // Who goes first changes from round to round.
                    let side = (round + turn) % 2;
                    figures[side].push(grounds[side].take(measure, under_flood, how_long)?);
                }
            }
            let line = Line {
                name: measure.name(),
                unit: measure.unit(),
                under_flood,
                against: Against::new(figures),
            };
            eprintln!("    {}", line.spelled());
            lines.push(line);
        }
    }
    println!();
    println!("with the guard on every veth uplink, against without it");
    println!("(ratios of medians of {rounds} rounds; in brackets the middle half of the rounds' own ratios)");
    for line in &lines {
        println!("{}", line.spelled());
    }
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&lines)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

impl Line {
    fn spelled(&self) -> String {
        let Against { ratio, spread, .. } = &self.against;
        let [on, off] = self.against.medians();
        format!(
            "{:<30} {:<12} {ratio:.2} [{:.2} {:.2}]  {on:.1} against {off:.1} {}",
            self.name,
            if self.under_flood { "under flood" } else { "alone" },
            spread[0],
            spread[1],
            self.unit
        )
    }
}

impl Ground {
    fn start(place: &Place, prefix: &str, guard: XdpGuard) -> Result<Self> {
        let wishes = Wishes {
            ports: Some(Ports::Veth),
            xdp_guard: Some(guard),
            ..Wishes::default()
        };
        let programs = Programs::in_folder(&place.programs());
        let folder = place
            .target
            .join(format!("bench-{}", prefix.trim_end_matches('-')));
        let say = &mut |step: &str| eprintln!("    {step}");
        let lab = Lab::start(Prefix::new(prefix)?, &folder, wishes, programs, say)?;
        let way = Way::new(lab.netns(PAIR.0), lab.netns(PAIR.1))?;
        super::open(&way)?;
        Ok(Self {
            stranger: Stranger::join(lab.plan(), STRANGER)?,
            host: lab.netns(HOST),
            way,
            _lab: lab,
        })
    }

    fn has_guard(&self) -> Result<bool> {
        Ok(links::xdp_program(&self.host, UPLINK)?.is_some())
    }

    fn take(&self, measure: Measure, under_flood: bool, how_long: Duration) -> Result<f64> {
        interrupt::go_on()?;
        let _hail = under_flood.then(|| self.flood()).transpose()?;
        if under_flood {
            // By then the agent has been told of as much as it may be.
            std::thread::sleep(SETTLE);
        }
        measure.take(&self.way, how_long)
    }

    /// Frames under handles that nobody has given, from a stranger to the host.
    fn flood(&self) -> Result<Hail> {
        let netns = self.stranger.netns();
        let ends = forge::Ends {
            source_mac: links::mac(netns, UPLINK)?,
            destination_mac: links::mac(&self.host, UPLINK)?,
            source: self.stranger.address(),
            destination: underlay_4(NUMBER),
        };
        let frames: Result<Vec<_>> = (1..=HANDLES)
            .map(|number| {
                // Spread over all of them; that one is given is less likely than a broken machine.
                let vni = number.wrapping_mul(0x9e37_79b1) >> 8;
                forge::overlay(ends, 50_000, (vni, 7), &[0; 60])
            })
            .collect();
        let frames = frames?;
        ensure!(!frames.is_empty(), "there is no flood");
        Ok(netns.run(|| Hail::of_many(UPLINK, frames, None))??)
    }
}
