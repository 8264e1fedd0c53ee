//! A host's certificate renewed by a real gRPC service over real TLS, while a stream is open: nothing that is
//! open ends, everything new shows the new certificate, and it is on disk for the next start.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use futures_util::StreamExt;
use pairgate_agent::{
    certificate::Life,
    clock::RegistryClock,
    peers::Peers,
    present::Presenter,
    registry_link::RegistryLink,
    renew::{Renewer, Standing},
};
use pairgate_api::{
    grpc::{
        EnrolRequest, EnrolResponse, GoalState, LeaseGrant, LeaseRequest, MintRequest, MintResponse,
        RenewRequest, RenewResponse, Report,
        registry_client::RegistryClient,
        registry_server::{Registry, RegistryServer},
    },
    routes::Role,
};
use pairgate_identity::{Caller, Credentials, Expect, Identity, client_config, serve, server_config};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, SerialNumber, date_time_ymd,
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    time::{interval, timeout},
};
use tokio_stream::{Stream, wrappers::IntervalStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Good from so many seconds before now to so many after.
fn certificate(ca: &Authority, key: &KeyPair, who: Identity, before: u64, after: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(now - before);
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(now + after);
    let uri = who.to_string().try_into().unwrap();
    params.subject_alt_names = vec![SanType::URI(uri), SanType::IpAddress(LOOPBACK)];
    // Else it would be made from the key, which stays.
    params.serial_number = Some(SerialNumber::from_slice(&Uuid::new_v4().into_bytes()[..8]));
    params.signed_by(key, ca).unwrap().pem()
}

/// The serial number of whoever asked for a lease, and what renewals are answered with, first to last.
#[derive(Clone)]
struct FakeRegistry {
    serials: Arc<Mutex<Vec<Vec<u8>>>>,
    answers: Arc<Mutex<Vec<Result<String, Status>>>>,
}

#[tonic::async_trait]
impl Registry for FakeRegistry {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<GoalState, Status>> + Send>>;

    async fn renew_certificate(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        assert!(!request.get_ref().signing_request.is_empty());
        let certificate_pem = self.answers.lock().unwrap().remove(0)?;
        Ok(Response::new(RenewResponse { certificate_pem }))
    }

    async fn renew_lease(&self, request: Request<LeaseRequest>) -> Result<Response<LeaseGrant>, Status> {
        let caller = request.extensions().get::<Caller>().unwrap();
        self.serials.lock().unwrap().push(caller.serial.clone());
        Ok(Response::new(LeaseGrant::default()))
    }

    async fn follow(&self, _: Request<Streaming<Report>>) -> Result<Response<Self::FollowStream>, Status> {
        let ticks = IntervalStream::new(interval(Duration::from_millis(50)));
        Ok(Response::new(Box::pin(ticks.map(|_| Ok(GoalState::default())))))
    }

    async fn enrol(&self, _: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn mint(&self, _: Request<MintRequest>) -> Result<Response<MintResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

fn host(ca: &Authority, state: &Path, installation: Uuid) -> (KeyPair, Identity, Arc<Credentials>) {
    let key = KeyPair::generate().unwrap();
    let who = Identity {
        installation,
        role: Role::Host,
        id: Uuid::new_v4(),
    };
    // Two thirds of its life are over.
    let pem = certificate(ca, &key, who, 60, 30);
    for (file, text) in [
        ("host.key", key.serialize_pem()),
        ("host.pem", pem.clone()),
        ("ca.pem", ca.pem()),
    ] {
        fs::write(state.join(file), text).unwrap();
    }
    let own = Credentials::from_pem(&ca.pem(), &pem, &key.serialize_pem()).unwrap();
    (key, who, Arc::new(own))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_under_open_connections_and_a_refusal_is_not_the_end() {
    let (ca, installation) = (authority(), Uuid::new_v4());
    let state = tempfile::tempdir().unwrap();
    let (key, who, own) = host(&ca, state.path(), installation);
    let fresh = certificate(&ca, &key, who, 0, 3600);
    let stranger = Identity {
        id: Uuid::new_v4(),
        ..who
    };
    let fake = FakeRegistry {
        serials: Arc::default(),
        answers: Arc::new(Mutex::new(vec![
            Err(Status::unavailable("tried too soon")),
            Ok(certificate(&ca, &key, stranger, 0, 3600)),
            Ok(fs::read_to_string(state.path().join("host.pem")).unwrap()),
            Ok(fresh.clone()),
        ])),
    };
    let registry_key = KeyPair::generate().unwrap();
    let registry = Identity {
        installation,
        role: Role::Registry,
        id: Uuid::new_v4(),
    };
    let pem = certificate(&ca, &registry_key, registry, 0, 3600);
    let registry = Credentials::from_pem(&ca.pem(), &pem, &registry_key.serialize_pem()).unwrap();
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let app = tonic::service::Routes::new(RegistryServer::new(fake.clone()));
    let (app, stop) = (app.prepare().into_axum_router(), CancellationToken::new());
    let tls = server_config(&registry).unwrap();
    tokio::spawn(serve(listener, tls, installation, app, stop.clone()));

    let expect = Expect {
        role: Role::Registry,
        id: None,
        installation: Some(installation),
    };
    let tls = client_config(&own).unwrap();
    let link = RegistryLink::new(&at.to_string(), tls.clone(), expect);
    let mut client = RegistryClient::new(link.clone());
    client.renew_lease(LeaseRequest {}).await.unwrap();
    let mut stream = client.follow(tokio_stream::pending()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();

    let life = Renewer::life(&own);
    let (standing, mut shown) = watch::channel(Standing { life, why: None });
    let renewed = Arc::new(Notify::new());
    let peers = Arc::new(Peers::default());
    let renewer = Renewer {
        own: own.clone(),
        state_dir: state.path().to_owned(),
        registry: link,
        presenter: Arc::new(Presenter::new(tls, installation, Uuid::new_v4(), 7444, peers)),
        clock: RegistryClock::default(),
        renewed: renewed.clone(),
        standing,
    };
    tokio::spawn(renewer.run(stop.clone()));
    let mut reasons = Vec::new();
    timeout(PATIENCE, async {
        loop {
            shown.changed().await.unwrap();
            match shown.borrow_and_update().why.clone() {
                Some(why) => reasons.push(why),
                None => break,
            }
        }
    })
    .await
    .expect("the certificate was not renewed");
    timeout(PATIENCE, renewed.notified())
        .await
        .expect("the goal states' stream was not told");

    let words = ["tried too soon", "not taken", "has already"];
    assert_eq!(reasons.len(), words.len(), "{reasons:?}");
    for (why, words) in reasons.iter().zip(words) {
        assert!(why.contains(words), "{why}");
    }
    let on_disk = state.path().join("host.pem");
    assert_eq!(
        fs::read_to_string(&on_disk).unwrap(),
        fresh,
        "the next start has the old one"
    );
    assert_eq!(
        fs::metadata(&on_disk).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(shown.borrow().life.ends_unix_ms > life.ends_unix_ms);
    assert_eq!(
        shown.borrow().life,
        Life::of(own.certificate().not_before, own.certificate().not_after)
    );
    stream.message().await.expect("the open stream was cut").unwrap();
    client.renew_lease(LeaseRequest {}).await.unwrap();
    let serials = fake.serials.lock().unwrap().clone();
    assert_eq!(
        serials[1],
        own.certificate().serial,
        "a new call shows the old certificate"
    );
    assert_ne!(serials[0], serials[1]);
    stop.cancel();
}
