//! `bench`: Pairgate beside what people use today, a kernel VXLAN device with bridges and no filter, on the same
//! ground: the same namespaces, underlay, taps and cables, in turn, round after round.
//!
//! Nothing it prints is an absolute figure of anything: on another machine, or on this one at another time, all
//! of them are different. What counts is the last column, the ratio of two medians of one run.

mod figures;
mod measures;

use crate::place::Place;
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
use std::path::PathBuf;
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
    /// Measure the TCP stream with iperf3, which must be in PATH, instead of our own probe
    #[arg(long)]
    iperf3: bool,
    /// Write the table into this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(place: &Place, wanted: &Wanted) -> Result<()> {
    programs::build_as_root(place)?;
    interrupt::heed()?;
    let programs = Programs::in_folder(&place.programs());
    let wishes = Wishes {
        underlay: Some(wanted.underlay),
        ports: Some(wanted.ports),
        uplink: Some(wanted.uplink),
        ..Wishes::default()
    };
    eprintln!("==> two grounds: a laboratory, and the same without Pairgate (usually 15 s)");
    let say = &mut |step: &str| eprintln!("    {step}");
    let folder = |name: &str| place.target.join(name);
    let lab = Lab::start(
        Prefix::new("pgbench-")?,
        &folder("bench"),
        wishes,
        programs.clone(),
        say,
    )?;
    let rival = Rival::start(
        Prefix::new("pgrival-")?,
        &folder("bench-rival"),
        wishes,
        &programs,
    )?;
    let ours = Way::new(lab.netns(PAIR.0), lab.netns(PAIR.1))?;
    let theirs = Way::new(rival.netns(PAIR.0), rival.netns(PAIR.1))?;
    for way in [&ours, &theirs] {
        open(way)?;
    }
    let figures = measure(wanted, &ours, &theirs)?;
    println!("{}", figures.table());
    if let Some(path) = &wanted.json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
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

fn measure(wanted: &Wanted, ours: &Way, theirs: &Way) -> Result<Figures> {
    let how_long = Duration::from_secs(wanted.seconds);
    let mut rows: Vec<Row> = Measure::all(wanted.iperf3).into_iter().map(Row::new).collect();
    let minutes = (rows.len() as u64 * u64::from(wanted.rounds) * 2 * wanted.seconds).div_ceil(60);
    eprintln!(
        "==> {} rounds, {} measurements on both ways in each (about {minutes} min)",
        wanted.rounds,
        rows.len()
    );
    for round in 1..=wanted.rounds {
        for row in &mut rows {
            interrupt::go_on()?;
            // Who goes first changes from round to round.
            let (own, other);
            if round % 2 == 1 {
                own = row.measure.take(ours, how_long)?;
                other = row.measure.take(theirs, how_long)?;
            } else {
                other = row.measure.take(theirs, how_long)?;
                own = row.measure.take(ours, how_long)?;
            }
            eprintln!(
                "    round {round}: {}: {} against {}",
                row.measure.name(),
                row.measure.spelled(own),
                row.measure.spelled(other)
            );
            row.add(own, other);
        }
    }
    Ok(Figures::new(rows))
}
