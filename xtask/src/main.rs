//! Everything one does with this checkout: `cargo xtask help` lists it.
//!
//! Exit codes: 0 done, 1 failed, 2 it needs something from the caller and says what.

mod bench;
mod demo;
mod ebpf;
mod lab;
mod manual;
mod outcome;
mod place;
mod programs;
mod prove;
mod quality;
mod step;
mod test;
mod toolchain;
mod tools;
mod turn;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use outcome::NeedsCaller;
use pairgate_machine::apt::NeedsRoot;
use place::Place;
use std::path::PathBuf;
use std::process::ExitCode;
use test::Checkout;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Builds, tests, laboratory and demo of this checkout"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
    /// Keep what is built in another folder than `target`
    #[arg(long, global = true, hide = true, value_name = "FOLDER")]
    target_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the programs that run in the kernel, fetching a compiler for them if none is there
    BuildEbpf {
        /// Fetch what is missing without being root
        #[arg(long)]
        yes: bool,
    },
    /// A whole installation in network namespaces, to play with; needs root
    #[command(subcommand)]
    Lab(lab::Verb),
    /// What Pairgate promises, shown line by line in a laboratory of its own; needs root
    Demo {
        /// Write the lines into this file too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// What it costs: Pairgate and a kernel VXLAN device with bridges, measured in turn on the same ground; needs root
    Bench(bench::Wanted),
    /// The manual pages and completion scripts of the CLI, into target/man and target/completions
    Man,
    /// Every check, from format to end to end; needs root
    Test {
        /// Run this stage alone; may be given again
        #[arg(long = "stage", value_name = "NAME", value_parser = PossibleValuesParser::new(test::names()))]
        stages: Vec<String>,
        /// Run the datapath suite on this kernel alone, under QEMU if it is not the running one; may be given again
        #[arg(long = "kernel", value_name = "KERNEL", conflicts_with = "stages",
              value_parser = PossibleValuesParser::new(test::kernels::names()))]
        kernels: Vec<String>,
    },
    /// Every parser that reads bytes from outside, tried with bytes that libFuzzer makes up
    Fuzz(quality::fuzz::Wanted),
    /// Which branches of the decision and token crates no test takes
    Coverage,
    /// Changes the decision and token crates in every small way: which changes no test notices
    Mutants(quality::mutants::Wanted),
    /// What `test` does, on a checkout without changes: `git status` must be clean after all stages too
    Ci,
    /// What takes too long for `test`, such as a hundred million packets through programs and oracle; needs root
    Prove(prove::Wanted),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut place = Place::of_this_checkout();
    if let Some(target) = arguments.target_dir {
        place.target = std::path::absolute(&target).unwrap_or(target);
    }
    let result = match arguments.task {
        Task::BuildEbpf { yes } => ebpf::build(&place, yes),
        Task::Lab(verb) => lab::run(&place, verb),
        Task::Demo { json } => demo::run(&place, json.as_deref()),
        Task::Bench(wanted) => bench::run(&place, &wanted),
        Task::Man => manual::write(&place),
        Task::Test { kernels, .. } if !kernels.is_empty() => test::kernels::run(&place, &kernels),
        Task::Test { stages, .. } => test::run(&place, Checkout::MayHaveChanges, &stages),
        Task::Fuzz(wanted) => quality::fuzz::run(&place, &wanted),
        Task::Coverage => quality::coverage::run(&place),
        Task::Mutants(wanted) => quality::mutants::run(&place, &wanted),
        Task::Ci => test::run(&place, Checkout::MustBeClean, &[]),
        Task::Prove(wanted) => prove::run(&place, &wanted),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<NeedsCaller>() || error.is::<NeedsRoot>() => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
