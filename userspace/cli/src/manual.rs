//! Completions and manual pages, both made from the definition in [`crate::arguments`] and from nothing else.

use crate::arguments::Cli;
use crate::failure::{Answer, Failure};
use crate::output;
use clap::{CommandFactory, ValueEnum};
use std::fs;
use std::path::Path;

/// Shells that people of hypervisors use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn completion(shell: Shell) -> Result<Answer, Failure> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pairgate", &mut script);
    output::line(&String::from_utf8_lossy(&script))?;
    Ok(Answer::Yes)
}

pub(crate) fn pages(folder: &Path) -> Result<Answer, Failure> {
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .map_err(|error| {
            Failure::failed(
                format!("cannot write manual pages into {}", folder.display()),
                error.to_string(),
            )
            .next("name a folder that can be written to")
        })?;
    Ok(Answer::Yes)
}
