//! Taking VMs, hosts and networks away.
//!
//! Guarantee: nothing goes on that something else still depends on, and what is gone is remembered as dead for as long
//! as a token, lease or certificate could name it: every pair id of a VM and all its generations, and the id of a host.
//! A removed host's certificate is worth nothing from the commit on; what its lease still lets it do is told.

use super::{
    Expected, FindError, Kind, Refusal,
    ending::{Ended, TimeoutError, timeout},
    find_host, find_network, find_vm,
    vms::shown,
};
use crate::{
    Registry,
    audit::Actor,
    enrol,
    store::{PlacedVm, StoreError},
};
use pairgate_api::rest;
use tokio::time::Instant;

/// So many names are told of what stands in the way.
const NAMED_MAX: usize = 5;

/// Why a VM was not removed. The wait for receipts is no part of this: a removal that is not applied stands.
#[derive(Debug, thiserror::Error)]
pub enum RemoveVmError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for RemoveVmError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Timeout(_) => Kind::Invalid,
            Self::Store(error) => error.kind(),
        }
    }
}

/// Why a host was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveHostError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("VMs are placed on it ({0}): place them elsewhere, or delete them")]
    Placed(String),
    #[error(
        "VMs that were placed elsewhere may still run on it ({0}): try again once they are open there, which is when it \
         has given its receipt or its lease has ended (`pairgate host show`)"
    )]
    Fenced(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for RemoveHostError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Placed(_) | Self::Fenced(_) => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }
}

/// Why a network was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveNetworkError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("it has {0} VMs: delete them first")]
    Vms(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for RemoveNetworkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Vms(_) => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Registry {
    /// Ends all pairs of the VM and its placement, and waits as a denial does.
    pub async fn remove_vm(
        &self,
        actor: Actor,
        network: String,
        name: String,
        timeout_ms: u64,
        expected: Expected,
    ) -> Result<rest::Denial, RemoveVmError> {
        let timeout = timeout(timeout_ms)?;
        let began = Instant::now();
        let (settings, before) = (self.settings, self.before);
        let standings = self.standings.clone();
        let (vm, ended) = self
            .store
            .change_essential(move |change| {
                let network = find_network(change, &network)?;
                let vm = find_vm(change, &network, &name)?;
                expected.check(&shown::<StoreError>(change, vm.id)?)?;
                let until_unix_ms = before.tombstone_end_unix_ms(settings, change.now_unix_ms);
                let mut ended = Ended::nothing(change)?;
                ended.add_earlier_of(change, &standings, &vm)?;
                for (_, source, destination) in change.pairs_of(vm.id)? {
                    ended.end(change, actor, [&source, &destination], until_unix_ms)?;
                }
                ended.tell(change, &vm)?;
                change.remove_vm(actor, &vm, until_unix_ms)?;
                Ok::<_, RemoveVmError>((vm, ended))
            })
            .await?;
        tracing::info!(vm = %vm.id, name = vm.name, "vm removed");
        Ok(self.ended(ended, began, timeout).await)
    }

    pub async fn remove_host(
        &self,
        actor: Actor,
        name: String,
        expected: Expected,
    ) -> Result<rest::RemovedHost, RemoveHostError> {
        let (settings, before) = (self.settings, self.before);
        let (host, revision) = self
            .store
            .change_essential(move |change| {
                let host = find_host(change, &name)?;
                expected.check(&host)?;
                let placed = change.placed_on(host.id)?;
                if !placed.is_empty() {
                    return Err(RemoveHostError::Placed(named(&placed)));
                }
                let fenced = change.fenced_on(host.id)?;
                if !fenced.is_empty() {
                    return Err(RemoveHostError::Fenced(named(&fenced)));
                }
                // Other hosts know its certificate for a good one until that runs out.
                let certificate_ends_unix_ms = change.now_unix_ms + enrol::CERTIFICATE_LIFE_SECS * 1000;
                let until_unix_ms = before
                    .tombstone_end_unix_ms(settings, change.now_unix_ms)
                    .max(certificate_ends_unix_ms);
                let revision = change.remove_host(actor, &host, until_unix_ms)?;
                Ok((host, revision))
            })
            .await?;
        tracing::info!(host = %host.id, name = host.name, revision, "host removed");
        let lease_ends = self.standings.seen(host.id).lease_ends_unix_ms;
        Ok(rest::RemovedHost {
            id: host.id,
            name: host.name,
            revision,
            lease_ends_unix_ms: (lease_ends > self.clock.now_unix_ms()).then_some(lease_ends),
        })
    }

    pub async fn remove_network(
        &self,
        actor: Actor,
        name: String,
        expected: Expected,
    ) -> Result<rest::Network, RemoveNetworkError> {
        let removed = self
            .store
            .change_essential(move |change| {
                let network = find_network(change, &name)?;
                expected.check(&super::networks::shown(&network))?;
                let vms = change.count_vms_of(network.id)?;
                if vms > 0 {
                    return Err(RemoveNetworkError::Vms(vms));
                }
                change.remove_network(actor, &network)?;
                Ok(network)
            })
            .await?;
        tracing::info!(network = %removed.id, name = removed.name, "network removed");
        Ok(super::networks::shown(&removed))
    }
}

/// The first of them, with their networks.
fn named(vms: &[PlacedVm]) -> String {
    let texts = vms.iter().take(NAMED_MAX);
    let texts: Vec<_> = texts
        .map(|vm| format!("{} of network {}", vm.name, vm.network))
        .collect();
    let more = vms.len().saturating_sub(NAMED_MAX);
    match more {
        0 => texts.join(", "),
        _ => format!("{} and {more} more", texts.join(", ")),
    }
}
