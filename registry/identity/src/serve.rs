use crate::{Identity, PeerCertificate, certificate::CertificateError};
use axum::{Router, body::Body, response::Response};
use http::{Request, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use pairgate_api::routes;
use rustls::ServerConfig;
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use uuid::Uuid;

/// Connections at once; above any installation's number of agents, below any default limit of descriptors
/// that matters to a daemon.
const CONNECTIONS: usize = 4096;
/// Handshakes at once: each costs a signature, so this bounds what strangers can make us compute.
const HANDSHAKES: usize = 64;
/// A handshake takes milliseconds; a peer that needs longer is holding a place.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// From the first byte of a request to the end of its headers.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// HTTP/2: requests at once on one connection, and how soon a silent peer is asked whether it lives.
const STREAMS: u32 = 256;
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_LIMIT: Duration = Duration::from_secs(5);
/// How long open connections may finish after the stop.
const STOP_LIMIT: Duration = Duration::from_secs(1);
/// A pause after `accept` fails for want of descriptors or memory; trying again at once would only burn a CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who sends a request: in the extensions of every request that reaches the application.
#[derive(Clone, Debug)]
pub struct Caller {
    pub identity: Identity,
    /// The address that the certificate binds its holder to.
    pub address: Option<IpAddr>,
    /// Where the connection came from.
    pub remote: SocketAddr,
    /// Subject public key info, DER.
    pub public_key: Vec<u8>,
    pub serial: Vec<u8>,
}

/// Why a connection was not served.
#[derive(Debug, thiserror::Error)]
enum Rejected {
    #[error("no complete handshake within {} seconds", HANDSHAKE_LIMIT.as_secs())]
    Slow,
    #[error("handshake failed: {0}")]
    Handshake(#[from] io::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("certificate of another installation: {0}")]
    Foreign(Identity),
    #[error("certificate has run out")]
    RunOut,
}

/// Serves `app` until `stop`. Only callers with a certificate of this installation get as far as a request,
/// and only on the routes of their role; a connection ends when its certificate does.
///
/// Each connection is a task of its own; cancelling `stop` lets requests in progress finish for a second.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    installation: Uuid,
    app: Router,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!(%remote, "connection refused: {CONNECTIONS} are open already");
            continue;
        };
        let (acceptor, handshakes) = (acceptor.clone(), handshakes.clone());
        let (app, stop) = (app.clone(), stop.clone());
        tasks.spawn(async move {
            let _place = place;
            if let Err(why) = connection(stream, remote, acceptor, &handshakes, installation, app, stop).await
            {
                tracing::info!(%remote, %why, "connection refused");
            }
        });
    }
    tasks.close();
    // Streams that never end by themselves are cut off here.
    let _ = timeout(STOP_LIMIT, tasks.wait()).await;
}

async fn connection(
    stream: TcpStream,
    remote: SocketAddr,
    acceptor: TlsAcceptor,
    handshakes: &Semaphore,
    installation: Uuid,
    app: Router,
    stop: CancellationToken,
) -> Result<(), Rejected> {
    stream.set_nodelay(true)?;
    let handshake = async {
        // The semaphore is never closed, so an error cannot happen; without a permit we would only wait less.
        let _turn = handshakes.acquire().await;
        acceptor.accept(stream).await
    };
    let stream = timeout(HANDSHAKE_LIMIT, handshake)
        .await
        .map_err(|_| Rejected::Slow)??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let facts = PeerCertificate::from_der(certificate.ok_or(CertificateError::None)?)?;
    if facts.identity.installation != installation {
        return Err(Rejected::Foreign(facts.identity));
    }
    let left = time_left(facts.not_after).ok_or(Rejected::RunOut)?;
    let caller = Caller {
        identity: facts.identity,
        address: facts.address,
        remote,
        public_key: facts.public_key,
        serial: facts.serial,
    };
    let service = service_fn(move |request| answer(request, caller.clone(), app.clone()));
    let builder = http_settings();
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        // What goes wrong inside an established connection is the caller's affair and not worth a line.
        _ = serving.as_mut() => return Ok(()),
        () = sleep(left) => {}
        () = stop.cancelled() => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = timeout(STOP_LIMIT, serving).await;
    Ok(())
}

fn http_settings() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(32 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT);
    builder
}

/// Time until a certificate runs out. The wall clock is right here: certificates speak in wall time.
fn time_left(not_after: i64) -> Option<Duration> {
    let end = UNIX_EPOCH + Duration::from_secs(u64::try_from(not_after).ok()?);
    end.duration_since(SystemTime::now()).ok()
}

/// The one gate between callers and the application: the route × role table.
async fn answer(
    request: Request<Incoming>,
    caller: Caller,
    app: Router,
) -> Result<Response<Body>, Infallible> {
    if !routes::allows(request.uri().path(), caller.identity.role) {
        tracing::info!(path = ?request.uri().path(), caller = %caller.identity, "request refused: not a route of this role");
        return Ok(forbidden(&request));
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(caller);
    app.oneshot(request).await
}

/// A refusal in the caller's own protocol.
fn forbidden(request: &Request<Incoming>) -> Response<Body> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return tonic::Status::permission_denied("not a route of this role").into_http();
    }
    let problem = r#"{"type":"forbidden","status":403,"title":"not allowed","detail":"this certificate's role may not use this route; use an operator certificate"}"#;
    let mut response = Response::new(Body::from(problem));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/problem+json"),
    );
    response
}
