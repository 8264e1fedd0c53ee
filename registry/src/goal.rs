//! What one host is told, as the message of the agents' protocol.

use crate::store::{Goal, GoalVm};
use pairgate_api::grpc;
use pairgate_token::address_bytes;
use std::net::{IpAddr, Ipv4Addr};

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
        mtu: vm.mtu,
        generation: vm.generation,
        secret_key: vm.secret_key.expose_bytes().to_vec(),
        tap: vm.tap,
        configuration: Some(configuration(&addresses)),
    }
}

/// The router of an IPv4 network has its first address, which is chosen for no VM.
fn configuration(addresses: &[(IpAddr, u8)]) -> grpc::Configuration {
    let first = addresses.iter().find_map(|(address, prefix)| match address {
        IpAddr::V4(address) => {
            let hosts = u32::MAX.checked_shr(u32::from(*prefix)).unwrap_or(0);
            Some(Ipv4Addr::from((u32::from(*address) & !hosts) + 1)).filter(|first| first != address)
        }
        IpAddr::V6(_) => None,
    });
    grpc::Configuration {
        gateway: first.map_or_else(Vec::new, |gateway| address_bytes(gateway.into()).to_vec()),
        dns: Vec::new(),
        domain: String::new(),
    }
}

fn address((address, prefix): (IpAddr, u8)) -> grpc::Address {
    grpc::Address {
        address: address_bytes(address).to_vec(),
        prefix: u32::from(prefix),
    }
}
