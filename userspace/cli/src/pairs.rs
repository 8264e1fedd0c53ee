//! `pairgate pairs`: the kernel's entries of one host, and what has passed at its guests.
//!
//! The kernel counts packets per guest and direction, not per entry, so the counters stand below the entries
//! and are not spread over them.

use crate::arguments::{Options, Output};
use crate::client::Agent;
use crate::failure::{Answer, Failure};
use crate::output::{self, Table};
use crate::times::span;
use pairgate_api::local::{Drops, LocalPair, LocalVm};
use serde::Serialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What one guest sent or was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Traffic {
    vm: String,
    network: String,
    direction: String,
    passed: u64,
    bytes: u64,
    dropped: u64,
}

pub(crate) async fn run(options: &Options) -> Result<Answer, Failure> {
    let what = match &options.on_host {
        Some(host) => format!("cannot show the pairs of {host}"),
        None => "cannot show the pairs of this host".to_owned(),
    };
    let agent = Agent::new(options)?;
    let status = agent.status(&what).await?.value;
    let traffic = traffic(&agent.drops(&what).await?.value);
    match options.output {
        Output::Table => {
            let pairs = table(&status.pairs, &status.vms);
            output::line(&format!("{pairs}\n\n{}", traffic_table(&traffic)))?;
        }
        Output::Json => output::json(&serde_json::json!({
            "host": status.host, "pairs": status.pairs, "traffic": traffic,
        }))?,
    }
    Ok(Answer::Yes)
}

/// Also a part of `pairgate status --host`.
pub(crate) fn table(pairs: &[LocalPair], vms: &[LocalVm]) -> String {
    // The agent knows the names of its own VMs only; of the others the token says the address.
    let name = |id: Uuid, address: Option<std::net::IpAddr>| {
        let known = vms.iter().find(|vm| vm.id == id);
        known.map_or_else(
            || address.map_or_else(|| id.to_string(), |address| format!("{address} ({id})")),
            |vm| vm.name.clone(),
        )
    };
    let mut table = Table::new(["WAY", "FROM", "TO", "PEER HOST", "ENDS IN", "PAIR ID"]);
    for pair in pairs {
        let left = if pair.left_ms == 0 {
            "expired".into()
        } else {
            span(pair.left_ms)
        };
        let claims = pair.claims.as_ref();
        table.row([
            pair.way.clone(),
            name(pair.source, claims.map(|claims| claims.src_addr)),
            name(pair.destination, claims.map(|claims| claims.dst_addr)),
            pair.peer_host.to_string(),
            left,
            pair.pair_id.to_string(),
        ]);
    }
    table.render()
}

/// Every guest's counters, by network, name and direction.
fn traffic(counted: &Drops) -> Vec<Traffic> {
    let mut all: BTreeMap<(String, String, String), Traffic> = BTreeMap::new();
    let mut of =
        |vm: &Option<String>, network: &Option<String>, direction: &str, add: &dyn Fn(&mut Traffic)| {
            let (Some(vm), Some(network)) = (vm, network) else {
                return;
            };
            let key = (network.clone(), vm.clone(), direction.to_owned());
            let traffic = all.entry(key).or_insert_with(|| Traffic {
                vm: vm.clone(),
                network: network.clone(),
                direction: direction.to_owned(),
                ..Traffic::default()
            });
            add(traffic);
        };
    for count in &counted.passed {
        of(&count.vm, &count.network, &count.direction, &|traffic| {
            traffic.passed = traffic.passed.saturating_add(count.packets);
            traffic.bytes = traffic.bytes.saturating_add(count.bytes);
        });
    }
    for count in &counted.drops {
        of(&count.vm, &count.network, &count.direction, &|traffic| {
            traffic.dropped = traffic.dropped.saturating_add(count.packets);
        });
    }
    all.into_values().collect()
}

fn traffic_table(all: &[Traffic]) -> String {
    if all.is_empty() {
        return "no packet of a guest was counted yet".to_owned();
    }
    let mut table = Table::new(["VM", "NETWORK", "DIRECTION", "PASSED", "BYTES", "DROPPED"]);
    for traffic in all {
        table.row([
            traffic.vm.clone(),
            traffic.network.clone(),
            traffic.direction.clone(),
            traffic.passed.to_string(),
            traffic.bytes.to_string(),
            traffic.dropped.to_string(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_all_reasons_and_passes_meet_in_one_line_and_nobodys_packets_are_nobodys() {
        let counted = serde_json::json!({
            "drops": [
                {"vm": "a", "network": "n", "direction": "from_tap", "reason": "no_pair", "meaning": "", "packets": 2},
                {"vm": "a", "network": "n", "direction": "from_tap", "reason": "vlan", "meaning": "", "packets": 3},
                {"vm": null, "network": null, "direction": "from_uplink", "reason": "handle", "meaning": "", "packets": 9},
            ],
            "passed": [{"vm": "a", "network": "n", "direction": "from_tap", "packets": 7, "bytes": 70}],
        });
        let all = traffic(&serde_json::from_value(counted).unwrap());
        let expected = Traffic {
            vm: "a".into(),
            network: "n".into(),
            direction: "from_tap".into(),
            passed: 7,
            bytes: 70,
            dropped: 5,
        };
        assert_eq!(all, [expected]);
    }
}
