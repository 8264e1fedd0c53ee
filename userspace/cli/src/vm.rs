//! `pairgate vm`.

use crate::arguments::{Name, Options};
use crate::client::Registry;
use crate::ending::{receipts, unanswered};
use crate::failure::{Answer, Failure};
use crate::output::{Table, reply};
use clap::Subcommand;
use pairgate_api::rest::{Address, DENIAL_WAIT_MAX_SECS, NewAddresses, NewPlacement, NewVm, Readdressed, Vm};
use std::net::IpAddr;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a VM record; it has no host yet and no pairs
    #[command(after_help = "Example:\n  pairgate vm create web1 --address 10.77.0.11 --address fd77::11")]
    Create {
        /// Unique in its network; 1 to 63 of a-z, 0-9 and -
        name: Name,
        /// An address of the guest, up to 8 of them; unless given, the registry chooses one of each prefix of the
        /// network
        #[arg(long = "address", value_name = "ADDRESS")]
        addresses: Vec<IpAddr>,
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
    /// Give the VM other addresses; its pairs stay, under new ids
    #[command(
        after_help = "The VM's agent is given a new key with them, and its peers open their pairs anew. Exit code 1 says that \
                      not every host has confirmed in time that the old addresses are done with; the change stands.\n\n\
                      Example:\n  pairgate vm set-addresses web1 10.77.0.12 fd77::12"
    )]
    SetAddresses {
        /// The VM
        #[arg(value_name = "VM")]
        name: Name,
        /// All that it is to have, 1 to 8
        #[arg(value_name = "ADDRESS", required = true)]
        addresses: Vec<IpAddr>,
        /// How long to wait for the hosts' receipts, at most 300; 0 returns as soon as the change cannot be lost
        #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=DENIAL_WAIT_MAX_SECS))]
        timeout: u64,
    },
    /// Remove the VM with all its pairs; when it returns 0, its packets have stopped
    #[command(
        after_help = "Exit code 1 says that not every host has confirmed in time. The removal stands all the same.\n\n\
                      Example:\n  pairgate vm delete web1"
    )]
    Delete {
        /// The VM
        #[arg(value_name = "VM")]
        name: Name,
        /// How long to wait for the hosts' receipts, at most 300; 0 returns as soon as the removal cannot be lost
        #[arg(long, value_name = "SECS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=DENIAL_WAIT_MAX_SECS))]
        timeout: u64,
    },
}

pub(crate) async fn run(command: Command, options: &Options) -> Result<Answer, Failure> {
    let registry = Registry::new(options)?;
    let vms = format!("networks/{}/vms", options.in_network);
    match command {
        Command::Create { name, addresses, mac } => {
            let what = format!("cannot create VM {name}");
            let body = NewVm {
                name: name.into(),
                addresses,
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
        Command::SetAddresses {
            name,
            addresses,
            timeout,
        } => {
            let what = format!("cannot give {name} other addresses");
            let body = NewAddresses {
                addresses,
                timeout_ms: timeout * 1_000,
            };
            let path = format!("{vms}/{name}/addresses");
            let wait = Duration::from_secs(timeout);
            let answer = registry.put_and_wait(&what, &path, &body, wait).await?;
            reply(&answer, options.output, readdressed)?;
            if !answer.value.ended.applied {
                return Err(unanswered("the change", &answer.value.ended, timeout));
            }
        }
        Command::Delete { name, timeout } => {
            let what = format!("cannot confirm that {name} is gone");
            let path = format!("{vms}/{name}?timeout_ms={}", timeout * 1_000);
            let wait = Duration::from_secs(timeout);
            let answer = registry.delete_and_wait(&what, &path, wait).await?;
            reply(&answer, options.output, |ended| {
                format!("VM {name} is deleted; its pairs:\n{}", receipts(ended))
            })?;
            if !answer.value.applied {
                return Err(unanswered("the removal", &answer.value, timeout));
            }
        }
    }
    Ok(Answer::Yes)
}

fn readdressed(readdressed: &Readdressed) -> String {
    let vm = one(&readdressed.vm);
    if readdressed.ended.directions.is_empty() {
        return vm;
    }
    format!(
        "{vm}\n\nwhat its pairs were before:\n{}",
        receipts(&readdressed.ended)
    )
}

fn list(vms: &[Vm]) -> String {
    let mut table = Table::new(["NAME", "ADDRESSES", "MAC", "HOST", "TAP", "GENERATION", "STATE"]);
    for vm in vms {
        let [host, tap, generation, state] = placement(vm);
        table.row([
            vm.name.clone(),
            addresses(vm),
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
        .property("addresses", addresses(vm))
        .property("mac", &vm.mac)
        .property("mtu", vm.mtu)
        .property("host", host)
        .property("tap", tap)
        .property("generation", generation)
        .property("state", state);
    table.render()
}

fn addresses(vm: &Vm) -> String {
    let text = |given: &Address| format!("{}/{}", given.address, given.prefix);
    let all: Vec<_> = vm.addresses.iter().map(text).collect();
    all.join(", ")
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
