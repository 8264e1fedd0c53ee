//! Ending a pair by name. A denial asked again waits for the same receipts again.

use super::{
    FindError, Kind, Refusal,
    ending::{Ended, TimeoutError, timeout},
    find_network, find_vm,
};
use crate::{
    Registry,
    audit::Actor,
    inventory::Vm,
    store::{Change, StoreError},
};
use pairgate_api::rest;
use tokio::time::Instant;

/// Why a pair was not denied. The wait for receipts is no part of this: a denial that is not applied stands.
#[derive(Debug, thiserror::Error)]
pub enum DenyError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("a VM makes no pair with itself: name two VMs")]
    Same,
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for DenyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Same | Self::Timeout(_) => Kind::Invalid,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Registry {
    /// Ends both directions and waits until no packet of them can be delivered any more, or for `timeout_ms`.
    pub async fn deny_pair(
        &self,
        actor: Actor,
        network: String,
        new: rest::NewDenial,
    ) -> Result<rest::Denial, DenyError> {
        let timeout = timeout(new.timeout_ms)?;
        let began = Instant::now();
        let (settings, before) = (self.settings, self.before);
        let ended = self
            .store
            .change_essential(move |change| {
                let network = find_network(change, &network)?;
                let source = find_vm(change, &network, &new.source)?;
                let destination = find_vm(change, &network, &new.destination)?;
                if source.id == destination.id {
                    return Err(DenyError::Same);
                }
                let until_unix_ms = before.tombstone_end_unix_ms(settings, change.now_unix_ms);
                Ok(deny(change, actor, [&source, &destination], until_unix_ms)?)
            })
            .await?;
        Ok(self.ended(ended, began, timeout).await)
    }
}

fn deny(
    change: &Change<'_>,
    actor: Actor,
    [one, other]: [&Vm; 2],
    until_unix_ms: u64,
) -> Result<Ended, StoreError> {
    let mut ended = Ended::nothing(change)?;
    for between in [[one, other], [other, one]] {
        if ended.end(change, actor, between, until_unix_ms)? {
            continue;
        }
        // One that is forgotten has nothing left to wait for.
        let [source, destination] = between;
        if let Some(dead) = change.dead_pair(source.id, destination.id)? {
            ended.add(change, dead, between)?;
        }
    }
    ended.tell(change, one)?;
    ended.tell(change, other)?;
    Ok(ended)
}
