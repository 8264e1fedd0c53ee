//! `pairgate network`.

use crate::arguments::{Name, Options};
use crate::client::Registry;
use crate::failure::{Answer, Failure};
use crate::output::{self, Table, reply};
use clap::{Args, Subcommand};
use pairgate_api::rest::{Network, NetworkChange, NewNetwork};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// What guests are told besides their addresses.
#[derive(Debug, Args)]
pub(crate) struct Told {
    /// The router of the IPv4 guests, an address of the IPv4 prefix that no VM has; its first one from the start
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<Ipv4Addr>,
    /// A DNS server of the guests, up to 4 of them, the preferred one first
    #[arg(long = "dns", value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// The guests' DNS search domain
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// MTU of the guests' interfaces, 1280 to 9000; 1500 from the start
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a network
    #[command(
        after_help = "Example:\n  pairgate network create default --prefix 10.77.0.0/24 --prefix fd77::/64 --dns 192.0.2.53"
    )]
    Create {
        /// 1 to 63 of a-z, 0-9 and -
        name: Name,
        /// The guests' addresses; one prefix, or one of each family
        #[arg(long = "prefix", value_name = "ADDRESS/LENGTH", required = true)]
        prefixes: Vec<String>,
        #[command(flatten)]
        told: Told,
    },
    /// Tell the guests of a network something else; what is not named stays
    #[command(
        after_help = "A guest hears of it with its next question: when it renews its lease, or starts.\n\n\
                      Example:\n  pairgate network set default --dns 192.0.2.53 --domain corp.example"
    )]
    Set {
        /// The network
        name: Name,
        #[command(flatten)]
        told: Told,
        /// Take all DNS servers away
        #[arg(long, conflicts_with = "dns")]
        no_dns: bool,
        /// Take the domain away
        #[arg(long, conflicts_with = "domain")]
        no_domain: bool,
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
        Command::Create { name, prefixes, told } => {
            let what = format!("cannot create network {name}");
            let body = NewNetwork {
                name: name.into(),
                prefixes,
                gateway: told.gateway,
                dns: told.dns,
                domain: told.domain,
                mtu: told.mtu,
            };
            let answer = registry.post(&what, "networks", &body).await?;
            reply(&answer, options.output, one)?;
        }
        Command::Set {
            name,
            told,
            no_dns,
            no_domain,
        } => {
            let what = format!("cannot configure network {name}");
            let body = NetworkChange {
                gateway: told.gateway,
                dns: (no_dns || !told.dns.is_empty()).then_some(told.dns),
                domain: told.domain.or_else(|| no_domain.then(String::new)),
                mtu: told.mtu,
            };
            if body == NetworkChange::default() {
                return Err(Failure::usage(what, "nothing is named that is to change")
                    .next("give --gateway, --dns, --domain or --mtu"));
            }
            let path = format!("networks/{name}");
            let answer = registry.patch(&what, &path, &body).await?;
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
            gateway: _,
            dns: _,
            domain: _,
        } = network;
        table.row([name.clone(), prefixes.join(", "), mtu.to_string(), id.to_string()]);
    }
    table.render()
}

fn one(network: &Network) -> String {
    let dns: Vec<_> = network.dns.iter().map(ToString::to_string).collect();
    let mut table = Table::plain();
    table
        .property("name", &network.name)
        .property("id", network.id)
        .property("prefixes", network.prefixes.join(", "))
        .property("gateway", told(network.gateway.as_ref()))
        .property(
            "dns",
            if dns.is_empty() {
                "-".to_owned()
            } else {
                dns.join(", ")
            },
        )
        .property("domain", told(network.domain.as_ref()))
        .property("mtu", network.mtu);
    table.render()
}

fn told(value: Option<&impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}
