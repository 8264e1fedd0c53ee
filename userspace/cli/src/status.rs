//! `pairgate status`.

use crate::arguments::Options;
use crate::client::{Agent, Registry};
use crate::failure::{Answer, Failure};
use crate::output::{Table, reply};
use crate::times::{span, utc};
use pairgate_api::local::{AgentStatus, LocalPair, LocalVm};
use pairgate_api::rest::Status;
use uuid::Uuid;

pub(crate) async fn run(options: &Options) -> Result<Answer, Failure> {
    if let Some(host) = &options.on_host {
        let what = format!("cannot tell the status of {host}");
        let answer = Agent::new(options)?.status(&what).await?;
        reply(&answer, options.output, one_host)?;
    } else {
        let answer = Registry::new(options)?
            .get("cannot tell the status", "status")
            .await?;
        reply(&answer, options.output, installation)?;
    }
    Ok(Answer::Yes)
}

fn installation(status: &Status) -> String {
    let mut table = Table::plain();
    table
        .property("registry", &status.version)
        .property("installation", status.installation)
        .property("time", utc(status.unix_ms))
        .property("revision", status.revision)
        .property("networks", status.networks)
        .property("vms", status.vms)
        .property("directions allowed", status.pairs)
        .property("token life", format!("{} s", status.token_life_secs))
        .property("host lease", format!("{} s", status.lease_secs));
    format!("{}\n\n{}", table.render(), crate::host::list(&status.hosts))
}

fn one_host(status: &AgentStatus) -> String {
    let registry = if status.registry_connected {
        "connected"
    } else {
        "not reached"
    };
    let revision = status
        .applied_revision
        .map_or_else(|| "none yet".into(), |revision| revision.to_string());
    let lease = match status.lease_left_ms {
        0 => "ended: every pair of this host is refused".to_owned(),
        left => format!("ends in {}", span(left)),
    };
    let mut table = Table::plain();
    table
        .property("host", format!("{} ({})", status.host, status.host_id))
        .property("address", format!("{} on {}", status.address, status.uplink))
        .property(
            "agent",
            format!("{}, map version {}", status.version, status.abi_version),
        )
        .property("registry", registry)
        .property("revision in force", revision)
        .property("host lease", lease)
        .property(
            "without registry",
            format!("pairs last for another {}", span(status.survives_ms)),
        )
        .property("tombstones", status.tombstones);
    format!(
        "{}\n\n{}\n\n{}",
        table.render(),
        vms(&status.vms),
        pairs(&status.pairs, &status.vms)
    )
}

fn vms(vms: &[LocalVm]) -> String {
    let mut table = Table::new(["VM", "NETWORK", "ADDRESS", "GENERATION", "TAP", "STATE"]);
    for vm in vms {
        table.row([
            vm.name.clone(),
            vm.network.clone(),
            vm.address.to_string(),
            vm.generation.to_string(),
            vm.tap.clone(),
            vm.state.clone(),
        ]);
    }
    table.render()
}

fn pairs(pairs: &[LocalPair], vms: &[LocalVm]) -> String {
    // The agent knows the names of its own VMs only.
    let name = |id: Uuid| {
        let known = vms.iter().find(|vm| vm.id == id);
        known.map_or_else(|| id.to_string(), |vm| vm.name.clone())
    };
    let mut table = Table::new(["WAY", "FROM", "TO", "PEER HOST", "ENDS IN", "PAIR ID"]);
    for pair in pairs {
        let left = if pair.left_ms == 0 {
            "expired".into()
        } else {
            span(pair.left_ms)
        };
        table.row([
            pair.way.clone(),
            name(pair.source),
            name(pair.destination),
            pair.peer_host.to_string(),
            left,
            pair.pair_id.to_string(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_lease_says_that_it_refuses_everything() {
        let (web1, db1) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let status = AgentStatus {
            version: "0.1.0".into(),
            abi_version: 1,
            host: "h1".into(),
            host_id: Uuid::from_u128(3),
            address: [192, 0, 2, 1].into(),
            uplink: "up0".into(),
            registry_connected: false,
            applied_revision: None,
            lease_left_ms: 0,
            survives_ms: 0,
            vms: vec![LocalVm {
                id: web1,
                name: "web1".into(),
                network: "default".into(),
                address: [10, 77, 0, 11].into(),
                generation: 1,
                tap: "tap-web1".into(),
                state: "guarded".into(),
            }],
            pairs: vec![LocalPair {
                pair_id: u64::MAX,
                way: "out".into(),
                source: web1,
                destination: db1,
                peer_host: [192, 0, 2, 2].into(),
                left_ms: 0,
                claims: None,
            }],
            tombstones: 0,
        };
        let text = one_host(&status);
        assert!(
            text.contains("ended: every pair of this host is refused"),
            "{text}"
        );
        assert!(
            text.contains("not reached") && text.contains("none yet"),
            "{text}"
        );
        let pair: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(
            pair,
            [
                "out",
                "web1",
                &db1.to_string(),
                "192.0.2.2",
                "expired",
                "18446744073709551615"
            ]
        );
    }
}
