//! `pairgate network`.

use crate::arguments::{Name, Options};
use crate::client::Registry;
use crate::failure::{Answer, Failure};
use crate::output::{Table, reply};
use clap::Subcommand;
use pairgate_api::rest::{Network, NewNetwork};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a network
    #[command(after_help = "Example:\n  pairgate network create default --prefix 10.77.0.0/24")]
    Create {
        /// 1 to 63 of a-z, 0-9 and -
        name: Name,
        /// The guests' addresses; at most one prefix of each family
        #[arg(long = "prefix", value_name = "ADDRESS/LENGTH", required = true)]
        prefixes: Vec<String>,
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
