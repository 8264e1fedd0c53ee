//! What runs in a laboratory: the registry with its first objects, the agents, the cables.

use crate::cli::Cli;
use crate::guest::{Inside, machine};
use crate::netns::Netns;
use crate::plan::{
    GUEST_INTERFACE, GUESTS, Guest, Host, METRICS, NETWORK, NETWORK_PREFIXES, PAIR, Plan, UPLINK,
};
use crate::programs::Programs;
use crate::settings::{Ports, Vms};
use crate::{cable, patience, process, record};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Deserialize;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long a program may take from its start until it answers.
const START: Duration = Duration::from_secs(20);
/// How long hosts may take from then until they have applied what the registry wants.
const SETTLE: Duration = Duration::from_secs(60);

/// A process of the laboratory, and everything needed to start it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    Registry,
    Agent(Host),
    Cable(Guest),
    Machine(Guest),
}

impl Component {
    /// All of a plan, in the order in which they are started.
    pub fn all(plan: &Plan) -> Vec<Self> {
        let agents = plan.hosts().map(Self::Agent);
        let settings = &plan.settings;
        let join = match (settings.vms, settings.ports) {
            (Vms::Qemu, _) => Some(Self::Machine as fn(Guest) -> Self),
            (Vms::Netns, Ports::Tap) => Some(Self::Cable as fn(Guest) -> Self),
            (Vms::Netns, Ports::Veth) => None,
        };
        let guests = join.map(|join| GUESTS.map(join)).into_iter().flatten();
        std::iter::once(Self::Registry)
            .chain(agents)
            .chain(guests)
            .collect()
    }

    /// The one called so, as [`Component::name`] says.
    pub fn named(plan: &Plan, name: &str) -> Result<Self> {
        let all = Self::all(plan);
        let found = all.iter().copied().find(|component| component.name() == name);
        let known = || {
            all.iter()
                .map(|component| component.name())
                .collect::<Vec<_>>()
                .join(", ")
        };
        found.with_context(|| format!("the laboratory has no {name}; it has {}", known()))
    }

    /// `registry`, `agent-h1`, `cable-web1` or `vm-web1` and so on.
    pub fn name(&self) -> String {
        match self {
            Self::Registry => "registry".to_owned(),
            Self::Agent(host) => format!("agent-{}", host.name()),
            Self::Cable(guest) => format!("cable-{}", guest.name),
            Self::Machine(guest) => format!("vm-{}", guest.name),
        }
    }

    fn netns(&self, plan: &Plan) -> Netns {
        let short = match self {
            Self::Registry => "reg".to_owned(),
            Self::Agent(host) => host.name(),
            Self::Cable(guest) => guest.name.to_owned(),
            Self::Machine(guest) => Host { number: guest.host }.name(),
        };
        Netns::named(&plan.netns(&short))
    }

    fn folder(&self, plan: &Plan) -> PathBuf {
        match self {
            Self::Registry => plan.registry_dir(),
            Self::Agent(host) => plan.host_dir(&host.name()),
            Self::Cable(_) => plan.state_dir.join("cables"),
            Self::Machine(_) => plan.state_dir.join("vms"),
        }
    }

    /// Starts it unless it runs. Returns whether it was started.
    pub fn ensure(&self, plan: &Plan, programs: &Programs) -> Result<bool> {
        if record::process(plan, &self.name()).is_some_and(|process| process.is_alive()) {
            return Ok(false);
        }
        let folder = self.folder(plan);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut command = match self {
            Self::Registry => registry_command(plan, programs)?,
            Self::Agent(host) => agent_command(*host, plan, programs)?,
            Self::Cable(guest) => cable_command(guest, plan, programs)?,
            Self::Machine(guest) => machine::command(guest, plan, programs)?,
        };
        let log = folder.join(format!("{}.log", self.name()));
        let process = process::start(&self.netns(plan), &self.name(), &mut command, &log)?;
        record::remember_process(plan, &process)?;
        Ok(true)
    }
}

