//! What the registry wants on this host, read from its message into plain types.
//!
//! A guest that cannot be understood is left out and listed: the others, and above all the tombstones, must
//! not wait for it. A tombstone that cannot be understood makes the whole message unusable, because leaving it
//! out could let something dead live on.

use crate::tap_name::TapName;
use pairgate_abi::OWN_ADDRESSES;
use pairgate_api::grpc;
use pairgate_token::{SecretKey, address_from_bytes};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
};
use uuid::Uuid;
use zeroize::Zeroize;

/// Everything the registry wants on one host, at one revision.
#[derive(Debug)]
pub struct Goal {
    pub revision: u64,
    /// By id.
    pub guests: HashMap<Uuid, Guest>,
    pub tombstones: Tombstones,
    /// Guests that this agent cannot serve, and why.
    pub left_out: Vec<LeftOut>,
}

/// A VM placed on this host.
#[derive(Clone, Debug)]
pub struct Guest {
    pub id: Uuid,
    pub name: String,
    pub network: Uuid,
    pub network_name: String,
    pub mac: [u8; 6],
    /// One to eight, each once.
    pub addresses: Vec<OwnAddress>,
    /// Of the guest's interface.
    pub mtu: u16,
    pub generation: u32,
    /// Of this generation; prints as nothing and is overwritten when dropped.
    pub key: SecretKey,
    pub tap: TapName,
    pub told: Configuration,
}

/// What a guest is told besides its addresses and MTU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Router of its IPv4 network.
    pub gateway: Option<Ipv4Addr>,
    /// At most [`DNS_MAX`].
    pub dns: Vec<IpAddr>,
    pub domain: Option<String>,
}

/// Most DNS servers of a guest.
pub const DNS_MAX: usize = 8;

/// An address that belongs to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    pub address: IpAddr,
    /// Length of the network's prefix around it, in bits of its family.
    pub prefix: u8,
}

impl Guest {
    pub fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }
}

/// A VM in the message that was not understood.
#[derive(Clone, Debug)]
pub struct LeftOut {
    pub name: String,
    pub why: GuestError,
}

/// The memory of everything dead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    pub pairs: HashSet<u64>,
    /// Of each VM, every generation below this one is dead.
    pub floors: HashMap<Uuid, u32>,
    pub hosts: HashSet<Uuid>,
}

impl Tombstones {
    pub fn len(&self) -> usize {
        self.pairs.len() + self.floors.len() + self.hosts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this VM's generation is dead.
    pub fn buries(&self, vm: Uuid, generation: u32) -> bool {
        self.floors.get(&vm).is_some_and(|floor| generation < *floor)
    }
}

/// Why a whole goal state cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GoalError {
    #[error(
        "tombstone {index} of revision {revision} cannot be read; is the registry newer than this agent?"
    )]
    Tombstone { index: usize, revision: u64 },
    #[error("revision {revision} names VM {vm} twice")]
    Twice { vm: Uuid, revision: u64 },
    #[error("revision {revision} gives the interface {tap} to two VMs")]
    SharedTap { tap: TapName, revision: u64 },
}

/// Why one VM of a goal state cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    #[error("its {0} cannot be read")]
    Field(&'static str),
    #[error("it has {0} addresses, not 1 to {OWN_ADDRESSES}")]
    Addresses(usize),
}

impl Goal {
    /// Reads the registry's message and overwrites the secret keys in it.
    pub fn read(mut message: grpc::GoalState) -> Result<Self, GoalError> {
        let goal = Self::read_parts(&message);
        for vm in &mut message.vms {
            vm.secret_key.zeroize();
        }
        goal
    }

    fn read_parts(message: &grpc::GoalState) -> Result<Self, GoalError> {
        let revision = message.revision;
        let tombstones = read_tombstones(&message.tombstones, revision)?;
        let (mut guests, mut left_out) = (HashMap::new(), Vec::new());
        let mut taps = HashSet::new();
        for vm in &message.vms {
            let guest = match Guest::read(vm) {
                Ok(guest) => guest,
                Err(why) => {
                    left_out.push(LeftOut {
                        name: vm.name.clone(),
                        why,
                    });
                    continue;
                }
            };
            if !taps.insert(guest.tap.clone()) {
                return Err(GoalError::SharedTap {
                    tap: guest.tap,
                    revision,
                });
            }
            let vm = guest.id;
            if guests.insert(vm, guest).is_some() {
                return Err(GoalError::Twice { vm, revision });
            }
        }
        Ok(Self {
            revision,
            guests,
            tombstones,
            left_out,
        })
    }
}

