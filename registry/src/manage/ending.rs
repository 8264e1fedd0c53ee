//! What a change has ended, and knowing that it has ended.
//!
//! Every change that ends pairs (a denial, another grant, a VM's new addresses, its removal) is durable first. Then,
//! for each direction, everyone who could still deliver to the destination VM is waited for: the host where its
//! placement is open and, while a move is not finished, the hosts before. Each counts by its receipt for the change
//! or by the end of its lease. Sources are told, not waited for.

use crate::{
    Registry,
    audit::Actor,
    inventory::{
        Vm,
        fence::{Fenced, Receipt},
        placement::Fence,
    },
    standing::Standings,
    store::{Change, DeadPair, StoreError, View},
};
use pairgate_api::rest;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

/// Longest wait for receipts; whoever wants to wait longer asks again.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(rest::DENIAL_WAIT_MAX_SECS);

/// Somebody wants to wait longer than is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the timeout is longer than {} seconds: give a shorter one and ask again if need be", TIMEOUT_MAX.as_secs())]
pub struct TimeoutError;

pub(super) fn timeout(timeout_ms: u64) -> Result<Duration, TimeoutError> {
    let timeout = Duration::from_millis(timeout_ms);
    if timeout > TIMEOUT_MAX {
        return Err(TimeoutError);
    }
    Ok(timeout)
}

/// What the transaction did, and who must be waited for.
#[derive(Debug)]
pub(super) struct Ended {
    revision: u64,
    directions: Vec<Direction>,
    /// Names of hosts.
    told: BTreeSet<String>,
}

#[derive(Debug)]
struct Direction {
    pair_id: u64,
    source: String,
    destination: String,
    /// The hosts' names and what they must be fenced from.
    deliverers: Vec<(String, Fence)>,
}

impl Ended {
    pub(super) fn nothing(view: &View<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            revision: view.current_revision()?,
            directions: Vec::new(),
            told: BTreeSet::new(),
        })
    }

    /// Adds a direction that died in this change or in an earlier one; to be called while the VMs are still
    /// placed as they were when it died.
    pub(super) fn add(
        &mut self,
        view: &View<'_>,
        dead: DeadPair,
        [source, destination]: [&Vm; 2],
    ) -> Result<(), StoreError> {
        self.revision = if self.directions.is_empty() {
            dead.revision
        } else {
            self.revision.max(dead.revision)
        };
        self.directions.push(Direction {
            pair_id: dead.id,
            source: source.name.clone(),
            destination: destination.name.clone(),
            deliverers: deliverers(view, destination.id, dead)?,
        });
        self.tell(view, source)?;
        self.tell(view, destination)
    }

    /// Adds a direction that an earlier change has ended, as long as there is somebody to wait for.
    pub(super) fn add_earlier(
        &mut self,
        view: &View<'_>,
        standings: &Standings,
        between: [&Vm; 2],
    ) -> Result<(), StoreError> {
        let [source, destination] = between;
        match view.dead_pair(source.id, destination.id)? {
            Some(dead) => self.add_unanswered(view, standings, dead, between),
            None => Ok(()),
        }
    }

    /// The same for every direction from and to the VM; to be called before the change ends any by itself.
    pub(super) fn add_earlier_of(
        &mut self,
        view: &View<'_>,
        standings: &Standings,
        vm: &Vm,
    ) -> Result<(), StoreError> {
        for (dead, source, destination) in view.dead_pairs_of(vm.id)? {
            self.add_unanswered(view, standings, dead, [&source, &destination])?;
        }
        Ok(())
    }

    fn add_unanswered(
        &mut self,
        view: &View<'_>,
        standings: &Standings,
        dead: DeadPair,
        between: [&Vm; 2],
    ) -> Result<(), StoreError> {
        let [_, destination] = between;
        let deliverers = deliverers(view, destination.id, dead)?;
        let mut waited_for = deliverers
            .iter()
            .filter_map(|(_, fence)| lease_end(standings, *fence, view.now_unix_ms));
        if waited_for.next().is_some() {
            self.add(view, dead, between)?;
        }
        Ok(())
    }

    /// The VM's host hears of the change.
    pub(super) fn tell(&mut self, view: &View<'_>, vm: &Vm) -> Result<(), StoreError> {
        if let Some(placed) = view.placed(vm.id)? {
            self.told.insert(host_name(view, placed.host)?);
        }
        Ok(())
    }

    /// Ends one direction if it is allowed.
    pub(super) fn end(
        &mut self,
        change: &Change<'_>,
        actor: Actor,
        between: [&Vm; 2],
        until_unix_ms: u64,
    ) -> Result<bool, StoreError> {
        let [source, destination] = between;
        let Some(dead) = change.deny(actor, source.id, destination.id, until_unix_ms)? else {
            return Ok(false);
        };
        self.add(change, dead, between)?;
        Ok(true)
    }

    fn log(&self) {
        for direction in &self.directions {
            tracing::info!(
                pair = direction.pair_id,
                source = direction.source,
                destination = direction.destination,
                revision = self.revision,
                "pair ended"
            );
        }
    }
}

impl Registry {
    /// Waits until no packet of what has ended can be delivered any more, or for `timeout`.
    pub(super) async fn ended(&self, ended: Ended, began: Instant, timeout: Duration) -> rest::Denial {
        ended.log();
        self.wait_until_fenced(&ended, began + timeout).await;
        self.judged(ended)
    }

    async fn wait_until_fenced(&self, ended: &Ended, deadline: Instant) {
        let mut changes = self.standings.changes();
        // Thousands of pairs of one VM have a handful of hosts.
        let deliverers = ended
            .directions
            .iter()
            .flat_map(|direction| &direction.deliverers);
        let fences: BTreeSet<Fence> = deliverers.map(|(_, fence)| *fence).collect();
        loop {
            changes.borrow_and_update();
            let now_unix_ms = self.clock.now_unix_ms();
            let next_lease_end = fences
                .iter()
                .filter_map(|fence| lease_end(&self.standings, *fence, now_unix_ms))
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

    fn judged(&self, ended: Ended) -> rest::Denial {
        let now_unix_ms = self.clock.now_unix_ms();
        let directions: Vec<_> = ended
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
        tracing::info!(revision = ended.revision, applied, "endings answered");
        rest::Denial {
            applied,
            revision: ended.revision,
            directions,
            told: ended.told.into_iter().collect(),
        }
    }
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
