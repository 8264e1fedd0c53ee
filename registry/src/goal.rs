//! What one host is told, as the message of the agents' protocol.

use crate::{
    inventory::Facts,
    store::{Goal, GoalVm},
};
use pairgate_api::grpc;
use pairgate_token::address_bytes;
use std::net::IpAddr;

/// The whole goal state. Carries secret keys, so it goes nowhere but into the host's own stream.
pub fn message(goal: Goal) -> grpc::GoalState {
    use grpc::tombstone::Dead;
    let pairs = goal.dead_pairs.into_iter().map(Dead::PairId);
    let floors = goal.floors.into_iter().map(|(vm, generation)| {
        Dead::VmFloor(grpc::VmFloor {
            vm_id: vm.as_bytes().to_vec(),
            generation,
        })
    });
    let hosts = goal.dead_hosts.into_iter();
    let hosts = hosts.map(|host| Dead::HostId(host.as_bytes().to_vec()));
    grpc::GoalState {
        revision: goal.revision,
        vms: goal.vms.into_iter().map(vm).collect(),
        tombstones: pairs
            .chain(floors)
            .chain(hosts)
            .map(|dead| grpc::Tombstone { dead: Some(dead) })
            .collect(),
    }
}

fn vm(vm: GoalVm) -> grpc::Vm {
    let addresses = vm.addresses.clone();
    grpc::Vm {
        id: vm.id.as_bytes().to_vec(),
        name: vm.name,
        network_id: vm.network.as_bytes().to_vec(),
        network: vm.network_name,
        mac: vm.mac.to_vec(),
        addresses: vm.addresses.into_iter().map(address).collect(),
        mtu: vm.facts.mtu,
        generation: vm.generation,
        secret_key: vm.secret_key.expose_bytes().to_vec(),
        tap: vm.tap,
        configuration: Some(configuration(&addresses, vm.facts)),
    }
}

/// A guest that has the gateway's address itself is told no router. One without an IPv4 address needs none.
fn configuration(addresses: &[(IpAddr, u8)], facts: Facts) -> grpc::Configuration {
    let has = |wanted: IpAddr| addresses.iter().any(|(address, _)| *address == wanted);
    let speaks_v4 = addresses.iter().any(|(address, _)| address.is_ipv4());
    let bytes = |address: IpAddr| address_bytes(address).to_vec();
    let gateway = facts.gateway.map(IpAddr::V4);
    let gateway = gateway.filter(|gateway| speaks_v4 && !has(*gateway));
    grpc::Configuration {
        gateway: gateway.map(bytes).unwrap_or_default(),
        dns: facts.dns.into_iter().map(bytes).collect(),
        domain: facts.domain.unwrap_or_default(),
    }
}

fn address((address, prefix): (IpAddr, u8)) -> grpc::Address {
    grpc::Address {
        address: address_bytes(address).to_vec(),
        prefix: u32::from(prefix),
    }
}
