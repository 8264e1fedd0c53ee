//! `demo`: what Pairgate promises, shown in a laboratory of its own, line by line.
//!
//! Every line is measured from outside: by what guests send and what arrives at their interfaces and on the wire.
//! A line whose measurement could not be made does not hold.

mod claims;
mod denial;
mod forgery;
mod talk;

use crate::place::Place;
use crate::programs;
use anyhow::{Context, Result, bail};
use pairgate_lab::guard::Lab;
use pairgate_lab::interrupt;
use pairgate_lab::plan::Prefix;
use pairgate_lab::programs::Programs;
use pairgate_lab::record::Wishes;
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longer than anything that should happen takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for what must not happen to show itself.
const SILENCE: Duration = Duration::from_millis(700);

/// One promise, and what was seen of it.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    holds: bool,
    /// None if it could not be measured.
    measured: Option<f64>,
    unit: String,
}

impl Line {
    fn new(name: &str, holds: bool, measured: f64, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            holds,
            measured: Some(measured),
            unit: unit.to_owned(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    lines: Vec<Line>,
    holds: bool,
}

/// A part of the demo: its title, and what shows it.
type Part = (&'static str, fn(&Lab) -> Result<Vec<Line>>);

const PARTS: [Part; 6] = [
    ("an allowed pair talks", talk::allowed),
    ("its token", claims::show),
    ("a pair that nobody allowed does not", talk::not_allowed),
    ("a guest cannot speak as another", forgery::from_guest),
    (
        "a stranger on the underlay cannot speak as a host",
        forgery::from_stranger,
    ),
    ("a denial stops a running stream", denial::under_load),
];

/// Runs all parts; an error unless every line holds.
pub(crate) fn run(place: &Place, json: Option<&Path>) -> Result<()> {
    programs::build_as_root(place)?;
    let start = Instant::now();
    let (prefix, state_dir) = (Prefix::demo(), place.target.join("demo"));
    interrupt::heed()?;
    eprintln!("==> a laboratory for the demo (usually 10 s)");
    let programs = Programs::in_folder(&place.programs());
    let say = &mut |step: &str| eprintln!("    {step}");
    let lab = Lab::start(prefix, &state_dir, Wishes::default(), programs, say)?;
    let mut lines = Vec::new();
    for (title, show) in PARTS {
        interrupt::go_on()?;
        println!("\n-- {title}");
        match show(&lab) {
            Ok(shown) => lines.extend(shown),
            Err(error) => {
                println!("   could not be shown: {error:#}");
                let unit = "could not be measured".to_owned();
                lines.push(Line {
                    name: title.to_owned(),
                    holds: false,
                    measured: None,
                    unit,
                });
            }
        }
    }
    drop(lab);
    let holds = lines.iter().all(|line| line.holds);
    let report = Report { lines, holds };
    print_table(&report, start.elapsed());
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !holds {
        bail!("not every line holds");
    }
    Ok(())
}

fn print_table(report: &Report, took: Duration) {
    let width = report
        .lines
        .iter()
        .map(|line| line.name.chars().count())
        .max()
        .unwrap_or(0);
    println!("\n{:<width$}  {:<5}  measured", "what", "holds");
    for line in &report.lines {
        let verdict = if line.holds { "yes" } else { "NO" };
        let measured = line.measured.map_or(String::new(), |number| format!("{number} "));
        println!("{:<width$}  {verdict:<5}  {measured}{}", line.name, line.unit);
    }
    let all = if report.holds {
        "every line holds"
    } else {
        "NOT every line holds"
    };
    println!(
        "\n{all} ({} lines, {:.0} s)",
        report.lines.len(),
        took.as_secs_f64()
    );
}

/// Packets that a host has dropped for these reasons, of one guest or in all.
fn dropped(lab: &Lab, host: &str, vm: Option<&str>, reasons: &[&str]) -> Result<u64> {
    #[derive(serde::Deserialize)]
    struct Drops {
        drops: Vec<Drop>,
    }
    #[derive(serde::Deserialize)]
    struct Drop {
        vm: Option<String>,
        reason: String,
        packets: u64,
    }
    let counted = lab.json(&["drops", "--host", host])?;
    let counted: Drops = serde_json::from_value(counted).context("`drops` makes no sense")?;
    let meant =
        |drop: &&Drop| (vm.is_none() || drop.vm.as_deref() == vm) && reasons.contains(&drop.reason.as_str());
    Ok(counted.drops.iter().filter(meant).map(|drop| drop.packets).sum())
}

/// Numbers of packets and bytes are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}