fn registry_command(plan: &Plan, programs: &Programs) -> Result<Command> {
    let mut command = Command::new(programs.path("pairgate-registry")?);
    command
        .arg("serve")
        .arg("--state-dir")
        .arg(plan.registry_dir())
        .args(["--listen", &plan.registry()]);
    if let Some(secs) = plan.settings.token_life_secs {
        command.args(["--token-life", &secs.to_string()]);
    }
    if let Some(secs) = plan.settings.lease_secs {
        command.args(["--lease", &secs.to_string()]);
    }
    Ok(command)
}

fn agent_command(host: Host, plan: &Plan, programs: &Programs) -> Result<Command> {
    let name = host.name();
    let (run_dir, pin_dir, registry) = (
        plan.run_dir().join(&name),
        plan.pin_dir(&name),
        plan.registry_dir(),
    );
    fs::create_dir_all(&run_dir).with_context(|| format!("cannot make {}", run_dir.display()))?;
    fs::create_dir_all(&pin_dir).with_context(|| format!("cannot make {}", pin_dir.display()))?;
    let mut command = Command::new(programs.path("pairgate-agent")?);
    command.args([
        "run",
        "--host",
        &name,
        "--registry",
        &plan.registry(),
        "--uplink",
        UPLINK,
    ]);
    command.arg("--state-dir").arg(plan.host_dir(&name));
    command
        .arg("--run-dir")
        .arg(run_dir)
        .arg("--pin-dir")
        .arg(pin_dir);
    command.arg("--authority").arg(registry.join("ca.pem"));
    command.arg("--zero-cert").arg(registry.join("zero.pem"));
    command.arg("--zero-key").arg(registry.join("zero.key"));
    command.args(["--metrics", METRICS]);
    if let Some(secs) = plan.settings.idle_secs {
        command.args(["--idle", &secs.to_string()]);
    }
    if let Some(guard) = plan.settings.xdp_guard.to_possible_value() {
        command.args(["--xdp-guard", guard.get_name()]);
    }
    Ok(command)
}

fn cable_command(guest: &Guest, plan: &Plan, programs: &Programs) -> Result<Command> {
    let report = cable_report(plan, guest);
    // Else the word of the cable before this one would count as this one's.
    let _ = fs::remove_file(&report);
    let host = Host { number: guest.host };
    let mut command = Command::new(programs.path("pairgate-lab")?);
    command.args(["cable", "--name", guest.name]);
    command.args(["--tap", &guest.tap(), "--tap-netns", &plan.netns(&host.name())]);
    command.args([
        "--guest",
        GUEST_INTERFACE,
        "--guest-netns",
        &plan.netns(guest.name),
    ]);
    command.arg("--report").arg(report);
    if !plan.settings.offload {
        command.arg("--no-offload");
    }
    Ok(command)
}

fn cable_report(plan: &Plan, guest: &Guest) -> PathBuf {
    plan.state_dir
        .join("cables")
        .join(format!("{}.state", guest.name))
}

