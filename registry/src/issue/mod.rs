//! The token's birth: question in, facts from the store, decision, audit row, token out.
//!
//! Guarantee: a token leaves only if every check held on one snapshot of the store. The first one for a pair and
//! the generations of its VMs leaves after its audit row is on the disk; those that renew it are counted, and so
//! are refusals, which look alike from outside. How often a host and a VM may ask is bounded (`quota`).

pub mod judge;
mod nonces;
mod tally;

use crate::{
    Registry,
    audit::{Actor, Event},
    quota,
    settings::Settings,
    store::{Change, Store, StoreError},
};
use judge::{Ask, Minted, Reason};
use nonces::{Found, Nonces};
use pairgate_api::routes::Role;
use pairgate_token::MINT_PROOF_WINDOW_SECS;
use std::{net::IpAddr, sync::Arc};
use tally::{Outcome, Tally};
use uuid::Uuid;

/// Why a question got no answer; a refusal is an answer.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("this host, or the VM in whose name it asks, asks too often: ask again later")]
    TooOften,
    #[error("the host's certificate is not the one of its record: enrol again")]
    NotTheHost,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What minting remembers between questions.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    nonces: Nonces,
    tally: Tally,
}

impl Registry {
    /// Answers one question. Runs to its end even if the asker goes away, so that an audit row never stands
    /// for a token that a second asking would mint again.
    pub async fn mint(
        self: &Arc<Self>,
        ask: Ask,
        public_key: Vec<u8>,
    ) -> Result<Result<Minted, Reason>, MintError> {
        let now_unix_ms = self.clock.now_unix_ms();
        let vm = ask.question.source_vm;
        if !self.quota.take_mint(ask.host, vm, now_unix_ms) {
            self.refused(&ask, Reason::TooOften);
            return Err(MintError::TooOften);
        }
        let turn = self.lanes.turn(ask.host).await;
        let now_unix_secs = self.clock.now_unix_ms() / 1000;
        if !ask.question.is_fresh(now_unix_secs) {
            // Not remembered, as it can never be taken; but judged all the same, for the reason and the work.
            return self.mint_once(&ask, public_key).await;
        }
        let slot = match self.memory.nonces.slot(&ask, now_unix_secs) {
            Found::Slot(slot) => slot,
            Found::Full => return Err(MintError::TooOften),
            Found::Reused => {
                self.refused(&ask, Reason::Nonce);
                return Ok(Err(Reason::Nonce));
            }
        };
        let registry = self.clone();
        let answering = tokio::spawn(async move {
            // Kept until the work is done, whether or not the asker still waits for it.
            let _turn = turn;
            slot.get_or_try_init(|| registry.mint_once(&ask, public_key))
                .await
                .cloned()
        });
        // A task that was torn down with the runtime has not answered.
        answering
            .await
            .unwrap_or(Err(MintError::Store(StoreError::Stopped)))
    }

    async fn mint_once(&self, ask: &Ask, public_key: Vec<u8>) -> Result<Result<Minted, Reason>, MintError> {
        let settings = self.settings;
        let question = ask.clone();
        let (answer, renewed) = self
            .store
            .change_renewing(move |change| decide(change, &question, &public_key, settings))
            .await?;
        for (source, destination) in renewed {
            let tally = &self.memory.tally;
            tally.count(ask.host, source, destination, Outcome::Renewed);
        }
        match &answer {
            Ok(minted) => tracing::debug!(
                host = %ask.host, pair = minted.token.claims().pair_id,
                expires_unix_secs = minted.token.claims().expires_unix_secs, "token minted"
            ),
            Err(reason) => self.refused(ask, *reason),
        }
        Ok(answer)
    }

    fn refused(&self, ask: &Ask, reason: Reason) {
        tracing::debug!(
            host = %ask.host, source = %ask.question.source_vm,
            destination = %ask.question.destination_address, because = reason.word(), "mint refused"
        );
        let (source, destination) = (ask.question.source_vm, ask.question.destination_address);
        let outcome = Outcome::Refused(reason);
        self.memory.tally.count(ask.host, source, destination, outcome);
    }

    /// Gives back the memory of questions that nobody can ask again.
    pub(crate) fn forget_old_questions(&self) {
        self.memory.nonces.forget_old(self.clock.now_unix_ms() / 1000);
    }

    /// Writes down the refused and the renewing mints since the last time.
    pub(crate) async fn write_tally(&self, store: &Store) -> Result<(), StoreError> {
        let counted = self.memory.tally.take();
        if counted.is_empty() {
            return Ok(());
        }
        store.change(move |change| counted.write(change)).await
    }
}

/// Source VM and destination address of a token that renews what has its audit row.
type Renewed = (Uuid, IpAddr);

/// An answer that refuses is no error here: the transaction then has nothing to commit.
fn decide(
    change: &Change<'_>,
    ask: &Ask,
    public_key: &[u8],
    settings: Settings,
) -> Result<(Result<Minted, Reason>, Vec<Renewed>), MintError> {
    let host = change.host(ask.host)?;
    if host.and_then(|host| host.public_key).as_deref() != Some(public_key) {
        return Err(MintError::NotTheHost);
    }
    let question = &ask.question;
    let addresses = [question.source_address, question.destination_address];
    let facts = change.mint_facts(question.network, question.source_vm, addresses)?;
    let answer = judge::mint(ask, &facts, settings, change.now_unix_ms / 1000);
    let mut renewed = Vec::new();
    if let Ok(minted) = &answer {
        for token in [Some(&minted.token), minted.back.as_ref()].into_iter().flatten() {
            let claims = token.claims();
            let generations = [claims.source_generation, claims.destination_generation];
            if !change.is_first_mint(claims.pair_id, generations)? {
                renewed.push((claims.source_vm, claims.destination_address));
                continue;
            }
            if !change.has_room {
                return Err(StoreError::Full.into());
            }
            let actor = Actor::Caller {
                role: Role::Host,
                id: ask.host,
            };
            let event = Event::TokenMinted {
                pair: claims.pair_id,
                host: ask.host,
                source_generation: claims.source_generation,
                destination_generation: claims.destination_generation,
                expires_unix_secs: claims.expires_unix_secs,
            };
            change.audit(actor, &event)?;
        }
    }
    Ok((answer, renewed))
}

/// Whoever asks as often as it may fills no memory of questions, so that bound never refuses by itself.
const _: () = {
    let remembered_ms = 2 * MINT_PROOF_WINDOW_SECS * 1000;
    let asked = quota::OF_HOST.burst + remembered_ms / quota::OF_HOST.every_ms;
    assert!(asked <= nonces::PER_HOST_MAX as u64);
};
