//! Root on one hypervisor: whatever a host's certificate and the keys of its own VMs allow, done by hand.
//!
//! The certificate and its private key are read from the agent's state directory; the VMs' keys come from
//! the registry, which takes us for the agent. Stop the real agent first: the registry serves one stream per
//! host, so two would push each other out.

use anyhow::{Context, Result, bail, ensure};
use pairgate_api::{
    grpc::{
        Accepted, GoalState, Hello, MintRequest, Minted, OfferRequest, Report, mint_response, offer_response,
        peer_client::PeerClient, registry_client::RegistryClient, report,
    },
    routes::Role,
};
use pairgate_identity::{Credentials, Expect, channel, client_config};
use pairgate_token::{MintProof, MintQuestion, SecretKey, address_bytes};
use std::{
    future::Future,
    net::IpAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use uuid::Uuid;

/// No single answer of registry or agent takes longer, unless something is broken.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A host's identity in the wrong hands, used from that host's own namespace.
#[derive(Debug)]
pub struct StolenHost {
    namespace: String,
    credentials: Credentials,
    registry: String,
}

/// What a destination agent said to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It opened the pair, under this handle.
    Accepted { vni: u32, group: u32 },
    /// It refused, for this reason.
    Refused(String),
}

/// A VM as the registry describes it to its host, secret key included.
#[derive(Clone, Debug)]
pub struct StolenVm {
    pub id: Uuid,
    pub network: Uuid,
    pub address: IpAddr,
    pub generation: u32,
    pub key: SecretKey,
}

/// A token that the registry minted, and where it is to be offered.
#[derive(Clone, Debug)]
pub struct StolenToken {
    pub bytes: Vec<u8>,
    pub destination_host: Uuid,
}

impl StolenHost {
    /// Takes the identity out of an agent's state directory.
    pub fn new(namespace: &str, agent_state: &Path, registry: &str) -> Result<Self> {
        let file = |name: &str| agent_state.join(name);
        let credentials = Credentials::load(&file("ca.pem"), &file("host.pem"), &file("host.key"))
            .context("reading the host's certificate and key")?;
        Ok(Self {
            namespace: namespace.to_owned(),
            credentials,
            registry: registry.to_owned(),
        })
    }

    /// The goal state that the registry sends this host.
    pub fn goal_state(&self) -> Result<GoalState> {
        self.in_namespace(async {
            let (reports, stream) = mpsc::channel(1);
            let hello = Hello {
                boot_id: Uuid::new_v4().as_bytes().to_vec(),
                version: "stolen".into(),
            };
            reports
                .send(Report {
                    report: Some(report::Report::Hello(hello)),
                })
                .await?;
            let mut goals = self
                .registry()?
                .follow(ReceiverStream::new(stream))
                .await?
                .into_inner();
            goals.message().await?.context("the registry closed the stream")
        })
    }

    /// One of this host's VMs by name, with its key.
    pub fn vm(&self, name: &str) -> Result<StolenVm> {
        let goal = self.goal_state()?;
        let vm = goal.vms.iter().find(|vm| vm.name == name);
        let vm = vm.with_context(|| format!("{name} is not placed on this host"))?;
        Ok(StolenVm {
            id: Uuid::from_slice(&vm.id)?,
            network: Uuid::from_slice(&vm.network_id)?,
            address: address(&vm.addresses.first().context("a VM without address")?.address)?,
            generation: vm.generation,
            key: SecretKey::from_slice(&vm.secret_key)?,
        })
    }

    /// Asks for a token in the name of `vm`; none if the registry refuses.
    pub fn mint(&self, vm: &StolenVm, destination: IpAddr) -> Result<Option<StolenToken>> {
        let question = MintQuestion {
            network: vm.network,
            source_vm: vm.id,
            source_address: vm.address,
            destination_address: destination,
            nonce: Uuid::new_v4().into_bytes(),
            unix_secs: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        };
        let answer = self.ask_mint(&question, &MintProof::make(&vm.key, &question))?;
        Ok(answer.map(|minted| StolenToken {
            destination_host: Uuid::from_slice(&minted.dst_host_id).unwrap_or_default(),
            bytes: minted.token,
        }))
    }

    /// Asks with any question and any proof.
    pub fn ask_mint(&self, question: &MintQuestion, proof: &MintProof) -> Result<Option<Minted>> {
        let request = MintRequest {
            network_id: question.network.as_bytes().to_vec(),
            src_vm: question.source_vm.as_bytes().to_vec(),
            src_addr: address_bytes(question.source_address).to_vec(),
            dst_addr: address_bytes(question.destination_address).to_vec(),
            nonce: question.nonce.to_vec(),
            unix_secs: question.unix_secs,
            proof: proof.as_bytes().to_vec(),
            ..MintRequest::default()
        };
        self.in_namespace(async {
            let answer = self.registry()?.mint(request).await?.into_inner().answer;
            Ok(match answer.context("an answer without content")? {
                mint_response::Answer::Minted(minted) => Some(minted),
                mint_response::Answer::Refused(_) => None,
            })
        })
    }

    /// Shows a token to the agent at `host`.
    pub fn offer(&self, host: IpAddr, token: &[u8]) -> Result<Answer> {
        let request = OfferRequest {
            token: token.to_vec(),
            boot_id: Uuid::new_v4().as_bytes().to_vec(),
            ..OfferRequest::default()
        };
        self.in_namespace(async {
            let target = std::net::SocketAddr::new(host, pairgate_api::AGENT_PORT).to_string();
            let mut peer = PeerClient::new(self.channel(&target, Role::Host)?);
            let answer = peer.offer(request).await?.into_inner().answer;
            Ok(match answer.context("an answer without content")? {
                offer_response::Answer::Accepted(Accepted { vni, group, .. }) => {
                    Answer::Accepted { vni, group }
                }
                offer_response::Answer::Refused(refused) => Answer::Refused(refused.because),
            })
        })
    }

    fn registry(&self) -> Result<RegistryClient<Channel>> {
        Ok(RegistryClient::new(self.channel(&self.registry, Role::Registry)?))
    }

    fn channel(&self, target: &str, role: Role) -> Result<Channel> {
        let expect = Expect {
            role,
            id: None,
            installation: Some(self.credentials.identity().installation),
        };
        Ok(channel(target, client_config(&self.credentials)?, expect))
    }

    /// Sockets belong to the namespace of the thread that makes them, so the whole exchange runs on a thread
    /// of its own inside it.
    fn in_namespace<T: Send>(&self, exchange: impl Future<Output = Result<T>> + Send) -> Result<T> {
        pairgate_lab::netns::Netns::named(&self.namespace).run(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let answer = runtime.block_on(async { timeout(ANSWER_LIMIT, exchange).await });
            answer.context("no answer in time")?
        })?
    }
}

/// An address as it stands in messages.
fn address(bytes: &[u8]) -> Result<IpAddr> {
    ensure!(bytes.len() == 16, "an address of {} bytes", bytes.len());
    let Ok(bytes) = <[u8; 16]>::try_from(bytes) else {
        bail!("checked above")
    };
    Ok(IpAddr::from(bytes).to_canonical())
}
