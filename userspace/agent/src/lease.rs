//! Renewing the host lease: the registry's word that it still knows us, without which the kernel refuses every
//! pair of this host.
//!
//! The lease counts from the boot instant at which the question was sent, so a slow answer shortens it. An
//! answer also tells the registry's time.

use crate::{
    answer,
    clock::{BootTime, RegistryClock},
    keeper::KeeperHandle,
    registry_link::RegistryLink,
};
use pairgate_api::grpc::{LeaseGrant, LeaseRequest, registry_client::RegistryClient};
use rand::Rng;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// For one answer; a later one is asked for anew.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// First pause after a failure, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest lease that an installation may give.
const LONGEST_LEASE: Duration = Duration::from_secs(86_400);

/// Why there is no new lease.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("{}", answer::text(.0))]
    Status(#[from] Status),
    #[error("no answer within {} seconds", ANSWER_LIMIT.as_secs())]
    Slow,
    #[error("a lease of {0} ms is not between 1 ms and a day")]
    Length(u64),
    #[error("the agent is stopping")]
    Stopping,
}

/// Renews until `stop`: a third of the lease after each answer, at once when `reconnected` says that the
/// registry is back, and not while the uplink lacks our address.
pub async fn run(
    registry: RegistryLink,
    clock: RegistryClock,
    keeper: KeeperHandle,
    reconnected: Arc<Notify>,
    mut has_address: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let mut registry = RegistryClient::new(registry);
    let mut failures = FIRST_PAUSE;
    loop {
        let ready = has_address.wait_for(|has| *has);
        tokio::select! {
            () = stop.cancelled() => return,
            ready = ready => if ready.is_err() { return },
        }
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = renew(&mut registry, &clock, &keeper) => answer,
        };
        let pause = match answer {
            Ok(length) => {
                failures = FIRST_PAUSE;
                length / 3
            }
            Err(RenewError::Stopping) => return,
            Err(why @ (RenewError::Status(_) | RenewError::Slow | RenewError::Length(_))) => {
                tracing::warn!(%why, "the host lease was not renewed");
                let pause = failures;
                failures = (failures * 2).min(LONGEST_PAUSE);
                pause
            }
        };
        let jittered = pause.mul_f64(rand::rng().random_range(0.8..1.2));
        tokio::select! {
            () = stop.cancelled() => return,
            () = reconnected.notified() => {}
            changed = has_address.changed() => if changed.is_err() { return },
            () = sleep(jittered) => {}
        }
    }
}

async fn renew(
    registry: &mut RegistryClient<RegistryLink>,
    clock: &RegistryClock,
    keeper: &KeeperHandle,
) -> Result<Duration, RenewError> {
    let asked = BootTime::now();
    let answer = timeout(ANSWER_LIMIT, registry.renew_lease(LeaseRequest {})).await;
    let LeaseGrant {
        lease_ms,
        revision,
        registry_unix_ms,
    } = answer.map_err(|_| RenewError::Slow)??.into_inner();
    clock.learn(asked, registry_unix_ms);
    let length = Duration::from_millis(lease_ms);
    if length.is_zero() || length > LONGEST_LEASE {
        return Err(RenewError::Length(lease_ms));
    }
    let granted = keeper.grant(asked, length, revision).await;
    granted.map_err(|_| RenewError::Stopping)?;
    Ok(length)
}
