//! One request to the registry or to an agent, and its answer.
//!
//! Every failure is told apart by what the operator knows afterwards: refused (nothing happened, exit 1) or no
//! usable answer (it may have happened, exit 3).

use crate::arguments::{Name, Options};
use crate::failure::{Failure, with_causes};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pairgate_api::REGISTRY_PORT;
use pairgate_api::local::{AgentStatus, Drops};
use pairgate_api::rest::Problem;
use pairgate_api::routes::{REST_PREFIX, Role};
use pairgate_identity::{Credentials, Expect, client_config, connect};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long an answer may take that needs no waiting for hosts.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer that is read: a list of some hundred thousand pairs.
const ANSWER_LIMIT: usize = 64 << 20;

/// An answer: what it means, and the very text.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    pub(crate) value: T,
    pub(crate) body: String,
}

/// The registry, with the operator's certificate.
pub(crate) struct Registry {
    target: String,
    credentials: Credentials,
}

impl Registry {
    pub(crate) fn new(options: &Options) -> Result<Self, Failure> {
        let target = required(options.registry.as_ref(), "registry", "PAIRGATE_REGISTRY")?;
        let authority = required(options.authority.as_ref(), "authority", "PAIRGATE_AUTHORITY")?;
        let cert = required(options.cert.as_ref(), "cert", "PAIRGATE_CERT")?;
        let key = required(options.key.as_ref(), "key", "PAIRGATE_KEY")?;
        let credentials = Credentials::load(authority, cert, key).map_err(|error| {
            Failure::could_not_tell("cannot use the operator certificate", with_causes(&error))
                .next("check the files named with --authority, --cert and --key")
        })?;
        Ok(Self {
            target: with_port(target),
            credentials,
        })
    }

    /// A list comes whole, in however many parts the registry gives it.
    pub(crate) async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<Reply<T>, Failure> {
        let mut answer = self.send(what, Method::GET, path, Bytes::new(), PATIENCE).await?;
        let Some(mut next) = answer.next.take() else {
            return answer.read(what);
        };
        let mut entries: Vec<Value> = answer.read(what)?.value;
        let mut length = answer.body.len();
        loop {
            let mut part = self
                .send(what, Method::GET, &next, Bytes::new(), PATIENCE)
                .await?;
            length += part.body.len();
            if length > ANSWER_LIMIT {
                let why = format!("the list is longer than {} MiB", ANSWER_LIMIT >> 20);
                return Err(Failure::could_not_tell(what, why).next("ask for one network or one VM"));
            }
            let following = part.next.take();
            entries.extend(part.read::<Vec<Value>>(what)?.value);
            match following {
                Some(following) if following != next => next = following,
                Some(_) | None => break,
            }
        }
        answer.body = Value::Array(entries).to_string();
        answer.read(what)
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Reply<T>, Failure> {
        self.post_and_wait(what, path, body, Duration::ZERO).await
    }

    /// For changes that the registry answers only after some time of its own.
    pub(crate) async fn post_and_wait<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<Reply<T>, Failure> {
        self.tell(what, Method::POST, path, body, wait).await
    }

    pub(crate) async fn put_and_wait<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<Reply<T>, Failure> {
        self.tell(what, Method::PUT, path, body, wait).await
    }

    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Reply<T>, Failure> {
        self.tell(what, Method::PATCH, path, body, Duration::ZERO).await
    }

    async fn tell<T: DeserializeOwned>(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<Reply<T>, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::failed(what, error.to_string()))?;
        self.send(what, method, path, body.into(), PATIENCE + wait)
            .await?
            .read(what)
    }

