//! Following the registry's goal state, and giving it our receipts.
//!
//! Every connection begins with a whole state, so nothing has to be remembered about what a broken one may
//! have lost. When the registry is gone the kernel goes on by what it has: every pair runs to its deadline,
//! all of them to the lease, and nothing new opens.

use crate::{answer, goal::Goal, keeper::KeeperHandle, registry_link::RegistryLink};
use pairgate_api::grpc::{self, registry_client::RegistryClient, report};
use rand::Rng;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use uuid::Uuid;

/// First pause after a connection is lost, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For the registry to take up a stream.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Reports on their way.
const REPORTS: usize = 64;
/// A state of a host with all its taps in use and a hundred thousand tombstones stays below this.
pub const LARGEST_STATE: usize = 64 * 1024 * 1024;

/// What following shows to the others.
#[derive(Debug)]
pub struct Followed {
    /// Whether a goal state has come by the connection that is open now.
    pub connected: watch::Sender<bool>,
    /// Of the newest goal state that came, in force or not.
    pub revision: watch::Sender<u64>,
    /// A connection has begun.
    pub reconnected: Arc<Notify>,
    /// This host has a new certificate: the stream is to move to a connection that shows it.
    pub renewed: Arc<Notify>,
}

/// Follows until `stop`.
pub async fn run(
    registry: RegistryLink,
    boot_id: Uuid,
    keeper: KeeperHandle,
    mut receipts: mpsc::Receiver<grpc::Receipt>,
    followed: Followed,
    stop: CancellationToken,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut registry = RegistryClient::new(registry.clone()).max_decoding_message_size(LARGEST_STATE);
        let connection = follow(&mut registry, boot_id, &keeper, &mut receipts, &followed);
        let why = tokio::select! {
            () = stop.cancelled() => return,
            why = connection => why,
        };
        if followed.connected.send_replace(false) {
            pause = FIRST_PAUSE;
        }
        let jittered = pause
            .mul_f64(rand::rng().random_range(0.5..1.5))
            .min(LONGEST_PAUSE);
        tracing::warn!(%why, retry_ms = jittered.as_millis(), "the registry is not followed");
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(jittered) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{}", answer::text(.0))]
    Status(Status),
    #[error(
        "the registry refuses this host's certificate: {}; if this host's record was reset or removed, \
         docs/operations.md says how it enrols again",
        answer::text(.0)
    )]
    Refused(Status),
    #[error("the registry did not take up the stream within {} seconds", OPEN_LIMIT.as_secs())]
    Slow,
    #[error("the registry closed the stream")]
    Closed,
    #[error("the agent is stopping")]
    Stopping,
}

impl From<Status> for Lost {
    fn from(status: Status) -> Self {
        if status.code() == tonic::Code::PermissionDenied {
            Self::Refused(status)
        } else {
            Self::Status(status)
        }
    }
}

/// A stream that the registry has taken up.
struct Conversation {
    reports: mpsc::Sender<grpc::Report>,
    states: Streaming<grpc::GoalState>,
}

async fn begin(registry: &mut RegistryClient<RegistryLink>, boot_id: Uuid) -> Result<Conversation, Lost> {
    let (reports, outgoing) = mpsc::channel(REPORTS);
    let hello = report::Report::Hello(grpc::Hello {
        boot_id: boot_id.into_bytes().to_vec(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    // The channel is new and has room.
    let _ = reports.try_send(grpc::Report { report: Some(hello) });
    let opened = timeout(OPEN_LIMIT, registry.follow(ReceiverStream::new(outgoing))).await;
    let states = opened.map_err(|_| Lost::Slow)??.into_inner();
    Ok(Conversation { reports, states })
}

async fn follow(
    registry: &mut RegistryClient<RegistryLink>,
    boot_id: Uuid,
    keeper: &KeeperHandle,
    receipts: &mut mpsc::Receiver<grpc::Receipt>,
    followed: &Followed,
) -> Lost {
    let mut now = match begin(registry, boot_id).await {
        Ok(begun) => begun,
        Err(lost) => return lost,
    };
    // Receipts made while nobody followed: the state that comes now brings its own.
    while receipts.try_recv().is_ok() {}
    followed.reconnected.notify_one();
    loop {
        tokio::select! {
            state = now.states.message() => match state {
                Ok(Some(state)) => {
                    followed.revision.send_replace(state.revision);
                    if !followed.connected.send_replace(true) {
                        tracing::info!(revision = state.revision, "following the registry");
                    }
                    if let Err(lost) = hand_over(state, keeper).await {
                        return lost;
                    }
                }
                Ok(None) => return Lost::Closed,
                Err(status) => return status.into(),
            },
            receipt = receipts.recv() => {
                let Some(receipt) = receipt else { return Lost::Stopping };
                let report = grpc::Report { report: Some(report::Report::Receipt(receipt)) };
                if now.reports.send(report).await.is_err() {
                    return Lost::Closed;
                }
            }
            () = followed.renewed.notified() => match begin(registry, boot_id).await {
                // The registry ends the older stream when it takes up the newer one.
                Ok(begun) => now = begun,
                Err(why) => tracing::warn!(%why, "goal states keep coming by the connection of the old certificate"),
            },
        }
    }
}

async fn hand_over(state: grpc::GoalState, keeper: &KeeperHandle) -> Result<(), Lost> {
    match Goal::read(state) {
        Ok(goal) => keeper.goal(goal).await.map_err(|_| Lost::Stopping),
        Err(error) => {
            // What is in force stays; without a receipt the registry knows that this did not happen.
            tracing::error!(%error, "goal state refused");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_that_refuses_the_certificate_is_told_from_one_that_is_gone() {
        let refused = Lost::from(Status::permission_denied("no such host")).to_string();
        assert!(refused.contains("refuses this host's certificate"), "{refused}");
        assert!(refused.contains("no such host"), "{refused}");
        let gone = Lost::from(Status::unavailable("connection refused")).to_string();
        assert!(!gone.contains("certificate"), "{gone}");
    }
}
