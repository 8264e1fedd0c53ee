//! What is missing between what the file wants and what the registry knows: pure, and the only place that
//! decides what `apply` may do.

use super::file::{Fault, Wanted, WantedNetwork, WantedVm, unordered};
use pairgate_api::rest::{Host, Network, NetworkChange, Pair, Vm};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;

/// What the registry said. Maps have the names of networks that exist there.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) networks: Vec<Network>,
    pub(super) hosts: Vec<Host>,
    pub(super) vms: BTreeMap<String, Vec<Vm>>,
    pub(super) pairs: BTreeMap<String, Vec<Pair>>,
}

/// One request to the registry. Field names are those of `-o json`, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(super) enum Step {
    DenyPair {
        network: String,
        between: [String; 2],
    },
    CreateNetwork {
        network: String,
        prefixes: Vec<String>,
        /// What its guests are told, as far as the file says it.
        #[serde(flatten)]
        told: NetworkChange,
    },
    SetNetwork {
        network: String,
        #[serde(flatten)]
        told: NetworkChange,
    },
    SetAddresses {
        network: String,
        vm: String,
        addresses: Vec<IpAddr>,
        /// What it has until then.
        instead_of: Vec<IpAddr>,
    },
    CreateVm {
        network: String,
        vm: String,
        /// Chosen by the registry if there are none.
        addresses: Vec<IpAddr>,
        mac: Option<String>,
    },
    PlaceVm {
        network: String,
        vm: String,
        /// Where it is placed now.
        from: Option<String>,
        host: String,
    },
    AllowPair {
        network: String,
        between: [String; 2],
        /// In its one form, such as `all` or `tcp/443,udp/53`.
        grant: String,
        one_way: bool,
        /// What it carries until then, if it is allowed at all.
        instead_of: Option<String>,
    },
}

/// What the file wants and the registry cannot do: it would have to be taken away and made anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Conflict {
    pub(super) line: usize,
    pub(super) what: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Steps in the order in which they must be done: what takes away first, what opens last.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) conflicts: Vec<Conflict>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.conflicts.is_empty()
    }

    pub(super) fn describe(&self) -> String {
        let conflicts = self.conflicts.iter().map(|conflict| format!("! {conflict}"));
        let steps = self.steps.iter().map(ToString::to_string);
        crate::output::lines(&conflicts.chain(steps).collect::<Vec<_>>())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DenyPair {
                network,
                between: [one, other],
            } => {
                write!(f, "- pair {one} <-> {other} in {network}")
            }
            Self::CreateNetwork {
                network,
                prefixes,
                told,
            } => {
                write!(f, "+ network {network}: {}", prefixes.join(", "))?;
                facts(told).iter().try_for_each(|fact| write!(f, ", {fact}"))
            }
            Self::SetNetwork { network, told } => {
                write!(f, "~ network {network}: {}", facts(told).join(", "))
            }
            Self::SetAddresses {
                network,
                vm,
                addresses,
                instead_of,
            } => {
                let (now, then) = (list(instead_of), list(addresses));
                write!(f, "~ addresses of VM {vm} in {network}: {then}, instead of {now}")
            }
            Self::CreateVm {
                network,
                vm,
                addresses,
                mac,
            } => {
                write!(f, "+ VM {vm} in {network}")?;
                addresses
                    .iter()
                    .try_for_each(|address| write!(f, ", address {address}"))?;
                mac.iter().try_for_each(|mac| write!(f, ", MAC address {mac}"))
            }
            Self::PlaceVm {
                network,
                vm,
                from: None,
                host,
            } => {
                write!(f, "+ placement of VM {vm} in {network}: {host}")
            }
            Self::PlaceVm {
                network,
                vm,
                from: Some(from),
                host,
            } => {
                write!(f, "~ placement of VM {vm} in {network}: {from} -> {host}")
            }
            Self::AllowPair {
                network,
                between: [one, other],
                grant,
                one_way,
                instead_of,
            } => {
                let sign = if instead_of.is_some() { "~" } else { "+" };
                let way = if *one_way { "->" } else { "<->" };
                write!(f, "{sign} pair {one} {way} {other} in {network}: {grant}")?;
                instead_of
                    .iter()
                    .try_for_each(|before| write!(f, ", instead of {before}"))
            }
        }
    }
}

