//! Where registry time stood, for the next start.

use super::{
    StoreError,
    columns::{Columns, number},
    worker::{Change, View},
};
use crate::clock::{Mark, Remembered};
use rusqlite::{OptionalExtension, params};

impl View<'_> {
    /// The mark, and the instant of the newest audit row: every change has one, so nothing that was acknowledged
    /// is later than both.
    pub fn remembered_time(&self) -> Result<Remembered, StoreError> {
        let mark = self
            .transaction
            .query_row("SELECT boot_id, boot_ms, unix_ms FROM registry_time", [], |row| {
                Ok(Mark {
                    boot_id: row.uuid(0)?,
                    boot_ms: row.unsigned(1)?,
                    unix_ms: row.unsigned(2)?,
                })
            })
            .optional()?;
        let newest = "SELECT unix_ms FROM audit ORDER BY number DESC LIMIT 1";
        let written = self
            .transaction
            .query_row(newest, [], |row| row.unsigned(0))
            .optional()?;
        Ok(Remembered {
            mark,
            written_unix_ms: written.unwrap_or(0),
        })
    }
}

impl Change<'_> {
    /// Only what it says is remembered; no audit row, because nothing happened.
    pub fn set_mark(&self, mark: &Mark) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO registry_time (one, boot_id, boot_ms, unix_ms) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (one) DO UPDATE SET boot_id = ?1, boot_ms = ?2, unix_ms = ?3",
            params![
                mark.boot_id.as_bytes(),
                number(mark.boot_ms),
                number(mark.unix_ms)
            ],
        )?;
        Ok(())
    }
}
