//! The tasks of a running agent: who there is, and what each is given. All end when the agent stops; one that
//! ends earlier ends the agent.

use super::{Agent, Shared};
use crate::{
    admit::serve::PeerService,
    follow::{self, Followed},
    lease,
    local::{self, Local},
    metrics::{Scrape, Seen},
    news, notify,
    peers::Peers,
    present::Presenter,
    renew::{Renewer, Standing},
    request::Requester,
};
use axum::{Router, extract::State, http::StatusCode, routing::get};
use pairgate_api::grpc::{Receipt, peer_server::PeerServer, registry_client::RegistryClient};
use pairgate_identity::{client_config, server_config};
use std::sync::Arc;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Notify, mpsc, watch},
    task::{JoinSet, block_in_place},
};
use tokio_util::sync::CancellationToken;

/// An offer holds a token, which has at most 280 bytes, and may hold a second one.
const LARGEST_OFFER: usize = 4096;

pub(super) type Tasks = JoinSet<(&'static str, anyhow::Result<()>)>;

/// What the tasks that follow the registry tell the ones that show it.
struct Told {
    connected: watch::Sender<bool>,
    revision: watch::Sender<u64>,
    certificate: watch::Sender<Standing>,
}

pub(super) fn start(agent: Agent, socket: UnixListener, tasks: &mut Tasks) -> anyhow::Result<()> {
    let Agent {
        shared,
        receipts,
        errands,
        rings,
        hold,
        configurator,
        questions,
        peers,
        scrapes,
    } = agent;
    let life = Renewer::life(&shared.own);
    let told = Told {
        connected: watch::Sender::new(false),
        revision: watch::Sender::new(0),
        certificate: watch::Sender::new(Standing { life, why: None }),
    };
    show(&shared, &told, socket, scrapes, tasks)?;

    let met = Arc::new(Peers::default());
    take_offers(&shared, met.clone(), peers, tasks)?;
    let presenter = Arc::new(Presenter::new(
        client_config(&shared.own)?,
        shared.own.identity().installation,
        shared.boot_id,
        shared.record.agent_port,
        met,
    ));
    let requester = Requester {
        registry: RegistryClient::new(shared.registry.clone()),
        presenter: presenter.clone(),
        keeper: shared.keeper.clone(),
        net: shared.net.clone(),
        clock: shared.clock.clone(),
        metrics: shared.metrics.clone(),
        uplink: shared.uplink.clone(),
        overlay_port: shared.record.overlay_port,
        host_id: shared.record.host_id,
        hold,
    };
    let requesting = requester.run(rings, errands, shared.stop.clone());
    tasks.spawn(async { ("requests", requesting.await.map_err(Into::into)) });
    let configuring = configurator.run(questions, shared.stop.clone());
    tasks.spawn(async { ("configuration of guests", configuring.await.map_err(Into::into)) });
    keep_in_step(shared, told, presenter, receipts, tasks);
    Ok(())
}

fn spawn(tasks: &mut Tasks, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async move {
        task.await;
        (name, Ok(()))
    });
}

/// `/metrics`, the socket for the CLI, and the words to systemd.
fn show(
    shared: &Shared,
    told: &Told,
    socket: UnixListener,
    scrapes: TcpListener,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let stop = || shared.stop.clone();
    let seen = Seen {
        keeper: shared.keeper.clone(),
        totals: shared.totals.clone(),
        fill: shared.fill.clone(),
        connected: told.connected.subscribe(),
        goal: told.revision.subscribe(),
        certificate: told.certificate.subscribe(),
    };
    let scrape = Scrape::new(&shared.metrics, seen)?;
    let local = Local {
        host: shared.record.clone(),
        hook: shared.hook,
        uplink: shared.uplink.clone(),
        keeper: shared.keeper.clone(),
        totals: shared.totals.clone(),
        connected: told.connected.subscribe(),
        certificate: told.certificate.subscribe(),
        clock: shared.clock.clone(),
        given: shared.given.clone(),
    };
    let serving = serve_metrics(scrapes, scrape, stop());
    tasks.spawn(async { ("metrics", serving.await) });
    let serving = local::serve(socket, local, stop());
    tasks.spawn(async { ("local", serving.await.map_err(Into::into)) });
    let informing = notify::run(shared.keeper.clone(), told.connected.subscribe(), stop());
    spawn(tasks, "service manager", informing);
    Ok(())
}

/// The door for other hosts.
fn take_offers(
    shared: &Shared,
    met: Arc<Peers>,
    listener: TcpListener,
    tasks: &mut Tasks,
) -> anyhow::Result<()> {
    let offers = PeerService {
        keeper: shared.keeper.clone(),
        clock: shared.clock.clone(),
        metrics: shared.metrics.clone(),
        uplink: shared.uplink.clone(),
        overlay_port: shared.record.overlay_port,
        boot_id: shared.boot_id,
        peers: met,
        net: shared.net.clone(),
    };
    let offers = PeerServer::new(offers).max_decoding_message_size(LARGEST_OFFER);
    let app = tonic::service::Routes::new(offers).prepare().into_axum_router();
    let installation = shared.own.identity().installation;
    let tls = server_config(&shared.own)?;
    let serving = pairgate_identity::serve(listener, tls, installation, app, shared.stop.clone());
    spawn(tasks, "offers", serving);
    Ok(())
}

/// What keeps this host known to the registry and in step with it.
fn keep_in_step(
    shared: Shared,
    told: Told,
    presenter: Arc<Presenter>,
    receipts: mpsc::Receiver<Receipt>,
    tasks: &mut Tasks,
) {
    let stop = || shared.stop.clone();
    let (reconnected, renewed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_address, address_there) = watch::channel(true);
    let news = shared.wake.uplink.clone();
    let (net, keeper) = (shared.net.clone(), shared.keeper.clone());
    let watching = shared
        .uplink
        .clone()
        .watch(net, keeper, has_address, news, stop());
    spawn(tasks, "uplink", watching);
    let hearing = news::run(
        shared.uplink.index,
        shared.adoption.clone(),
        shared.wake.clone(),
        stop(),
    );
    spawn(tasks, "news", hearing);
    let renewing = lease::run(
        shared.registry.clone(),
        shared.clock.clone(),
        shared.keeper.clone(),
        reconnected.clone(),
        address_there,
        stop(),
    );
    spawn(tasks, "lease", renewing);
    let followed = Followed {
        connected: told.connected,
        revision: told.revision,
        reconnected,
        renewed: renewed.clone(),
    };
    let (registry, keeper) = (shared.registry.clone(), shared.keeper.clone());
    let following = follow::run(registry, shared.boot_id, keeper, receipts, followed, stop());
    spawn(tasks, "goal states", following);
    let renewer = Renewer {
        own: shared.own,
        state_dir: shared.state_dir,
        registry: shared.registry,
        presenter,
        clock: shared.clock,
        renewed,
        standing: told.certificate,
    };
    spawn(tasks, "certificate", renewer.run(shared.stop));
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
