//! An agent from start to stop.
//!
//! ```text
//! locks → identity → uplink and port → programs and maps → keeper → doors → tasks → … → stop
//! ```
//!
//! Each step refuses with one line that says why; nothing after it has happened then. Stopping ends the tasks
//! and leaves the kernel as it is: pins, taps and links stay, pairs run to their deadlines.

mod tasks;

use crate::{
    adopt::Adoption,
    clock::RegistryClock,
    config::Settings,
    datapath::{
        Hook, LoadOptions, Loaded, MapFill,
        maps::{Counters, Maps, Released},
    },
    enrol::{self, Enrolled, HostRecord},
    guest_config::{Configurator, Given},
    hold::{Hold, Sender},
    keeper::{self, Doors, Errand, Keeper, KeeperHandle, Parts, limits},
    local,
    lock::Locks,
    metrics::Metrics,
    net::Net,
    news::Wake,
    notify,
    port::OverlayPort,
    registry_link::RegistryLink,
    request::Rings,
    tap_socket::TapSocket,
    totals::Totals,
    uplink::Uplink,
    xdp_guard::Choice,
};
use anyhow::{Context, anyhow};
use aya::maps::{MapData, RingBuf};
use pairgate_api::routes::Role;
use pairgate_identity::{Credentials, Expect, client_config};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::{JoinSet, block_in_place},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// For the tasks to end after the stop.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// Receipts that wait for the stream.
const RECEIPTS: usize = 64;

/// Serves this host until SIGTERM or SIGINT.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut stop_signals = Signals::listen()?;
    let _locks = Locks::take(&settings.state_dir, &settings.pin_dir)?;
    let enrolling = enrol::identity(
        &settings.state_dir,
        &settings.host,
        &settings.registry,
        settings.zero.clone(),
    );
    let enrolled = tokio::select! {
        enrolled = enrolling => enrolled?,
        () = stop_signals.next() => return Ok(()),
    };
    let agent = Agent::assemble(&settings, enrolled).await?;
    agent.serve(&settings.run_dir, stop_signals).await
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
    shared: Shared,
    receipts: mpsc::Receiver<pairgate_api::grpc::Receipt>,
    errands: mpsc::Receiver<Errand>,
    rings: Rings,
    hold: Arc<Hold>,
    configurator: Configurator,
    questions: RingBuf<MapData>,
    peers: TcpListener,
    scrapes: TcpListener,
}

/// What several tasks use.
struct Shared {
    record: HostRecord,
    own: Arc<Credentials>,
    registry: RegistryLink,
    net: Net,
    uplink: Uplink,
    clock: RegistryClock,
    keeper: KeeperHandle,
    totals: Arc<Totals>,
    fill: Arc<MapFill>,
    given: Arc<Given>,
    metrics: Arc<Metrics>,
    boot_id: Uuid,
    state_dir: PathBuf,
    adoption: Adoption,
    hook: Hook,
    wake: Wake,
    stop: CancellationToken,
}

