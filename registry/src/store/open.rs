//! Making the store once, and opening it ever after.

use super::{
    OperatorCertificate, Store, StoreError, ZeroCertificate,
    batch::BATCH_LEN_MAX,
    columns::{Columns, number},
    reserve::Reserve,
    schema::{APPLICATION_ID, SEALED_SINCE, migrations},
    worker::{Change, View},
};
use crate::{
    audit::{Actor, Event},
    clock::Clock,
    settings::{Before, Settings},
    vault::{MasterKeyError, Vault},
};
use rusqlite::{Connection, OpenFlags, params};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use uuid::Uuid;

/// An operator may look into the file with SQLite's own tools; a change waits this long for them.
const BUSY_LIMIT: Duration = Duration::from_secs(2);

/// Whose store it is, and what earlier runs may have left alive.
#[derive(Clone, Copy, Debug)]
pub struct Installation {
    pub id: Uuid,
    pub before: Before,
}

/// Why there is no store to work with.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "there is no store at {path}: if the installation is new, run `pairgate-registry init`; if not, restore it from a backup"
    )]
    Missing { path: PathBuf },
    #[error("the store {path} is damaged ({found}): restore it from a backup")]
    Damaged { path: PathBuf, found: String },
    #[error("{path} is not a registry's store: check --state-dir")]
    Foreign { path: PathBuf },
    #[error("the store {path} cannot be brought to this version's layout: {source}")]
    Layout {
        path: PathBuf,
        source: rusqlite_migration::Error,
    },
    #[error("the store {path} cannot be opened: {source}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("the store {path} did not take the start: {source}")]
    Start { path: PathBuf, source: StoreError },
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error(
        "{master_key} is not the master key of the store {path}: its secrets were sealed under another one; name the right one with --master-key"
    )]
    OtherMasterKey { path: PathBuf, master_key: PathBuf },
    #[error("cannot start the store's threads: {0}")]
    Thread(#[source] io::Error),
}

/// Makes a new store; the caller has made sure that there is no file yet, and the layout is refused by one
/// that has it already.
pub fn create(
    path: &Path,
    vault: &Arc<Vault>,
    installation: Uuid,
    operator: &OperatorCertificate,
    zero: &ZeroCertificate,
    now_unix_ms: u64,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(failed)?;
    prepare(&connection).map_err(failed)?;
    migrate(&mut connection, vault).map_err(|source| OpenError::Layout {
        path: path.to_owned(),
        source,
    })?;
    let transaction = connection.transaction().map_err(failed)?;
    let change = Change::new(&transaction, vault, now_unix_ms);
    first_rows(&change, installation, operator, zero).map_err(|source| OpenError::Start {
        path: path.to_owned(),
        source,
    })?;
    transaction.commit().map_err(failed)?;
    // Closing moves everything from the write-ahead log into the one file.
    connection.close().map_err(|(_, source)| failed(source))
}

fn first_rows(
    change: &Change<'_>,
    installation: Uuid,
    operator: &OperatorCertificate,
    zero: &ZeroCertificate,
) -> Result<(), StoreError> {
    change.transaction.execute(
        "INSERT INTO installation (one, id, revision, master_check) VALUES (1, ?1, 1, ?2)",
        params![installation.as_bytes(), change.vault.check_value(installation)?],
    )?;
    change.audit(Actor::Registry, &Event::InstallationMade { installation })?;
    change.insert_operator(Actor::Registry, operator)?;
    change.insert_zero_certificate(Actor::Registry, zero)
}

impl Store {
    /// Opens an existing store for a service with these settings, and starts its threads. A store from before
    /// secrets were sealed gets its master key here, in a new file.
    pub fn open(
        path: &Path,
        master_key: &Path,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Installation), OpenError> {
        Self::open_batching(path, master_key, settings, clock, BATCH_LEN_MAX)
    }

    pub(super) fn open_batching(
        path: &Path,
        master_key: &Path,
        settings: Settings,
        clock: Arc<dyn Clock>,
        batch_len_max: usize,
    ) -> Result<(Self, Installation), OpenError> {
        let failed = |source| OpenError::Sqlite {
            path: path.to_owned(),
            source,
        };
        let mut writer = open_existing(path)?;
        let mut reserve = Reserve::keep_in(path.parent().unwrap_or_else(|| Path::new(".")));
        // The start itself is written down, also on a full disk.
        reserve.make_room();
        let vault = Arc::new(vault(&writer, path, master_key)?);
        migrate(&mut writer, &vault).map_err(|source| OpenError::Layout {
            path: path.to_owned(),
            source,
        })?;
        // What a migration has overwritten must not stay readable in the log.
        writer
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(failed)?;
        let (installation, revision) =
            start(&mut writer, &vault, settings, &*clock).map_err(|source| OpenError::Start {
                path: path.to_owned(),
                source,
            })?;
        let reader = connect(path).map_err(failed)?;
        prepare(&reader).map_err(failed)?;
        reader.pragma_update(None, "query_only", true).map_err(failed)?;
        let store = Self::start(writer, reader, vault, revision, clock, batch_len_max, reserve)
            .map_err(OpenError::Thread)?;
        Ok((store, installation))
    }
}

