//! An agent from start to stop.
//!
//! ```text
//! locks → identity → uplink and port → programs and maps → keeper → doors → tasks → … → stop
//! ```
//!
//! Each step refuses with one line that says why; nothing after it has happened then. Stopping ends the tasks
//! and leaves the kernel as it is: pins, taps and links stay, pairs run to their deadlines.

use crate::{
    admit::serve::PeerService,
    args::RunArguments,
    clock::RegistryClock,
    datapath::{
        LoadOptions, Loaded,
        maps::{Counters, Maps},
    },
    enrol::{self, Enrolled, ZeroFiles},
    follow::{self, Followed},
    keeper::{Errand, Keeper, KeeperHandle, Parts, limits},
    lease,
    local::{self, Local},
    lock::Locks,
    metrics::{Metrics, Scrape},
    net::Net,
    peers::Peers,
    port::OverlayPort,
    present::Presenter,
    request::Requester,
    totals::Totals,
    uplink::Uplink,
};
use anyhow::{Context, anyhow, bail};
use axum::{Router, extract::State, http::StatusCode, routing::get};
use aya::maps::{MapData, RingBuf};
use pairgate_api::{grpc::peer_server::PeerServer, grpc::registry_client::RegistryClient, routes::Role};
use pairgate_identity::{Expect, channel, client_config, server_config};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc, watch},
    task::{JoinSet, block_in_place},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use uuid::Uuid;

/// For the tasks to end after the stop.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// An offer holds a token, which has at most 280 bytes.
const LARGEST_OFFER: usize = 4096;
/// Receipts that wait for the stream.
const RECEIPTS: usize = 64;

/// Serves this host until SIGTERM or SIGINT.
pub async fn run(arguments: RunArguments) -> anyhow::Result<()> {
    let mut stop_signals = Signals::listen()?;
    let _locks = Locks::take(&arguments.state_dir, &arguments.pin_dir)?;
    let enrolling = enrol::identity(
        &arguments.state_dir,
        &arguments.host,
        &arguments.registry,
        zero_files(&arguments),
    );
    let enrolled = tokio::select! {
        enrolled = enrolling => enrolled?,
        () = stop_signals.next() => return Ok(()),
    };
    let agent = Agent::assemble(&arguments, enrolled).await?;
    agent.serve(&arguments.run_dir, stop_signals).await
}

