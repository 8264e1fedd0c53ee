use super::{FindError, Kind, Refusal, find_network, find_vm};
use crate::{
    Registry,
    audit::Actor,
    inventory::{
        Ipv4Prefix, Mac, Name, Network, Vm,
        address::{AddressError, unicast},
        mac::MacError,
        name::NameError,
        prefix::OutsideError,
    },
    random,
    store::{StoreError, View},
};
use pairgate_api::rest;
use std::net::Ipv4Addr;
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
    #[error("{0}")]
    Address(#[from] AddressError),
    #[error("{0}")]
    Outside(#[from] OutsideError),
    #[error("{0}")]
    Mac(#[from] MacError),
    #[error("there is a VM named {name} in network {network} already: choose another name")]
    NameTaken { name: Name, network: String },
    #[error("another VM of the network has the address {0}: choose another, or leave it out")]
    AddressTaken(Ipv4Addr),
    #[error("{0} is the address of a host: no guest may have it")]
    HostsAddress(Ipv4Addr),
    #[error("another VM of the network has the MAC address {0}: choose another, or leave it out")]
    MacTaken(Mac),
    #[error("no address of {0} is free: give one outside the order of choice, or make a larger network")]
    Full(Ipv4Prefix),
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
            Self::Name(_) | Self::Address(_) | Self::Outside(_) | Self::Mac(_) => Kind::Invalid,
            Self::NameTaken { .. } => Kind::Exists,
            Self::AddressTaken(_)
            | Self::HostsAddress(_)
            | Self::MacTaken(_)
            | Self::Full(_)
            | Self::NoMac => Kind::Conflict,
            Self::Random(_) => Kind::Internal,
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
        let address = new.address.map(unicast).transpose()?;
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
                let address = match address {
                    Some(address) => check_address(change, &network, address)?,
                    None => choose_address(change, &network)?,
                };
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
                change.insert_vm(actor, network.id, &vm, address, mac)?;
                shown(change, vm.id)
            })
            .await?;
        tracing::info!(vm = %created.id, name = created.name, network = created.network, "vm created");
        Ok(created)
    }

    pub async fn list_vms(&self, network: String) -> Result<Vec<rest::Vm>, FindError> {
        self.store
            .read(move |view| {
                let network = find_network(view, &network)?;
                Ok(view.list_vms(network.id)?)
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

fn check_address(view: &View<'_>, network: &Network, address: Ipv4Addr) -> Result<Ipv4Addr, CreateVmError> {
    network.prefix.check(address)?;
    if view.host_address_is_taken(address)? {
        return Err(CreateVmError::HostsAddress(address));
    }
    if view.address_is_taken(network.id, address)? {
        return Err(CreateVmError::AddressTaken(address));
    }
    Ok(address)
}

fn choose_address(view: &View<'_>, network: &Network) -> Result<Ipv4Addr, CreateVmError> {
    let used = view.addresses_in_use(network.id)?;
    network
        .prefix
        .lowest_free(used)
        .ok_or(CreateVmError::Full(network.prefix))
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
