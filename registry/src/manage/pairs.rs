use super::{
    FindError, Kind, Refusal,
    ending::{Ended, TimeoutError, timeout},
    find_network, find_vm,
};
use crate::{
    Registry,
    audit::Actor,
    inventory::{Carries, Vm},
    store::{AllowedPair, Change, StoreError},
};
use pairgate_api::rest;
use pairgate_token::{GrantError, Grants};
use tokio::time::Instant;

/// Why a pair was not allowed.
#[derive(Debug, thiserror::Error)]
pub enum AllowError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("a VM makes no pair with itself: name two VMs")]
    Same,
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for AllowError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Same | Self::Grant(_) | Self::Timeout(_) => Kind::Invalid,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Registry {
    /// Allows both directions. A direction that carries the same already keeps its id; one that carries
    /// something else ends, as by a denial that is waited for, and begins anew in the same change.
    pub async fn allow_pair(
        &self,
        actor: Actor,
        network: String,
        new: rest::NewPair,
    ) -> Result<rest::Allowed, AllowError> {
        let timeout = timeout(new.timeout_ms)?;
        let began = Instant::now();
        let [there, back] = Carries::of_pair(Grants::from_texts(&new.grant)?, new.one_way);
        let (settings, before) = (self.settings, self.before);
        let (pairs, ended) = self
            .store
            .change(move |change| {
                let network = find_network(change, &network)?;
                let source = find_vm(change, &network, &new.source)?;
                let destination = find_vm(change, &network, &new.destination)?;
                if source.id == destination.id {
                    return Err(AllowError::Same);
                }
                let until_unix_ms = before.tombstone_end_unix_ms(settings, change.now_unix_ms);
                let mut ended = Ended::nothing(change)?;
                let mut pairs = Vec::new();
                for (between, carries) in [([&source, &destination], there), ([&destination, &source], back)]
                {
                    pairs.push(allow(change, actor, between, carries, until_unix_ms, &mut ended)?);
                }
                Ok((pairs, ended))
            })
            .await?;
        for pair in &pairs {
            tracing::info!(
                pair = pair.id,
                source = pair.source,
                destination = pair.destination,
                grant = pair.grant,
                "pair allowed"
            );
        }
        let ended = self.ended(ended, began, timeout).await;
        Ok(rest::Allowed { pairs, ended })
    }

    /// All directions from and to one VM.
    pub async fn list_pairs_of(&self, network: String, vm: String) -> Result<Vec<rest::Pair>, FindError> {
        self.store
            .read(move |view| {
                let network = find_network(view, &network)?;
                let vm = find_vm(view, &network, &vm)?;
                let pairs = view.pairs_of(vm.id)?.into_iter();
                Ok(pairs
                    .map(|(pair, source, destination)| shown(pair, &source, &destination))
                    .collect())
            })
            .await
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

/// What is only new changes no goal state and burns no revision: agents ask when a packet needs the pair.
fn allow(
    change: &Change<'_>,
    actor: Actor,
    between: [&Vm; 2],
    carries: Carries,
    until_unix_ms: u64,
    ended: &mut Ended,
) -> Result<rest::Pair, AllowError> {
    let [source, destination] = between;
    let pair = match change.pair(source.id, destination.id)? {
        Some(pair) if pair.carries == carries => pair,
        Some(_) => {
            ended.end(change, actor, between, until_unix_ms)?;
            change.allow(actor, source.id, destination.id, carries)?
        }
        None => change.allow(actor, source.id, destination.id, carries)?,
    };
    Ok(shown(pair, source, destination))
}

fn shown(pair: AllowedPair, source: &Vm, destination: &Vm) -> rest::Pair {
    rest::Pair {
        id: pair.id,
        source: source.name.clone(),
        destination: destination.name.clone(),
        grant: pair.carries.to_string(),
        since_unix_ms: pair.since_unix_ms,
    }
}
