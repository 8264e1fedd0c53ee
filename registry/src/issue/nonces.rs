//! The same question again gets the same answer.
//!
//! Guarantee: as long as a proof would be taken, its nonce is remembered for the host that used it; a second
//! asking, also one that arrives while the first is being answered, waits for that answer and makes no second
//! token and no second audit row. A nonce that comes again with another question is refused. The memory is
//! bounded per host, and a full one refuses rather than forgets: forgetting would let a proof count twice.

use super::judge::{Ask, Minted, Reason};
use pairgate_token::{MINT_NONCE_LEN, MINT_PROOF_LEN, MINT_PROOF_WINDOW_SECS, MintQuestion};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Questions of one host that are remembered at once: as many as it may ask meanwhile.
pub(super) const PER_HOST_MAX: usize = 65_536;
/// How often a host's old questions are looked for, in seconds.
const PRUNE_EVERY_SECS: u64 = 10;

pub(super) type Answer = Result<Minted, Reason>;

/// A slot that is filled once; whoever fills it makes the others wait.
pub(super) type Slot = Arc<OnceCell<Answer>>;

#[derive(Debug)]
struct Remembered {
    question: MintQuestion,
    proof: [u8; MINT_PROOF_LEN],
    slot: Slot,
}

#[derive(Debug, Default)]
struct OfHost {
    remembered: HashMap<[u8; MINT_NONCE_LEN], Remembered>,
    pruned_unix_secs: u64,
}

impl OfHost {
    /// Forgets what could not be taken any more. A full memory is looked through once a second and not at every
    /// question: a host that asks without end must not hold up the others.
    fn prune(&mut self, now_unix_secs: u64) {
        let pause = if self.remembered.len() < PER_HOST_MAX {
            PRUNE_EVERY_SECS
        } else {
            1
        };
        if now_unix_secs < self.pruned_unix_secs.saturating_add(pause) {
            return;
        }
        self.pruned_unix_secs = now_unix_secs;
        // Exactly as long as the proof could still be taken.
        self.remembered.retain(|_, remembered| {
            let asked_unix_secs = remembered.question.unix_secs;
            now_unix_secs <= asked_unix_secs.saturating_add(MINT_PROOF_WINDOW_SECS)
        });
    }
}

#[derive(Debug, Default)]
pub(super) struct Nonces {
    hosts: Mutex<HashMap<Uuid, OfHost>>,
}

#[derive(Debug)]
pub(super) enum Found {
    /// New, or the same question as before.
    Slot(Slot),
    /// Known, with another question.
    Reused,
    /// No room until older questions are forgotten.
    Full,
}

impl Nonces {
    /// Forgets what could not be taken any more, also of hosts that ask no longer.
    pub(super) fn forget_old(&self, now_unix_secs: u64) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|_, host| {
            host.prune(now_unix_secs);
            !host.remembered.is_empty()
        });
    }

    /// Only for questions that are fresh: others could not be remembered long enough.
    pub(super) fn slot(&self, ask: &Ask, now_unix_secs: u64) -> Found {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry(ask.host).or_default();
        host.prune(now_unix_secs);
        if let Some(remembered) = host.remembered.get(&ask.question.nonce) {
            // Not a check of the proof, so it need not be in constant time: both came from the same host.
            let same = remembered.question == ask.question && remembered.proof == *ask.proof.as_bytes();
            return if same {
                Found::Slot(remembered.slot.clone())
            } else {
                Found::Reused
            };
        }
        if host.remembered.len() >= PER_HOST_MAX {
            return Found::Full;
        }
        let slot = Slot::default();
        let remembered = Remembered {
            question: ask.question.clone(),
            proof: *ask.proof.as_bytes(),
            slot: slot.clone(),
        };
        host.remembered.insert(ask.question.nonce, remembered);
        Found::Slot(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pairgate_token::MintProof;

    const NOW: u64 = 1_790_000_000;

    fn ask(host: u128, nonce: u8, unix_secs: u64) -> Ask {
        Ask {
            host: Uuid::from_u128(host),
            question: MintQuestion {
                network: Uuid::nil(),
                source_vm: Uuid::nil(),
                source_address: "10.0.0.1".parse().unwrap(),
                destination_address: "10.0.0.2".parse().unwrap(),
                nonce: [nonce; 16],
                unix_secs,
            },
            proof: MintProof::from_slice(&[nonce; 32]).unwrap(),
            with_back: false,
        }
    }

    fn slot(nonces: &Nonces, ask: &Ask, now: u64) -> Slot {
        match nonces.slot(ask, now) {
            Found::Slot(slot) => slot,
            other @ (Found::Reused | Found::Full) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_question_finds_the_same_slot_as_long_as_its_proof_is_fresh() {
        let nonces = Nonces::default();
        let question = ask(1, 1, NOW + 60);
        let first = slot(&nonces, &question, NOW);
        let last_fresh_instant = NOW + 120;
        assert!(Arc::ptr_eq(&first, &slot(&nonces, &question, last_fresh_instant)));
        let after = slot(&nonces, &question, last_fresh_instant + PRUNE_EVERY_SECS);
        assert!(!Arc::ptr_eq(&first, &after), "it is forgotten once it is stale");
    }

    #[test]
    fn a_nonce_with_another_question_is_refused_and_hosts_do_not_share_nonces() {
        let nonces = Nonces::default();
        let _slot = slot(&nonces, &ask(1, 1, NOW), NOW);
        assert!(matches!(nonces.slot(&ask(1, 1, NOW + 1), NOW), Found::Reused));
        assert!(matches!(nonces.slot(&ask(2, 1, NOW + 1), NOW), Found::Slot(_)));
    }

    #[test]
    fn a_host_that_asks_no_longer_leaves_nothing_behind() {
        let nonces = Nonces::default();
        nonces.slot(&ask(1, 1, NOW), NOW);
        nonces.forget_old(NOW + MINT_PROOF_WINDOW_SECS);
        assert_eq!(nonces.hosts.lock().unwrap().len(), 1, "it could still be taken");
        nonces.forget_old(NOW + MINT_PROOF_WINDOW_SECS + PRUNE_EVERY_SECS + 1);
        assert!(nonces.hosts.lock().unwrap().is_empty());
    }

    #[test]
    fn a_full_memory_refuses_until_it_may_forget() {
        let nonces = Nonces::default();
        for number in 0..PER_HOST_MAX as u64 {
            let mut question = ask(1, 0, NOW);
            question.question.nonce[..8].copy_from_slice(&number.to_be_bytes());
            slot(&nonces, &question, NOW);
        }
        let one_more = ask(1, 0xff, NOW + 60);
        assert!(matches!(nonces.slot(&one_more, NOW + 60), Found::Full));
        let pruned = || nonces.hosts.lock().unwrap()[&Uuid::from_u128(1)].pruned_unix_secs;
        assert_eq!(pruned(), NOW + 60, "it has looked for what it may forget");
        assert!(matches!(nonces.slot(&one_more, NOW + 61), Found::Slot(_)));
        assert!(
            matches!(nonces.slot(&ask(2, 1, NOW), NOW), Found::Slot(_)),
            "another host"
        );
    }
}
