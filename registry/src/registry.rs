//! The service itself: what all requests share, and the two tasks that act by themselves.

use crate::{
    audit::Actor,
    authority::{Authority, IssueError},
    clock::{BootClock, Clock, ClockError, is_off},
    init,
    inventory::fence::Fenced,
    issue::Memory,
    lanes::Lanes,
    manage::{
        once::{REMEMBERED_MS, UnderWay},
        open_fenced,
    },
    quota::Quota,
    renew::Own,
    settings::{Before, Settings},
    standing::Standings,
    store::{Installation, OpenError, OperatorCertificate, Store, StoreError},
};
use nix::fcntl::{Flock, FlockArg};
use pairgate_api::routes::Role;
use pairgate_identity::{CredentialError, Credentials, PeerCertificate};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often counted mints are written down and old tombstones forgotten.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);
/// Longest sleep while a placement waits; receipts and ends of leases wake earlier.
const OPENING_EVERY: Duration = Duration::from_secs(10);
/// A store that refuses an opening for now (a full disk) is asked again after this.
const OPENING_PAUSE: Duration = Duration::from_secs(1);

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot read {path}: {source}; was the installation made with `pairgate-registry init`?")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} can be read by others (mode {mode:o}): it holds secrets, so make it 0600 (`chmod 600`), and think about who may have read it"
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{path} is in use by another registry: two of them would not know of each other's leases")]
    InUse { path: PathBuf },
    #[error(transparent)]
    Clock(#[from] ClockError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Authority(#[from] IssueError),
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(
        "registry.pem says {found}, which is not the registry of the installation in the store ({installation}): the files in the state directory do not belong together"
    )]
    Foreign { found: String, installation: Uuid },
    #[error(
        "this store is of a version that did not write down its operators, and {path} is not the first operator's certificate ({why}): put it there for this one start"
    )]
    FirstOperator { path: PathBuf, why: String },
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: std::net::SocketAddr,
        source: io::Error,
    },
}

/// What every request works with.
#[derive(Debug)]
pub struct Registry {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) standings: Arc<Standings>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) own: Own,
    pub(crate) installation: Uuid,
    pub(crate) settings: Settings,
    pub(crate) before: Before,
    pub(crate) memory: Memory,
    pub(crate) quota: Quota,
    /// Requests under a key.
    pub(crate) under_way: UnderWay,
    /// Of hosts, zero certificates and reading operators.
    pub(crate) lanes: Lanes,
    /// Within the current minute.
    pub(crate) refused_enrolments: AtomicU32,
    /// Cancelled when the service ends: nothing waits past it.
    pub(crate) stop: CancellationToken,
    /// Held as long as the service lives; the kernel gives it back whatever happens.
    _lock: Flock<File>,
}

