//! The audit rows: each carries the hash of the row before, and a head of its own says which is the last, so
//! that the newest rows cannot be cut off unseen either.

use super::{
    StoreError,
    columns::{Columns, number},
    worker::{Change, View},
};
use crate::audit::{Actor, Event};
use pairgate_api::audit::{BEGINNING, Hash, Head, Page, Row, hash};
use rusqlite::{Connection, params};
use std::fmt::Write;

/// Rows in one answer: each has some hundred bytes.
pub const PAGE_LEN_MAX: u32 = 1000;

impl View<'_> {
    /// The rows after this number and not before this instant, and the head, on one snapshot.
    pub fn audit(&self, after: u64, since_unix_ms: u64, limit: u32) -> Result<Page, StoreError> {
        let mut query = self.transaction.prepare_cached(
            "SELECT number, unix_ms, actor, event, detail, previous FROM audit
             WHERE number > ?1 AND unix_ms >= ?2 ORDER BY number LIMIT ?3",
        )?;
        let rows = query
            .query_map(params![number(after), number(since_unix_ms), limit], |row| {
                // A row that was put in by hand may have none; the reader then finds that it does not fit.
                let previous: Option<Vec<u8>> = row.get(5)?;
                Ok(Row {
                    number: row.unsigned(0)?,
                    unix_ms: row.unsigned(1)?,
                    actor: row.get(2)?,
                    event: row.get(3)?,
                    detail: row.get(4)?,
                    previous: hexadecimal(&previous.unwrap_or_default()),
                })
            })?
            .collect::<Result<_, _>>()?;
        let (number, hash) = head(self.transaction)?;
        Ok(Page {
            rows,
            head: Head {
                number,
                hash: hexadecimal(&hash),
            },
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn head(connection: &Connection) -> Result<(u64, Hash), StoreError> {
    let head = connection
        .prepare_cached("SELECT number, hash FROM audit_head")?
        .query_row([], |row| Ok((row.unsigned(0)?, row.get(1)?)))?;
    Ok(head)
}

impl Change<'_> {
    /// Writes down what this change does; the row is there exactly if the change is.
    pub fn audit(&self, actor: Actor, event: &Event<'_>) -> Result<(), StoreError> {
        let inconsistent = StoreError::Inconsistent("an audit event that has no text");
        let Ok(serde_json::Value::Object(mut detail)) = serde_json::to_value(event) else {
            return Err(inconsistent);
        };
        let Some(serde_json::Value::String(word)) = detail.remove("event") else {
            return Err(inconsistent);
        };
        let (actor, detail) = (actor.to_string(), serde_json::Value::Object(detail).to_string());
        let (last, previous) = head(self.transaction)?;
        let (row, unix_ms) = (last + 1, number(self.now_unix_ms));
        self.transaction
            .prepare_cached(
                "INSERT INTO audit (number, unix_ms, actor, event, detail, previous)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![number(row), unix_ms, actor, word, detail, previous])?;
        let hash = hash(&previous, row, unix_ms.unsigned_abs(), &actor, &word, &detail);
        set_head(self.transaction, row, &hash)?;
        Ok(())
    }
}

fn set_head(connection: &Connection, row: u64, hash: &Hash) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE audit_head SET number = ?1, hash = ?2")?
        .execute(params![number(row), hash])?;
    Ok(())
}

/// Chains the rows of a store from before there was a chain, as they are found.
pub(super) fn chain_all(connection: &Connection) -> rusqlite::Result<()> {
    let mut rows =
        connection.prepare("SELECT number, unix_ms, actor, event, detail FROM audit ORDER BY number")?;
    let mut rows = rows.query([])?;
    let mut previous = BEGINNING;
    let mut count = 0;
    let mut write = connection.prepare("UPDATE audit SET previous = ?2 WHERE number = ?1")?;
    while let Some(row) = rows.next()? {
        count = row.unsigned(0)?;
        let texts: [String; 3] = [row.get(2)?, row.get(3)?, row.get(4)?];
        write.execute(params![number(count), previous])?;
        previous = hash(
            &previous,
            count,
            row.unsigned(1)?,
            &texts[0],
            &texts[1],
            &texts[2],
        );
    }
    connection.execute(
        "INSERT INTO audit_head (one, number, hash) VALUES (1, ?1, ?2)",
        params![number(count), previous],
    )?;
    Ok(())
}
