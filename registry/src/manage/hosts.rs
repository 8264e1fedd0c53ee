use super::{Expected, FindError, Kind, Page, Refusal, find_host};
use crate::{
    Registry,
    audit::Actor,
    inventory::{
        Host, Name,
        address::{AddressError, unicast},
        name::NameError,
    },
    store::StoreError,
};
use pairgate_api::{AGENT_PORT, OVERLAY_PORT, rest};
use std::net::IpAddr;
use uuid::Uuid;

/// Why a host record was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateHostError {
    #[error("{0}; choose another name")]
    Name(#[from] NameError),
    #[error("{0}")]
    Address(#[from] AddressError),
    #[error("port 0 cannot be reached: leave the port out or give another")]
    Port,
    #[error("there is a host named {0} already: choose another name")]
    NameTaken(Name),
    #[error("another host has the address {0}: no two hosts can share one")]
    AddressTaken(IpAddr),
    #[error("a VM has the address {0}: a host's address can be no guest's, in any network")]
    GuestsAddress(IpAddr),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for CreateHostError {
    fn kind(&self) -> Kind {
        match self {
            Self::Name(_) | Self::Address(_) | Self::Port => Kind::Invalid,
            Self::NameTaken(_) => Kind::Exists,
            Self::AddressTaken(_) | Self::GuestsAddress(_) => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Registry {
    pub async fn create_host(&self, actor: Actor, new: rest::NewHost) -> Result<rest::Host, CreateHostError> {
        let name: Name = new.name.parse()?;
        let host = Host {
            id: Uuid::new_v4(),
            name: name.to_string(),
            address: unicast(new.address)?,
            agent_port: new.agent_port.unwrap_or(AGENT_PORT),
            overlay_port: new.overlay_port.unwrap_or(OVERLAY_PORT),
            public_key: None,
        };
        if host.agent_port == 0 || host.overlay_port == 0 {
            return Err(CreateHostError::Port);
        }
        let created = self.shown_host(&host);
        self.store
            .change(move |change| {
                if change.host_by_name(&name)?.is_some() {
                    return Err(CreateHostError::NameTaken(name));
                }
                if change.host_address_is_taken(host.address)? {
                    return Err(CreateHostError::AddressTaken(host.address));
                }
                if change.is_a_guests_address(host.address)? {
                    return Err(CreateHostError::GuestsAddress(host.address));
                }
                change.insert_host(actor, &host)?;
                Ok(())
            })
            .await?;
        tracing::info!(host = %created.id, name = created.name, address = %created.address, "host record made");
        Ok(created)
    }

    /// Lets the record wait for another key: the certificate that its host has is worth nothing from here on, and
    /// what its lease still lets it do counts against every change until that ends. What waits already is left as
    /// it is.
    pub async fn reset_host(
        &self,
        actor: Actor,
        name: String,
        expected: Expected,
    ) -> Result<rest::Host, FindError> {
        let standings = self.standings.clone();
        let host = self
            .store
            .change_essential(move |change| {
                let host = find_host(change, &name)?;
                expected.check(&host)?;
                if host.public_key.is_some() {
                    change.reset_host(actor, host.id, standings.supersede(host.id))?;
                }
                find_host(change, &name)
            })
            .await?;
        tracing::info!(host = %host.id, name = host.name, "host record reset");
        Ok(self.shown_host(&host))
    }

    pub async fn list_hosts(&self, page: &Page<Name>) -> Result<Vec<rest::Host>, StoreError> {
        let (after, rows) = (page.after_name().to_owned(), page.rows());
        let hosts = self.store.read(move |view| view.list_hosts(&after, rows)).await?;
        Ok(hosts.iter().map(|host| self.shown_host(host)).collect())
    }

    pub async fn show_host(&self, name: String) -> Result<rest::Host, FindError> {
        let host = self.store.read(move |view| find_host(view, &name)).await?;
        Ok(self.shown_host(&host))
    }

    pub(super) fn shown_host(&self, host: &Host) -> rest::Host {
        let seen = self.standings.seen(host.id);
        let lease_ends = seen.lease_ends_unix_ms;
        let state = if host.public_key.is_some() {
            rest::Host::ENROLLED
        } else {
            "waiting"
        };
        rest::Host {
            id: host.id,
            name: host.name.clone(),
            address: host.address,
            agent_port: host.agent_port,
            overlay_port: host.overlay_port,
            state: state.to_owned(),
            connected: seen.connected,
            applied_revision: seen.receipt.map(|receipt| receipt.revision),
            lease_ends_unix_ms: (lease_ends > self.clock.now_unix_ms()).then_some(lease_ends),
        }
    }
}
