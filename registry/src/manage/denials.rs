//! Ending a pair, and knowing that it has ended.
//!
//! The denial is durable first. Then, for each direction, everyone who could still deliver to the destination
//! VM is waited for: the host where its placement is open and, while a move is not finished, the hosts before.
//! Each counts by its receipt for the denial or by the end of its lease. Sources are told, not waited for.

use super::{FindError, Kind, Refusal, find_network, find_vm};
use crate::{
    Registry,
    audit::Actor,
    inventory::{
        Vm,
        fence::{Fenced, Receipt},
        placement::Fence,
    },
    settings::{Before, Settings},
    standing::Standings,
    store::{Change, DeadPair, StoreError, View},
};
use pairgate_api::rest;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

/// Longest wait for receipts; whoever wants to wait longer asks again.
const TIMEOUT_MAX: Duration = Duration::from_secs(rest::DENIAL_WAIT_MAX_SECS);

/// Why a pair was not denied. The wait for receipts is no part of this: a denial that is not applied stands.
#[derive(Debug, thiserror::Error)]
pub enum DenyError {
    #[error(transparent)]
    Find(#[from] FindError),
    #[error("a VM makes no pair with itself: name two VMs")]
    Same,
    #[error("the timeout is longer than {} seconds: give a shorter one and ask again if need be", TIMEOUT_MAX.as_secs())]
    Timeout,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for DenyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Find(error) => error.kind(),
            Self::Same | Self::Timeout => Kind::Invalid,
            Self::Store(error) => error.kind(),
        }
    }
}

/// What the transaction did, and who must be waited for.
#[derive(Debug)]
struct Denied {
    revision: u64,
    directions: Vec<Direction>,
    told: Vec<String>,
}

#[derive(Debug)]
struct Direction {
    pair_id: u64,
    source: String,
    destination: String,
    /// The hosts' names and what they must be fenced from.
    deliverers: Vec<(String, Fence)>,
}

impl Registry {
    /// Ends both directions and waits until no packet of them can be delivered any more, or for `timeout_ms`.
    pub async fn deny_pair(
        &self,
        actor: Actor,
        network: String,
        new: rest::NewDenial,
    ) -> Result<rest::Denial, DenyError> {
        let timeout = Duration::from_millis(new.timeout_ms);
        if timeout > TIMEOUT_MAX {
            return Err(DenyError::Timeout);
        }
        let began = Instant::now();
        let (settings, before) = (self.settings, self.before);
        let denied = self
            .store
            .change(move |change| {
                let network = find_network(change, &network)?;
                let source = find_vm(change, &network, &new.source)?;
                let destination = find_vm(change, &network, &new.destination)?;
                if source.id == destination.id {
                    return Err(DenyError::Same);
                }
                deny(change, actor, [&source, &destination], settings, before)
            })
            .await?;
        for direction in &denied.directions {
            tracing::info!(
                pair = direction.pair_id,
                source = direction.source,
                destination = direction.destination,
                revision = denied.revision,
                "pair denied"
            );
        }
        self.wait_until_fenced(&denied, began + timeout).await;
        Ok(self.judged(denied))
    }

    async fn wait_until_fenced(&self, denied: &Denied, deadline: Instant) {
        let mut changes = self.standings.changes();
        loop {
            changes.borrow_and_update();
            let now_unix_ms = self.clock.now_unix_ms();
            let next_lease_end = denied
                .directions
                .iter()
                .flat_map(|direction| &direction.deliverers)
                .filter_map(|(_, fence)| lease_end(&self.standings, *fence, now_unix_ms))
                .min();
            let Some(lease_end) = next_lease_end else {
                return;
            };
            let left = Duration::from_millis(lease_end.saturating_sub(now_unix_ms));
            // A lease can end centuries from now only by a fault elsewhere; the sum must still not overflow.
            let wake = Instant::now() + left.min(TIMEOUT_MAX);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep_until(wake.min(deadline)) => if Instant::now() >= deadline { return },
                () = self.stop.cancelled() => return,
            }
        }
    }

    fn judged(&self, denied: Denied) -> rest::Denial {
        let now_unix_ms = self.clock.now_unix_ms();
        let directions: Vec<_> = denied
            .directions
            .into_iter()
            .flat_map(|direction| {
                let verdicts: Vec<_> = direction
                    .deliverers
                    .iter()
                    .map(|(host, fence)| {
                        let fenced = self.standings.judge(fence.host, fence.revision, now_unix_ms);
                        (host.clone(), fenced)
                    })
                    .collect();
                told_direction(&direction, verdicts)
            })
            .collect();
        let applied = directions
            .iter()
            .all(|direction: &rest::DeniedDirection| direction.state != "unanswered");
        tracing::info!(revision = denied.revision, applied, "denial answered");
        rest::Denial {
            applied,
            revision: denied.revision,
            directions,
            told: denied.told,
        }
    }
}

