//! Brings a laboratory up, or what is dead of one that was.

use crate::cli::{self, Cli};
use crate::installation::{self, Component};
use crate::lock::Lock;
use crate::netns::{self, Netns};
use crate::plan::{GUEST_INTERFACE, GUESTS, Plan, Prefix};
use crate::programs::Programs;
use crate::record::{self, Memory, Wishes};
use crate::settings::{TAKE_DOWN, Vms};
use crate::{bpffs, down, links, ports, underlay};
use anyhow::{Result, bail, ensure};
use std::path::Path;
use std::time::Duration;

/// How long another program may take with the same laboratory.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Returns when every host has applied what the registry wants and every cable is plugged in. Each step is told
/// to `say`.
pub fn up(
    prefix: &Prefix,
    state_dir: &Path,
    wishes: Wishes,
    programs: &Programs,
    say: &mut dyn FnMut(&str),
) -> Result<Plan> {
    ensure!(
        crate::is_root(),
        "a laboratory needs root: it makes namespaces, taps and mounts"
    );
    let lock = Lock::take(prefix, PATIENCE)?;
    up_locked(&lock, prefix, state_dir, wishes, programs, say)
}

/// The same for a caller who holds the lock.
pub(crate) fn up_locked(
    _held: &Lock,
    prefix: &Prefix,
    state_dir: &Path,
    wishes: Wishes,
    programs: &Programs,
    say: &mut dyn FnMut(&str),
) -> Result<Plan> {
    let state_dir = std::path::absolute(state_dir)?;
    let memory = match Memory::read(&state_dir)? {
        Some(memory) if memory.populated => Some(memory),
        other => {
            refuse_foreign(prefix, &state_dir)?;
            if other.is_some() || leftovers(prefix) {
                say("clearing away what an interrupted laboratory left");
                down::clear(prefix, &state_dir, false)?;
            }
            None
        }
    };
    let settings = wishes.settle(memory.as_ref().map(|memory| &memory.plan.settings))?;
    let plan = Plan::new(prefix.clone(), &state_dir, settings)?;
    let populated = memory.is_some();
    Memory {
        plan: plan.clone(),
        populated,
    }
    .write()?;
    bpffs::ensure()?;
    say("underlay: namespaces and the bridge between them");
    underlay::ensure(&plan)?;
    let cli = Cli::new(&plan, programs);
    if !populated {
        say("registry: a new installation");
        installation::initialise(&plan, programs)?;
    }
    start(&Component::Registry, &plan, programs, say)?;
    installation::await_registry(&plan)?;
    if !populated {
        say("registry: network, hosts, guests, placements and the first pair");
        installation::populate(&plan, &cli)?;
    }
    cli::write_scripts(&plan, programs)?;
    let namespaces = GUESTS.into_iter().filter(|_| plan.settings.vms == Vms::Netns);
    for guest in namespaces {
        let netns = Netns::named(&plan.netns(guest.name));
        if !populated || !links::exists(&netns, GUEST_INTERFACE)? {
            ports::ensure(&plan, &guest, &installation::registered(&cli, &guest)?)?;
        }
    }
    for component in Component::all(&plan) {
        start(&component, &plan, programs, say)?;
    }
    Memory {
        plan: plan.clone(),
        populated: true,
    }
    .write()?;
    say("waiting until every host has applied its goal state");
    installation::await_settled(&plan, &cli)?;
    Ok(plan)
}

fn start(component: &Component, plan: &Plan, programs: &Programs, say: &mut dyn FnMut(&str)) -> Result<()> {
    if component.ensure(plan, programs)? {
        say(&format!("started {}", component.name()));
    }
    Ok(())
}

/// Two checkouts share one machine: the names are taken while another's laboratory is there.
fn refuse_foreign(prefix: &Prefix, state_dir: &Path) -> Result<()> {
    match record::owner(prefix) {
        Some(owner) if owner != state_dir && record::is_marked(&owner) => {
            bail!(
                "the laboratory {} belongs to {}; take it down first, in that checkout: {TAKE_DOWN}",
                prefix.stem(),
                owner.display()
            )
        }
        _ => Ok(()),
    }
}

fn leftovers(prefix: &Prefix) -> bool {
    netns::names().iter().any(|name| Plan::owns_netns(prefix, name))
}
