//! `pairgate host`.

use crate::arguments::{Name, Options};
use crate::client::Registry;
use crate::failure::{Answer, Failure};
use crate::output::{self, Table, reply};
use crate::times::utc;
use clap::Subcommand;
use pairgate_api::rest::{Host, NewHost, RemovedHost};
use std::net::IpAddr;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a host record, which then waits for the host's agent to enrol
    #[command(after_help = "Example:\n  pairgate host create h1 --address 192.0.2.1")]
    Create {
        /// 1 to 63 of a-z, 0-9 and -
        name: Name,
        /// The host's underlay address, IPv4 or IPv6; hosts of different families cannot reach each other
        #[arg(long)]
        address: IpAddr,
        /// Where other agents reach its agent; 7444 unless given
        #[arg(long, value_name = "PORT")]
        agent_port: Option<u16>,
        /// UDP port at which it receives the overlay; 4789 unless given
        #[arg(long, value_name = "PORT")]
        overlay_port: Option<u16>,
    },
    /// Let a record wait for another key; the certificate that its host has is refused from then on
    #[command(after_help = "Example: h1 was installed anew\n  pairgate host reset h1")]
    Reset {
        /// The host
        name: Name,
    },
    /// Remove a host on which no VM is placed; its certificate is refused from then on
    #[command(after_help = "Example: h3 is taken out of service\n  pairgate host delete h3")]
    Delete {
        /// The host
        name: Name,
    },
    /// All hosts
    #[command(after_help = "Example:\n  pairgate host list")]
    List,
    /// One host
    #[command(after_help = "Example:\n  pairgate host show h1")]
    Show {
        /// The host
        name: Name,
    },
}

pub(crate) async fn run(command: Command, options: &Options) -> Result<Answer, Failure> {
    let registry = Registry::new(options)?;
    match command {
        Command::Create {
            name,
            address,
            agent_port,
            overlay_port,
        } => {
            let what = format!("cannot create host {name}");
            let body = NewHost {
                name: name.into(),
                address,
                agent_port,
                overlay_port,
            };
            let answer = registry.post(&what, "hosts", &body).await?;
            reply(&answer, options.output, one)?;
        }
        Command::Reset { name } => {
            let what = format!("cannot reset host {name}");
            let answer = registry.post(&what, &format!("hosts/{name}/reset"), &()).await?;
            reply(&answer, options.output, one)?;
        }
        Command::Delete { name } => {
            let what = format!("cannot delete host {name}");
            let path = format!("hosts/{name}");
            let answer = registry.delete_and_wait(&what, &path, Duration::ZERO).await?;
            reply(&answer, options.output, removed)?;
        }
        Command::List => {
            let answer = registry.get("cannot list hosts", "hosts").await?;
            reply(&answer, options.output, |hosts: &Vec<Host>| list(hosts))?;
        }
        Command::Show { name } => {
            let what = format!("cannot show host {name}");
            let answer = registry.get(&what, &format!("hosts/{name}")).await?;
            reply(&answer, options.output, one)?;
        }
    }
    Ok(Answer::Yes)
}

/// Also a part of `pairgate status`.
pub(crate) fn list(hosts: &[Host]) -> String {
    let mut table = Table::new([
        "NAME",
        "ADDRESS",
        "STATE",
        "AGENT",
        "REVISION",
        "LEASE ENDS AT THE LATEST",
    ]);
    for host in hosts {
        table.row([
            host.name.clone(),
            host.address.to_string(),
            host.state.clone(),
            agent(host).to_owned(),
            revision(host),
            lease(host),
        ]);
    }
    table.render()
}

fn one(host: &Host) -> String {
    let mut table = Table::plain();
    table
        .property("name", &host.name)
        .property("id", host.id)
        .property("address", host.address)
        .property("agent port", host.agent_port)
        .property("overlay port", host.overlay_port)
        .property("state", &host.state)
        .property("agent", agent(host))
        .property("revision", revision(host))
        .property("lease ends", lease(host));
    table.render()
}

fn removed(removed: &RemovedHost) -> String {
    let lease = removed.lease_ends_unix_ms.map_or_else(
        || "it holds no lease".to_owned(),
        |ends| {
            format!(
                "its last lease ends at {} at the latest, and no VM is placed there",
                utc(ends)
            )
        },
    );
    output::shown(&format!("host {} is deleted; {lease}", removed.name))
}

fn agent(host: &Host) -> &'static str {
    if host.connected { "connected" } else { "away" }
}

fn revision(host: &Host) -> String {
    host.applied_revision
        .map_or_else(|| "-".into(), |revision| revision.to_string())
}

fn lease(host: &Host) -> String {
    host.lease_ends_unix_ms.map_or_else(|| "-".into(), utc)
}
