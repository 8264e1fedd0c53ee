//! The two threads, and what runs on them.

use super::{StoreError, columns::number};
use crate::{
    audit::{Actor, Event},
    clock::Clock,
};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use std::{cell::Cell, io, ops::Deref, sync::Arc, thread};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Work that may wait for a thread; past this, callers wait themselves.
const QUEUE_LEN: usize = 256;

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// A handle on the store. The threads end when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Store {
    writer: mpsc::Sender<Job>,
    reader: mpsc::Sender<Job>,
    revision: watch::Receiver<u64>,
    failed: CancellationToken,
}

impl Store {
    pub(super) fn start(
        writer: Connection,
        reader: Connection,
        revision: u64,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let (committed, committed_seen) = watch::channel(revision);
        let failed = CancellationToken::new();
        let spawn = |name: &str, connection| {
            let worker = Worker {
                connection,
                clock: clock.clone(),
                committed: committed.clone(),
                failed: failed.clone(),
            };
            run(name, worker)
        };
        Ok(Self {
            writer: spawn("store-writer", writer)?,
            reader: spawn("store-reader", reader)?,
            revision: committed_seen,
            failed: failed.clone(),
        })
    }

    /// Runs one change in one transaction; `Ok` means committed and synced. `Err` means that nothing changed,
    /// except after a failed commit, where nobody can know and the store stops.
    pub async fn change<T, E>(
        &self,
        work: impl FnOnce(&Change<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run_on(&self.writer, |worker| worker.change(work)).await
    }

    /// Runs several reads on one snapshot of what is committed.
    pub async fn read<T, E>(
        &self,
        work: impl FnOnce(&View<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run_on(&self.reader, |worker| worker.read(work)).await
    }

    async fn run_on<T, E>(
        &self,
        thread: &mpsc::Sender<Job>,
        work: impl FnOnce(&mut Worker) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |worker| {
            // Whoever asked may have gone away; the work is done all the same.
            let _ = answer.send(work(worker));
        });
        if thread.send(job).await.is_err() {
            return Err(StoreError::Stopped.into());
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
    }

    /// The last committed revision.
    pub fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Wakes at every revision that is committed from now on.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        let mut revisions = self.revision.clone();
        // What is committed already wakes nobody.
        revisions.mark_unchanged();
        revisions
    }

    /// Cancelled once the disk has failed: what the service knows is then no longer known to be current.
    pub fn failed(&self) -> &CancellationToken {
        &self.failed
    }
}

fn run(name: &str, mut worker: Worker) -> io::Result<mpsc::Sender<Job>> {
    let (sender, mut jobs) = mpsc::channel::<Job>(QUEUE_LEN);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        while let Some(job) = jobs.blocking_recv() {
            job(&mut worker);
        }
    })?;
    Ok(sender)
}

struct Worker {
    connection: Connection,
    clock: Arc<dyn Clock>,
    committed: watch::Sender<u64>,
    failed: CancellationToken,
}

impl Worker {
    fn change<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&Change<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.failed.is_cancelled() {
            return Err(StoreError::Stopped.into());
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::from)?;
        let change = Change {
            view: View {
                transaction: &transaction,
                now_unix_ms: self.clock.now_unix_ms(),
            },
            revision: Cell::new(None),
        };
        // On an error the transaction is dropped, which rolls it back.
        let done = work(&change)?;
        let revision = change.revision.get();
        if let Err(error) = transaction.commit() {
            return Err(self.commit_failed(error).into());
        }
        if let Some(revision) = revision {
            self.committed.send_replace(revision);
        }
        Ok(done)
    }

    /// A full disk is told before anything is synced and leaves no doubt. After anything else nobody knows
    /// what the disk holds, and a second sync that succeeds would prove nothing about the first.
    fn commit_failed(&self, error: rusqlite::Error) -> StoreError {
        tracing::error!(%error, "a change could not be committed");
        let certain = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::ConstraintViolation)
        );
        if certain {
            return error.into();
        }
        self.failed.cancel();
        StoreError::Stopped
    }

    fn read<T, E: From<StoreError>>(&mut self, work: impl FnOnce(&View<'_>) -> Result<T, E>) -> Result<T, E> {
        let transaction = self.connection.transaction().map_err(StoreError::from)?;
        work(&View {
            transaction: &transaction,
            now_unix_ms: self.clock.now_unix_ms(),
        })
    }
}

/// One snapshot, to read from.
#[derive(Debug)]
pub struct View<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    /// Registry time at which the work began.
    pub now_unix_ms: u64,
}

impl View<'_> {
    pub(super) fn count(&self, sql: &str) -> Result<u64, StoreError> {
        let count: i64 = self.transaction.query_row(sql, [], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// The revision of this snapshot.
    pub fn current_revision(&self) -> Result<u64, StoreError> {
        self.count("SELECT revision FROM installation")
    }
}

/// One transaction, to write in.
#[derive(Debug)]
pub struct Change<'a> {
    view: View<'a>,
    revision: Cell<Option<u64>>,
}

impl<'a> Deref for Change<'a> {
    type Target = View<'a>;

    fn deref(&self) -> &View<'a> {
        &self.view
    }
}

impl Change<'_> {
    /// The revision that this change makes; the first call in a change burns it.
    pub fn revision(&self) -> Result<u64, StoreError> {
        if let Some(revision) = self.revision.get() {
            return Ok(revision);
        }
        self.transaction
            .execute("UPDATE installation SET revision = revision + 1", [])?;
        let revision = self.current_revision()?;
        self.revision.set(Some(revision));
        Ok(revision)
    }

    pub fn audit(&self, actor: Actor, event: &Event<'_>) -> Result<(), StoreError> {
        let inconsistent = StoreError::Inconsistent("an audit event that has no text");
        let Ok(serde_json::Value::Object(mut detail)) = serde_json::to_value(event) else {
            return Err(inconsistent);
        };
        let Some(serde_json::Value::String(word)) = detail.remove("event") else {
            return Err(inconsistent);
        };
        self.transaction
            .prepare_cached("INSERT INTO audit (unix_ms, actor, event, detail) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                number(self.now_unix_ms),
                actor.to_string(),
                word,
                serde_json::Value::Object(detail).to_string(),
            ])?;
        Ok(())
    }
}

impl<'a> Change<'a> {
    /// For the making and opening of a store, before its threads run.
    pub(super) fn new(transaction: &'a Transaction<'a>, now_unix_ms: u64) -> Self {
        Self {
            view: View {
                transaction,
                now_unix_ms,
            },
            revision: Cell::new(None),
        }
    }
}
