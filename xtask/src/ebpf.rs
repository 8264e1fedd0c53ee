//! `build-ebpf`: compiles the programs for the kernel and hands the agent the result.
//!
//! The object is replaced only when its bytes differ: the agent embeds it, and would else be built again each
//! time for nothing.

use crate::place::Place;
use crate::step::Step;
use crate::toolchain::{Fetch, TARGET, Toolchain};
use anyhow::{Context, Result, bail};

/// Makes [`Place::datapath_object`].
pub(crate) fn build(place: &Place, yes: bool) -> Result<()> {
    let fetch = if yes || pairgate_lab::is_root() {
        Fetch::Allowed
    } else {
        Fetch::OnlyLook
    };
    let toolchain = Toolchain::find(place, fetch)?;
    eprintln!("eBPF toolchain: {}", toolchain.describe());
    let built = place.target.join("ebpf");
    let mut command = toolchain.cargo_build();
    command
        .arg("--target-dir")
        .arg(&built)
        .current_dir(place.datapath());
    Step {
        what: "building the eBPF programs",
        usually: "half a minute the first time",
    }
    .run(&mut command)?;
    let made = built.join(TARGET).join("release").join("pairgate-datapath");
    let new = std::fs::read(&made).with_context(|| format!("cannot read {}", made.display()))?;
    if !new.starts_with(b"\x7fELF") {
        bail!("{} is not an ELF object", made.display());
    }
    let object = place.datapath_object();
    if std::fs::read(&object).is_ok_and(|old| old == new) {
        eprintln!("unchanged: {}", object.display());
        return Ok(());
    }
    let partial = object.with_extension("o.partial");
    std::fs::write(&partial, &new).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, &object).with_context(|| format!("cannot write {}", object.display()))?;
    eprintln!("made: {} ({} bytes)", object.display(), new.len());
    Ok(())
}