    /// `path` says how long the registry is to wait, if it is.
    pub(crate) async fn delete_and_wait<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
        wait: Duration,
    ) -> Result<Reply<T>, Failure> {
        self.send(what, Method::DELETE, path, Bytes::new(), PATIENCE + wait)
            .await?
            .read(what)
    }

    async fn send(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let target = &self.target;
        let tls = client_config(&self.credentials).map_err(|error| {
            Failure::could_not_tell(what, with_causes(&error))
                .next("nothing was asked; check the files named with --authority, --cert and --key")
        })?;
        let installation = Some(self.credentials.identity().installation);
        let expect = Expect {
            role: Role::Registry,
            id: None,
            installation,
        };
        let stream = connect(target, tls, expect).await.map_err(|error| {
            Failure::could_not_tell(what, with_causes(&error)).next(format!(
                "nothing was changed; check that pairgate-registry runs, that {target} (--registry) is its address, \
                 and that --authority and --cert are of its installation"
            ))
        })?;
        let server = Server {
            what,
            name: format!("the registry at {target}"),
            next: "check that --cert is an operator certificate of this installation and has not run out; \
                   a change may have happened: look with list or show",
        };
        server
            .ask(stream, method, &format!("{REST_PREFIX}{path}"), body, patience)
            .await
    }
}

/// The agent of one host.
pub(crate) struct Agent {
    socket: PathBuf,
    expected: Option<Name>,
}

impl Agent {
    pub(crate) fn new(options: &Options) -> Result<Self, Failure> {
        let expected = options.on_host.clone();
        socket_path(&options.socket, expected.as_ref()).map(|socket| Self { socket, expected })
    }

    /// Refuses an answer of another host than the one that was named: a socket path need not have the host's
    /// name in it, and another host's state under this one's name is worse than none.
    pub(crate) async fn status(&self, what: &str) -> Result<Reply<AgentStatus>, Failure> {
        let reply = self.get::<AgentStatus>(what, "/v1/status").await?;
        match &self.expected {
            Some(expected) if expected.as_str() != reply.value.host => {
                let why = format!(
                    "the agent behind {} is that of {}",
                    self.socket.display(),
                    reply.value.host
                );
                Err(Failure::could_not_tell(what, why)
                    .next(format!("run it on {expected}, or give its --socket")))
            }
            Some(_) | None => Ok(reply),
        }
    }

    pub(crate) async fn drops(&self, what: &str) -> Result<Reply<Drops>, Failure> {
        if self.expected.is_some() {
            self.status(what).await?;
        }
        self.get(what, "/v1/drops").await
    }

    async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<Reply<T>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| {
            Failure::could_not_tell(what, format!("cannot open {}: {error}", self.socket.display())).next(
                "run as root on that host, and check that pairgate-agent runs and that --socket is right",
            )
        })?;
        let server = Server {
            what,
            name: format!("the agent behind {}", self.socket.display()),
            next: "look into the agent's log",
        };
        server
            .ask(stream, Method::GET, path, Bytes::new(), PATIENCE)
            .await?
            .read(what)
    }
}

/// An answer that has not been read yet.
struct Answer {
    body: String,
    /// The path of the list's next part, below the API's prefix.
    next: Option<String>,
    /// Who gave it, and what to do if it makes no sense.
    server: String,
    cure: String,
}

impl Answer {
    fn read<T: DeserializeOwned>(&self, what: &str) -> Result<Reply<T>, Failure> {
        match serde_json::from_str(&self.body) {
            Ok(value) => Ok(Reply {
                value,
                body: self.body.clone(),
            }),
            Err(error) => {
                let why = format!("its answer makes no sense to this version of pairgate: {error}");
                Err(Failure::could_not_tell(what, format!("{}: {why}", self.server)).next(&self.cure))
            }
        }
    }
}

/// Whom we ask, and what for: the words of every failure.
struct Server<'a> {
    what: &'a str,
    name: String,
    next: &'a str,
}

impl Server<'_> {
    async fn ask(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let exchange = timeout(patience, exchange(stream, method, path, body)).await;
        let (status, body, next) = exchange
            .map_err(|_| self.lost(&format!("no answer within {} seconds", patience.as_secs())))?
            .map_err(|error| self.lost(&error))?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        Ok(Answer {
            body,
            next,
            server: self.name.clone(),
            cure: self.next.to_owned(),
        })
    }

    fn lost(&self, why: &str) -> Failure {
        Failure::could_not_tell(self.what, format!("{}: {why}", self.name)).next(self.next)
    }

    fn refused(&self, status: StatusCode, body: &str) -> Failure {
        let why = match serde_json::from_str::<Problem>(body) {
            Ok(problem) => format!("{}: {}", problem.title, problem.detail),
            Err(_) => format!("{} answered {status}", self.name),
        };
        if status.is_client_error() {
            Failure::failed(self.what, why)
        } else {
            // It was reached and has said why; what --cert is does not matter here.
            Failure::could_not_tell(self.what, why)
                .next("look with list or show whether anything has changed, and into the server's log")
        }
    }
}

