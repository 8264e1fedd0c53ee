//! Requests that are to be carried out once, however often they are sent: what was answered is remembered.

use super::{
    StoreError,
    columns::{Columns, number},
    worker::{Change, View},
};
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

/// Keys of one operator that are remembered at once.
pub const KEYS_MAX: u64 = 10_000;

/// Whose key it is, and its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OnceKey {
    pub operator: Uuid,
    pub key: String,
}

/// A request that was begun under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Of method, path and body.
    pub request: [u8; 32],
    /// None while it runs, and for good if the service ended in the middle of it.
    pub answer: Option<OnceAnswer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceAnswer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl View<'_> {
    pub fn begun(&self, key: &OnceKey) -> Result<Option<Begun>, StoreError> {
        let found = self
            .transaction
            .prepare_cached("SELECT request, status, body FROM once WHERE operator = ?1 AND key = ?2")?
            .query_row(params![key.operator.as_bytes(), key.key], |row| {
                let status: Option<u16> = row.get(1)?;
                let body: Option<Vec<u8>> = row.get(2)?;
                Ok(Begun {
                    request: row.get(0)?,
                    answer: status.zip(body).map(|(status, body)| OnceAnswer { status, body }),
                })
            })
            .optional()?;
        Ok(found)
    }

    pub fn count_keys(&self, operator: Uuid) -> Result<u64, StoreError> {
        let count = self
            .transaction
            .prepare_cached("SELECT count(*) FROM once WHERE operator = ?1")?
            .query_row(params![operator.as_bytes()], |row| row.unsigned(0))?;
        Ok(count)
    }
}

impl Change<'_> {
    pub fn begin_once(&self, key: &OnceKey, request: &[u8; 32]) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO once (operator, key, request, since_unix_ms) VALUES (?1, ?2, ?3, ?4)",
            params![
                key.operator.as_bytes(),
                key.key,
                request,
                number(self.now_unix_ms)
            ],
        )?;
        Ok(())
    }

    pub fn answer_once(&self, key: &OnceKey, answer: &OnceAnswer) -> Result<(), StoreError> {
        self.transaction.execute(
            "UPDATE once SET status = ?3, body = ?4 WHERE operator = ?1 AND key = ?2",
            params![key.operator.as_bytes(), key.key, answer.status, answer.body],
        )?;
        Ok(())
    }

    /// For a request that changed nothing: the same key may be tried again.
    pub fn forget_once(&self, key: &OnceKey) -> Result<(), StoreError> {
        self.transaction.execute(
            "DELETE FROM once WHERE operator = ?1 AND key = ?2",
            params![key.operator.as_bytes(), key.key],
        )?;
        Ok(())
    }

    /// Forgets the keys from before this instant.
    pub fn forget_keys(&self, before_unix_ms: u64) -> Result<(), StoreError> {
        self.transaction.execute(
            "DELETE FROM once WHERE since_unix_ms < ?1",
            params![number(before_unix_ms)],
        )?;
        Ok(())
    }
}
