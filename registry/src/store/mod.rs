//! What must survive everything: one SQLite file, and the only place that speaks SQL.
//!
//! Two threads own one connection each. The *writer* runs one [`Change`] after the other; each is whole or
//! not there, with its audit row and its revision, and those that wait at once share one transaction and one
//! sync. The *reader* runs [`View`]s, each on one snapshot.
//!
//! Guarantee: [`Store::change`] answers `Ok` only after the transaction is committed and synced to disk, and
//! [`Store::revision`] never shows a revision before that. A change whose caller went away is carried out or
//! not, but never half. Once a commit has failed for a reason that leaves the disk in doubt, nothing is
//! written and nothing is promised any more ([`StoreError::Stopped`]); the service ends itself and reads at
//! its next start what is really there.
//!
//! Part of the disk is kept in reserve for what takes away ([`Store::change_essential`]); when only that is left,
//! everything else is refused as [`StoreError::Full`].
//!
//! Refuses to open a file that is missing, damaged, of another program or of a later version: an installation
//! that has lost its store must never look like an empty one.

mod auditing;
mod batch;
mod certificates;
mod columns;
mod hosts;
mod listing;
mod minting;
mod networks;
mod once;
mod open;
mod operators;
mod pairs;
mod placements;
mod reserve;
mod schema;
mod time;
mod vms;
mod worker;

pub use auditing::PAGE_LEN_MAX as AUDIT_PAGE_LEN_MAX;
pub use certificates::ZeroCertificate;
pub use hosts::Enrolled;
pub use minting::{DestinationFacts, DestinationPlaced, Facts, SourceFacts};
pub use once::{Begun, KEYS_MAX, OnceAnswer, OnceKey};
pub use open::{Installation, OpenError, change_alone, create};
pub use operators::OperatorCertificate;
pub use pairs::{AllowedPair, DeadPair};
pub use placements::{Goal, GoalVm, NewPlacement, PlacedVm, Waiting};
pub use worker::{Change, Store, View};

#[cfg(test)]
mod tests;

use rusqlite::ErrorCode;

/// Why the store gave no answer. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the store has stopped after a disk failure and takes no change: repair the disk, then start the registry again"
    )]
    Stopped,
    #[error("the disk that holds the store is full: make room and try again")]
    Full,
    #[error(
        "the change was undone together with another that the disk did not take, or another program holds the store: try again"
    )]
    Undone,
    #[error("the store could not carry this out: {0}")]
    Sqlite(#[source] rusqlite::Error),
    #[error("the store holds something that cannot be: {0}")]
    Inconsistent(&'static str),
    #[error(transparent)]
    Seal(#[from] crate::vault::SealError),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            return Self::Full;
        }
        Self::Sqlite(error)
    }
}
