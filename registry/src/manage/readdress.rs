//! Giving a VM other addresses.
//!
//! One change: the addresses, a new id for every pair of the VM (what it carries stays), and, where the VM is placed,
//! a new generation with a new key. The floor below that generation reaches every host, so that nobody can go on
//! speaking as the VM by its old addresses, and what was allowed from or to them is waited for like a denial.

use super::{
    Expected, FindError, Kind, PlaceError, Refusal,
    ending::{Ended, TimeoutError, timeout},
    find_network, find_vm,
    placements::begin_generation,
    vms::{AddressesError, given_addresses, place_addresses, shown},
};
use crate::{
    Registry,
    audit::Actor,
    inventory::Vm,
    store::{Change, StoreError},
};
use pairgate_api::rest;
use std::{collections::BTreeSet, net::IpAddr};
use tokio::time::Instant;

/// Why a VM kept its addresses.
#[derive(Debug, thiserror::Error)]
pub enum ReaddressError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Addresses(#[from] AddressesError),
    #[error("a VM has one address at least: name those that it is to have")]
    None,
    #[error(transparent)]
    Timeout(#[from] TimeoutError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ReaddressError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Addresses(error) => error.kind(),
            Self::None | Self::Timeout(_) => Kind::Invalid,
            Self::Place(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

impl Registry {
    /// The same addresses again change nothing, in whatever order.
    pub async fn set_addresses(
        &self,
        actor: Actor,
        network: String,
        vm: String,
        new: rest::NewAddresses,
        expected: Expected,
    ) -> Result<rest::Readdressed, ReaddressError> {
        let timeout = timeout(new.timeout_ms)?;
        let began = Instant::now();
        let given = given_addresses(&new.addresses)?;
        if given.is_empty() {
            return Err(ReaddressError::None);
        }
        let (settings, before) = (self.settings, self.before);
        let standings = self.standings.clone();
        let (vm, ended) = self
            .store
            .change(move |change| {
                let network = find_network(change, &network)?;
                let vm = find_vm(change, &network, &vm)?;
                expected.check(&shown::<StoreError>(change, vm.id)?)?;
                let mut ended = Ended::nothing(change)?;
                let set = |addresses: &[IpAddr]| addresses.iter().copied().collect::<BTreeSet<_>>();
                // Asked again, it waits again for what the first asking ended.
                ended.add_earlier_of(change, &standings, &vm)?;
                if set(&change.addresses(vm.id)?) != set(&given) {
                    // Its own addresses are no obstacle to itself.
                    change.release_addresses(vm.id)?;
                    let addresses = place_addresses(change, &network, given)?;
                    change.set_addresses(actor, network.id, vm.id, &addresses)?;
                    let until_unix_ms = before.tombstone_end_unix_ms(settings, change.now_unix_ms);
                    renew_pairs(change, actor, &vm, until_unix_ms, &mut ended)?;
                    if let Some(placed) = change.placed(vm.id)? {
                        begin_generation(change, actor, &vm, placed.host, until_unix_ms)?;
                    }
                }
                Ok::<_, ReaddressError>((shown::<StoreError>(change, vm.id)?, ended))
            })
            .await?;
        let vm = self.opened_at_once(vm).await;
        let addresses: Vec<_> = vm.addresses.iter().map(|given| given.address).collect();
        tracing::info!(vm = %vm.id, ?addresses, "vm has its addresses");
        Ok(rest::Readdressed {
            vm,
            ended: self.ended(ended, began, timeout).await,
        })
    }
}

/// The same permissions under new numbers.
fn renew_pairs(
    change: &Change<'_>,
    actor: Actor,
    vm: &Vm,
    until_unix_ms: u64,
    ended: &mut Ended,
) -> Result<(), StoreError> {
    for (pair, source, destination) in change.pairs_of(vm.id)? {
        ended.end(change, actor, [&source, &destination], until_unix_ms)?;
        change.allow(actor, source.id, destination.id, pair.carries)?;
    }
    Ok(())
}
