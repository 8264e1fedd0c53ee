//! A laboratory that lives as long as a value: for tests and the demo.
//!
//! It goes with the value, while panicking too; and if the whole program is killed, its [`Watch`] takes it down.

use crate::cli::{Answer, Cli};
use crate::guest::{self, Inside, machine};
use crate::installation::{self, Component};
use crate::lock::Lock;
use crate::netns::Netns;
use crate::plan::{GUESTS, Plan, Prefix};
use crate::process::{self, Record};
use crate::programs::Programs;
use crate::record::{self, Wishes};
use crate::watch::Watch;
use crate::{down, interrupt, up};
use anyhow::{Context, Result};
use pairgate_machine::Boot;
use serde_json::Value;
use std::path::Path;

/// A running laboratory.
#[derive(Debug)]
pub struct Lab {
    plan: Plan,
    programs: Programs,
    cli: Cli,
    /// Given back by `Drop` alone.
    held: Option<(Lock, Watch)>,
}

impl Lab {
    /// Clears away what an earlier run with the same prefix left, and brings a new laboratory up.
    pub fn start(
        prefix: Prefix,
        state_dir: &Path,
        wishes: Wishes,
        programs: Programs,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let lock = Lock::take(&prefix, up::PATIENCE)?;
        down::clear(&prefix, state_dir, false)?;
        let watch = Watch::begin(&prefix, state_dir, &programs)?;
        let plan = match up::up_locked(&lock, &prefix, state_dir, wishes, &programs, say) {
            Ok(plan) => plan,
            Err(error) => {
                // The logs say why; of an interruption there is nothing to say.
                let interrupted = interrupt::go_on().is_err();
                let cleared = down::clear(&prefix, state_dir, !interrupted);
                lock.remove();
                watch.end();
                if interrupted {
                    return Err(error);
                }
                let kept = format!(
                    "the laboratory did not come up; its logs are in {}",
                    state_dir.display()
                );
                return Err(error.context(
                    cleared
                        .err()
                        .map_or(kept.clone(), |also| format!("{kept} ({also:#})")),
                ));
            }
        };
        let cli = Cli::new(&plan, &programs);
        Ok(Self {
            plan,
            programs,
            cli,
            held: Some((lock, watch)),
        })
    }

    /// A laboratory of a test's own: the name chooses the prefix, so that the next run of the same test clears
    /// away what a killed one left. The test must lie where cargo puts tests.
    pub fn for_test(name: &str, wishes: Wishes) -> Result<Self> {
        let prefix = Prefix::new(&format!("pgt{:08x}-", short_hash(name)))?;
        let programs = Programs::beside_this_one()?;
        let own = std::env::current_exe().context("cannot tell where this program lies")?;
        let target = own.ancestors().find(|folder| folder.ends_with("target"));
        let target = target.context("this program does not lie below a folder called target")?;
        let state_dir = target.join("lab-tests").join(name);
        Self::start(prefix, &state_dir, wishes, programs, &mut |step| {
            eprintln!("[{name}] {step}")
        })
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn cli(&self) -> &Cli {
        &self.cli
    }

    /// The namespace called so in the plan: `net`, `reg`, `h1`, `web1` and so on.
    pub fn netns(&self, short: &str) -> Netns {
        Netns::named(&self.plan.netns(short))
    }

    /// The way into a guest.
    pub fn inside(&self, guest: &str) -> Result<Inside> {
        let found = GUESTS.iter().find(|known| known.name == guest);
        let found = found.with_context(|| format!("the laboratory has no guest {guest}"))?;
        Ok(Inside::of(&self.plan, found, &self.programs))
    }

    /// Boots something else as a guest, in the place of its cable or its machine, and returns the way in.
    pub fn boot_instead(&self, guest: &str, boot: Boot) -> Result<Inside> {
        let known = GUESTS.iter().find(|known| known.name == guest);
        let known = known.with_context(|| format!("the laboratory has no guest {guest}"))?;
        for component in ["cable", "vm"] {
            if let Some(process) = record::process(&self.plan, &format!("{component}-{guest}")) {
                process.stop()?;
            }
        }
        let mac = installation::registered(&self.cli, known)?.mac;
        let mut command = machine::start(known, &self.plan, &self.programs, mac, boot)?;
        let name = format!("vm-{guest}");
        let log = self.plan.state_dir.join(format!("{name}.log"));
        let process = process::start(&guest::host_netns(&self.plan, known), &name, &mut command, &log)?;
        record::remember_process(&self.plan, &process)?;
        Ok(Inside::Machine(self.plan.run_dir(), guest.to_owned()))
    }

    /// The folder of the programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Calls the CLI, however it ends.
    pub fn call(&self, arguments: &[&str]) -> Result<Answer> {
        self.cli.call(arguments)
    }

    /// Calls the CLI for JSON and wants exit 0.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.cli.json(arguments)
    }

    /// The process last started as `registry`, `agent-h1`, `cable-web1`, `vm-web1` and so on.
    pub fn process(&self, component: &str) -> Result<Record> {
        let record = record::process(&self.plan, component);
        record.with_context(|| format!("the laboratory has no process called {component}"))
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&self, component: &str) -> Result<()> {
        self.process(component)?.kill()
    }

    /// SIGTERM, and waits until it is gone.
    pub fn stop(&self, component: &str) -> Result<()> {
        self.process(component)?.stop()
    }

    /// Starts a component again as it was started first; one that runs stays as it is.
    pub fn start_again(&self, component: &str) -> Result<()> {
        Component::named(&self.plan, component)?.ensure(&self.plan, &self.programs)?;
        if component == "registry" {
            installation::await_registry(&self.plan)?;
        }
        Ok(())
    }

    /// Waits until every host has applied what the registry wants now, and every cable is plugged in.
    pub fn await_settled(&self) -> Result<()> {
        installation::await_settled(&self.plan, &self.cli)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some((lock, watch)) = self.held.take() else {
            return;
        };
        let keep_logs = std::thread::panicking();
        if keep_logs {
            eprintln!(
                "the laboratory's logs are kept in {}",
                self.plan.state_dir.display()
            );
        }
        match down::clear(&self.plan.prefix, &self.plan.state_dir, keep_logs) {
            Ok(()) => {
                lock.remove();
                watch.end();
            }
            // The watch tries once more when its pipe closes, here and now.
            Err(error) => eprintln!("cannot take the laboratory down: {error:#}"),
        }
    }
}

/// FNV-1a: short, and the same in every run.
fn short_hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
