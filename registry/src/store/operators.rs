//! Operator certificates: whose they are, and which are revoked.

use super::{
    StoreError,
    columns::{Columns, number},
    worker::{Change, View},
};
use crate::audit::{Actor, Event};
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorCertificate {
    pub id: Uuid,
    pub owner: String,
    pub expires_unix_ms: u64,
    pub revoked: bool,
}

impl OperatorCertificate {
    pub fn is_good(&self, now_unix_ms: u64) -> bool {
        !self.revoked && self.expires_unix_ms > now_unix_ms
    }
}

const OPERATOR: &str = "SELECT id, owner, expires_unix_ms, revoked FROM operator";

fn operator(row: &Row<'_>) -> rusqlite::Result<OperatorCertificate> {
    Ok(OperatorCertificate {
        id: row.uuid(0)?,
        owner: row.get(1)?,
        expires_unix_ms: row.unsigned(2)?,
        revoked: row.get(3)?,
    })
}

impl View<'_> {
    pub fn operator(&self, id: Uuid) -> Result<Option<OperatorCertificate>, StoreError> {
        let found = self
            .transaction
            .prepare_cached(&format!("{OPERATOR} WHERE id = ?1"))?
            .query_row(params![id.as_bytes()], operator)
            .optional()?;
        Ok(found)
    }

    /// At most `rows` certificates after this owner's and id.
    pub fn list_operators(
        &self,
        (owner, id): (&str, Uuid),
        rows: u32,
    ) -> Result<Vec<OperatorCertificate>, StoreError> {
        let sql = format!("{OPERATOR} WHERE (owner, id) > (?1, ?2) ORDER BY owner, id LIMIT ?3");
        let mut query = self.transaction.prepare_cached(&sql)?;
        let rows = query
            .query_map(params![owner, id.as_bytes(), rows], operator)?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    pub fn operators(&self) -> Result<Vec<OperatorCertificate>, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached(&format!("{OPERATOR} ORDER BY owner, id"))?;
        let rows = query.query_map([], operator)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }
}

impl Change<'_> {
    pub fn insert_operator(&self, actor: Actor, operator: &OperatorCertificate) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO operator (id, owner, expires_unix_ms, revoked) VALUES (?1, ?2, ?3, ?4)",
            params![
                operator.id.as_bytes(),
                operator.owner,
                number(operator.expires_unix_ms),
                operator.revoked
            ],
        )?;
        self.audit(
            actor,
            &Event::OperatorMade {
                operator: operator.id,
                owner: &operator.owner,
                expires_unix_ms: operator.expires_unix_ms,
            },
        )
    }

    /// Writes nothing if there is nothing to revoke.
    pub fn revoke_operator(&self, actor: Actor, operator: Uuid) -> Result<(), StoreError> {
        let revoked = self.transaction.execute(
            "UPDATE operator SET revoked = 1 WHERE id = ?1 AND revoked = 0",
            params![operator.as_bytes()],
        )?;
        if revoked == 0 {
            return Ok(());
        }
        self.audit(actor, &Event::OperatorRevoked { operator })
    }
}