/// Decides. Names that nobody knows are faults of the file.
pub(super) fn compare(wanted: &Wanted, known: &Known, deny_unlisted: bool) -> Result<Plan, Vec<Fault>> {
    let faults = dangling(wanted, known);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut plan = Plan::default();
    if deny_unlisted {
        deny_unlisted_pairs(wanted, known, &mut plan);
    }
    for network in &wanted.networks {
        compare_network(network, known, &mut plan);
    }
    let there: HashMap<_, _> = known
        .vms
        .iter()
        .flat_map(|(network, vms)| {
            vms.iter()
                .map(move |vm| ((network.as_str(), vm.name.as_str()), vm))
        })
        .collect();
    // All VMs before any placement: a fault in one leaves nothing half moved.
    let mut placements = Vec::new();
    for vm in &wanted.vms {
        let found = there.get(&(vm.network.as_str(), vm.name.as_str())).copied();
        compare_vm(vm, found, &mut plan);
        placements.extend(placement(vm, found));
    }
    // An address that one VM leaves may be the one that a new VM is to have.
    plan.steps
        .sort_by_key(|step| matches!(step, Step::CreateVm { .. }));
    plan.steps.extend(placements);
    allow_pairs(wanted, known, &mut plan);
    Ok(plan)
}

/// Names in the file that stand for nothing, neither in the file nor at the registry.
fn dangling(wanted: &Wanted, known: &Known) -> Vec<Fault> {
    let networks: HashSet<&str> = known
        .networks
        .iter()
        .map(|network| network.name.as_str())
        .chain(wanted.networks.iter().map(|network| network.name.as_str()))
        .collect();
    let hosts: HashSet<&str> = known.hosts.iter().map(|host| host.name.as_str()).collect();
    let vms: HashSet<(&str, &str)> = known
        .vms
        .iter()
        .flat_map(|(network, vms)| vms.iter().map(move |vm| (network.as_str(), vm.name.as_str())))
        .chain(
            wanted
                .vms
                .iter()
                .map(|vm| (vm.network.as_str(), vm.name.as_str())),
        )
        .collect();
    let mut faults = Vec::new();
    let mut fault = |line, text| faults.push(Fault { line, text });
    for vm in &wanted.vms {
        if !networks.contains(vm.network.as_str()) {
            fault(
                vm.line,
                format!(
                    "VM {} is in network {}, which is neither in the file nor at the registry",
                    vm.name, vm.network
                ),
            );
        }
        if let Some(host) = vm.host.as_ref().filter(|host| !hosts.contains(host.as_str())) {
            fault(
                vm.line,
                format!(
                    "VM {} is placed on host {host}, which the registry does not know: make it with pairgate host create",
                    vm.name
                ),
            );
        }
    }
    for pair in &wanted.pairs {
        let network = &pair.network;
        if !networks.contains(network.as_str()) {
            fault(
                pair.line,
                format!("the pair is in network {network}, which is neither in the file nor at the registry"),
            );
            continue;
        }
        for vm in &pair.between {
            if !vms.contains(&(network.as_str(), vm.as_str())) {
                fault(
                    pair.line,
                    format!("VM {vm} of network {network} is neither in the file nor at the registry"),
                );
            }
        }
    }
    faults
}

fn compare_network(wanted: &WantedNetwork, known: &Known, plan: &mut Plan) {
    let name = wanted.name.as_str();
    let Some(there) = known.networks.iter().find(|network| network.name == name) else {
        plan.steps.push(Step::CreateNetwork {
            network: name.to_owned(),
            prefixes: wanted.prefixes.clone(),
            told: wanted.told.clone(),
        });
        return;
    };
    let set = |prefixes: &[String]| prefixes.iter().cloned().collect::<BTreeSet<_>>();
    if set(&there.prefixes) != set(&wanted.prefixes) {
        plan.conflicts.push(Conflict {
            line: wanted.line,
            what: format!(
                "network {name} has {}, not {}; a network keeps its prefixes",
                there.prefixes.join(", "),
                wanted.prefixes.join(", ")
            ),
        });
    }
    let told = missing(&wanted.told, there);
    if told != NetworkChange::default() {
        plan.steps.push(Step::SetNetwork {
            network: name.to_owned(),
            told,
        });
    }
}

/// What the file says of a network and is not so yet.
fn missing(wanted: &NetworkChange, there: &Network) -> NetworkChange {
    let domain = there.domain.clone().unwrap_or_default();
    NetworkChange {
        gateway: wanted.gateway.filter(|gateway| there.gateway != Some(*gateway)),
        dns: wanted.dns.clone().filter(|dns| *dns != there.dns),
        domain: wanted.domain.clone().filter(|wanted| *wanted != domain),
        mtu: wanted.mtu.filter(|mtu| there.mtu != *mtu),
    }
}