impl Registry {
    /// Opens the installation in `directory`.
    pub async fn open(
        directory: &Path,
        master_key: Option<&Path>,
        settings: Settings,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, StartError> {
        let lock = lock(directory)?;
        let secret = |name: &str| {
            let path = directory.join(name);
            refuse_exposed(&path)?;
            Ok::<_, StartError>(path)
        };
        let (ca, ca_key) = (directory.join(init::AUTHORITY.0), secret(init::AUTHORITY.1)?);
        let authority = Authority::from_pem(&read(&ca)?, &read(&ca_key)?)?;
        let key = secret(init::REGISTRY.1)?;
        let credentials = Credentials::load(&ca, &directory.join(init::REGISTRY.0), &key)?;
        let clock: Arc<dyn Clock> = Arc::new(BootClock::start()?);
        let path = directory.join(init::STORE);
        let master_key = master_key.map_or_else(|| directory.join(init::MASTER_KEY), Path::to_owned);
        if path.exists() {
            refuse_exposed(&path)?;
        }
        let (store, Installation { id, before }) = Store::open(&path, &master_key, settings, clock.clone())?;
        let identity = credentials.identity();
        if identity.installation != id || identity.role != Role::Registry {
            return Err(StartError::Foreign {
                found: identity.to_string(),
                installation: id,
            });
        }
        adopt_first_operator(&store, directory, id).await?;
        let hosts = store.read(|view| view.hosts_that_may_hold_a_lease()).await?;
        let standings = Standings::assume(hosts, before.leases_end_unix_ms);
        let registry = Self {
            store,
            clock,
            standings: Arc::new(standings),
            authority: Arc::new(authority),
            own: Own {
                directory: directory.to_owned(),
                credentials,
            },
            installation: id,
            settings,
            before,
            memory: Memory::default(),
            quota: Quota::default(),
            under_way: UnderWay::default(),
            lanes: Lanes::default(),
            refused_enrolments: AtomicU32::new(0),
            stop,
            _lock: lock,
        };
        registry.renew_own_if_due().await;
        Ok(Arc::new(registry))
    }

    /// Opens waiting placements as soon as their hosts before are fenced; ends with the service. Cut off in
    /// the middle, a placement is open or still waits.
    pub(crate) async fn open_placements(self: Arc<Self>) {
        let mut receipts = self.standings.changes();
        let mut revisions = self.store.revisions();
        loop {
            receipts.borrow_and_update();
            revisions.borrow_and_update();
            let pause = match self.open_what_is_fenced().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "waiting placements could not be opened");
                    OPENING_PAUSE
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(pause) => {}
                changed = receipts.changed() => if changed.is_err() { return },
                changed = revisions.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Tells how long there is nothing to do unless something changes.
    pub(crate) async fn open_what_is_fenced(&self) -> Result<Duration, StoreError> {
        let waiting = self.store.read(|view| view.waiting()).await?;
        let now_unix_ms = self.clock.now_unix_ms();
        let mut next = OPENING_EVERY;
        let mut ready = false;
        for placement in waiting {
            let mut fenced = true;
            for fence in &placement.fences {
                match self.standings.judge(fence.host, fence.revision, now_unix_ms) {
                    Fenced::Applied(_) | Fenced::LeaseEnded => {}
                    Fenced::NotYet { lease_ends_unix_ms } => {
                        fenced = false;
                        let left = lease_ends_unix_ms.saturating_sub(now_unix_ms);
                        next = next.min(Duration::from_millis(left.max(1)));
                    }
                }
            }
            ready |= fenced;
        }
        if ready {
            let standings = self.standings.clone();
            self.store
                .change_on_committed(move |change| open_fenced(change, &standings))
                .await?;
        }
        Ok(next)
    }

    /// Writes down and forgets, once a minute; ends with the service.
    pub(crate) async fn keep_house(self: Arc<Self>) {
        let mut ticks = interval(HOUSEKEEPING_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_off = false;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            was_off = self.look_at_wall_clock(was_off);
            self.write_mark().await;
            self.renew_own_if_due().await;
            self.refused_enrolments.store(0, Ordering::Relaxed);
            self.forget_old_questions();
            if let Err(error) = self.write_tally(&self.store).await {
                tracing::error!(%error, "counted mints could not be written down");
            }
            if let Err(error) = self
                .store
                .change_essential(|change| change.forget_tombstones())
                .await
            {
                tracing::error!(%error, "old tombstones could not be forgotten");
            }
            let before_unix_ms = self.clock.now_unix_ms().saturating_sub(REMEMBERED_MS);
            let forgotten = self
                .store
                .change_essential(move |change| change.forget_keys(before_unix_ms));
            if let Err(error) = forgotten.await {
                tracing::error!(%error, "old keys of requests could not be forgotten");
            }
        }
    }

    /// Says once that the wall clock has left registry time, and once that it is back; nothing follows from it.
    fn look_at_wall_clock(&self, was_off: bool) -> bool {
        let ahead_ms = self.clock.wall_ahead_ms();
        let off = is_off(ahead_ms);
        if off && !was_off {
            tracing::error!(
                ahead_ms,
                "the wall clock is not at registry time: it was stepped, or was wrong at the start; registry time \
                 goes on by itself until the next boot, where the later of the two holds"
            );
        } else if was_off && !off {
            tracing::info!(ahead_ms, "the wall clock is at registry time again");
        }
        off
    }

    /// Where registry time stands now, for the next start.
    async fn write_mark(&self) {
        let Some(mark) = self.clock.mark() else { return };
        if let Err(error) = self.store.change(move |change| change.set_mark(&mark)).await {
            tracing::error!(%error, "registry time could not be written down");
        }
    }

    /// What goes wrong is tried again a minute later; the old certificate holds for months yet.
    async fn renew_own_if_due(&self) {
        if let Err(error) = self.renew_own().await {
            tracing::error!(%error, "the registry's own certificate could not be renewed");
        }
    }

    /// The last thing before the end.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.write_tally(&self.store).await {
            tracing::error!(%error, "counted mints could not be written down");
        }
        self.write_mark().await;
    }
}

/// A store of before knows no operator; the one that `init` made is the only one there is.
async fn adopt_first_operator(store: &Store, directory: &Path, installation: Uuid) -> Result<(), StartError> {
    if !store.read(|view| view.operators()).await?.is_empty() {
        return Ok(());
    }
    let path = directory.join(init::OPERATOR.0);
    let refuse = |why: String| StartError::FirstOperator {
        path: path.clone(),
        why,
    };
    let pem = fs::read(&path).map_err(|error| refuse(error.to_string()))?;
    let der = CertificateDer::from_pem_slice(&pem).map_err(|error| refuse(error.to_string()))?;
    let facts = PeerCertificate::from_der(&der).map_err(|error| refuse(error.to_string()))?;
    let identity = facts.identity;
    if identity.installation != installation || identity.role != Role::Operator {
        return Err(refuse(format!("it is {identity}")));
    }
    let operator = OperatorCertificate {
        id: identity.id,
        owner: init::OWNER.to_owned(),
        expires_unix_ms: u64::try_from(facts.not_after).unwrap_or(0).saturating_mul(1000),
        revoked: false,
    };
    store
        .change(move |change| change.insert_operator(Actor::Registry, &operator))
        .await?;
    Ok(())
}

pub(crate) fn lock(directory: &Path) -> Result<Flock<File>, StartError> {
    let file = File::open(directory).map_err(|source| StartError::Read {
        path: directory.to_owned(),
        source,
    })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| StartError::InUse {
        path: directory.to_owned(),
    })
}

fn read(path: &Path) -> Result<String, StartError> {
    fs::read_to_string(path).map_err(|source| StartError::Read {
        path: path.to_owned(),
        source,
    })
}

fn refuse_exposed(path: &Path) -> Result<(), StartError> {
    let metadata = fs::metadata(path).map_err(|source| StartError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(StartError::Exposed {
        path: path.to_owned(),
        mode,
    })
}