impl Agent {
    async fn assemble(settings: &Settings, enrolled: Enrolled) -> anyhow::Result<Self> {
        let Enrolled { credentials, record } = enrolled;
        let own = Arc::new(credentials);
        let net = Net::open().context("cannot ask the kernel about its network")?;
        let uplink = Uplink::find(&net, &settings.uplink, record.address).await?;
        let overlay = OverlayPort::ready(&net, record.overlay_port).await?;
        let peers = listen(SocketAddr::new(record.address, record.agent_port), "other agents").await?;
        let scrapes = listen(settings.metrics, "/metrics").await?;

        let options = LoadOptions {
            pin_dir: &settings.pin_dir,
            uplink: uplink.index,
            vxlan: overlay.index(),
            host: record.address,
            port: record.overlay_port,
        };
        let mut loaded = block_in_place(|| match settings.hook {
            Some(hook) => Loaded::load_for(&options, hook),
            None => Loaded::load(&options),
        })?;
        let hook = loaded.hook();
        let maps = Maps::open(&loaded)?;
        let totals = Arc::new(Totals::new(Counters::open(&loaded)?));
        let fill = Arc::new(MapFill::open(&loaded)?);
        let rings = Rings {
            events: loaded.events()?,
            held: loaded.held()?,
        };
        let hold = Arc::new(Hold::new(Released::open(&loaded)?, totals.clone()));
        let sender = Sender::open(record.address, loaded.mark())
            .context("cannot open the sockets for first packets")?;
        let questions = loaded.questions()?;
        let socket = TapSocket::open(loaded.mark()).context("cannot open the socket for guests")?;
        let doors = Doors {
            uplink: (uplink.name.clone(), uplink.index),
            overlay,
        };
        let guarded = Some(uplink.index).filter(|_| settings.xdp_guard != Choice::Off);
        block_in_place(|| loaded.release_guards(guarded)).context("cannot take an XDP guard off")?;
        doors.open(&net, &mut loaded).await?;
        let adoption = Adoption {
            patterns: settings.taps.clone(),
            uplink: uplink.name.clone(),
        };
        keeper::shut(&net, &mut loaded, &adoption).await?;
        let wake = Wake::default();

        let clock = RegistryClock::default();
        let stop = CancellationToken::new();
        let (given, receipts) = mpsc::channel(RECEIPTS);
        let (sent, errands) = mpsc::channel(limits::ERRANDS);
        let parts = Parts {
            maps,
            loaded,
            doors,
            net: net.clone(),
            adoption: adoption.clone(),
            taps_news: wake.taps.clone(),
            totals: totals.clone(),
            clock: clock.clone(),
            receipts: given,
            errands: sent,
            hold: hold.clone(),
            sender,
            idle: settings.idle,
            xdp_guard: settings.xdp_guard,
        };
        let keeper = Keeper::start(parts, stop.clone())?;
        let expect = Expect {
            role: Role::Registry,
            id: None,
            installation: Some(own.identity().installation),
        };
        let registry = RegistryLink::new(&settings.registry, client_config(&own)?, expect);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            host = %record.name,
            uplink = %uplink.name,
            peers = %peers.local_addr()?,
            overlay = record.overlay_port,
            metrics = %scrapes.local_addr()?,
            registry = %settings.registry,
            "pairgate-agent runs"
        );
        let (metrics, given) = (Arc::new(Metrics::new()?), Arc::new(Given::default()));
        let configurator = Configurator {
            keeper: keeper.clone(),
            metrics: metrics.clone(),
            given: given.clone(),
            socket,
            uplink: uplink.clone(),
        };
        let shared = Shared {
            record,
            own,
            registry,
            net,
            uplink,
            clock,
            keeper,
            totals,
            fill,
            given,
            metrics,
            boot_id: Uuid::new_v4(),
            state_dir: settings.state_dir.clone(),
            adoption,
            hook,
            wake,
            stop,
        };
        Ok(Self {
            shared,
            receipts,
            errands,
            rings,
            hold,
            configurator,
            questions,
            peers,
            scrapes,
        })
    }

    /// Starts every task and waits for a signal, or for the first task that ends by itself.
    async fn serve(self, run_dir: &Path, mut signals: Signals) -> anyhow::Result<()> {
        let stop = self.shared.stop.clone();
        let socket = local::listen(run_dir)
            .with_context(|| format!("cannot make the socket agent.sock in {}", run_dir.display()))?;
        let mut tasks = JoinSet::new();
        tasks::start(self, socket, &mut tasks)?;
        notify::ready();
        let result = tokio::select! {
            () = signals.next() => Ok(()),
            ended = tasks.join_next() => Err(match ended {
                Some(Ok((name, Err(error)))) => error.context(format!("the task {name} failed")),
                Some(Ok((name, Ok(())))) => anyhow!("the task {name} ended by itself"),
                Some(Err(error)) => anyhow!(error).context("a task panicked"),
                None => anyhow!("no task was started"),
            }),
        };
        notify::stopping();
        stop.cancel();
        let all = async { while tasks.join_next().await.is_some() {} };
        // What has not ended by now holds nothing that the kernel does not have already.
        let _ = timeout(STOP_LIMIT, all).await;
        let _ = std::fs::remove_file(run_dir.join("agent.sock"));
        tracing::info!("stopped; pairs run to their deadlines");
        result
    }
}

async fn listen(at: SocketAddr, whom: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(at).await;
    listener.with_context(|| format!("cannot listen at {at} for {whom}"))
}