/// One after the other, as a person reads them.
fn facts(told: &NetworkChange) -> Vec<String> {
    let NetworkChange {
        gateway,
        dns,
        domain,
        mtu,
    } = told;
    let dns = dns.as_ref().map(|servers| match servers.is_empty() {
        true => "no DNS server".to_owned(),
        false => format!("DNS {}", list(servers)),
    });
    let domain = domain.as_ref().map(|name| match name.is_empty() {
        true => "no domain".to_owned(),
        false => format!("domain {name}"),
    });
    [
        gateway.map(|gateway| format!("gateway {gateway}")),
        dns,
        domain,
        mtu.map(|mtu| format!("MTU {mtu}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn compare_vm(wanted: &WantedVm, there: Option<&Vm>, plan: &mut Plan) {
    let (network, vm) = (wanted.network.as_str(), wanted.name.as_str());
    let Some(there) = there else {
        plan.steps.push(Step::CreateVm {
            network: network.to_owned(),
            vm: vm.to_owned(),
            addresses: wanted.addresses.clone(),
            mac: wanted.mac.clone(),
        });
        return;
    };
    let there_addresses: BTreeSet<IpAddr> = there.addresses.iter().map(|given| given.address).collect();
    let wanted_addresses: BTreeSet<IpAddr> = wanted.addresses.iter().copied().collect();
    if !wanted_addresses.is_empty() && wanted_addresses != there_addresses {
        plan.steps.push(Step::SetAddresses {
            network: network.to_owned(),
            vm: vm.to_owned(),
            addresses: wanted.addresses.clone(),
            instead_of: there_addresses.into_iter().collect(),
        });
    }
    if let Some(mac) = wanted
        .mac
        .as_ref()
        .filter(|mac| !mac.eq_ignore_ascii_case(&there.mac))
    {
        plan.conflicts.push(Conflict {
            line: wanted.line,
            what: format!(
                "VM {vm} in {network} has the MAC address {}, not {mac}; a VM keeps its MAC address",
                there.mac
            ),
        });
    }
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Placing a VM begins a new generation even on the same host, so it is done only where the host differs.
fn placement(wanted: &WantedVm, there: Option<&Vm>) -> Option<Step> {
    let host = wanted.host.as_ref()?;
    let from = there
        .and_then(|vm| vm.placement.as_ref())
        .map(|at| at.host.clone());
    (from.as_deref() != Some(host.as_str())).then(|| Step::PlaceVm {
        network: wanted.network.as_str().to_owned(),
        vm: wanted.name.as_str().to_owned(),
        from,
        host: host.as_str().to_owned(),
    })
}

fn allow_pairs(wanted: &Wanted, known: &Known, plan: &mut Plan) {
    let mut there: HashMap<(&str, &str, &str), &str> = HashMap::new();
    for (network, pairs) in &known.pairs {
        for pair in pairs {
            let direction = (network.as_str(), pair.source.as_str(), pair.destination.as_str());
            there.insert(direction, &pair.grant);
        }
    }
    for pair in &wanted.pairs {
        let [one, other] = &pair.between;
        let (network, one, other) = (pair.network.as_str(), one.as_str(), other.as_str());
        let now = [(network, one, other), (network, other, one)].map(|way| there.get(&way).copied());
        let grant = pair.grants.to_string();
        let back = if pair.one_way { REPLIES } else { grant.as_str() };
        if now == [Some(grant.as_str()), Some(back)] {
            continue;
        }
        plan.steps.push(Step::AllowPair {
            network: network.to_owned(),
            between: pair.between.clone().map(String::from),
            one_way: pair.one_way,
            instead_of: carried([one, other], now),
            grant,
        });
    }
}

/// What the two directions of a pair carry; none if neither is allowed.
fn carried([one, other]: [&str; 2], now: [Option<&str>; 2]) -> Option<String> {
    match now {
        [None, None] => None,
        [Some(there), Some(back)] if there == back => Some(there.to_owned()),
        [there, back] => {
            let word = |grant: Option<&str>| grant.unwrap_or("nothing").to_owned();
            Some(format!(
                "{one} -> {other} {}, {other} -> {one} {}",
                word(there),
                word(back)
            ))
        }
    }
}

/// The registry's word for a direction that only answers.
const REPLIES: &str = "replies";

fn deny_unlisted_pairs(wanted: &Wanted, known: &Known, plan: &mut Plan) {
    let listed: HashSet<_> = wanted.pairs.iter().map(|pair| pair.key()).collect();
    for (network, pairs) in &known.pairs {
        let present: BTreeSet<_> = pairs
            .iter()
            .map(|pair| unordered(&pair.source, &pair.destination))
            .collect();
        for between in present {
            if !listed.contains(&(network.as_str(), between)) {
                plan.steps.push(Step::DenyPair {
                    network: network.clone(),
                    between: between.map(str::to_owned),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
