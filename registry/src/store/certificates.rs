//! Zero certificates: good for enrolling hosts, and counted.

use super::{
    StoreError,
    columns::{Columns, number},
    worker::{Change, View},
};
use crate::audit::{Actor, Event};
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZeroCertificate {
    pub id: Uuid,
    pub owner: String,
    pub expires_unix_ms: u64,
    pub uses_left: u32,
    pub revoked: bool,
}

const ZERO: &str = "SELECT id, owner, expires_unix_ms, uses_left, revoked FROM zero_certificate";

fn zero_certificate(row: &Row<'_>) -> rusqlite::Result<ZeroCertificate> {
    Ok(ZeroCertificate {
        id: row.uuid(0)?,
        owner: row.get(1)?,
        expires_unix_ms: row.unsigned(2)?,
        uses_left: row.small(3)?,
        revoked: row.get(4)?,
    })
}

impl View<'_> {
    pub fn zero_certificate(&self, id: Uuid) -> Result<Option<ZeroCertificate>, StoreError> {
        let found = self
            .transaction
            .prepare_cached(&format!("{ZERO} WHERE id = ?1"))?
            .query_row(params![id.as_bytes()], zero_certificate)
            .optional()?;
        Ok(found)
    }

    /// At most `rows` certificates after this owner's and id.
    pub fn list_zero_certificates(
        &self,
        (owner, id): (&str, Uuid),
        rows: u32,
    ) -> Result<Vec<ZeroCertificate>, StoreError> {
        let sql = format!("{ZERO} WHERE (owner, id) > (?1, ?2) ORDER BY owner, id LIMIT ?3");
        let mut query = self.transaction.prepare_cached(&sql)?;
        let rows = query
            .query_map(params![owner, id.as_bytes(), rows], zero_certificate)?
            .collect::<Result<_, _>>()?;
        Ok(rows)
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

    /// Writes nothing if there is nothing to revoke.
    pub fn revoke_zero_certificate(&self, actor: Actor, zero: Uuid) -> Result<(), StoreError> {
        let revoked = self.transaction.execute(
            "UPDATE zero_certificate SET revoked = 1 WHERE id = ?1 AND revoked = 0",
            params![zero.as_bytes()],
        )?;
        if revoked == 0 {
            return Ok(());
        }
        self.audit(actor, &Event::ZeroCertificateRevoked { zero })
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
