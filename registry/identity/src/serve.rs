//! The one way in: handshake, identity, role, and then the application.

use crate::{
    Identity, Now, PeerCertificate,
    body::Timed,
    certificate::CertificateError,
    complaints::Complaints,
    places::{Places, Stranger},
};
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
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use uuid::Uuid;

/// From the first byte of a request to the end of its headers, and between two requests of HTTP/1.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// HTTP/2: requests at once on one connection, and how soon a silent peer is asked whether it lives.
const STREAMS: u32 = 256;
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_LIMIT: Duration = Duration::from_secs(5);
/// HTTP/2: what a caller may send before it is read. No request is larger than some kilobytes.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Of a path that is refused, in the log.
const PATH_SHOWN: usize = 128;
/// How long open connections may finish after the stop.
const STOP_LIMIT: Duration = Duration::from_secs(1);
/// A pause after `accept` fails for want of descriptors or memory; trying again at once would only burn a CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a caller may hold a place without saying anything.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// A handshake takes milliseconds; a peer that needs longer is holding a place.
    handshake: Duration,
    /// Whoever connects wants something.
    first_request: Duration,
    /// Of a request that is not a stream.
    body: Duration,
}

const LIMITS: Limits = Limits {
    handshake: Duration::from_secs(5),
    first_request: Duration::from_secs(10),
    body: Duration::from_secs(30),
};

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
    #[error("no complete handshake in time")]
    Slow,
    #[error("no handshake yet when too many others came")]
    Crowded,
    #[error("handshake failed: {0}")]
    Handshake(#[from] io::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("certificate of another installation: {0}")]
    Foreign(Identity),
    #[error("certificate has run out")]
    RunOut,
    #[error("{0} has too many connections")]
    Greedy(Identity),
    #[error("{0} connected and asked for nothing")]
    Silent(Identity),
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
    serve_by(listener, tls, installation, app, Now::wall(), stop).await;
}

/// The same by a clock of our own, which must be the one that `tls` was made with.
pub async fn serve_by(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    installation: Uuid,
    app: Router,
    now: Now,
    stop: CancellationToken,
) {
    let server = Server {
        acceptor: TlsAcceptor::from(tls),
        installation,
        app,
        now,
        stop,
        places: Arc::default(),
        complaints: Arc::default(),
        limits: LIMITS,
    };
    server.run(listener).await;
}

/// What all connections share.
#[derive(Clone)]
struct Server {
    acceptor: TlsAcceptor,
    installation: Uuid,
    app: Router,
    now: Now,
    stop: CancellationToken,
    places: Arc<Places>,
    complaints: Arc<Complaints>,
    limits: Limits,
}

impl Server {
    async fn run(self, listener: TcpListener) {
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.places.make_room();
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (server, stranger) = (self.clone(), self.places.stranger());
            let complaints = self.complaints.clone();
            tasks.spawn(async move {
                if let Err(why) = server.connection(stream, remote, stranger).await
                    && let Some(left_out) = complaints.may_write(Instant::now())
                {
                    tracing::info!(%remote, %why, "connection refused");
                    if left_out > 0 {
                        tracing::warn!(left_out, "more connections were refused than are written down");
                    }
                }
            });
        }
        tasks.close();
        // Streams that never end by themselves are cut off here.
        let _ = timeout(STOP_LIMIT, tasks.wait()).await;
    }

    async fn connection(
        self,
        stream: TcpStream,
        remote: SocketAddr,
        stranger: Stranger,
    ) -> Result<(), Rejected> {
        stream.set_nodelay(true)?;
        let handshake = timeout(self.limits.handshake, self.acceptor.accept(stream));
        let stream = tokio::select! {
            done = handshake => done.map_err(|_| Rejected::Slow)??,
            () = stranger.cut_off() => return Err(Rejected::Crowded),
            () = self.stop.cancelled() => return Ok(()),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let facts = PeerCertificate::from_der(certificate.ok_or(CertificateError::None)?)?;
        let identity = facts.identity;
        if identity.installation != self.installation {
            return Err(Rejected::Foreign(identity));
        }
        let left = time_left(facts.not_after, self.now.unix_secs()).ok_or(Rejected::RunOut)?;
        let _place = self.places.member(identity).ok_or(Rejected::Greedy(identity))?;
        drop(stranger);
        let caller = Caller {
            identity,
            address: facts.address,
            remote,
            public_key: facts.public_key,
            serial: facts.serial,
        };
        self.requests(stream, caller, left).await
    }

    async fn requests(
        self,
        stream: TlsStream<TcpStream>,
        caller: Caller,
        left: Duration,
    ) -> Result<(), Rejected> {
        let identity = caller.identity;
        let asked = Arc::new(AtomicBool::new(false));
        let gate = Gate {
            app: self.app,
            caller,
            body_limit: self.limits.body,
            complaints: self.complaints,
        };
        let has_asked = asked.clone();
        let service = service_fn(move |request| {
            has_asked.store(true, Ordering::Relaxed);
            gate.clone().answer(request)
        });
        let builder = http_settings();
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        let silence = sleep(self.limits.first_request);
        let end = sleep(left);
        tokio::pin!(serving, silence, end);
        let mut listened = false;
        loop {
            tokio::select! {
                // What goes wrong inside an established connection is the caller's affair and not worth a line.
                _ = serving.as_mut() => return Ok(()),
                () = silence.as_mut(), if !listened => {
                    listened = true;
                    if !asked.load(Ordering::Relaxed) {
                        return Err(Rejected::Silent(identity));
                    }
                }
                () = end.as_mut() => break,
                () = self.stop.cancelled() => break,
            }
        }
        serving.as_mut().graceful_shutdown();
        let _ = timeout(STOP_LIMIT, serving).await;
        Ok(())
    }
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
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT);
    builder
}

/// Time until a certificate runs out; none if it has.
fn time_left(not_after: i64, now_unix_secs: u64) -> Option<Duration> {
    let left = u64::try_from(not_after).ok()?.checked_sub(now_unix_secs)?;
    (left > 0).then(|| Duration::from_secs(left))
}

/// The one gate between a caller and the application: the route × role table.
#[derive(Clone)]
struct Gate {
    app: Router,
    caller: Caller,
    body_limit: Duration,
    complaints: Arc<Complaints>,
}

impl Gate {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path();
        if !routes::allows(path, self.caller.identity.role) {
            if self.complaints.may_write(Instant::now()).is_some() {
                let path: String = path.chars().take(PATH_SHOWN).collect();
                tracing::info!(?path, caller = %self.caller.identity, "request refused: not a route of this role");
            }
            return Ok(forbidden(&request));
        }
        let is_stream = routes::is_stream(path);
        let mut request = request.map(|body| {
            if is_stream {
                Body::new(body)
            } else {
                Body::new(Timed::new(body, self.body_limit))
            }
        });
        request.extensions_mut().insert(self.caller);
        self.app.oneshot(request).await
    }
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

#[cfg(test)]
mod tests;
