use super::{
    StoreError,
    columns::{Columns, number},
    worker::{Change, View},
};
use crate::{
    audit::{Actor, Event},
    inventory::{Carries, Vm},
};
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

/// One direction that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedPair {
    pub id: u64,
    pub carries: Carries,
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
            .prepare_cached(
                "SELECT id, carries, since_unix_ms FROM pair WHERE source = ?1 AND destination = ?2",
            )?
            .query_row(params![source.as_bytes(), destination.as_bytes()], |row| {
                Ok(AllowedPair {
                    id: row.unsigned(0)?,
                    carries: row.parsed(1)?,
                    since_unix_ms: row.unsigned(2)?,
                })
            })
            .optional()?;
        Ok(found)
    }

    /// Every direction that is allowed from or to the VM, in the order of ids, with both its VMs.
    pub fn pairs_of(&self, vm: Uuid) -> Result<Vec<(AllowedPair, Vm, Vm)>, StoreError> {
        let mut query = self.transaction.prepare_cached(
            "SELECT pair.id, pair.carries, pair.since_unix_ms, source.id, source.name, source.generation,
                    destination.id, destination.name, destination.generation
             FROM pair JOIN vm AS source ON source.id = pair.source
                  JOIN vm AS destination ON destination.id = pair.destination
             WHERE pair.source = ?1 OR pair.destination = ?1 ORDER BY pair.id",
        )?;
        let vm_at = |row: &Row<'_>, column: usize| {
            Ok::<_, rusqlite::Error>(Vm {
                id: row.uuid(column)?,
                name: row.get(column + 1)?,
                generation: row.small(column + 2)?,
            })
        };
        let rows = query
            .query_map(params![vm.as_bytes()], |row| {
                let pair = AllowedPair {
                    id: row.unsigned(0)?,
                    carries: row.parsed(1)?,
                    since_unix_ms: row.unsigned(2)?,
                };
                Ok((pair, vm_at(row, 3)?, vm_at(row, 6)?))
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
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

    /// The same for every direction from and to the VM. Of a VM that is gone only the id is left, which then
    /// stands for its name.
    pub fn dead_pairs_of(&self, vm: Uuid) -> Result<Vec<(DeadPair, Vm, Vm)>, StoreError> {
        // With max() the other columns are those of its row.
        let mut query = self.transaction.prepare_cached(
            "SELECT max(dead_pair.id), dead_pair.revision, dead_pair.source, source.name, source.generation,
                    dead_pair.destination, destination.name, destination.generation
             FROM dead_pair LEFT JOIN vm AS source ON source.id = dead_pair.source
                  LEFT JOIN vm AS destination ON destination.id = dead_pair.destination
             WHERE dead_pair.source = ?1 OR dead_pair.destination = ?1
             GROUP BY dead_pair.source, dead_pair.destination ORDER BY 1",
        )?;
        let vm_at = |row: &Row<'_>, column: usize| {
            let id = row.uuid(column)?;
            let name: Option<String> = row.get(column + 1)?;
            Ok::<_, rusqlite::Error>(Vm {
                id,
                generation: if name.is_some() { row.small(column + 2)? } else { 0 },
                name: name.unwrap_or_else(|| id.to_string()),
            })
        };
        let rows = query
            .query_map(params![vm.as_bytes()], |row| {
                let dead = DeadPair {
                    id: row.unsigned(0)?,
                    revision: row.unsigned(1)?,
                };
                Ok((dead, vm_at(row, 2)?, vm_at(row, 5)?))
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }
}

impl Change<'_> {
    /// Allows one direction under a number that was never used. No goal state says so, but its revision makes agents
    /// forget that they were refused a moment ago.
    pub fn allow(
        &self,
        actor: Actor,
        source: Uuid,
        destination: Uuid,
        carries: Carries,
    ) -> Result<AllowedPair, StoreError> {
        self.revision()?;
        let since_unix_ms = self.now_unix_ms;
        self.transaction.execute(
            "INSERT INTO pair (source, destination, carries, since_unix_ms) VALUES (?1, ?2, ?3, ?4)",
            params![
                source.as_bytes(),
                destination.as_bytes(),
                carries.to_string(),
                number(since_unix_ms)
            ],
        )?;
        let id = self.transaction.last_insert_rowid().unsigned_abs();
        self.audit(
            actor,
            &Event::PairAllowed {
                pair: id,
                source,
                destination,
                carries: carries.to_string(),
            },
        )?;
        Ok(AllowedPair {
            id,
            carries,
            since_unix_ms,
        })
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
        let forget = |sql| self.transaction.execute(sql, params![number(self.now_unix_ms)]);
        let pairs = forget("DELETE FROM dead_pair WHERE until_unix_ms <= ?1")? as u64;
        let generations = forget("DELETE FROM floor WHERE until_unix_ms <= ?1")? as u64;
        let hosts = forget("DELETE FROM dead_host WHERE until_unix_ms <= ?1")? as u64;
        if pairs + generations + hosts == 0 {
            return Ok(());
        }
        self.revision()?;
        self.audit(
            Actor::Registry,
            &Event::TombstonesForgotten {
                pairs,
                generations,
                hosts,
            },
        )
    }
}