fn deny(
    change: &Change<'_>,
    actor: Actor,
    [one, other]: [&Vm; 2],
    settings: Settings,
    before: Before,
) -> Result<Denied, DenyError> {
    let until = before.tombstone_end_unix_ms(settings, change.now_unix_ms);
    let mut directions = Vec::new();
    for (source, destination) in [(one, other), (other, one)] {
        // Asked again, a denial waits for the same receipts again; one that is forgotten has nothing left to
        // wait for.
        let dead = match change.deny(actor, source.id, destination.id, until)? {
            Some(dead) => Some(dead),
            None => change.dead_pair(source.id, destination.id)?,
        };
        if let Some(dead) = dead {
            directions.push((dead, source, destination));
        }
    }
    let revision = directions.iter().map(|(dead, ..)| dead.revision).max();
    let mut told: Vec<String> = Vec::new();
    for vm in [one, other] {
        if let Some(placed) = change.placed(vm.id)? {
            told.push(host_name(change, placed.host)?);
        }
    }
    told.sort();
    told.dedup();
    Ok(Denied {
        revision: revision.map_or_else(|| change.current_revision(), Ok)?,
        directions: directions
            .into_iter()
            .map(|(dead, source, destination)| {
                Ok(Direction {
                    pair_id: dead.id,
                    source: source.name.clone(),
                    destination: destination.name.clone(),
                    deliverers: deliverers(change, destination.id, dead)?,
                })
            })
            .collect::<Result<_, StoreError>>()?,
        told,
    })
}

/// Everyone who could still deliver to the VM what the pair allowed.
fn deliverers(
    view: &View<'_>,
    destination: Uuid,
    dead: DeadPair,
) -> Result<Vec<(String, Fence)>, StoreError> {
    let open = view.placed(destination)?.filter(|placed| placed.open);
    let open = open.map(|placed| Fence {
        host: placed.host,
        revision: dead.revision,
    });
    // A host before is harmless by the word that the pair is gone or by the word that the VM is.
    let fences = view.fences(destination)?.into_iter().map(|fence| Fence {
        revision: fence.revision.min(dead.revision),
        ..fence
    });
    open.into_iter()
        .chain(fences)
        .map(|fence| Ok((host_name(view, fence.host)?, fence)))
        .collect()
}

fn host_name(view: &View<'_>, host: Uuid) -> Result<String, StoreError> {
    let host = view.host(host)?;
    Ok(host
        .ok_or(StoreError::Inconsistent("a placement on no host"))?
        .name)
}

fn lease_end(standings: &Standings, fence: Fence, now_unix_ms: u64) -> Option<u64> {
    match standings.judge(fence.host, fence.revision, now_unix_ms) {
        Fenced::Applied(_) | Fenced::LeaseEnded => None,
        Fenced::NotYet { lease_ends_unix_ms } => Some(lease_ends_unix_ms),
    }
}

fn told_direction(direction: &Direction, verdicts: Vec<(String, Fenced)>) -> Vec<rest::DeniedDirection> {
    let row = |host, state: &str, receipt: Option<Receipt>, lease_ends_unix_ms| rest::DeniedDirection {
        pair_id: direction.pair_id,
        source: direction.source.clone(),
        destination: direction.destination.clone(),
        host,
        state: state.to_owned(),
        applied_unix_ms: receipt.map(|receipt| receipt.applied_unix_ms),
        undrained: receipt.map_or(0, |receipt| receipt.undrained),
        lease_ends_unix_ms,
    };
    if verdicts.is_empty() {
        return vec![row(None, "not_placed", None, None)];
    }
    verdicts
        .into_iter()
        .map(|(host, fenced)| match fenced {
            Fenced::Applied(receipt) => row(Some(host), "applied", Some(receipt), None),
            Fenced::LeaseEnded => row(Some(host), "lease_ended", None, None),
            Fenced::NotYet { lease_ends_unix_ms } => {
                row(Some(host), "unanswered", None, Some(lease_ends_unix_ms))
            }
        })
        .collect()
}
