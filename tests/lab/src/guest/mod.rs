//! Ways into guests: a command run in a guest is the same command, be the guest a namespace or a machine of its own.
//!
//! | wanted | where |
//! |---|---|
//! | run something in a guest | [`Inside`] |
//! | how a machine is asked to run something | [`channel`]: the host's end; [`serve`]: the guest's |
//! | the machine itself | [`machine`] |
//! | what it boots | [`image`], or a whole [`debian`] |

pub mod channel;
pub mod debian;
pub mod image;
pub mod machine;
pub mod serve;

use crate::netns::Netns;
use crate::plan::{Guest, Host, Plan};
use crate::process;
use crate::programs::Programs;
use crate::settings::Vms;
use anyhow::{Context, Result, bail};
use channel::Job;
use nix::sched::{CloneFlags, setns};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A guest of a laboratory, from the inside.
#[derive(Clone, Debug)]
pub enum Inside {
    /// A namespace of this machine, with the folder of the laboratory's programs.
    Netns(Netns, Programs),
    /// A machine of its own: the folder of its sockets, and its name.
    Machine(PathBuf, String),
}

/// What a command in a guest ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// 128 and above: killed, or never started.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Inside {
    /// The way into a guest.
    pub fn of(plan: &Plan, guest: &Guest, programs: &Programs) -> Self {
        match plan.settings.vms {
            Vms::Netns => Self::Netns(Netns::named(&plan.netns(guest.name)), programs.clone()),
            Vms::Qemu => Self::Machine(plan.run_dir(), guest.name.to_owned()),
        }
    }

    /// Runs a command to its end, but no longer than `limit`.
    pub fn run(&self, argv: &[&str], limit: Duration) -> Result<Ended> {
        match self {
            Self::Netns(netns, _) => {
                let (program, arguments) = argv.split_first().context("no command is given")?;
                let output = process::output_within(netns, Command::new(program).args(arguments), limit)?;
                Ok(Ended {
                    code: output.status.code().unwrap_or(128),
                    stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
                })
            }
            Self::Machine(folder, name) => Job::start(folder, name, argv, "")?.finish(limit),
        }
    }

    /// Runs one of this laboratory's probes (`pairgate-lab probe …`), and reads what it found.
    pub fn probe<T: DeserializeOwned>(&self, arguments: &[&str], limit: Duration) -> Result<T> {
        let program = self.own_program()?;
        let argv: Vec<&str> = [program.as_str(), "probe"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let ended = self.run(&argv, limit)?;
        if ended.code != 0 {
            bail!(
                "`probe {}` in {self}: {}",
                arguments.join(" "),
                ended.stderr.trim()
            );
        }
        serde_json::from_str(&ended.stdout).with_context(|| {
            format!(
                "`probe {}` in {self} said `{}`",
                arguments.join(" "),
                ended.stdout
            )
        })
    }

    /// Where `pairgate-lab` lies in there.
    fn own_program(&self) -> Result<String> {
        Ok(match self {
            Self::Netns(_, programs) => programs.path("pairgate-lab")?.display().to_string(),
            Self::Machine(..) => image::OWN_PROGRAM.to_owned(),
        })
    }

    /// Starts a probe that goes on until it is stopped; only in machines, where nothing else is to be had.
    pub fn start_probe(&self, arguments: &[&str], stdin: &str) -> Result<Job> {
        let Self::Machine(folder, name) = self else {
            bail!("probes in namespaces are called, not started as programs");
        };
        let argv: Vec<&str> = [image::OWN_PROGRAM, "probe"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        Job::start(folder, name, &argv, stdin)
    }

    /// Becomes the command inside the guest, for people; returns its exit code if it ran elsewhere.
    pub fn become_it(&self, argv: &[String]) -> Result<u8> {
        let (program, arguments) = argv.split_first().context("no command is given")?;
        match self {
            Self::Netns(netns, _) => {
                let file = File::open(netns.path())
                    .with_context(|| format!("the laboratory is not up: no namespace {}", netns.name()))?;
                setns(&file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter {}; are you root?", netns.name()))?;
                let failed = Command::new(program).args(arguments).exec();
                Err(failed).with_context(|| format!("cannot run {program}"))
            }
            Self::Machine(folder, name) => {
                let words: Vec<&str> = argv.iter().map(String::as_str).collect();
                let mut job = Job::start(folder, name, &words, "")?;
                while let Some(said) = job.next(None)? {
                    match said {
                        channel::Said::Out(text) => write!(std::io::stdout(), "{text}")?,
                        channel::Said::Err(text) => write!(std::io::stderr(), "{text}")?,
                        channel::Said::Ended(code) => return Ok(u8::try_from(code).unwrap_or(u8::MAX)),
                    }
                    std::io::stdout().flush()?;
                }
                bail!("{self} said no more")
            }
        }
    }
}

impl std::fmt::Display for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Netns(netns, _) => f.write_str(netns.name()),
            Self::Machine(_, name) => f.write_str(name),
        }
    }
}

/// The host's namespace in which a guest's machine runs.
pub(crate) fn host_netns(plan: &Plan, guest: &Guest) -> Netns {
    Netns::named(&plan.netns(&Host { number: guest.host }.name()))
}
