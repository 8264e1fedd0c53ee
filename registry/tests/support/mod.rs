//! A registry in this process, and the two kinds of client that talk to it over real TLS.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

pub(crate) mod canary;
pub(crate) mod daemon;

use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use pairgate_api::{
    grpc::{self, registry_client::RegistryClient, report::Report as Said},
    routes::Role,
};
use pairgate_identity::{Credentials, Expect, channel, client_config, connect};
use pairgate_registry::{Running, authority::ServerAddress, init::init, settings::Settings, start};
use pairgate_token::{MintProof, MintQuestion, SecretKey, address_bytes};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming, transport::Channel};
use uuid::Uuid;

/// Nothing in these tests takes long; what does is a fault, and must not hang the run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn expect_registry() -> Expect {
    Expect {
        role: Role::Registry,
        id: None,
        installation: None,
    }
}

pub(crate) fn now_unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A running service and its state directory.
pub(crate) struct Service {
    pub(crate) directory: TempDir,
    settings: Settings,
    running: Option<(Running, CancellationToken)>,
}

impl Service {
    pub(crate) async fn new(token_life_secs: u64, lease_secs: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        init(
            &directory.path().join("state"),
            &["127.0.0.1".parse::<ServerAddress>().unwrap()],
        )
        .unwrap();
        let mut service = Self {
            directory,
            settings: Settings::new(token_life_secs, lease_secs).unwrap(),
            running: None,
        };
        service.start().await;
        service
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) async fn start(&mut self) {
        let stop = CancellationToken::new();
        let listen = "127.0.0.1:0".parse().unwrap();
        let running = start(&self.state(), None, listen, self.settings, stop.clone())
            .await
            .unwrap();
        self.running = Some((running, stop));
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((running, stop)) = self.running.take() {
            stop.cancel();
            timeout(Duration::from_secs(2), running.wait())
                .await
                .expect("the service must stop within two seconds")
                .unwrap();
        }
    }

    pub(crate) fn address(&self) -> String {
        self.running.as_ref().unwrap().0.address().to_string()
    }

    pub(crate) fn credentials(&self, name: &str) -> Credentials {
        credentials(&self.state(), name)
    }