/// Makes the registry's folder: its own CA and its first certificates.
pub fn initialise(plan: &Plan, programs: &Programs) -> Result<()> {
    let mut command = Command::new(programs.path("pairgate-registry")?);
    command.arg("init").arg("--state-dir").arg(plan.registry_dir());
    command.args(["--address", &plan.registry_address().to_string()]);
    command.args(["--address", &plan.registry_address_6().to_string()]);
    let netns = Netns::named(&plan.netns("reg"));
    let output = process::output_within(&netns, &mut command, START)?;
    if !output.status.success() {
        bail!(
            "`pairgate-registry init` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Waits until the registry takes connections.
pub fn await_registry(plan: &Plan) -> Result<()> {
    let address: SocketAddr = plan.registry().parse().context("the registry's address")?;
    let netns = Netns::named(&plan.netns("reg"));
    patience::until(START, "the registry takes connections", || {
        let answers = netns.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())?;
        if !answers {
            must_live(plan, &Component::Registry)?;
        }
        Ok(answers.then_some(()))
    })
}

/// Makes the network, the host records, the guests with their placements, and the one pair, as an operator would.
pub fn populate(plan: &Plan, cli: &Cli) -> Result<()> {
    let mut network = vec!["network", "create", NETWORK];
    for prefix in NETWORK_PREFIXES {
        network.extend(["--prefix", prefix]);
    }
    cli.done(&network)?;
    for host in plan.hosts() {
        cli.done(&[
            "host",
            "create",
            &host.name(),
            "--address",
            &host.recorded(plan.settings.underlay).to_string(),
        ])?;
    }
    for guest in GUESTS {
        create_vm(cli, &guest)?;
        cli.done(&["vm", "place", guest.name, &Host { number: guest.host }.name()])?;
    }
    cli.done(&["pair", "allow", PAIR.0, PAIR.1])?;
    Ok(())
}

fn create_vm(cli: &Cli, guest: &Guest) -> Result<()> {
    let addresses = guest.addresses().map(|(address, _)| address.to_string());
    let mut create = vec!["vm", "create", guest.name];
    for address in &addresses {
        create.extend(["--address", address]);
    }
    cli.done(&create).map(drop)
}

/// What the registry knows of a guest.
#[derive(Clone, Debug)]
pub struct Registered {
    pub id: String,
    pub mac: [u8; 6],
}

/// Asks the registry about a guest.
pub fn registered(cli: &Cli, guest: &Guest) -> Result<Registered> {
    #[derive(Deserialize)]
    struct Vm {
        id: String,
        mac: String,
    }
    let vm: Vm = serde_json::from_value(cli.json(&["vm", "show", guest.name])?)
        .with_context(|| format!("`vm show {}` says no id and no MAC", guest.name))?;
    let parts: Option<Vec<u8>> = vm
        .mac
        .split(':')
        .map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    let mac = parts.and_then(|parts| <[u8; 6]>::try_from(parts).ok());
    let mac =
        mac.with_context(|| format!("the registry says that {} has the MAC `{}`", guest.name, vm.mac))?;
    Ok(Registered { id: vm.id, mac })
}

/// Waits until every host has applied what the registry wants now, and every guest is joined to its tap: its cable
/// is plugged in, or its machine has booted.
pub fn await_settled(plan: &Plan, cli: &Cli) -> Result<()> {
    #[derive(Deserialize)]
    struct Status {
        revision: u64,
        hosts: Vec<HostStatus>,
    }
    #[derive(Deserialize)]
    struct HostStatus {
        connected: bool,
        applied_revision: Option<u64>,
    }
    let what = "every host has applied the registry's goal state";
    patience::until(SETTLE, what, || {
        for component in Component::all(plan) {
            must_live(plan, &component)?;
        }
        let status: Status =
            serde_json::from_value(cli.json(&["status"])?).context("`status` makes no sense")?;
        let settled = |host: &HostStatus| {
            host.connected
                && host
                    .applied_revision
                    .is_some_and(|applied| applied >= status.revision)
        };
        let all_there = status.hosts.len() >= usize::from(plan.settings.hosts);
        Ok((all_there && status.hosts.iter().all(settled)).then_some(()))
    })?;
    for component in Component::all(plan) {
        match component {
            Component::Cable(guest) => await_cable(plan, &guest)?,
            Component::Machine(guest) => await_machine(plan, &guest, cli.programs())?,
            Component::Registry | Component::Agent(_) => {}
        }
    }
    Ok(())
}

/// Waits until a guest's machine runs a command.
pub fn await_machine(plan: &Plan, guest: &Guest, programs: &Programs) -> Result<()> {
    let component = Component::Machine(*guest);
    machine::await_up(&Inside::of(plan, guest, programs), || must_live(plan, &component))
}

/// Waits until a guest's cable is plugged in at both ends.
pub fn await_cable(plan: &Plan, guest: &Guest) -> Result<()> {
    let what = format!("the cable of {} is plugged in at both ends", guest.name);
    patience::until(START, &what, || {
        must_live(plan, &Component::Cable(*guest))?;
        Ok(cable::is_attached(&cable_report(plan, guest)).then_some(()))
    })
}

/// An error with the last words of a process that should run and does not.
fn must_live(plan: &Plan, component: &Component) -> Result<()> {
    let name = component.name();
    let Some(process) = record::process(plan, &name) else {
        bail!("{name} was never started");
    };
    if !process.is_alive() {
        bail!(
            "{name} has ended; the end of {}:\n{}",
            process.log.display(),
            process.last_words()
        );
    }
    Ok(())
}
