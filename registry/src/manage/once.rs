//! A request under a key of its sender's: carried out once, and answered the same ever after.
//!
//! The key is on the disk before the request begins and its answer before that leaves. So a second sending finds
//! the answer, or that the first still runs, or, if the service ended in between, that nobody knows; it never
//! carries anything out again. A request that was refused has changed nothing and frees its key.

use super::{Kind, Refusal};
use crate::{
    Registry,
    store::{KEYS_MAX, OnceAnswer, OnceKey, StoreError},
};
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// How long a key is remembered.
pub(crate) const REMEMBERED_MS: u64 = 24 * 3600 * 1000;
pub(crate) const KEY_LEN_MAX: usize = 64;

/// Why a request was not begun.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    #[error("an Idempotency-Key is 1 to {KEY_LEN_MAX} letters, digits and any of - _ . : and is sent once")]
    Form,
    #[error("this key was used for another request within 24 hours: choose a new key for each new request")]
    Reused,
    #[error("the request under this key is still being carried out: send it again in a moment")]
    UnderWay,
    #[error(
        "the registry ended while it carried out the request under this key, so it may have happened: look, and use a new key if it has not"
    )]
    Unknown,
    #[error(
        "this certificate has used {KEYS_MAX} keys within 24 hours: send requests without a key, or wait"
    )]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for OnceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Form => Kind::Invalid,
            Self::Reused => Kind::Reused,
            Self::UnderWay | Self::Unknown => Kind::Conflict,
            Self::TooMany => Kind::TooMany,
            Self::Store(error) => error.kind(),
        }
    }
}

/// What is being carried out now.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashSet<OnceKey>>);

impl UnderWay {
    fn begin(&self, key: &OnceKey) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone())
    }

    fn end(&self, key: &OnceKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// The right to carry out one request; the key is taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    registry: &'a Registry,
    key: OnceKey,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.registry.under_way.end(&self.key);
    }
}

#[derive(Debug)]
pub(crate) enum First<'a> {
    Yes(Turn<'a>),
    Answered(OnceAnswer),
}

/// Only what can stand in a log and in a header without a thought.
pub(crate) fn is_key(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=KEY_LEN_MAX).contains(&text.len()) && text.bytes().all(is_known)
}

impl Registry {
    pub(crate) async fn begin_once(&self, key: OnceKey, request: [u8; 32]) -> Result<First<'_>, OnceError> {
        if !self.under_way.begin(&key) {
            return Err(OnceError::UnderWay);
        }
        let turn = Turn {
            registry: self,
            key: key.clone(),
        };
        let answered = self
            .store
            .change_essential(move |change| {
                if let Some(begun) = change.begun(&key)? {
                    if begun.request != request {
                        return Err(OnceError::Reused);
                    }
                    return begun.answer.ok_or(OnceError::Unknown).map(Some);
                }
                if change.count_keys(key.operator)? >= KEYS_MAX {
                    return Err(OnceError::TooMany);
                }
                change.begin_once(&key, &request)?;
                Ok(None)
            })
            .await?;
        Ok(answered.map_or(First::Yes(turn), First::Answered))
    }
}

impl Turn<'_> {
    /// Remembers the answer; none frees the key.
    pub(crate) async fn end(self, answer: Option<OnceAnswer>) -> Result<(), StoreError> {
        let key = self.key.clone();
        let remember = self.registry.store.change_essential(move |change| match answer {
            Some(answer) => change.answer_once(&key, &answer),
            None => change.forget_once(&key),
        });
        remember.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_plain() {
        for good in [
            "a",
            "8f0e2b1c-1111-4222-8333-444455556666",
            "deploy:2026-11-23_07.x",
            &"k".repeat(64),
        ] {
            assert!(is_key(good), "{good}");
        }
        for bad in ["", " a", "a b", "a\n", "é", "a'b", "a;b", "a/b", &"k".repeat(65)] {
            assert!(!is_key(bad), "{bad:?}");
        }
    }
}