    pub(crate) async fn rest(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        rest(&self.address(), &self.credentials("operator"), method, path, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.rest("GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.rest("POST", path, Some(body)).await;
        assert!(status.is_success(), "{path}: {answer}");
        answer
    }

    /// The refusal's type.
    pub(crate) async fn refused(&self, path: &str, body: Value) -> String {
        let (status, answer) = self.rest("POST", path, Some(body)).await;
        assert!(!status.is_success(), "{path}: {answer}");
        assert_eq!(answer["status"], status.as_u16(), "{answer}");
        for field in ["title", "detail"] {
            assert!(!answer[field].as_str().unwrap().is_empty(), "{answer}");
        }
        answer["type"].as_str().unwrap().to_owned()
    }

    pub(crate) fn agents(&self, credentials: &Credentials) -> RegistryClient<Channel> {
        let tls = client_config(credentials).unwrap();
        RegistryClient::new(channel(&self.address(), tls, expect_registry()))
    }

    pub(crate) async fn enrol_with(&self, name: &str, key: &KeyPair) -> Result<grpc::EnrolResponse, Status> {
        let mut zero = self.agents(&self.credentials("zero"));
        let request = grpc::EnrolRequest {
            host: name.to_owned(),
            signing_request: signing_request(key),
        };
        zero.enrol(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn enrol(&self, name: &str) -> Host {
        let key = KeyPair::generate().unwrap();
        let enrolled = self.enrol_with(name, &key).await.unwrap();
        Host::new(self, &enrolled, &key)
    }

    /// Hosts h1 and h2 enrolled; web1 on h1, db1 and db2 on h2; web1 and db1 allowed.
    pub(crate) async fn laboratory(&self) -> (Host, Host) {
        self.post(
            "/api/v1/networks",
            json!({"name": "default", "prefixes": ["10.77.0.0/24", "fd77::/64"]}),
        )
        .await;
        for (name, address) in [("h1", "192.0.2.1"), ("h2", "192.0.2.2"), ("h3", "192.0.2.3")] {
            self.post("/api/v1/hosts", json!({"name": name, "address": address}))
                .await;
        }
        for (name, host, number) in [("web1", "h1", 11), ("db1", "h2", 21), ("db2", "h2", 22)] {
            let addresses = [format!("10.77.0.{number}"), format!("fd77::{number}")];
            self.post(
                "/api/v1/networks/default/vms",
                json!({"name": name, "addresses": addresses}),
            )
            .await;
            self.place(name, host).await;
        }
        self.post("/api/v1/networks/default/pairs", pair("web1", "db1"))
            .await;
        (self.enrol("h1").await, self.enrol("h2").await)
    }

    pub(crate) async fn place(&self, vm: &str, host: &str) -> Value {
        let path = format!("/api/v1/networks/default/vms/{vm}/placement");
        self.post(&path, json!({"host": host})).await
    }

    pub(crate) async fn deny(&self, timeout_ms: u64) -> Value {
        let mut body = pair("web1", "db1");
        body["timeout_ms"] = timeout_ms.into();
        self.post("/api/v1/networks/default/denials", body).await
    }

    /// How many audit rows of this event there are, as another program sees them.
    pub(crate) fn audited(&self, event: &str) -> u64 {
        let store = rusqlite::Connection::open(self.state().join("registry.db")).unwrap();
        let sql = "SELECT count(*) FROM audit WHERE event = ?1";
        store.query_row(sql, [event], |row| row.get::<_, i64>(0)).unwrap() as u64
    }
}

pub(crate) fn pair(source: &str, destination: &str) -> Value {
    json!({"source": source, "destination": destination})
}

pub(crate) fn credentials(state: &Path, name: &str) -> Credentials {
    let file = |name: String| state.join(name);
    Credentials::load(
        &file("ca.pem".to_owned()),
        &file(format!("{name}.pem")),
        &file(format!("{name}.key")),
    )
    .unwrap()
}

pub(crate) fn signing_request(key: &KeyPair) -> Vec<u8> {
    let params = CertificateParams::default();
    params.serialize_request(key).unwrap().der().to_vec()
}

pub(crate) async fn rest(
    address: &str,
    credentials: &Credentials,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    send(address, credentials, method, path, body).await.unwrap()
}

/// One request on a connection of its own.
pub(crate) async fn send(
    address: &str,
    credentials: &Credentials,
    method: &str,
    path: &str,
    body: String,
) -> Result<(StatusCode, Value), Box<dyn std::error::Error>> {
    send_under(address, credentials, method, path, None, body).await
}

/// The same, under an `Idempotency-Key`.
pub(crate) async fn send_under(
    address: &str,
    credentials: &Credentials,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: String,
) -> Result<(StatusCode, Value), Box<dyn std::error::Error>> {
    let stream = connect(address, client_config(credentials)?, expect_registry()).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Full::new(Bytes::from(body)))?;
    let response = timeout(PATIENCE, sender.send_request(request)).await??;
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

/// An enrolled host's agent, as far as the registry can tell.
pub(crate) struct Host {
    pub(crate) id: Uuid,
    pub(crate) credentials: Credentials,
    pub(crate) client: RegistryClient<Channel>,
}

impl Host {
    pub(crate) fn new(service: &Service, enrolled: &grpc::EnrolResponse, key: &KeyPair) -> Self {
        let credentials = Credentials::from_pem(
            &enrolled.authority_pem,
            &enrolled.certificate_pem,
            &key.serialize_pem(),
        )
        .unwrap();
        Self {
            id: Uuid::from_slice(&enrolled.host_id).unwrap(),
            client: service.agents(&credentials),
            credentials,
        }
    }

    pub(crate) async fn lease(&mut self) -> grpc::LeaseGrant {
        self.client
            .renew_lease(grpc::LeaseRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) async fn follow(&mut self, boot_id: &[u8]) -> Follower {
        let (reports, receiver) = mpsc::channel(8);
        let hello = Said::Hello(grpc::Hello {
            boot_id: boot_id.to_vec(),
            version: "test".to_owned(),
        });
        reports.send(report(hello)).await.unwrap();
        let states = self
            .client
            .follow(ReceiverStream::new(receiver))
            .await
            .unwrap()
            .into_inner();
        Follower { reports, states }
    }

    /// The token, or none if refused.
    pub(crate) async fn mint(&mut self, request: grpc::MintRequest) -> Result<Option<grpc::Minted>, Status> {
        let answer = self.client.mint(request).await?.into_inner().answer;
        Ok(match answer.expect("an answer") {
            grpc::mint_response::Answer::Minted(minted) => Some(minted),
            grpc::mint_response::Answer::Refused(refused) => {
                assert_eq!(refused.because, "refused", "one word for everything");
                None
            }
        })
    }
}

fn report(said: Said) -> grpc::Report {
    grpc::Report { report: Some(said) }
}

/// One stream of one host.
pub(crate) struct Follower {
    reports: mpsc::Sender<grpc::Report>,
    states: Streaming<grpc::GoalState>,
}

impl Follower {
    pub(crate) async fn next(&mut self) -> Result<Option<grpc::GoalState>, Status> {
        timeout(PATIENCE, self.states.message())
            .await
            .expect("a goal state in time")
    }

    /// Reads until a state of at least this revision.
    pub(crate) async fn until(&mut self, revision: u64) -> grpc::GoalState {
        loop {
            let state = self.next().await.unwrap().expect("the stream goes on");
            if state.revision >= revision {
                return state;
            }
        }
    }

    pub(crate) async fn receipt(&self, revision: u64) {
        let receipt = Said::Receipt(grpc::Receipt {
            revision,
            applied_unix_ms: 1_000,
            undrained: 3,
            closed: 1,
        });
        self.reports.send(report(receipt)).await.unwrap();
    }

    pub(crate) async fn ended_because(&mut self) -> Code {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Code::Ok,
                Err(status) => return status.code(),
            }
        }
    }
}

/// The VM of this name in a goal state.
pub(crate) fn vm<'a>(state: &'a grpc::GoalState, name: &str) -> Option<&'a grpc::Vm> {
    state.vms.iter().find(|vm| vm.name == name)
}

pub(crate) fn key(vm: &grpc::Vm) -> SecretKey {
    SecretKey::from_slice(&vm.secret_key).unwrap()
}

/// Everything that a VM has been given, as operators write it.
pub(crate) fn addresses(vm: &grpc::Vm) -> Vec<String> {
    let text = |given: &grpc::Address| format!("{}/{}", address(given), given.prefix);
    vm.addresses.iter().map(text).collect()
}

fn address(given: &grpc::Address) -> IpAddr {
    pairgate_token::address_from_bytes(given.address.as_slice().try_into().unwrap())
}

/// The VM's address of the family of another.
fn address_of(vm: &grpc::Vm, other: IpAddr) -> IpAddr {
    let mut all = vm.addresses.iter().map(address);
    all.find(|address| address.is_ipv4() == other.is_ipv4())
        .expect("an address of that family")
}

/// A question from this VM, proven with its key.
pub(crate) fn question(source: &grpc::Vm, destination: &str, nonce: u8, unix_secs: u64) -> grpc::MintRequest {
    let destination: IpAddr = destination.parse().unwrap();
    let source_address = address_of(source, destination);
    let question = MintQuestion {
        network: Uuid::from_slice(&source.network_id).unwrap(),
        source_vm: Uuid::from_slice(&source.id).unwrap(),
        source_address,
        destination_address: destination,
        nonce: [nonce; 16],
        unix_secs,
    };
    grpc::MintRequest {
        network_id: source.network_id.clone(),
        src_vm: source.id.clone(),
        src_addr: address_bytes(source_address).to_vec(),
        dst_addr: address_bytes(destination).to_vec(),
        nonce: question.nonce.to_vec(),
        unix_secs,
        proof: MintProof::make(&key(source), &question).as_bytes().to_vec(),
        with_back: false,
    }
}
