use super::{FindError, Kind, Page, Refusal, find_network};
use crate::{
    Registry,
    audit::Actor,
    inventory::{GUEST_MTU, Name, Network, Prefix, name::NameError, prefix::PrefixError},
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
    #[error("a network has one prefix, or one of each family: give an IPv4 prefix, an IPv6 prefix or both")]
    Prefixes,
    #[error("there is a network named {0} already: choose another name")]
    Exists(Name),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for CreateNetworkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Name(_) | Self::Prefix(_) | Self::Prefixes => Kind::Invalid,
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
        let network = Network {
            id: Uuid::new_v4(),
            name: name.to_string(),
            prefixes,
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

    pub async fn list_networks(&self, page: &Page<Name>) -> Result<Vec<rest::Network>, StoreError> {
        let (after, rows) = (page.after_name().to_owned(), page.rows());
        self.store
            .read(move |view| view.list_networks(&after, rows))
            .await
    }

    pub async fn show_network(&self, name: String) -> Result<rest::Network, FindError> {
        self.store
            .read(move |view| find_network(view, &name).map(|network| shown(&network)))
            .await
    }
}

pub(super) fn shown(network: &Network) -> rest::Network {
    rest::Network {
        id: network.id,
        name: network.name.clone(),
        prefixes: network.prefixes.iter().map(ToString::to_string).collect(),
        mtu: network.mtu,
    }
}
