//! What the command reads from others, without the command around it: for whoever tries to break it.

use crate::{
    arguments::{Cli, Name},
    audit::Noted,
    desired::file::Wanted,
};
use clap::Parser;

/// A file of what should be; its faults, each with its line.
pub fn desired(text: &str) -> Result<(), Vec<String>> {
    let default = "default"
        .parse::<Name>()
        .map_err(|error| vec![error.to_string()])?;
    match Wanted::parse(text, &default) {
        Ok(_) => Ok(()),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}

/// A command line without the program's name; the exit code of a refusal.
pub fn command_line(words: &[&str]) -> Result<(), i32> {
    let words = std::iter::once("pairgate").chain(words.iter().copied());
    Cli::try_parse_from(words)
        .map(|_| ())
        .map_err(|error| error.exit_code())
}

/// A row of the audit as somebody noted it; whether it is one.
pub fn noted(text: &str) -> bool {
    text.parse::<Noted>().is_ok()
}
