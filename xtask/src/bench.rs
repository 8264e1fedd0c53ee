//! `bench`: Pairgate beside what people use today, a kernel VXLAN device with bridges, without a filter and (where
//! `nft` is in PATH) with one, on the same ground: the same namespaces, underlay, taps and cables, in turn, round
//! after round.
//!
//! Nothing it prints is an absolute figure of anything: on another machine, or on this one at another time, all
//! of them are different. What counts is the last column, the ratio of two medians of one run.

mod against;
mod figures;
mod guard;
mod hostile;
mod measures;

use crate::place::{Place, in_path};
use crate::programs;
use anyhow::{Context, Result};
use clap::Args;
use figures::{Figures, Row};
use measures::{Measure, Way};
use pairgate_lab::guard::Lab;
use pairgate_lab::plan::{PAIR, Prefix};
use pairgate_lab::programs::Programs;
use pairgate_lab::rival::Rival;
use pairgate_lab::settings::{Ports, Underlay, Uplink, Wishes};
use pairgate_lab::{interrupt, patience, probe};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For a pair to open.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Rounds; in each, every measurement is made on both
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of one measurement in seconds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// By what hosts see guests: taps with cables in user space, or veth pairs, which cost less and show more
    #[arg(long, value_enum, default_value_t = Ports::Tap)]
    ports: Ports,
    /// Family of the underlay
    #[arg(long, value_enum, value_name = "4|6", default_value_t = Underlay::V4)]
    underlay: Underlay,
    /// How uplinks behave: as veth does by itself, or cutting and gathering packets as network cards do
    #[arg(long, value_enum, default_value_t = Uplink::Plain)]
    uplink: Uplink,
    /// Measure the TCP stream with iperf3 too, which must be in PATH
    #[arg(long)]
    iperf3: bool,
    /// Measure instead what a hostile guest's floods cost a neighbour; ends with an error if it is too much
    #[arg(long, conflicts_with_all = ["ports", "underlay", "uplink", "iperf3", "only"])]
    hostile: bool,
    /// With --hostile: only floods whose name has this in it
    #[arg(long, value_name = "TEXT", requires = "hostile")]
    flood: Option<String>,
    /// Measure instead what the guard in the uplink's driver costs honest packets, and what it saves under a flood
    #[arg(long, conflicts_with_all = ["hostile", "ports", "underlay", "uplink", "iperf3", "only"])]
    guard: bool,
    /// Make this measurement alone; may be given again
    #[arg(long, value_enum)]
    only: Vec<Measure>,
    /// Write the table into this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(place: &Place, wanted: &Wanted) -> Result<()> {
    programs::build_as_root(place)?;
    interrupt::heed()?;
    if wanted.hostile {
        programs::build_released(place)?;
        let wanted = hostile::Wanted {
            rounds: wanted.rounds,
            how_long: Duration::from_secs(wanted.seconds),
            flood: wanted.flood.as_deref(),
            json: wanted.json.as_deref(),
        };
        return hostile::run(place, &wanted);
    }
    if wanted.guard {
        return guard::run(
            place,
            wanted.rounds,
            Duration::from_secs(wanted.seconds),
            wanted.json.as_deref(),
        );
    }
    let programs = Programs::in_folder(&place.programs());
    let wishes = Wishes {
        underlay: Some(wanted.underlay),
        ports: Some(wanted.ports),
        uplink: Some(wanted.uplink),
        ..Wishes::default()
    };
    eprintln!("==> the grounds: a laboratory, and the same without Pairgate (usually 15 s)");
    let say = &mut |step: &str| eprintln!("    {step}");
    let folder = |name: &str| place.target.join(name);
    let prefix = Prefix::new("pgbench-")?;
    let lab = Lab::start(prefix, &folder("bench"), wishes, programs.clone(), say)?;
    let rival = |name: &str, nft: Option<&Path>| {
        let prefix = Prefix::new(&format!("pg{name}-"))?;
        Rival::start(prefix, &folder(&format!("bench-{name}")), wishes, &programs, nft)
    };
    let mut ways = vec![Way::new(lab.netns(PAIR.0), lab.netns(PAIR.1))?];
    let mut names = vec!["kernel VXLAN + bridge"];
    let mut rivals = vec![rival("rival", None)?];
    if let Some(nft) = in_path("nft") {
        names.push("+ nftables, 10 000 pairs");
        rivals.push(rival("filter", Some(&nft))?);
    } else {
        eprintln!("    nft is not in PATH: nothing with a filter is compared");
    }
    for rival in &rivals {
        ways.push(Way::new(rival.netns(PAIR.0), rival.netns(PAIR.1))?);
    }
    for way in &ways {
        open(way)?;
    }
    let figures = Figures::new(measure(wanted, &ways)?, &names);
    println!("{}", figures.table());
    if let Some(path) = &wanted.json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The part of it that `prove` runs: what a hostile guest costs a neighbour.
pub(crate) fn hostile(place: &Place) -> Result<()> {
    programs::build_released(place)?;
    interrupt::heed()?;
    hostile::run(place, &hostile::Wanted::default())
}

/// A pair opens with its first packet, and the rival learns its neighbours.
fn open(way: &Way) -> Result<()> {
    let what = format!("{} is answered by {}", way.from.name(), way.address);
    patience::until(PATIENCE, &what, || {
        let echoes = way
            .from
            .run(|| probe::ping(way.address, 1, 56, Duration::from_millis(500)))??;
        Ok(echoes.all().then_some(()))
    })
}

/// Measures everything on every way, ours first.
fn measure(wanted: &Wanted, ways: &[Way]) -> Result<Vec<Row>> {
    let how_long = Duration::from_secs(wanted.seconds);
    let iperf3 = wanted.iperf3 || wanted.only.contains(&Measure::StreamByIperf3);
    let all = Measure::all(iperf3).into_iter();
    let chosen = all.filter(|measure| wanted.only.is_empty() || wanted.only.contains(measure));
    let mut rows: Vec<Row> = chosen.map(|measure| Row::new(measure, ways.len())).collect();
    let seconds = (rows.len() * ways.len()) as u64 * u64::from(wanted.rounds) * wanted.seconds;
    eprintln!(
        "==> {} rounds, {} measurements on {} ways in each (about {} min)",
        wanted.rounds,
        rows.len(),
        ways.len(),
        seconds.div_ceil(60)
    );
    for round in 1..=wanted.rounds {
        for row in &mut rows {
            // Who goes first changes from round to round.
            let first = round as usize % ways.len();
            let mut said = vec![String::new(); ways.len()];
            for turn in 0..ways.len() {
                interrupt::go_on()?;
                let ground = (first + turn) % ways.len();
                let figure = row.measure.take(&ways[ground], how_long)?;
                said[ground] = row.measure.spelled(figure);
                row.add(ground, figure);
            }
            eprintln!(
                "    round {round}: {}: {}",
                row.measure.name(),
                said.join(" against ")
            );
        }
    }
    Ok(rows)
}
