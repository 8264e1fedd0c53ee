use super::{
    StoreError,
    columns::{Columns, number},
    worker::{Change, View},
};
use crate::audit::{Actor, Event};
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

/// One direction that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedPair {
    pub id: u64,
    pub since_unix_ms: u64,
}

/// One direction that was denied, and by which change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadPair {
    pub id: u64,
    pub revision: u64,
}

impl View<'_> {
    pub fn pair(&self, source: Uuid, destination: Uuid) -> Result<Option<AllowedPair>, StoreError> {
        let found = self
            .transaction
            .prepare_cached("SELECT id, since_unix_ms FROM pair WHERE source = ?1 AND destination = ?2")?
            .query_row(params![source.as_bytes(), destination.as_bytes()], |row| {
                Ok(AllowedPair {
                    id: row.unsigned(0)?,
                    since_unix_ms: row.unsigned(1)?,
                })
            })
            .optional()?;
        Ok(found)
    }

    /// The latest denial of this direction that is still remembered.
    pub fn dead_pair(&self, source: Uuid, destination: Uuid) -> Result<Option<DeadPair>, StoreError> {
        let found = self
            .transaction
            .prepare_cached(
                "SELECT id, revision FROM dead_pair WHERE source = ?1 AND destination = ?2
                 ORDER BY id DESC LIMIT 1",
            )?
            .query_row(params![source.as_bytes(), destination.as_bytes()], |row| {
                Ok(DeadPair {
                    id: row.unsigned(0)?,
                    revision: row.unsigned(1)?,
                })
            })
            .optional()?;
        Ok(found)
    }
}

impl Change<'_> {
    /// Allows one direction under a number that was never used.
    pub fn allow(&self, actor: Actor, source: Uuid, destination: Uuid) -> Result<AllowedPair, StoreError> {
        let since_unix_ms = self.now_unix_ms;
        self.transaction.execute(
            "INSERT INTO pair (source, destination, since_unix_ms) VALUES (?1, ?2, ?3)",
            params![source.as_bytes(), destination.as_bytes(), number(since_unix_ms)],
        )?;
        let id = self.transaction.last_insert_rowid().unsigned_abs();
        self.audit(
            actor,
            &Event::PairAllowed {
                pair: id,
                source,
                destination,
            },
        )?;
        Ok(AllowedPair { id, since_unix_ms })
    }

    /// Ends one direction and remembers it as dead.
    pub fn deny(
        &self,
        actor: Actor,
        source: Uuid,
        destination: Uuid,
        until_unix_ms: u64,
    ) -> Result<Option<DeadPair>, StoreError> {
        let Some(AllowedPair { id, .. }) = self.pair(source, destination)? else {
            return Ok(None);
        };
        let revision = self.revision()?;
        self.transaction
            .execute("DELETE FROM pair WHERE id = ?1", params![number(id)])?;
        self.transaction.execute(
            "INSERT INTO dead_pair (id, source, destination, revision, until_unix_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                number(id),
                source.as_bytes(),
                destination.as_bytes(),
                number(revision),
                number(until_unix_ms)
            ],
        )?;
        self.audit(
            actor,
            &Event::PairDenied {
                pair: id,
                source,
                destination,
            },
        )?;
        Ok(Some(DeadPair { id, revision }))
    }

    /// Forgets what no living token or lease can name any more.
    pub fn forget_tombstones(&self) -> Result<(), StoreError> {
        let now = params![number(self.now_unix_ms)];
        let pairs = self
            .transaction
            .execute("DELETE FROM dead_pair WHERE until_unix_ms <= ?1", now)?;
        let generations = self
            .transaction
            .execute("DELETE FROM floor WHERE until_unix_ms <= ?1", now)?;
        if pairs + generations == 0 {
            return Ok(());
        }
        self.revision()?;
        self.audit(
            Actor::Registry,
            &Event::TombstonesForgotten {
                pairs: pairs as u64,
                generations: generations as u64,
            },
        )
    }
}
