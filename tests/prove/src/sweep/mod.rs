//! Sweeps: not a choice of packets, but every one of a kind.

mod headers;
mod truncations;
mod vni;

use crate::{
    bench::{Bench, Fault, Mood},
    failure::{self, Found},
    generate::Sources,
    oracle::Input,
    tally::Tally,
    world::{Device, Kind, own::Own},
};
use anyhow::{Result, bail};
use std::{path::Path, time::Instant};
pub use vni::all as vni;

/// Packets between two comparisons of what they have changed.
const CHUNK: usize = 4096;

/// The sweeps that take seconds: ethertypes, protocols and truncations.
pub fn cheap(failures: &Path) -> Result<()> {
    let (own, sources) = (Own::enter()?, Sources::new()?);
    for kind in Kind::ALL.into_iter().filter(|kind| kind.device == Device::None) {
        let mut bench = Bench::new(kind, &own.links)?;
        let mut go = |name: &str, inputs: &mut dyn Iterator<Item = Input>| {
            through(&mut bench, &own, failures, &format!("{name} on {kind}"), inputs)
        };
        go("ethertypes", &mut headers::ethertypes(kind, &own.links))?;
        go("protocols", &mut headers::protocols(kind, &own.links))?;
        go("truncations", &mut truncations::all(kind, &own.links, &sources))?;
    }
    truncations::too_short(&own, &sources)
}

/// Puts packets through both sides, and prints what became of them.
fn through(
    bench: &mut Bench,
    own: &Own,
    failures: &Path,
    name: &str,
    inputs: &mut dyn Iterator<Item = Input>,
) -> Result<()> {
    let (start, mut tally) = (Instant::now(), Tally::default());
    loop {
        let chunk: Vec<Input> = inputs.take(CHUNK).collect();
        if chunk.is_empty() {
            break;
        }
        bench.begin(Mood::default())?;
        let mut run = || {
            for input in &chunk {
                let outcome = bench.check(input)?;
                tally.note(input.program, outcome.word);
            }
            bench.settle()
        };
        match run() {
            Ok(()) => {}
            Err(Fault::Failed(error)) => return Err(error),
            Err(Fault::Differs(what)) => {
                let found = Found {
                    name: format!("{name}, packet {}", tally.total()),
                    mood: Mood::default(),
                    honest: chunk.iter().map(|input| input.frame.clone()).collect(),
                    inputs: chunk,
                    what,
                };
                return Err(failure::report(bench, &own.links, failures, found)?);
            }
        }
    }
    if tally.total() == 0 {
        bail!("{name}: no packets");
    }
    println!(
        "{name}: {} packets in {:.1} s\n{tally}",
        tally.total(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
