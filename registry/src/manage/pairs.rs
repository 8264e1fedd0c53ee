use super::{FindError, Kind, Refusal, find_network, find_vm};
use crate::{
    Registry,
    audit::Actor,
    inventory::Vm,
    store::{Change, StoreError},
};
use pairgate_api::rest;

/// Why a pair was not allowed.
#[derive(Debug, thiserror::Error)]
pub enum AllowError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("a VM makes no pair with itself: name two VMs")]
    Same,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for AllowError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Same => Kind::Invalid,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Registry {
    /// Allows both directions; what is allowed already keeps its ids.
    pub async fn allow_pair(
        &self,
        actor: Actor,
        network: String,
        new: rest::NewPair,
    ) -> Result<Vec<rest::Pair>, AllowError> {
        let pairs = self
            .store
            .change(move |change| {
                let network = find_network(change, &network)?;
                let source = find_vm(change, &network, &new.source)?;
                let destination = find_vm(change, &network, &new.destination)?;
                if source.id == destination.id {
                    return Err(AllowError::Same);
                }
                Ok(vec![
                    allow(change, actor, &source, &destination)?,
                    allow(change, actor, &destination, &source)?,
                ])
            })
            .await?;
        for pair in &pairs {
            tracing::info!(
                pair = pair.id,
                source = pair.source,
                destination = pair.destination,
                "pair allowed"
            );
        }
        Ok(pairs)
    }

    pub async fn list_pairs(&self, network: String) -> Result<Vec<rest::Pair>, FindError> {
        self.store
            .read(move |view| {
                let network = find_network(view, &network)?;
                Ok(view.list_pairs(network.id)?)
            })
            .await
    }
}

/// No goal state changes by this, so it burns no revision: agents ask when a packet needs the pair.
fn allow(change: &Change<'_>, actor: Actor, source: &Vm, destination: &Vm) -> Result<rest::Pair, AllowError> {
    let pair = match change.pair(source.id, destination.id)? {
        Some(pair) => pair,
        None => change.allow(actor, source.id, destination.id)?,
    };
    Ok(rest::Pair {
        id: pair.id,
        source: source.name.clone(),
        destination: destination.name.clone(),
        grant: "all".to_owned(),
        since_unix_ms: pair.since_unix_ms,
    })
}
