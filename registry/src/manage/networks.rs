use super::{Expected, FindError, Kind, Page, Refusal, find_network};
use crate::{
    Registry,
    audit::Actor,
    inventory::{Facts, Name, Network, Prefix, facts::FactsError, name::NameError, prefix::PrefixError},
    store::StoreError,
};
use pairgate_api::rest;
use std::net::Ipv4Addr;
use uuid::Uuid;

/// Why a network was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateNetworkError {
    #[error("{0}; choose another name")]
    Name(#[from] NameError),
    #[error("{0}")]
    Prefix(#[from] PrefixError),
    #[error("a network has one prefix, or one of each family: give an IPv4 prefix, an IPv6 prefix or both")]
    Prefixes,
    #[error("{0}")]
    Facts(#[from] FactsError),
    #[error("there is a network named {0} already: choose another name")]
    Exists(Name),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for CreateNetworkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Name(_) | Self::Prefix(_) | Self::Prefixes | Self::Facts(_) => Kind::Invalid,
            Self::Exists(_) => Kind::Exists,
            Self::Store(error) => error.kind(),
        }
    }
}

/// Why guests of a network are told what they were told before.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureNetworkError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("{0}")]
    Facts(#[from] FactsError),
    #[error("a VM of the network has the address {0}: give the VM another first, or choose another gateway")]
    Taken(Ipv4Addr),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ConfigureNetworkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Facts(_) => Kind::Invalid,
            Self::Taken(_) => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Registry {
    pub async fn create_network(
        &self,
        actor: Actor,
        new: rest::NewNetwork,
    ) -> Result<rest::Network, CreateNetworkError> {
        let name: Name = new.name.parse()?;
        // More than two are wrong already, however many they are.
        let texts = new.prefixes.iter().take(3);
        let mut prefixes: Vec<Prefix> = texts.map(|text| text.parse()).collect::<Result<_, _>>()?;
        prefixes.sort_by_key(|prefix| prefix.family());
        let two_of_a_family = prefixes
            .windows(2)
            .any(|two| matches!(two, [one, other] if one.family() == other.family()));
        if prefixes.is_empty() || two_of_a_family {
            return Err(CreateNetworkError::Prefixes);
        }
        let wishes = rest::NetworkChange {
            gateway: new.gateway,
            dns: Some(new.dns),
            domain: new.domain,
            mtu: new.mtu,
        };
        let facts = changed(&Facts::of(&prefixes), &prefixes, &wishes)?;
        let network = Network {
            id: Uuid::new_v4(),
            name: name.to_string(),
            prefixes,
            facts,
        };
        let created = shown(&network);
        self.store
            .change(move |change| {
                if change.network(&name)?.is_some() {
                    return Err(CreateNetworkError::Exists(name));
                }
                change.insert_network(actor, &network)?;
                Ok(())
            })
            .await?;
        tracing::info!(network = %created.id, name = created.name, "network created");
        Ok(created)
    }

    pub async fn list_networks(&self, page: &Page<Name>) -> Result<Vec<rest::Network>, StoreError> {
        let (after, rows) = (page.after_name().to_owned(), page.rows());
        self.store
            .read(move |view| {
                let networks = view.list_networks(&after, rows)?;
                Ok(networks.iter().map(shown).collect())
            })
            .await
    }

    /// The same again changes nothing. A VM that has had the gateway's address from before keeps it.
    pub async fn configure_network(
        &self,
        actor: Actor,
        name: String,
        wishes: rest::NetworkChange,
        expected: Expected,
    ) -> Result<rest::Network, ConfigureNetworkError> {
        let configured = self
            .store
            .change(move |change| {
                let mut network = find_network(change, &name)?;
                expected.check(&shown(&network))?;
                let facts = changed(&network.facts, &network.prefixes, &wishes)?;
                if facts == network.facts {
                    return Ok::<_, ConfigureNetworkError>(shown(&network));
                }
                if facts.gateway != network.facts.gateway
                    && let Some(gateway) = facts.gateway
                    && change.address_is_taken(network.id, gateway.into())?
                {
                    return Err(ConfigureNetworkError::Taken(gateway));
                }
                network.facts = facts;
                change.configure_network(actor, &network)?;
                Ok(shown(&network))
            })
            .await?;
        tracing::info!(network = %configured.id, name = configured.name, "network configured");
        Ok(configured)
    }

    pub async fn show_network(&self, name: String) -> Result<rest::Network, FindError> {
        self.store
            .read(move |view| find_network(view, &name).map(|network| shown(&network)))
            .await
    }
}

/// What is not wished for stays.
fn changed(facts: &Facts, prefixes: &[Prefix], wishes: &rest::NetworkChange) -> Result<Facts, FactsError> {
    let mut facts = facts.clone();
    if let Some(gateway) = wishes.gateway {
        facts.set_gateway(prefixes, gateway)?;
    }
    if let Some(dns) = &wishes.dns {
        facts.set_dns(dns)?;
    }
    if let Some(domain) = &wishes.domain {
        facts.set_domain(domain)?;
    }
    if let Some(mtu) = wishes.mtu {
        facts.set_mtu(mtu)?;
    }
    Ok(facts)
}

pub(super) fn shown(network: &Network) -> rest::Network {
    rest::Network {
        id: network.id,
        name: network.name.clone(),
        prefixes: network.prefixes.iter().map(ToString::to_string).collect(),
        gateway: network.facts.gateway,
        dns: network.facts.dns.clone(),
        domain: network.facts.domain.clone(),
        mtu: network.facts.mtu,
    }
}
