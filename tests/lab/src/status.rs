//! What a laboratory is made of and whether it runs.

use crate::installation::Component;
use crate::netns::Netns;
use crate::plan::{GUEST_INTERFACE, GUEST_PREFIX, GUESTS, Host, NETWORK, Plan, UPLINK};
use crate::record::{self, Memory};
use crate::settings::{Settings, Vms};
use anyhow::Result;
use serde::Serialize;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The whole picture.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether everything that belongs to the laboratory is there and runs.
    pub up: bool,
    pub processes: Vec<Process>,
    pub hosts: Vec<HostStatus>,
    pub vms: Vec<VmStatus>,
    pub registry: Option<RegistryStatus>,
    /// How it was brought up.
    pub settings: Option<Settings>,
    pub state_dir: PathBuf,
}

#[derive(Clone, Debug, Serialize)]
pub struct Process {
    pub name: String,
    /// None if it does not run.
    pub pid: Option<i32>,
    pub netns: String,
    pub log: PathBuf,
}

#[derive(Clone, Debug, Serialize)]
pub struct HostStatus {
    pub name: String,
    pub netns: String,
    pub uplink: String,
    /// The one that its record carries.
    pub address: IpAddr,
    pub addresses: Vec<IpAddr>,
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    pub pin_dir: PathBuf,
}

#[derive(Clone, Debug, Serialize)]
pub struct VmStatus {
    pub name: String,
    pub network: String,
    /// None if it is a machine of its own.
    pub netns: Option<String>,
    pub interface: String,
    pub address: IpAddr,
    pub prefix: u8,
    /// All of them, as `address/prefix`.
    pub addresses: Vec<String>,
    /// Where it was placed at the start, and the tap there.
    pub host: String,
    pub tap: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct RegistryStatus {
    pub netns: String,
    pub address: String,
    pub state_dir: PathBuf,
    /// The operator's CLI, set to this laboratory.
    pub cli: PathBuf,
}

impl Status {
    /// Looks at the laboratory that keeps its state in this folder.
    pub fn of(state_dir: &Path) -> Result<Self> {
        let state_dir = std::path::absolute(state_dir)?;
        let Some(memory) = Memory::read(&state_dir)? else {
            let (processes, hosts, vms) = Default::default();
            return Ok(Self {
                up: false,
                processes,
                hosts,
                vms,
                registry: None,
                settings: None,
                state_dir,
            });
        };
        let plan = memory.plan;
        let processes: Vec<_> = Component::all(&plan)
            .iter()
            .map(|component| process(&plan, component))
            .collect();
        let there = plan
            .namespaces()
            .iter()
            .all(|short| Netns::named(&plan.netns(short)).exists());
        let up = memory.populated && there && processes.iter().all(|process| process.pid.is_some());
        let registry = RegistryStatus {
            netns: plan.netns("reg"),
            address: plan.registry(),
            state_dir: plan.registry_dir(),
            cli: plan.state_dir.join("pairgate"),
        };
        let hosts = plan.hosts().map(|host| host_status(&plan, host)).collect();
        let vms = GUESTS.iter().map(|guest| VmStatus {
            name: guest.name.to_owned(),
            network: NETWORK.to_owned(),
            netns: (plan.settings.vms == Vms::Netns).then(|| plan.netns(guest.name)),
            interface: GUEST_INTERFACE.to_owned(),
            address: guest.address.into(),
            prefix: GUEST_PREFIX,
            addresses: guest
                .addresses()
                .iter()
                .map(|(address, prefix)| format!("{address}/{prefix}"))
                .collect(),
            host: Host { number: guest.host }.name(),
            tap: guest.tap(),
        });
        Ok(Self {
            up,
            processes,
            hosts,
            vms: vms.collect(),
            registry: Some(registry),
            settings: Some(plan.settings),
            state_dir,
        })
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let state = if self.up { "up" } else { "not up" };
        let _ = writeln!(text, "laboratory  {state}, state in {}", self.state_dir.display());
        if let Some(settings) = &self.settings {
            let _ = writeln!(text, "settings    {settings}");
        }
        for host in &self.hosts {
            let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                text,
                "host        {:<8} {:<12} {}",
                host.name,
                host.netns,
                addresses.join(" ")
            );
        }
        for vm in &self.vms {
            let at = vm.addresses.join(" ");
            let _ = writeln!(
                text,
                "vm          {:<8} {:<12} {at} on {}",
                vm.name,
                vm.netns.as_deref().unwrap_or("(qemu)"),
                vm.host
            );
        }
        if let Some(registry) = &self.registry {
            let _ = writeln!(
                text,
                "registry    {:<8} {:<12} {}",
                "", registry.netns, registry.address
            );
            let _ = writeln!(text, "cli         {}", registry.cli.display());
            let _ = writeln!(
                text,
                "in guests   {} NAME COMMAND",
                self.state_dir.join("guest").display()
            );
        }
        for process in &self.processes {
            let pid = process.pid.map_or("dead".to_owned(), |pid| pid.to_string());
            let _ = writeln!(
                text,
                "process     {:<12} {pid:<8} {}",
                process.name,
                process.log.display()
            );
        }
        text
    }
}

fn process(plan: &Plan, component: &Component) -> Process {
    let name = component.name();
    let record = record::process(plan, &name);
    let netns = record
        .as_ref()
        .map(|record| record.netns.clone())
        .unwrap_or_default();
    let log = record
        .as_ref()
        .map(|record| record.log.clone())
        .unwrap_or_default();
    let pid = record.filter(|record| record.is_alive()).map(|record| record.pid);
    Process {
        name,
        pid,
        netns,
        log,
    }
}

fn host_status(plan: &Plan, host: Host) -> HostStatus {
    let name = host.name();
    HostStatus {
        netns: plan.netns(&name),
        uplink: UPLINK.to_owned(),
        address: host.recorded(plan.settings.underlay),
        addresses: vec![host.address().into(), host.address_6().into()],
        state_dir: plan.host_dir(&name),
        run_dir: plan.run_dir().join(&name),
        pin_dir: plan.pin_dir(&name),
        name,
    }
}
