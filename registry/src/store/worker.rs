//! The two threads, and what runs on them.

use super::{
    StoreError,
    batch::{ChangeJob, Claim, Done, Sees, Writer},
    reserve::Reserve,
};
use crate::{clock::Clock, vault::Vault};
use rusqlite::Connection;
use std::{
    cell::Cell,
    io,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Work that may wait for a thread; past this, callers wait themselves.
const QUEUE_LEN: usize = 256;

type ReadJob = Box<dyn FnOnce(&mut Reader) + Send>;

/// A handle on the store. The threads end when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Store {
    writer: mpsc::Sender<ChangeJob>,
    reader: mpsc::Sender<ReadJob>,
    revision: watch::Receiver<u64>,
    failed: CancellationToken,
    disk_is_full: Arc<AtomicBool>,
}

impl Store {
    pub(super) fn start(
        writer: Connection,
        reader: Connection,
        vault: Arc<Vault>,
        revision: u64,
        clock: Arc<dyn Clock>,
        batch_len_max: usize,
        reserve: Reserve,
    ) -> io::Result<Self> {
        let disk_is_full = reserve.is_used();
        let (committed, committed_seen) = watch::channel(revision);
        let failed = CancellationToken::new();
        let (changes, changes_asked) = mpsc::channel(QUEUE_LEN);
        let (reads, mut reads_asked) = mpsc::channel::<ReadJob>(QUEUE_LEN);
        let writer = Writer {
            connection: writer,
            vault: vault.clone(),
            clock: clock.clone(),
            committed,
            failed: failed.clone(),
            batch_len_max,
            reserve,
        };
        let mut reader = Reader {
            connection: reader,
            vault,
            clock,
        };
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        spawn("store-writer").spawn(move || writer.run(changes_asked))?;
        spawn("store-reader").spawn(move || {
            while let Some(job) = reads_asked.blocking_recv() {
                job(&mut reader);
            }
        })?;
        Ok(Self {
            writer: changes,
            reader: reads,
            revision: committed_seen,
            failed,
            disk_is_full,
        })
    }

    /// Runs one change; `Ok` means committed and synced. `Err` means that nothing changed, except after a
    /// failed commit, where nobody can know and the store stops. Changes that wait at once share a transaction
    /// and see each other's work in their order. Refused while the disk is so full that what is left is kept for
    /// [`Self::change_essential`].
    pub async fn change<T, E>(
        &self,
        work: impl FnOnce(&Change<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.change_as(Sees::Batch, Claim::Ordinary, work).await
    }

    /// The same for what takes away and must not wait for room: denials, moves, resets, revocations.
    pub async fn change_essential<T, E>(
        &self,
        work: impl FnOnce(&Change<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.change_as(Sees::Batch, Claim::Essential, work).await
    }

    /// The same for what mostly writes nothing; it asks [`Change::has_room`] before it does.
    pub async fn change_renewing<T, E>(
        &self,
        work: impl FnOnce(&Change<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.change_as(Sees::Batch, Claim::Renewing, work).await
    }

    /// The same for a change that acts on more than the store: it sees only what is committed, because hosts
    /// are told nothing else, and what they were told is what it relies on.
    pub async fn change_on_committed<T, E>(
        &self,
        work: impl FnOnce(&Change<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.change_as(Sees::Committed, Claim::Essential, work).await
    }

    async fn change_as<T, E>(
        &self,
        sees: Sees,
        claim: Claim,
        work: impl FnOnce(&Change<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move |turn: Result<&Change<'_>, StoreError>| {
            let done = turn.map_err(E::from).and_then(work);
            Done {
                keep: done.is_ok(),
                settle: Box::new(move |outcome| {
                    let told = outcome.map_err(E::from).and(done);
                    // Whoever asked may have gone away; the work is done all the same.
                    let _ = answer.send(told);
                }),
            }
        });
        if self.writer.send(ChangeJob { sees, claim, work }).await.is_err() {
            return Err(StoreError::Stopped.into());
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Stopped.into()))
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
        let (answer, answered) = oneshot::channel();
        let job: ReadJob = Box::new(move |reader| {
            let _ = answer.send(reader.read(work));
        });
        if self.reader.send(job).await.is_err() {
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

    /// Whether the reserve is used up for what must not wait, and everything else is refused.
    pub fn disk_is_full(&self) -> bool {
        self.disk_is_full.load(Ordering::Relaxed)
    }

    /// Cancelled once the disk has failed: what the service knows is then no longer known to be current.
    pub fn failed(&self) -> &CancellationToken {
        &self.failed
    }
}

struct Reader {
    connection: Connection,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
}

impl Reader {
    fn read<T, E: From<StoreError>>(&mut self, work: impl FnOnce(&View<'_>) -> Result<T, E>) -> Result<T, E> {
        let transaction = self.connection.transaction().map_err(StoreError::from)?;
        work(&View {
            transaction: &transaction,
            vault: &self.vault,
            now_unix_ms: self.clock.now_unix_ms(),
        })
    }
}

/// One snapshot, to read from.
#[derive(Debug)]
pub struct View<'a> {
    pub(super) transaction: &'a Connection,
    pub(super) vault: &'a Vault,
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

/// One change, in a savepoint of its own.
#[derive(Debug)]
pub struct Change<'a> {
    pub(super) view: View<'a>,
    pub(super) revision: Cell<Option<u64>>,
    /// Whether the disk has room for more than what must not wait.
    pub has_room: bool,
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
}

impl<'a> Change<'a> {
    /// For the making and opening of a store, before its threads run.
    pub(super) fn new(transaction: &'a Connection, vault: &'a Vault, now_unix_ms: u64) -> Self {
        Self {
            view: View {
                transaction,
                vault,
                now_unix_ms,
            },
            revision: Cell::new(None),
            has_room: true,
        }
    }
}