impl Guest {
    fn read(vm: &grpc::Vm) -> Result<Self, GuestError> {
        use GuestError::Field;
        let mtu = u16::try_from(vm.mtu).ok().filter(|mtu| *mtu >= SMALLEST_MTU);
        let generation = Some(vm.generation).filter(|generation| *generation != 0);
        let mac = <[u8; 6]>::try_from(&vm.mac[..]).map_err(|_| Field("MAC address"))?;
        Ok(Self {
            id: read_id(&vm.id).ok_or(Field("id"))?,
            name: vm.name.clone(),
            network: read_id(&vm.network_id).ok_or(Field("network"))?,
            network_name: vm.network.clone(),
            // A group address as a source would make every answer a multicast.
            mac: Some(mac)
                .filter(|mac| mac[0] & 1 == 0 && *mac != [0; 6])
                .ok_or(Field("MAC address"))?,
            addresses: read_addresses(&vm.addresses)?,
            mtu: mtu.ok_or(Field("MTU"))?,
            generation: generation.ok_or(Field("generation"))?,
            key: SecretKey::from_slice(&vm.secret_key).map_err(|_| Field("secret key"))?,
            tap: TapName::new(&vm.tap).ok_or(Field("interface name"))?,
            told: vm
                .configuration
                .as_ref()
                .map(Configuration::read)
                .transpose()?
                .unwrap_or_default(),
        })
    }
}

impl Configuration {
    fn read(message: &grpc::Configuration) -> Result<Self, GuestError> {
        use GuestError::Field;
        let gateway = match &message.gateway[..] {
            [] => None,
            bytes => match read_unicast(bytes).ok_or(Field("gateway"))? {
                IpAddr::V4(gateway) => Some(gateway),
                IpAddr::V6(_) => return Err(Field("gateway")),
            },
        };
        if message.dns.len() > DNS_MAX {
            return Err(Field("list of DNS servers"));
        }
        let dns = message
            .dns
            .iter()
            .map(|server| read_unicast(server).ok_or(Field("DNS server")));
        let domain = Some(message.domain.clone()).filter(|domain| !domain.is_empty());
        // A label is at most 63 bytes, a name 253 (RFC 1035, section 2.3.4).
        let is_name = |domain: &String| {
            domain.len() <= 253
                && domain.split('.').all(|label| {
                    (1..64).contains(&label.len())
                        && label
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                })
        };
        if domain.as_ref().is_some_and(|domain| !is_name(domain)) {
            return Err(Field("domain"));
        }
        Ok(Self {
            gateway,
            dns: dns.collect::<Result<_, _>>()?,
            domain,
        })
    }
}

fn read_addresses(list: &[grpc::Address]) -> Result<Vec<OwnAddress>, GuestError> {
    if list.is_empty() || list.len() > OWN_ADDRESSES {
        return Err(GuestError::Addresses(list.len()));
    }
    let mut addresses: Vec<OwnAddress> = Vec::with_capacity(list.len());
    for one in list {
        let address = read_address(one)?;
        // Twice the same would only hide that another was meant.
        if addresses.iter().any(|known| known.address == address.address) {
            return Err(GuestError::Field("address"));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn read_address(one: &grpc::Address) -> Result<OwnAddress, GuestError> {
    let address = read_unicast(&one.address).ok_or(GuestError::Field("address"))?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = u8::try_from(one.prefix).ok().filter(|prefix| *prefix <= longest);
    Ok(OwnAddress {
        address,
        prefix: prefix.ok_or(GuestError::Field("prefix"))?,
    })
}

/// Nobody is reached under the others, and the programs drop what claims to come from them.
fn read_unicast(bytes: &[u8]) -> Option<IpAddr> {
    let address = address_from_bytes(<[u8; 16]>::try_from(bytes).ok()?);
    let nobody = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    Some(address).filter(|_| !nobody)
}

/// RFC 791: every link carries 68 bytes.
const SMALLEST_MTU: u16 = 68;

/// A UUID that is not nil.
pub fn read_id(bytes: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(bytes).ok().filter(|id| !id.is_nil())
}

fn read_tombstones(list: &[grpc::Tombstone], revision: u64) -> Result<Tombstones, GoalError> {
    use grpc::tombstone::Dead;
    let mut tombstones = Tombstones::default();
    for (index, tombstone) in list.iter().enumerate() {
        let unreadable = GoalError::Tombstone { index, revision };
        match tombstone.dead.as_ref() {
            Some(Dead::PairId(pair)) => {
                tombstones.pairs.insert(*pair);
            }
            Some(Dead::VmFloor(floor)) => {
                let vm = read_id(&floor.vm_id).ok_or(unreadable)?;
                let highest = tombstones.floors.entry(vm).or_default();
                *highest = floor.generation.max(*highest);
            }
            Some(Dead::HostId(host)) => {
                tombstones.hosts.insert(read_id(host).ok_or(unreadable)?);
            }
            None => return Err(unreadable),
        }
    }
    Ok(tombstones)
}

#[cfg(test)]
mod tests;
