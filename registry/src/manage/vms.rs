use super::{FindError, Kind, Page, Refusal, find_network, find_vm};
use crate::{
    Registry,
    audit::Actor,
    inventory::{
        ADDRESSES_MAX, Mac, Name, Network, Prefix, Vm,
        address::{AddressError, Family, unicast},
        mac::MacError,
        name::NameError,
        prefix::OutsideError,
    },
    random,
    store::{StoreError, View},
};
use pairgate_api::rest;
use std::net::IpAddr;
use uuid::Uuid;

/// Random hardware addresses of 46 bits: two tries that hit a taken one in a row do not happen by chance.
const MAC_TRIES: usize = 16;

/// Why a VM was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateVmError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("{0}; choose another name")]
    Name(#[from] NameError),
    #[error(transparent)]
    Addresses(#[from] AddressesError),
    #[error("{0}")]
    Mac(#[from] MacError),
    #[error("there is a VM named {name} in network {network} already: choose another name")]
    NameTaken { name: Name, network: String },
    #[error("another VM of the network has the MAC address {0}: choose another, or leave it out")]
    MacTaken(Mac),
    #[error("no free MAC address was found: give one")]
    NoMac,
    #[error("no random numbers from the kernel: {0}")]
    Random(#[from] rand::rand_core::OsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for CreateVmError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Addresses(error) => error.kind(),
            Self::Name(_) | Self::Mac(_) => Kind::Invalid,
            Self::NameTaken { .. } => Kind::Exists,
            Self::MacTaken(_) | Self::NoMac => Kind::Conflict,
            Self::Random(_) => Kind::Internal,
            Self::Store(error) => error.kind(),
        }
    }
}

/// Why a VM cannot have these addresses.
#[derive(Debug, thiserror::Error)]
pub enum AddressesError {
    #[error("{0}")]
    Address(#[from] AddressError),
    #[error("{0}")]
    Outside(#[from] OutsideError),
    #[error("network {network} has no prefix of the family of {address}: choose an address in {prefixes}")]
    NoPrefix {
        address: IpAddr,
        network: String,
        prefixes: String,
    },
    #[error("a VM has at most {ADDRESSES_MAX} addresses")]
    TooMany,
    #[error("{0} is given twice")]
    Twice(IpAddr),
    #[error("another VM of the network has the address {0}: choose another, or leave it out")]
    Taken(IpAddr),
    #[error("{0} is the address of a host: no guest may have it")]
    HostsAddress(IpAddr),
    #[error("{0} is the gateway of the network: choose another, or leave it out")]
    Gateway(IpAddr),
    #[error("no address of {0} is free: give one outside the order of choice, or make a larger network")]
    Full(Prefix),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for AddressesError {
    fn kind(&self) -> Kind {
        match self {
            Self::Address(_) | Self::Outside(_) | Self::NoPrefix { .. } | Self::TooMany | Self::Twice(_) => {
                Kind::Invalid
            }
            Self::Taken(_) | Self::HostsAddress(_) | Self::Gateway(_) | Self::Full(_) => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Registry {
    pub async fn create_vm(
        &self,
        actor: Actor,
        network: String,
        new: rest::NewVm,
    ) -> Result<rest::Vm, CreateVmError> {
        let name: Name = new.name.parse()?;
        let given = given_addresses(&new.addresses)?;
        let mac: Option<Mac> = new.mac.as_deref().map(str::parse).transpose()?;
        let created = self
            .store
            .change(move |change| {
                let network = find_network(change, &network)?;
                if change.vm(network.id, &name)?.is_some() {
                    return Err(CreateVmError::NameTaken {
                        name,
                        network: network.name,
                    });
                }
                let addresses = place_addresses(change, &network, given)?;
                let mac = match mac {
                    Some(mac) if change.mac_is_taken(network.id, mac)? => {
                        return Err(CreateVmError::MacTaken(mac));
                    }
                    Some(mac) => mac,
                    None => choose_mac(change, &network)?,
                };
                let vm = Vm {
                    id: Uuid::new_v4(),
                    name: name.to_string(),
                    generation: 0,
                };
                change.insert_vm(actor, network.id, &vm, &addresses, mac)?;
                shown(change, vm.id)
            })
            .await?;
        tracing::info!(vm = %created.id, name = created.name, network = created.network, "vm created");
        Ok(created)
    }

    pub async fn list_vms(&self, network: String, page: &Page<Name>) -> Result<Vec<rest::Vm>, FindError> {
        let (after, rows) = (page.after_name().to_owned(), page.rows());
        self.store
            .read(move |view| {
                let network = find_network(view, &network)?;
                Ok(view.list_vms(network.id, &after, rows)?)
            })
            .await
    }

    pub async fn show_vm(&self, network: String, name: String) -> Result<rest::Vm, FindError> {
        self.store
            .read(move |view| {
                let network = find_network(view, &network)?;
                let vm = find_vm(view, &network, &name)?;
                Ok(view
                    .show_vm(vm.id)?
                    .ok_or(StoreError::Inconsistent("a VM that cannot be shown"))?)
            })
            .await
    }
}

pub(super) fn shown<E: From<StoreError>>(view: &View<'_>, vm: Uuid) -> Result<rest::Vm, E> {
    let shown = view.show_vm(vm)?;
    Ok(shown.ok_or(StoreError::Inconsistent("a VM that cannot be shown"))?)
}

/// What was asked for, in one spelling each.
pub(super) fn given_addresses(given: &[IpAddr]) -> Result<Vec<IpAddr>, AddressesError> {
    if given.len() > ADDRESSES_MAX {
        return Err(AddressesError::TooMany);
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in given {
        let address = unicast(*address)?;
        if addresses.contains(&address) {
            return Err(AddressesError::Twice(address));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// The given ones if a guest may have them, or one of each of the network's prefixes if none is given.
pub(super) fn place_addresses(
    view: &View<'_>,
    network: &Network,
    given: Vec<IpAddr>,
) -> Result<Vec<IpAddr>, AddressesError> {
    if given.is_empty() {
        let mut used = view.addresses_in_use(network.id)?;
        used.extend(network.facts.gateway.map(IpAddr::V4));
        used.sort_unstable();
        used.dedup();
        let choose = |prefix: &Prefix| {
            let free = prefix.lowest_free(used.iter().copied());
            free.ok_or(AddressesError::Full(*prefix))
        };
        return network.prefixes.iter().map(choose).collect();
    }
    for address in &given {
        check_address(view, network, *address)?;
    }
    Ok(given)
}

fn check_address(view: &View<'_>, network: &Network, address: IpAddr) -> Result<(), AddressesError> {
    let Some(prefix) = network.prefix_of(Family::of(address)) else {
        let prefixes: Vec<_> = network.prefixes.iter().map(ToString::to_string).collect();
        return Err(AddressesError::NoPrefix {
            address,
            network: network.name.clone(),
            prefixes: prefixes.join(" or "),
        });
    };
    prefix.check(address)?;
    if network.facts.gateway.map(IpAddr::V4) == Some(address) {
        return Err(AddressesError::Gateway(address));
    }
    if view.host_address_is_taken(address)? {
        return Err(AddressesError::HostsAddress(address));
    }
    if view.address_is_taken(network.id, address)? {
        return Err(AddressesError::Taken(address));
    }
    Ok(())
}

fn choose_mac(view: &View<'_>, network: &Network) -> Result<Mac, CreateVmError> {
    for _ in 0..MAC_TRIES {
        if let Some(mac) = Mac::from_random(random::bytes()?)
            && !view.mac_is_taken(network.id, mac)?
        {
            return Ok(mac);
        }
    }
    Err(CreateVmError::NoMac)
}
