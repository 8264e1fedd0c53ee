//! `pairgate vm`.

use crate::arguments::{Name, Options};
use crate::client::Registry;
use crate::failure::{Answer, Failure};
use crate::output::{Table, reply};
use clap::Subcommand;
use pairgate_api::rest::{NewPlacement, NewVm, Vm};
use std::net::IpAddr;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a VM record; it has no host yet and no pairs
    #[command(after_help = "Example:\n  pairgate vm create web1 --address 10.77.0.11")]
    Create {
        /// Unique in its network; 1 to 63 of a-z, 0-9 and -
        name: Name,
        /// The guest's address; chosen by the registry unless given
        #[arg(long)]
        address: Option<IpAddr>,
        /// The guest's MAC address; chosen by the registry unless given
        #[arg(long)]
        mac: Option<String>,
    },
    /// All VMs of the network
    #[command(after_help = "Example:\n  pairgate vm list --network default")]
    List,
    /// One VM, with the name of its tap
    #[command(after_help = "Example:\n  pairgate vm show web1")]
    Show {
        /// The VM
        name: Name,
    },
    /// Say which host runs the VM; its agent then makes the tap
    #[command(after_help = "Example:\n  pairgate vm place web1 h1")]
    Place {
        /// The VM
        #[arg(value_name = "VM")]
        name: Name,
        /// Where it runs from now on
        #[arg(value_name = "HOST")]
        new_host: Name,
    },
}

pub(crate) async fn run(command: Command, options: &Options) -> Result<Answer, Failure> {
    let registry = Registry::new(options)?;
    let vms = format!("networks/{}/vms", options.in_network);
    match command {
        Command::Create { name, address, mac } => {
            let what = format!("cannot create VM {name}");
            let body = NewVm {
                name: name.into(),
                address,
                mac,
            };
            let answer = registry.post(&what, &vms, &body).await?;
            reply(&answer, options.output, one)?;
        }
        Command::List => {
            let answer = registry.get("cannot list VMs", &vms).await?;
            reply(&answer, options.output, |vms: &Vec<Vm>| list(vms))?;
        }
        Command::Show { name } => {
            let what = format!("cannot show VM {name}");
            let answer = registry.get(&what, &format!("{vms}/{name}")).await?;
            reply(&answer, options.output, one)?;
        }
        Command::Place { name, new_host } => {
            let what = format!("cannot place VM {name} on {new_host}");
            let body = NewPlacement {
                host: new_host.into(),
            };
            let answer = registry
                .post(&what, &format!("{vms}/{name}/placement"), &body)
                .await?;
            reply(&answer, options.output, one)?;
        }
    }
    Ok(Answer::Yes)
}

fn list(vms: &[Vm]) -> String {
    let mut table = Table::new(["NAME", "ADDRESS", "MAC", "HOST", "TAP", "GENERATION", "STATE"]);
    for vm in vms {
        let [host, tap, generation, state] = placement(vm);
        table.row([
            vm.name.clone(),
            format!("{}/{}", vm.address, vm.prefix),
            vm.mac.clone(),
            host,
            tap,
            generation,
            state,
        ]);
    }
    table.render()
}

fn one(vm: &Vm) -> String {
    let [host, tap, generation, state] = placement(vm);
    let mut table = Table::plain();
    table
        .property("name", &vm.name)
        .property("id", vm.id)
        .property("network", &vm.network)
        .property("address", format!("{}/{}", vm.address, vm.prefix))
        .property("mac", &vm.mac)
        .property("mtu", vm.mtu)
        .property("host", host)
        .property("tap", tap)
        .property("generation", generation)
        .property("state", state);
    table.render()
}

fn placement(vm: &Vm) -> [String; 4] {
    match &vm.placement {
        Some(at) => [
            at.host.clone(),
            at.tap.clone(),
            at.generation.to_string(),
            at.state.clone(),
        ],
        None => ["-".into(), "-".into(), "-".into(), "not placed".into()],
    }
}