/// One request over one connection; the text of the error is all that the callers need.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, String, Option<String>), String> {
    let broken = |error: hyper::Error| with_causes(&error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the sender, at the end of this function; its errors come out of the request as well.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "pairgate")
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let link = response.headers().get(header::LINK);
    let next = link.and_then(|link| next_part(link.to_str().ok()?));
    let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
    let body = body.map_err(|error| with_causes(error.as_ref()))?.to_bytes();
    let body = String::from_utf8(body.into()).map_err(|_| "its answer is not text".to_owned())?;
    Ok((status, body, next))
}

/// The path in a `Link` header, below the API's prefix: we go nowhere else because an answer says so.
fn next_part(link: &str) -> Option<String> {
    let target = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    target.strip_prefix(REST_PREFIX).map(str::to_owned)
}

fn required<'a, T>(value: Option<&'a T>, option: &str, variable: &str) -> Result<&'a T, Failure> {
    value.ok_or_else(|| {
        Failure::usage(format!("--{option} is missing"), "this command asks the registry")
            .next(format!("give --{option}, or set {variable}; see pairgate --help"))
    })
}

pub(crate) fn with_port(target: &str) -> String {
    let bare_v6 = target.parse::<std::net::Ipv6Addr>().is_ok();
    if bare_v6 {
        format!("[{target}]:{REGISTRY_PORT}")
    } else if target.contains(':') && !target.ends_with(']') {
        target.to_owned()
    } else {
        format!("{target}:{REGISTRY_PORT}")
    }
}

fn socket_path(pattern: &str, host: Option<&Name>) -> Result<PathBuf, Failure> {
    match host {
        Some(host) => Ok(pattern.replace("{host}", host.as_str()).into()),
        None if pattern.contains("{host}") => Err(Failure::usage(
            "no host is named",
            format!("the socket's path is {pattern}"),
        )
        .next("say --host NAME")),
        None => Ok(pattern.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_has_its_usual_port_unless_another_is_given() {
        for (given, asked) in [
            ("192.0.2.254", "192.0.2.254:7443"),
            ("192.0.2.254:1", "192.0.2.254:1"),
            ("registry.example", "registry.example:7443"),
            ("2001:db8::1", "[2001:db8::1]:7443"),
            ("[2001:db8::1]", "[2001:db8::1]:7443"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            assert_eq!(with_port(given), asked);
        }
    }

    #[test]
    fn only_a_link_to_the_next_part_of_the_same_api_is_followed() {
        let link = "</api/v1/hosts?limit=1&after=h1>; rel=\"next\"";
        assert_eq!(next_part(link).as_deref(), Some("hosts?limit=1&after=h1"));
        for other in [
            "</api/v2/hosts>; rel=\"next\"",
            "<https://192.0.2.1/api/v1/hosts>; rel=\"next\"",
            "</api/v1/hosts>; rel=\"prev\"",
            "",
        ] {
            assert_eq!(next_part(other), None, "{other}");
        }
    }

    #[test]
    fn the_named_host_chooses_the_socket() {
        let h1: Name = "h1".parse().unwrap();
        let path = |pattern, host| socket_path(pattern, host).map_err(|failure| failure.exit_code());
        assert_eq!(path("/x/{host}/a.sock", Some(&h1)), Ok("/x/h1/a.sock".into()));
        assert_eq!(path("/run/a.sock", Some(&h1)), Ok("/run/a.sock".into()));
        assert_eq!(path("/run/a.sock", None), Ok("/run/a.sock".into()));
        assert_eq!(path("/x/{host}/a.sock", None), Err(2));
    }
}
