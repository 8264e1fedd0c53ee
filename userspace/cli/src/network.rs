//! `pairgate network`.

use crate::arguments::{Name, Options};
use crate::client::Registry;
use crate::failure::{Answer, Failure};
use crate::output::{self, Table, reply};
use clap::Subcommand;
use pairgate_api::rest::{Network, NewNetwork};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a network
    #[command(
        after_help = "Example:\n  pairgate network create default --prefix 10.77.0.0/24 --prefix fd77::/64"
    )]
    Create {
        /// 1 to 63 of a-z, 0-9 and -
        name: Name,
        /// The guests' addresses; one prefix, or one of each family
        #[arg(long = "prefix", value_name = "ADDRESS/LENGTH", required = true)]
        prefixes: Vec<String>,
    },
    /// Remove a network that has no VMs
    #[command(after_help = "Example:\n  pairgate network delete blue")]
    Delete {
        /// The network
        name: Name,
    },
    /// All networks
    #[command(after_help = "Example:\n  pairgate network list")]
    List,
    /// One network
    #[command(after_help = "Example:\n  pairgate network show default")]
    Show {
        /// The network
        name: Name,
    },
}

pub(crate) async fn run(command: Command, options: &Options) -> Result<Answer, Failure> {
    let registry = Registry::new(options)?;
    match command {
        Command::Create { name, prefixes } => {
            let what = format!("cannot create network {name}");
            let body = NewNetwork {
                name: name.into(),
                prefixes,
            };
            let answer = registry.post(&what, "networks", &body).await?;
            reply(&answer, options.output, one)?;
        }
        Command::Delete { name } => {
            let what = format!("cannot delete network {name}");
            let path = format!("networks/{name}");
            let answer = registry.delete_and_wait(&what, &path, Duration::ZERO).await?;
            reply(&answer, options.output, |network: &Network| {
                output::shown(&format!("network {} is deleted", network.name))
            })?;
        }
        Command::List => {
            let answer = registry.get("cannot list networks", "networks").await?;
            reply(&answer, options.output, |networks: &Vec<Network>| list(networks))?;
        }
        Command::Show { name } => {
            let what = format!("cannot show network {name}");
            let answer = registry.get(&what, &format!("networks/{name}")).await?;
            reply(&answer, options.output, one)?;
        }
    }
    Ok(Answer::Yes)
}

fn list(networks: &[Network]) -> String {
    let mut table = Table::new(["NAME", "PREFIXES", "MTU", "ID"]);
    for network in networks {
        let Network {
            id,
            name,
            prefixes,
            mtu,
        } = network;
        table.row([name.clone(), prefixes.join(", "), mtu.to_string(), id.to_string()]);
    }
    table.render()
}

fn one(network: &Network) -> String {
    let mut table = Table::plain();
    table
        .property("name", &network.name)
        .property("id", network.id)
        .property("prefixes", network.prefixes.join(", "))
        .property("mtu", network.mtu);
    table.render()
}
