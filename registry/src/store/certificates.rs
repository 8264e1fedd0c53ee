//! Zero certificates: good for enrolling hosts, and counted.

use super::{
    StoreError,
    columns::{Columns, number},
    worker::{Change, View},
};
use crate::audit::{Actor, Event};
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZeroCertificate {
    pub id: Uuid,
    pub owner: String,
    pub expires_unix_ms: u64,
    pub uses_left: u32,
    pub revoked: bool,
}

impl View<'_> {
    pub fn zero_certificate(&self, id: Uuid) -> Result<Option<ZeroCertificate>, StoreError> {
        let row = self
            .transaction
            .query_row(
                "SELECT owner, expires_unix_ms, uses_left, revoked FROM zero_certificate WHERE id = ?1",
                params![id.as_bytes()],
                |row| {
                    Ok(ZeroCertificate {
                        id,
                        owner: row.get(0)?,
                        expires_unix_ms: row.unsigned(1)?,
                        uses_left: row.small(2)?,
                        revoked: row.get(3)?,
                    })
                },
            )
            .optional()?;
        Ok(row)
    }
}

impl Change<'_> {
    pub fn insert_zero_certificate(&self, actor: Actor, zero: &ZeroCertificate) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO zero_certificate (id, owner, expires_unix_ms, uses_left, revoked)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                zero.id.as_bytes(),
                zero.owner,
                number(zero.expires_unix_ms),
                zero.uses_left,
                zero.revoked
            ],
        )?;
        self.audit(
            actor,
            &Event::ZeroCertificateMade {
                zero: zero.id,
                owner: &zero.owner,
                uses: zero.uses_left,
                expires_unix_ms: zero.expires_unix_ms,
            },
        )
    }

    /// Takes one use; refuses where none is left, whatever was read before.
    pub fn take_zero_use(&self, id: Uuid) -> Result<bool, StoreError> {
        let taken = self.transaction.execute(
            "UPDATE zero_certificate SET uses_left = uses_left - 1
             WHERE id = ?1 AND uses_left > 0 AND revoked = 0",
            params![id.as_bytes()],
        )?;
        Ok(taken == 1)
    }
}
