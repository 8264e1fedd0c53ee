//! What becomes of a failure: its packet is found, made small and written down to be tried again.
use crate::{
    bench::{Bench, Fault, Mood},
    oracle::Input,
    replay::{OWN_MARK, Replay},
    shrink::{self, Failure},
    world::Links,
};
use anyhow::{Context, Result, anyhow};
use std::path::Path;

/// Packets after which something differs.
#[derive(Clone, Debug)]
pub struct Found {
    /// What the failure is called.
    pub name: String,
    /// What is used up before the first packet.
    pub mood: Mood,
    /// The packets.
    pub inputs: Vec<Input>,
    /// For each packet, what it was before it was broken.
    pub honest: Vec<Vec<u8>>,
    /// What differs in the end.
    pub what: String,
}

/// Finds the first packet after which something differs, makes everything small and writes it into a folder. The
/// error says where.
pub fn report(bench: &mut Bench, links: &Links, folder: &Path, mut found: Found) -> Result<anyhow::Error> {
    println!("{} differs: {}", found.name, found.what);
    bench.begin(found.mood)?;
    let mut last = found.inputs.len().saturating_sub(1);
    for (number, input) in found.inputs.iter().enumerate() {
        match bench.check_alone(input) {
            Ok(_) => {}
            Err(Fault::Differs(what)) => {
                found.what = what;
                last = number;
                break;
            }
            Err(Fault::Failed(error)) => return Err(error),
        }
    }
    found.inputs.truncate(last + 1);
    found.honest.truncate(last + 1);
    let failure = Failure {
        mood: found.mood,
        honest: found.honest,
        inputs: found.inputs,
        what: found.what,
    };
    let mut failure = shrink::shrink(bench, failure)?;
    for input in &mut failure.inputs {
        if input.baggage.mark == bench.mark() {
            input.baggage.mark = OWN_MARK;
        }
    }
    let about = format!("{}\n{}", found.name, failure.what);
    let replay = Replay::of(&about, bench.kind(), failure.mood, links, &failure.inputs)?;
    println!("{}", replay.written());
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("{}.txt", found.name.replace([' ', ','], "-")));
    std::fs::write(&path, replay.written()).with_context(|| format!("cannot write {}", path.display()))?;
    let path = path.display();
    Ok(anyhow!(
        "the kernel and the oracle differ; try again with `cargo xtask prove --replay {path}`"
    ))
}