fn zero_files(arguments: &RunArguments) -> Option<ZeroFiles> {
    Some(ZeroFiles {
        authority: arguments.authority.clone()?,
        certificate: arguments.zero_cert.clone()?,
        key: arguments.zero_key.clone()?,
    })
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Everything that runs, assembled but not started.
struct Agent {
    enrolled: Enrolled,
    registry: Channel,
    net: Net,
    uplink: Uplink,
    port: OverlayPort,
    clock: RegistryClock,
    keeper: KeeperHandle,
    receipts: mpsc::Receiver<pairgate_api::grpc::Receipt>,
    errands: mpsc::Receiver<Errand>,
    totals: Arc<Totals>,
    events: RingBuf<MapData>,
    metrics: Arc<Metrics>,
    boot_id: Uuid,
    peers: TcpListener,
    scrapes: TcpListener,
    stop: CancellationToken,
}

impl Agent {
    async fn assemble(arguments: &RunArguments, enrolled: Enrolled) -> anyhow::Result<Self> {
        let record = &enrolled.record;
        let net = Net::open().context("cannot ask the kernel about its network")?;
        let uplink = Uplink::find(&net, &arguments.uplink, record.address).await?;
        let port = OverlayPort::hold(record.address, record.overlay_port)?;
        let peers = listen(SocketAddr::new(record.address, record.agent_port), "other agents").await?;
        let scrapes = listen(arguments.metrics, "/metrics").await?;

        let options = LoadOptions {
            pin_dir: &arguments.pin_dir,
            uplink: uplink.index,
            host: record.address,
            port: record.overlay_port,
        };
        let mut loaded = block_in_place(|| Loaded::load(&options))?;
        let maps = Maps::open(&loaded)?;
        let totals = Arc::new(Totals::new(Counters::open(&loaded)?));
        let events = loaded.events()?;
        let attached = block_in_place(|| loaded.attach_uplink(&uplink.name))?;
        if attached != uplink.index {
            bail!(
                "interface {} was replaced while the agent started; start it again",
                uplink.name
            );
        }

        let clock = RegistryClock::default();
        let stop = CancellationToken::new();
        let (given, receipts) = mpsc::channel(RECEIPTS);
        let (sent, errands) = mpsc::channel(limits::ERRANDS);
        let parts = Parts {
            maps,
            loaded,
            net: net.clone(),
            totals: totals.clone(),
            clock: clock.clone(),
            receipts: given,
            errands: sent,
            idle: Duration::from_secs(arguments.idle),
        };
        let keeper = Keeper::start(parts, stop.clone())?;
        let expect = Expect {
            role: Role::Registry,
            id: None,
            installation: Some(enrolled.credentials.identity().installation),
        };
        let registry = channel(&arguments.registry, client_config(&enrolled.credentials)?, expect);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            host = %record.name,
            uplink = %uplink.name,
            peers = %peers.local_addr()?,
            overlay = record.overlay_port,
            metrics = %scrapes.local_addr()?,
            registry = %arguments.registry,
            "pairgate-agent runs"
        );
        Ok(Self {
            enrolled,
            registry,
            net,
            uplink,
            port,
            clock,
            keeper,
            receipts,
            errands,
            totals,
            events,
            metrics: Arc::new(Metrics::new()?),
            boot_id: Uuid::new_v4(),
            peers,
            scrapes,
            stop,
        })
    }

    /// Starts every task and waits for a signal, or for the first task that ends by itself.
    async fn serve(self, run_dir: &Path, mut signals: Signals) -> anyhow::Result<()> {
        let stop = self.stop.clone();
        let socket = local::listen(run_dir)
            .with_context(|| format!("cannot make the socket agent.sock in {}", run_dir.display()))?;
        let mut tasks = JoinSet::new();
        self.start(socket, &mut tasks)?;
        let result = tokio::select! {
            () = signals.next() => Ok(()),
            ended = tasks.join_next() => Err(match ended {
                Some(Ok((name, Err(error)))) => error.context(format!("the task {name} failed")),
                Some(Ok((name, Ok(())))) => anyhow!("the task {name} ended by itself"),
                Some(Err(error)) => anyhow!(error).context("a task panicked"),
                None => anyhow!("no task was started"),
            }),
        };
        stop.cancel();
        let all = async { while tasks.join_next().await.is_some() {} };
        // What has not ended by now holds nothing that the kernel does not have already.
        let _ = timeout(STOP_LIMIT, all).await;
        let _ = std::fs::remove_file(run_dir.join("agent.sock"));
        tracing::info!("stopped; pairs run to their deadlines");
        result
    }

    /// What `/metrics` and the CLI are shown.
    fn shown(&self, connected: watch::Receiver<bool>) -> anyhow::Result<(Scrape, Local)> {
        let (keeper, totals) = (self.keeper.clone(), self.totals.clone());
        let scrape = Scrape::new(&self.metrics, keeper, totals, connected.clone())?;
        let local = Local {
            host: self.enrolled.record.clone(),
            uplink: self.uplink.name.clone(),
            keeper: self.keeper.clone(),
            totals: self.totals.clone(),
            connected,
        };
        Ok((scrape, local))
    }

    fn start(self, socket: tokio::net::UnixListener, tasks: &mut Tasks) -> anyhow::Result<()> {
        let (connected, is_connected) = watch::channel(false);
        let (scrape, local) = self.shown(is_connected)?;
        let Self {
            enrolled,
            registry,
            net,
            uplink,
            port,
            clock,
            keeper,
            receipts,
            errands,
            events,
            metrics,
            boot_id,
            peers,
            scrapes,
            stop,
            ..
        } = self;
        spawn(tasks, "metrics", serve_metrics(scrapes, scrape, stop.clone()));
        let serving = local::serve(socket, local, stop.clone());
        spawn(tasks, "local", async { Ok(serving.await?) });
        let installation = enrolled.credentials.identity().installation;
        let tls = client_config(&enrolled.credentials)?;

        let met = Arc::new(Peers::default());
        let agent_port = enrolled.record.agent_port;
        let offers = PeerService {
            keeper: keeper.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            uplink: uplink.clone(),
            overlay_port: enrolled.record.overlay_port,
            boot_id,
            peers: met.clone(),
            net: net.clone(),
        };
        let server = server_config(&enrolled.credentials)?;
        let serving = pairgate_identity::serve(peers, server, installation, door(offers), stop.clone());
        spawn(tasks, "offers", async {
            serving.await;
            // Held for as long as frames are received.
            drop(port);
            Ok(())
        });

        let requester = Requester {
            registry: RegistryClient::new(registry.clone()),
            presenter: Arc::new(Presenter::new(tls, installation, boot_id, agent_port, met)),
            keeper: keeper.clone(),
            net: net.clone(),
            clock: clock.clone(),
            metrics,
            uplink: uplink.clone(),
            overlay_port: enrolled.record.overlay_port,
            same_host_seen: Arc::new(AtomicBool::new(false)),
        };
        let requesting = requester.run(events, errands, stop.clone());
        spawn(tasks, "requests", async { Ok(requesting.await?) });

        let registry = FollowedRegistry {
            registry,
            clock,
            keeper,
            connected,
            stop,
        };
        registry.start(boot_id, receipts, (net, uplink), tasks);
        Ok(())
    }
}

