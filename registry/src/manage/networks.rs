use super::{FindError, Kind, Refusal, find_network};
use crate::{
    Registry,
    audit::Actor,
    inventory::{GUEST_MTU, Ipv4Prefix, Name, Network, name::NameError, prefix::PrefixError},
    store::StoreError,
};
use pairgate_api::rest;
use uuid::Uuid;

/// Why a network was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateNetworkError {
    #[error("{0}; choose another name")]
    Name(#[from] NameError),
    #[error("{0}")]
    Prefix(#[from] PrefixError),
    #[error("a network has exactly one IPv4 prefix in this version, and {0} were given")]
    Prefixes(usize),
    #[error("there is a network named {0} already: choose another name")]
    Exists(Name),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for CreateNetworkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Name(_) | Self::Prefix(_) | Self::Prefixes(_) => Kind::Invalid,
            Self::Exists(_) => Kind::Exists,
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
        // Each is judged before they are counted, so that an IPv6 prefix is named as what it is.
        let prefixes: Vec<Ipv4Prefix> = new
            .prefixes
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()?;
        let [prefix] = prefixes[..] else {
            return Err(CreateNetworkError::Prefixes(prefixes.len()));
        };
        let network = Network {
            id: Uuid::new_v4(),
            name: name.to_string(),
            prefix,
            mtu: GUEST_MTU,
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

    pub async fn list_networks(&self) -> Result<Vec<rest::Network>, StoreError> {
        self.store.read(|view| view.list_networks()).await
    }

    pub async fn show_network(&self, name: String) -> Result<rest::Network, FindError> {
        self.store
            .read(move |view| find_network(view, &name).map(|network| shown(&network)))
            .await
    }
}

fn shown(network: &Network) -> rest::Network {
    rest::Network {
        id: network.id,
        name: network.name.clone(),
        prefixes: vec![network.prefix.to_string()],
        mtu: network.mtu,
    }
}
