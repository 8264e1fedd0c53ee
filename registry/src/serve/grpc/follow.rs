//! One agent's stream: hello and receipts up, goal states down.
//!
//! A task per stream owns both directions. It ends when the agent goes away or stops reading, says something
//! that is no report, is followed by a newer stream of the same host, or loses its record; and with the
//! service. Ending it at any point loses nothing: the next stream begins with everything.

use super::{HostCaller, not_the_host, unavailable};
use crate::{goal, inventory::fence::Receipt, registry::Registry, standing::Stream, store::StoreError};
use pairgate_api::grpc::{self, report::Report as Said};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, interval_at, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// An agent says hello at once.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// Boot ids are UUIDs; room for another form.
const BOOT_ID_LEN_MAX: usize = 64;
/// The whole goal state comes at least this often, so that whatever was lost heals.
const TIMER: Duration = Duration::from_secs(30);

/// What goes down.
type Down = mpsc::Sender<Result<grpc::GoalState, Status>>;

pub(super) fn start(
    registry: Arc<Registry>,
    host: HostCaller,
    reports: Streaming<grpc::Report>,
) -> ReceiverStream<Result<grpc::GoalState, Status>> {
    // One: a goal state that waits to be read would be out of date when a newer one is made.
    let (down, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let stop = registry.stop.clone();
        let follower = Follower { registry, host };
        tokio::select! {
            () = stop.cancelled() => { let _ = down.try_send(Err(Status::unavailable("the registry stops"))); }
            ended = follower.run(reports, &down) => if let Err(why) = ended {
                tracing::info!(host = %follower.host.id, why = why.message(), "stream ended");
                // A reader that takes nothing does not need to know either.
                let _ = down.try_send(Err(why));
            }
        }
    });
    ReceiverStream::new(receiver)
}

struct Follower {
    registry: Arc<Registry>,
    host: HostCaller,
}

impl Follower {
    /// `Err` tells the agent why; `Ok` is its own end.
    async fn run(&self, mut reports: Streaming<grpc::Report>, down: &Down) -> Result<(), Status> {
        let Ok(first) = timeout(HELLO_LIMIT, reports.message()).await else {
            return Err(Status::deadline_exceeded("no hello"));
        };
        let Some(Said::Hello(hello)) = first?.and_then(|report| report.report) else {
            return Err(Status::invalid_argument("the first report must be a hello"));
        };
        if hello.boot_id.is_empty() || hello.boot_id.len() > BOOT_ID_LEN_MAX {
            return Err(Status::invalid_argument("a boot id has 1 to 64 bytes"));
        }
        let version: String = hello.version.chars().take(64).collect();
        tracing::info!(host = %self.host.id, ?version, "agent follows");
        let stream = self.registry.standings.begin_stream(self.host.id, hello.boot_id);
        self.follow(&stream, reports, down).await
    }

    async fn follow(
        &self,
        stream: &Stream,
        mut reports: Streaming<grpc::Report>,
        down: &Down,
    ) -> Result<(), Status> {
        let mut revisions = self.registry.store.revisions();
        let mut timer = interval_at(Instant::now() + TIMER, TIMER);
        // Since when a goal state waits for room; none when the agent has been given the newest one.
        let mut due_since = Some(Instant::now());
        let mut sent_revision = 0;
        loop {
            tokio::select! {
                () = stream.ended() => return Err(Status::aborted("a newer stream of this host has begun")),
                changed = revisions.changed() => match changed {
                    Ok(()) => { due_since.get_or_insert_with(Instant::now); }
                    Err(_) => return Err(unavailable(&StoreError::Stopped)),
                },
                _ = timer.tick() => {
                    if due_since.is_some_and(|since| since.elapsed() >= TIMER) {
                        return Err(Status::deadline_exceeded("the agent does not read"));
                    }
                    due_since.get_or_insert_with(Instant::now);
                }
                place = down.reserve(), if due_since.is_some() => {
                    let Ok(place) = place else { return Ok(()) };
                    let goal = self.goal().await?;
                    sent_revision = goal.revision;
                    place.send(Ok(goal));
                    due_since = None;
                }
                report = reports.message() => match report?.map(|report| report.report) {
                    None => return Ok(()),
                    Some(Some(Said::Receipt(receipt))) => self.record(stream, &receipt, sent_revision),
                    Some(Some(Said::Hello(_))) => {
                        return Err(Status::invalid_argument("a second hello on one stream"));
                    }
                    // A kind of report that a later version knows.
                    Some(None) => {}
                },
                () = down.closed() => return Ok(()),
            }
        }
    }

    /// The newest goal state, if this certificate is still the host's.
    async fn goal(&self) -> Result<grpc::GoalState, Status> {
        let (id, public_key) = (self.host.id, self.host.public_key.clone());
        let _turn = self.registry.lanes.turn(id).await;
        let goal = self
            .registry
            .store
            .read(move |view| {
                let recorded = view.host(id)?.and_then(|host| host.public_key);
                if recorded != Some(public_key) {
                    return Ok(None);
                }
                view.goal(id).map(Some)
            })
            .await
            .map_err(|error: StoreError| unavailable(&error))?;
        goal.map(goal::message).ok_or_else(not_the_host)
    }

    fn record(&self, stream: &Stream, receipt: &grpc::Receipt, sent_revision: u64) {
        let now_unix_ms = self.registry.clock.now_unix_ms();
        let taken = stream.record(
            Receipt {
                revision: receipt.revision,
                // The host's estimate of our time; it cannot have been later than now.
                applied_unix_ms: receipt.applied_unix_ms.min(now_unix_ms),
                undrained: receipt.undrained,
            },
            sent_revision,
        );
        tracing::debug!(
            host = %self.host.id, revision = receipt.revision, closed = receipt.closed,
            undrained = receipt.undrained, taken, "receipt"
        );
    }
}