/// The service that takes offers, for the server of `pairgate_identity`.
fn door(offers: PeerService) -> Router {
    let offers = PeerServer::new(offers).max_decoding_message_size(LARGEST_OFFER);
    tonic::service::Routes::new(offers).prepare().into_axum_router()
}

/// The three tasks that keep this host in step with the registry.
struct FollowedRegistry {
    registry: Channel,
    clock: RegistryClock,
    keeper: KeeperHandle,
    connected: watch::Sender<bool>,
    stop: CancellationToken,
}

impl FollowedRegistry {
    fn start(
        self,
        boot_id: Uuid,
        receipts: mpsc::Receiver<pairgate_api::grpc::Receipt>,
        (net, uplink): (Net, Uplink),
        tasks: &mut Tasks,
    ) {
        let (has_address, address_there) = watch::channel(true);
        let reconnected = Arc::new(Notify::new());
        let watching = uplink.watch(net, self.keeper.clone(), has_address, self.stop.clone());
        spawn(tasks, "uplink", async {
            watching.await;
            Ok(())
        });
        let renewing = lease::run(
            self.registry.clone(),
            self.clock,
            self.keeper.clone(),
            reconnected.clone(),
            address_there,
            self.stop.clone(),
        );
        spawn(tasks, "lease", async {
            renewing.await;
            Ok(())
        });
        let followed = Followed {
            connected: self.connected,
            reconnected,
        };
        let following = follow::run(self.registry, boot_id, self.keeper, receipts, followed, self.stop);
        spawn(tasks, "goal states", async {
            following.await;
            Ok(())
        });
    }
}

type Tasks = JoinSet<(&'static str, anyhow::Result<()>)>;

fn spawn(
    tasks: &mut Tasks,
    name: &'static str,
    task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) {
    tasks.spawn(async move { (name, task.await) });
}

async fn listen(at: SocketAddr, whom: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(at).await;
    listener.with_context(|| format!("cannot listen at {at} for {whom}"))
}

async fn serve_metrics(listener: TcpListener, scrape: Scrape, stop: CancellationToken) -> anyhow::Result<()> {
    let app = Router::new()
        .route("/metrics", get(metrics))
        .with_state(Arc::new(scrape));
    axum::serve(listener, app)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await?;
    Ok(())
}

async fn metrics(State(scrape): State<Arc<Scrape>>) -> Result<Vec<u8>, StatusCode> {
    block_in_place(|| scrape.text()).map_err(|error| {
        tracing::error!(%error, "metrics could not be written");
        StatusCode::INTERNAL_SERVER_ERROR
    })
}
