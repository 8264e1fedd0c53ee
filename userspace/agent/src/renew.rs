//! Keeps this host's certificate young: asks the registry for a new one for the same key, writes it down, and
//! lets every connection from then on show it.
//!
//! Nothing that is open is touched. Connections that were made under the old certificate are left by their
//! users: calls to the registry and offers to peers go by new ones, and the goal states' stream changes over
//! when the new one has begun. The other side ends what is left when the old certificate does, half a life
//! later. An agent that dies before the new certificate is on disk starts with the old one, which still holds.
//!
//! Cancelling ends a question in progress; the registry then gives the same host another one next time.

use crate::{
    answer,
    certificate::{Life, Stage},
    clock::{BootTime, RegistryClock},
    enrol::{self, EnrolError},
    present::Presenter,
    registry_link::RegistryLink,
};
use pairgate_api::grpc::{RenewRequest, registry_client::RegistryClient};
use pairgate_identity::{CredentialError, Credentials};
use rand::Rng;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{Notify, watch},
    task::block_in_place,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// For one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The clock may be set while we sleep, so no sleep is longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What status and metrics show of the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub life: Life,
    /// Why the last try gave none; none if none was needed or it did.
    pub why: Option<String>,
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{}", answer::text(.0))]
    Status(#[from] Status),
    #[error("no answer within {} seconds", ANSWER_LIMIT.as_secs())]
    Slow,
    #[error("the certificate that came is not taken: {0}")]
    Wrong(#[from] CredentialError),
    #[error("the registry gave the certificate that this host has already")]
    Same,
    #[error(transparent)]
    Disk(#[from] EnrolError),
}

/// See the module.
#[derive(Debug)]
pub struct Renewer {
    pub own: Arc<Credentials>,
    pub state_dir: PathBuf,
    pub registry: RegistryLink,
    pub presenter: Arc<Presenter>,
    pub clock: RegistryClock,
    /// The goal states' stream is to change over.
    pub renewed: Arc<Notify>,
    pub standing: watch::Sender<Standing>,
}

impl Renewer {
    /// The life of the certificate that is shown now.
    pub fn life(own: &Credentials) -> Life {
        let facts = own.certificate();
        Life::of(facts.not_before, facts.not_after)
    }

    /// Renews until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        // This host's own part of the time in which all ask, drawn anew for each certificate.
        let mut share = rand::rng().random();
        loop {
            let life = Self::life(&self.own);
            let (pause, then_ask) = match failures {
                0 => {
                    let wait = life.wait(self.now_unix_ms(), share);
                    (wait.min(LONGEST_SLEEP), wait.is_zero())
                }
                _ => (
                    life.pause(failures).mul_f64(rand::rng().random_range(0.8..1.2)),
                    true,
                ),
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
            if !then_ask {
                continue;
            }
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = self.ask() => done,
            };
            failures = match done {
                Ok(()) => {
                    share = rand::rng().random();
                    0
                }
                Err(why) => {
                    self.failed(&why, life, failures);
                    failures.saturating_add(1)
                }
            };
        }
    }

    async fn ask(&self) -> Result<(), AskError> {
        let signing_request = block_in_place(|| enrol::signing_request(&self.state_dir))?;
        let mut registry = RegistryClient::new(self.registry.clone());
        let asked = registry.renew_certificate(RenewRequest { signing_request });
        let answer = timeout(ANSWER_LIMIT, asked).await.map_err(|_| AskError::Slow)??;
        let pem = answer.into_inner().certificate_pem;
        let before = Self::life(&self.own);
        // Refuses what is not ours; what it takes is shown from here on.
        self.own.renew(&pem)?;
        if Self::life(&self.own).ends_unix_ms <= before.ends_unix_ms {
            return Err(AskError::Same);
        }
        block_in_place(|| enrol::write_certificate(&self.state_dir, &pem))?;
        self.registry.reconnect();
        self.presenter.reconnect();
        self.renewed.notify_one();
        let life = Self::life(&self.own);
        self.standing.send_replace(Standing { life, why: None });
        tracing::info!(
            ends_unix_ms = life.ends_unix_ms,
            "this host has a new certificate"
        );
        Ok(())
    }

    fn failed(&self, why: &AskError, life: Life, failures: u32) {
        let stage = life.stage(self.now_unix_ms());
        let retry_ms = life.pause(failures.saturating_add(1)).as_millis();
        if stage >= Stage::Overdue {
            tracing::error!(%why, retry_ms, "this host's certificate runs out soon and was not renewed");
        } else {
            tracing::warn!(%why, retry_ms, "this host's certificate was not renewed, will be tried again");
        }
        let why = Some(why.to_string());
        self.standing.send_replace(Standing { life, why });
    }

    /// The registry's time where it is known. Certificates are judged by wall clocks, so this host's own will
    /// do until then.
    fn now_unix_ms(&self) -> u64 {
        self.clock.unix_ms(BootTime::now()).unwrap_or_else(wall_unix_ms)
    }
}

/// This host's own wall clock.
pub fn wall_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
