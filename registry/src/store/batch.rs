//! The writer: one transaction, and one sync of the disk, for all the changes that wait at once.
//!
//! ```text
//!   BEGIN ─▶ SAVEPOINT change 1 RELEASE ─▶ SAVEPOINT change 2 RELEASE ─▶ … ─▶ COMMIT (one sync) ─▶ all answers
//!                      └ refused: ROLLBACK TO, the others stay
//! ```
//!
//! Guarantee: no answer, not even a refusal, leaves before the commit, because each change has seen what the ones
//! before it in the batch did. A change that is refused leaves nothing behind; if the commit fails, none of
//! the batch has happened. A change that must see only what is committed begins a batch of its own
//! ([`Sees::Committed`]), and so does one that has another [`Claim`] on the disk: what must not wait is never
//! undone together with what must.

use super::{
    StoreError,
    reserve::Reserve,
    worker::{Change, View},
};
use crate::{clock::Clock, vault::Vault};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::{cell::Cell, sync::Arc};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Changes in one transaction: far more than arrive during one sync, and few enough that the first of them
/// does not wait long for the last.
pub(super) const BATCH_LEN_MAX: usize = 128;

/// What a change may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sees {
    /// Also what changes of the same batch have done, which is committed together with this one or not at all.
    Batch,
    /// Only what was committed before it began.
    Committed,
}

/// What a change may do when the disk is nearly full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nothing: it is refused while the reserve is not whole.
    Ordinary,
    /// Whatever it can without writing: [`Change::has_room`] says whether it may.
    Renewing,
    /// Everything: the reserve is kept for it.
    Essential,
}

/// Tells the asker, once it is known what has become of the batch.
pub(super) type Settle = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

pub(super) struct Done {
    /// Whether the change is to stay.
    pub(super) keep: bool,
    pub(super) settle: Settle,
}

pub(super) struct ChangeJob {
    pub(super) sees: Sees,
    pub(super) claim: Claim,
    pub(super) work: Box<dyn FnOnce(Turn<'_, '_>) -> Done + Send>,
}

/// Either the turn of a change in a batch, or why it does not come.
pub(super) type Turn<'a, 'b> = Result<&'a Change<'b>, StoreError>;

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) vault: Arc<Vault>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) committed: watch::Sender<u64>,
    pub(super) failed: CancellationToken,
    pub(super) batch_len_max: usize,
    pub(super) reserve: Reserve,
}

/// What a batch holds so far.
#[derive(Default)]
struct Batch {
    settles: Vec<Settle>,
    revision: Option<u64>,
    keeps: bool,
}

impl Writer {
    /// Until the last handle on the store is gone.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<ChangeJob>) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| jobs.blocking_recv()) {
            next = self.batch(first, &mut jobs);
        }
    }

    /// Carries out this change and what waits behind it; gives back a change that must begin the next batch.
    fn batch(&mut self, first: ChangeJob, jobs: &mut mpsc::Receiver<ChangeJob>) -> Option<ChangeJob> {
        if self.failed.is_cancelled() {
            refuse(first, StoreError::Stopped);
            return None;
        }
        let claim = first.claim;
        let has_room = match claim {
            Claim::Ordinary | Claim::Renewing => self.reserve.is_whole(),
            Claim::Essential => {
                self.reserve.make_room();
                true
            }
        };
        if claim == Claim::Ordinary && !has_room {
            refuse(first, StoreError::Full);
            return None;
        }
        let transaction = match self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
        {
            Ok(transaction) => transaction,
            Err(error) => {
                refuse(first, error.into());
                return None;
            }
        };
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            let view = View {
                transaction: &transaction,
                vault: &self.vault,
                now_unix_ms: self.clock.now_unix_ms(),
            };
            if let Err(settle) = self::step(view, has_room, job, &mut batch) {
                // A full disk, for one, makes SQLite give up the whole transaction inside a change.
                drop(transaction);
                if claim == Claim::Essential {
                    self.reserve.release();
                }
                batch.settle(|| Err(StoreError::Undone));
                settle(Ok(()));
                return None;
            }
            if batch.settles.len() < self.batch_len_max {
                next = jobs.try_recv().ok();
            }
            let is_of_another = |job: &ChangeJob| job.sees == Sees::Committed || job.claim != claim;
            if next.as_ref().is_some_and(is_of_another) {
                break;
            }
        }
        if !batch.keeps {
            drop(transaction);
            batch.settle(|| Ok(()));
            return next;
        }
        match transaction.commit() {
            Ok(()) => {
                if let Some(revision) = batch.revision {
                    self.committed.send_replace(revision);
                }
                batch.settle(|| Ok(()));
            }
            Err(error) => {
                let why = self.commit_failed(&error);
                if claim == Claim::Essential {
                    self.reserve.release();
                }
                batch.settle(|| Err(why.error()));
            }
        }
        next
    }

    /// A full disk is told before anything is synced and leaves no doubt. After anything else nobody knows
    /// what the disk holds, and a second sync that succeeds would prove nothing about the first.
    fn commit_failed(&self, error: &rusqlite::Error) -> NotCommitted {
        tracing::error!(%error, "changes could not be committed");
        let code = error.sqlite_error_code();
        if code == Some(ErrorCode::DiskFull) {
            return NotCommitted::Full;
        }
        if matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::ConstraintViolation)
        ) {
            return NotCommitted::Undone;
        }
        self.failed.cancel();
        NotCommitted::Stopped
    }
}

/// Why a batch was not committed; each of its changes is told.
#[derive(Clone, Copy)]
enum NotCommitted {
    Full,
    Undone,
    Stopped,
}

impl NotCommitted {
    fn error(self) -> StoreError {
        match self {
            Self::Full => StoreError::Full,
            Self::Undone => StoreError::Undone,
            Self::Stopped => StoreError::Stopped,
        }
    }
}

impl Batch {
    fn settle(self, outcome: impl Fn() -> Result<(), StoreError>) {
        for settle in self.settles {
            settle(outcome());
        }
    }
}

fn refuse(job: ChangeJob, why: StoreError) {
    ((job.work)(Err(why)).settle)(Ok(()));
}

/// One change in its savepoint. `Err` with the change's own answer means that the transaction is gone.
fn step(view: View<'_>, has_room: bool, job: ChangeJob, batch: &mut Batch) -> Result<(), Settle> {
    let connection = view.transaction;
    let run = |sql| connection.prepare_cached(sql)?.execute([]);
    if let Err(error) = run("SAVEPOINT change") {
        return Err((job.work)(Err(error.into())).settle);
    }
    let change = Change {
        view,
        revision: Cell::new(None),
        has_room,
    };
    let Done { keep, settle } = (job.work)(Ok(&change));
    if connection.is_autocommit() {
        return Err(settle);
    }
    let ended = if keep {
        run("RELEASE change")
    } else {
        run("ROLLBACK TO change").and_then(|_| run("RELEASE change"))
    };
    if let Err(error) = ended {
        tracing::error!(%error, "a change could not be ended");
        return Err(Box::new(move |_| settle(Err(StoreError::Undone))));
    }
    if keep {
        batch.revision = change.revision.get().or(batch.revision);
        batch.keeps = true;
    }
    batch.settles.push(settle);
    Ok(())
}
