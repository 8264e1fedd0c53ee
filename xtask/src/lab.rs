//! `lab up|down|status`: a laboratory to play with.

use crate::place::Place;
use crate::{outcome, programs};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use pairgate_lab::plan::{GUESTS, PAIR, Prefix};
use pairgate_lab::programs::Programs;
use pairgate_lab::settings::{Ports, Underlay, Uplink, Vms, Wishes, XdpGuard};
use pairgate_lab::status::Status;
use pairgate_lab::{down, up};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Bring up a whole installation in network namespaces, or start again what is dead of it
    Up(Up),
    /// Remove it without trace; fine when nothing is up
    Down {
        /// Leave the logs in target/lab
        #[arg(long)]
        keep_logs: bool,
    },
    /// Say what it is made of and whether it runs; exit 1 if it does not
    Status {
        #[arg(short, long, value_enum, default_value_t = Form::Table)]
        output: Form,
    },
}

/// What is not given stays as it is in a laboratory that is up.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Number of hosts; 2 unless given
    #[arg(long, value_name = "N")]
    hosts: Option<u8>,
    /// Life of the registry's tokens in seconds
    #[arg(long, value_name = "SECS")]
    token_life: Option<u64>,
    /// Length of the hosts' leases in seconds
    #[arg(long, value_name = "SECS")]
    lease: Option<u64>,
    /// Seconds after which a pair without packets is removed
    #[arg(long, value_name = "SECS")]
    idle: Option<u64>,
    /// Family of the underlay addresses that the host records carry; 4 unless given
    #[arg(long, value_enum, value_name = "4|6")]
    underlay: Option<Underlay>,
    /// By what hosts see guests: taps, or veth pairs of the same names for benchmarks
    #[arg(long, value_enum)]
    ports: Option<Ports>,
    /// How uplinks behave: as veth does by itself, or cutting and gathering packets as network cards do
    #[arg(long, value_enum)]
    uplink: Option<Uplink>,
    /// What guests are: network namespaces, or machines of their own under QEMU
    #[arg(long, value_enum)]
    vms: Option<Vms>,
    /// What agents are told of the guard in their uplinks' drivers; auto unless given, which is never on here
    #[arg(long, value_enum)]
    xdp_guard: Option<XdpGuard>,
    /// Guests finish every packet themselves, no larger than the MTU
    #[arg(long)]
    no_offload: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Form {
    Table,
    Json,
}

pub(crate) fn run(place: &Place, verb: Verb) -> Result<()> {
    match verb {
        Verb::Up(wanted) => bring_up(place, &wanted),
        Verb::Down { keep_logs } => {
            if !pairgate_lab::is_root() {
                return Err(outcome::continue_as_root(&outcome::own_arguments()).into());
            }
            down::down(&Prefix::lab(), &state_dir(place), keep_logs)?;
            println!("laboratory down");
            Ok(())
        }
        Verb::Status { output } => show_status(place, output),
    }
}

fn state_dir(place: &Place) -> PathBuf {
    place.target.join("lab")
}

fn bring_up(place: &Place, wanted: &Up) -> Result<()> {
    programs::build_as_root(place)?;
    let wishes = Wishes {
        hosts: wanted.hosts,
        token_life_secs: wanted.token_life,
        lease_secs: wanted.lease,
        idle_secs: wanted.idle,
        underlay: wanted.underlay,
        ports: wanted.ports,
        uplink: wanted.uplink,
        vms: wanted.vms,
        offload: wanted.no_offload.then_some(false),
        xdp_guard: wanted.xdp_guard,
    };
    let programs = Programs::in_folder(&place.programs());
    let plan = up::up(
        &Prefix::lab(),
        &state_dir(place),
        wishes,
        &programs,
        &mut |step| eprintln!("    {step}"),
    )
    .context("could not bring the laboratory up; `cargo xtask lab down` clears away what there is of it")?;
    println!("{}", Status::of(&plan.state_dir)?.table());
    let cli = plan.state_dir.join("pairgate");
    let cli = cli.strip_prefix(&place.root).unwrap_or(&cli).display();
    println!(
        "A new laboratory lets {} and {} talk and nobody else; {cli} pair list says who may now. Try:",
        PAIR.0, PAIR.1
    );
    println!("  {cli} status");
    let guest = plan.state_dir.join("guest");
    let guest = guest.strip_prefix(&place.root).unwrap_or(&guest).display();
    for other in GUESTS.iter().filter(|guest| guest.name == PAIR.1) {
        for (address, _) in other.addresses() {
            println!("  {guest} {} ping -c 3 {address}", PAIR.0);
        }
    }
    println!("  {cli} pair deny {} {}", PAIR.0, PAIR.1);
    println!("  cargo xtask lab down");
    Ok(())
}

fn show_status(place: &Place, output: Form) -> Result<()> {
    let status = Status::of(&state_dir(place))?;
    match output {
        Form::Table => print!("{}", status.table()),
        Form::Json => println!("{}", serde_json::to_string_pretty(&status)?),
    }
    if !status.up {
        bail!("the laboratory is not up");
    }
    Ok(())
}