/// One change to a store that no service has open; `work` is told whose store it is.
pub fn change_alone<T, E: From<OpenError>>(
    path: &Path,
    master_key: &Path,
    clock: &dyn Clock,
    work: impl FnOnce(&Change<'_>, Uuid) -> Result<T, E>,
) -> Result<T, E> {
    let failed = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let mut connection = open_existing(path)?;
    let vault = Arc::new(vault(&connection, path, master_key)?);
    migrate(&mut connection, &vault).map_err(|source| OpenError::Layout {
        path: path.to_owned(),
        source,
    })?;
    let transaction = connection.transaction().map_err(failed)?;
    let begun = |source| OpenError::Start {
        path: path.to_owned(),
        source,
    };
    let remembered = Change::new(&transaction, &vault, 0).remembered_time();
    clock.begin(remembered.map_err(begun)?);
    let change = Change::new(&transaction, &vault, clock.now_unix_ms());
    let (installation, ..) = last_run(&change).map_err(begun)?;
    let done = work(&change, installation)?;
    transaction.commit().map_err(failed)?;
    Ok(done)
}

/// The master key of this store, or a refusal: a wrong one would be found out only by the first mint.
fn vault(connection: &Connection, path: &Path, master_key: &Path) -> Result<Vault, OpenError> {
    let failed = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let layout: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    if layout < SEALED_SINCE {
        return match Vault::load(master_key) {
            Err(MasterKeyError::Missing { .. }) => {
                tracing::warn!(
                    path = %master_key.display(),
                    "this store's secrets were not sealed yet: a master key was made; keep it apart from copies of the store"
                );
                Ok(Vault::make(master_key)?)
            }
            found => Ok(found?),
        };
    }
    let vault = Vault::load(master_key)?;
    let (id, check) = connection
        .query_row("SELECT id, master_check FROM installation", [], |row| {
            Ok((row.uuid(0)?, row.get(1)?))
        })
        .map_err(failed)?;
    if !vault.is_of(id, &check) {
        return Err(OpenError::OtherMasterKey {
            path: path.to_owned(),
            master_key: master_key.to_owned(),
        });
    }
    Ok(vault)
}

/// Never creates, and believes nothing that the file says before it has been checked.
fn open_existing(path: &Path) -> Result<Connection, OpenError> {
    let damaged = |found: String| OpenError::Damaged {
        path: path.to_owned(),
        found,
    };
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => {
            return Err(OpenError::Missing {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(damaged(error.to_string())),
    }
    let connection = connect(path).map_err(|source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    })?;
    let read_text = |sql| connection.query_row(sql, [], |row| row.get::<_, String>(0));
    let check = read_text("PRAGMA quick_check(1)").map_err(|error| damaged(error.to_string()))?;
    if check != "ok" {
        return Err(damaged(check));
    }
    let id: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    if id != APPLICATION_ID {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    prepare(&connection).map_err(|error| damaged(error.to_string()))?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_LIMIT)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        // A file system without shared memory; nothing else in SQLite refuses this mode.
        return Err(rusqlite::Error::InvalidParameterName(format!(
            "journal mode is {mode} instead of wal: the file system cannot carry the store"
        )));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Keys of ended generations are overwritten, not only unlinked.
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(())
}

/// A step may make a table anew, which the rows that refer to it must survive: what they refer to is checked when
/// the step is done, not within it.
fn migrate(connection: &mut Connection, vault: &Arc<Vault>) -> Result<(), rusqlite_migration::Error> {
    connection.pragma_update(None, "foreign_keys", false)?;
    migrations(vault).to_latest(connection)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

/// Lets registry time go on from where it stood, and writes down the settings of this run before anything is
/// granted under them.
///
/// Revisions go on from registry time in milliseconds: a store that was set back to a copy is then still above
/// every revision that hosts have seen, as they never go back. Otherwise they would refuse its goal states and take
/// its leases, and a denial would be certain here and not in force there.
fn start(
    connection: &mut Connection,
    vault: &Vault,
    settings: Settings,
    clock: &dyn Clock,
) -> Result<(Installation, u64), StoreError> {
    let transaction = connection.transaction()?;
    clock.begin(Change::new(&transaction, vault, 0).remembered_time()?);
    let now_unix_ms = clock.now_unix_ms();
    let change = Change::new(&transaction, vault, now_unix_ms);
    if let Some(mark) = clock.mark() {
        change.set_mark(&mark)?;
    }
    let (id, last, before) = last_run(&change)?;
    let before = before.at_start(last, now_unix_ms);
    transaction.execute(
        "UPDATE installation SET token_life_secs = ?1, lease_secs = ?2, tokens_end_unix_ms = ?3,
                leases_end_unix_ms = ?4, revision = max(revision, ?5)",
        params![
            number(settings.token_life_secs()),
            number(settings.lease_secs()),
            number(before.tokens_end_unix_ms),
            number(before.leases_end_unix_ms),
            number(now_unix_ms),
        ],
    )?;
    let event = Event::ServiceStarted {
        token_life_secs: settings.token_life_secs(),
        lease_secs: settings.lease_secs(),
    };
    change.audit(Actor::Registry, &event)?;
    let revision = change.current_revision()?;
    transaction.commit()?;
    Ok((Installation { id, before }, revision))
}

fn last_run(view: &View<'_>) -> Result<(Uuid, Option<Settings>, Before), StoreError> {
    let row = view.transaction.query_row(
        "SELECT id, token_life_secs, lease_secs, tokens_end_unix_ms, leases_end_unix_ms FROM installation",
        [],
        |row| {
            let before = Before {
                tokens_end_unix_ms: row.unsigned(3)?,
                leases_end_unix_ms: row.unsigned(4)?,
            };
            let lives: (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
            Ok((row.uuid(0)?, lives, before))
        },
    );
    let (id, lives, before) = row?;
    let last = match lives {
        (Some(token_life), Some(lease)) => Some(
            Settings::new(token_life.unsigned_abs(), lease.unsigned_abs())
                .map_err(|_| StoreError::Inconsistent("life times outside their bounds"))?,
        ),
        _ => None,
    };
    Ok((id, last, before))
}
