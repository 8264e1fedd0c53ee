//! What must survive everything: one SQLite file, and the only place that speaks SQL.
//!
//! Two threads own one connection each. The *writer* runs one [`Change`] after the other, each in a
//! transaction of its own that holds the change, its audit row and its revision; the *reader* runs [`View`]s,
//! each on one snapshot.
//!
//! Guarantee: [`Store::change`] answers `Ok` only after the transaction is committed and synced to disk, and
//! [`Store::revision`] never shows a revision before that. A change whose caller went away is carried out or
//! not, but never half. Once a commit has failed for a reason that leaves the disk in doubt, nothing is
//! written and nothing is promised any more ([`StoreError::Stopped`]); the service ends itself and reads at
//! its next start what is really there.
//!
//! Refuses to open a file that is missing, damaged, of another program or of a later version: an installation
//! that has lost its store must never look like an empty one.

mod certificates;
mod columns;
mod hosts;
mod listing;
mod minting;
mod networks;
mod open;
mod pairs;
mod placements;
mod schema;
mod vms;
mod worker;

pub use certificates::ZeroCertificate;
pub use hosts::Enrolled;
pub use minting::{DestinationFacts, DestinationPlaced, Facts, SourceFacts};
pub use open::{Installation, OpenError, create};
pub use pairs::{AllowedPair, DeadPair};
pub use placements::{Goal, GoalVm, NewPlacement, Waiting};
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
    #[error("the store could not carry this out: {0}")]
    Sqlite(#[source] rusqlite::Error),
    #[error("the store holds something that cannot be: {0}")]
    Inconsistent(&'static str),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            return Self::Full;
        }
        Self::Sqlite(error)
    }
}
