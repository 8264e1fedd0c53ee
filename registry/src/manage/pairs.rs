use super::{
    FindError, Kind, Page, Refusal,
    ending::{Ended, TimeoutError, timeout},
    find_network, find_vm,
};
use crate::{
    Registry,
    audit::Actor,
    inventory::{Carries, Vm},
    standing::Standings,
    store::{AllowedPair, Change, StoreError},
};
use pairgate_api::rest;
use pairgate_token::{GrantError, Grants};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

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
        let standings = self.standings.clone();
        let (pairs, ended, news) = self
            .store
            .change(move |change| {
                let network = find_network(change, &network)?;
                let source = find_vm(change, &network, &new.source)?;
                let destination = find_vm(change, &network, &new.destination)?;
                if source.id == destination.id {
                    return Err(AllowError::Same);
                }
                let mut allowing = Allowing {
                    change,
                    actor,
                    standings: &standings,
                    until_unix_ms: before.tombstone_end_unix_ms(settings, change.now_unix_ms),
                    ended: Ended::nothing(change)?,
                    has_begun: false,
                };
                let pairs = vec![
                    allowing.allow([&source, &destination], there)?,
                    allowing.allow([&destination, &source], back)?,
                ];
                let news = allowing.news(&[source, destination])?;
                Ok((pairs, allowing.ended, news))
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
        self.heard(&news, began + timeout.min(HEARING_MAX)).await;
        Ok(rest::Allowed { pairs, ended })
    }

    /// All directions from and to one VM.
    pub async fn list_pairs_of(
        &self,
        network: String,
        vm: String,
        page: &Page<u64>,
    ) -> Result<Vec<rest::Pair>, FindError> {
        let (after, rows) = (page.after.unwrap_or(0), page.rows());
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        self.store
            .read(move |view| {
                let network = find_network(view, &network)?;
                let vm = find_vm(view, &network, &vm)?;
                let pairs = view.pairs_of(vm.id)?.into_iter();
                Ok(pairs
                    .filter(|(pair, ..)| pair.id > after)
                    .take(rows)
                    .map(|(pair, source, destination)| shown(pair, &source, &destination))
                    .collect())
            })
            .await
    }

    pub async fn list_pairs(&self, network: String, page: &Page<u64>) -> Result<Vec<rest::Pair>, FindError> {
        let (after, rows) = (page.after.unwrap_or(0), page.rows());
        self.store
            .read(move |view| {
                let network = find_network(view, &network)?;
                Ok(view.list_pairs(network.id, after, rows)?)
            })
            .await
    }
}

/// Longest wait until hosts have heard of a new pair. A guest that tries sooner may be refused for a few seconds more.
const HEARING_MAX: Duration = Duration::from_secs(1);

/// What is new, and for which hosts.
struct News {
    revision: u64,
    hosts: Vec<Uuid>,
}

impl Registry {
    /// Waits until the hosts that are connected have heard, so that the first packet after the answer finds its pair;
    /// whoever has not by then hears later.
    async fn heard(&self, news: &News, deadline: Instant) {
        let mut changes = self.standings.changes();
        let is_behind = |host: &Uuid| {
            let seen = self.standings.seen(*host);
            seen.connected
                && seen
                    .receipt
                    .is_none_or(|receipt| receipt.revision < news.revision)
        };
        loop {
            changes.borrow_and_update();
            if !news.hosts.iter().any(is_behind) {
                return;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep_until(deadline) => return,
                () = self.stop.cancelled() => return,
            }
        }
    }
}

/// The two directions of one pair, in one change.
struct Allowing<'a> {
    change: &'a Change<'a>,
    actor: Actor,
    standings: &'a Standings,
    until_unix_ms: u64,
    ended: Ended,
    has_begun: bool,
}

impl Allowing<'_> {
    fn allow(&mut self, between: [&Vm; 2], carries: Carries) -> Result<rest::Pair, StoreError> {
        let (change, [source, destination]) = (self.change, between);
        let mut begin = |carries| {
            self.has_begun = true;
            change.allow(self.actor, source.id, destination.id, carries)
        };
        let pair = match change.pair(source.id, destination.id)? {
            Some(pair) if pair.carries == carries => {
                // Asked again, it waits again for what the first asking ended.
                self.ended.add_earlier(change, self.standings, between)?;
                pair
            }
            Some(_) => {
                self.ended.end(change, self.actor, between, self.until_unix_ms)?;
                begin(carries)?
            }
            None => {
                // What was denied before and may still be delivered would make more of the new grant than it is.
                self.ended.add_earlier(change, self.standings, between)?;
                begin(carries)?
            }
        };
        Ok(shown(pair, source, destination))
    }

    /// Whom the change concerns: only the hosts of the two VMs have refused anything between them.
    fn news(&self, vms: &[Vm]) -> Result<News, StoreError> {
        let mut hosts = Vec::new();
        if self.has_begun {
            for vm in vms {
                hosts.extend(self.change.placed(vm.id)?.map(|placed| placed.host));
            }
        }
        Ok(News {
            revision: self.change.current_revision()?,
            hosts,
        })
    }
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
