//! The agents' API. Each call looks again at who calls: the role, that the host record still exists, and that
//! the certificate's key is the record's.

mod follow;

use crate::{
    authority::{IssueError, RequestedKey},
    enrol::EnrolError,
    issue::{MintError, judge::Ask},
    registry::Registry,
    renew::RenewError,
    store::StoreError,
};
use pairgate_api::{
    grpc::{self, registry_server::RegistryServer},
    routes::Role,
};
use pairgate_identity::Caller;
use pairgate_token::address_bytes;
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// The largest message to us is an enrolment with a signing request of 4 KiB.
const MESSAGE_LEN_MAX: usize = 16 * 1024;
/// The one outward word for everything that is not allowed or not known.
const REFUSED: &str = "refused";

pub(super) fn service(registry: Arc<Registry>) -> RegistryServer<Agents> {
    RegistryServer::new(Agents { registry }).max_decoding_message_size(MESSAGE_LEN_MAX)
}

/// The agents' side of the registry.
#[derive(Debug)]
pub(super) struct Agents {
    registry: Arc<Registry>,
}

/// A host whose certificate was the one of its record when it was looked at.
#[derive(Debug)]
struct HostCaller {
    id: Uuid,
    public_key: Vec<u8>,
}

fn caller<T>(request: &Request<T>, role: Role) -> Result<Caller, Status> {
    let caller = request
        .extensions()
        .get::<Caller>()
        .ok_or_else(|| Status::unauthenticated("no caller"))?;
    if caller.identity.role != role {
        return Err(Status::permission_denied("not a call of this role"));
    }
    Ok(caller.clone())
}

fn not_the_host() -> Status {
    Status::permission_denied("the certificate is not the one of a host record: enrol again")
}

fn unavailable(error: &StoreError) -> Status {
    tracing::error!(%error, "an agent's request failed");
    Status::unavailable("the registry cannot answer now; its log says why")
}

fn not_issued(error: &IssueError) -> Status {
    tracing::error!(%error, "an agent's request failed");
    Status::internal("the registry could not make a certificate; its log says why")
}

fn requested_key(signing_request: &[u8]) -> Result<RequestedKey, Status> {
    RequestedKey::from_signing_request(signing_request)
        .map_err(|error| Status::invalid_argument(error.to_string()))
}

impl Agents {
    async fn host<T>(&self, request: &Request<T>) -> Result<HostCaller, Status> {
        let caller = caller(request, Role::Host)?;
        let id = caller.identity.id;
        let _turn = self.registry.lanes.turn(id).await;
        let host = self.registry.store.read(move |view| view.host(id)).await;
        let host = host.map_err(|error: StoreError| unavailable(&error))?;
        let recorded = host.and_then(|host| host.public_key);
        if recorded.as_ref() != Some(&caller.public_key) {
            return Err(not_the_host());
        }
        Ok(HostCaller {
            id,
            public_key: caller.public_key,
        })
    }
}

#[tonic::async_trait]
impl grpc::registry_server::Registry for Agents {
    async fn enrol(
        &self,
        request: Request<grpc::EnrolRequest>,
    ) -> Result<Response<grpc::EnrolResponse>, Status> {
        let zero = caller(&request, Role::Zero)?.identity.id;
        let request = request.into_inner();
        let name = request.host.parse();
        let name = name.map_err(|_| Status::invalid_argument("the host's name is no name"))?;
        let key = requested_key(&request.signing_request)?;
        let registry = &self.registry;
        let _turn = registry.lanes.turn(zero).await;
        let enrolment = registry
            .enrol(zero, name, key)
            .await
            .map_err(|error| match error {
                EnrolError::Zero(_) | EnrolError::Host(_) => Status::permission_denied(error.to_string()),
                EnrolError::Issue(error) => not_issued(&error),
                EnrolError::Store(error) => unavailable(&error),
            })?;
        Ok(Response::new(grpc::EnrolResponse {
            certificate_pem: enrolment.certificate_pem,
            authority_pem: registry.authority.certificate_pem().to_owned(),
            host_id: enrolment.host.id.as_bytes().to_vec(),
            host_address: address_bytes(enrolment.host.address).to_vec(),
            agent_port: u32::from(enrolment.host.agent_port),
            overlay_port: u32::from(enrolment.host.overlay_port),
        }))
    }

    type FollowStream = ReceiverStream<Result<grpc::GoalState, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<grpc::Report>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let id = caller(&request, Role::Host)?.identity.id;
        let now_unix_ms = self.registry.clock.now_unix_ms();
        if !self.registry.quota.take_follow(id, now_unix_ms) {
            return Err(Status::resource_exhausted(
                "this host begins to follow too often: wait a moment",
            ));
        }
        let host = self.host(&request).await?;
        let stream = follow::start(self.registry.clone(), host, request.into_inner());
        Ok(Response::new(stream))
    }

    async fn renew_lease(
        &self,
        request: Request<grpc::LeaseRequest>,
    ) -> Result<Response<grpc::LeaseGrant>, Status> {
        let host = self.host(&request).await?;
        let registry = &self.registry;
        if registry.store.failed().is_cancelled() {
            // What is on the disk is not known, so neither is what a lease would stand for.
            return Err(unavailable(&StoreError::Stopped));
        }
        let now_unix_ms = registry.clock.now_unix_ms();
        // In this order: see `Standings::grant_lease`.
        let ends_unix_ms = registry.settings.lease_end_unix_ms(now_unix_ms);
        let at_least = registry.store.revision();
        registry
            .standings
            .grant_lease(host.id, at_least, ends_unix_ms, now_unix_ms);
        let revision = registry.store.revision();
        tracing::debug!(host = %host.id, revision, ends_unix_ms, "lease granted");
        Ok(Response::new(grpc::LeaseGrant {
            lease_ms: registry.settings.lease_ms(),
            revision,
            registry_unix_ms: now_unix_ms,
        }))
    }

    async fn renew_certificate(
        &self,
        request: Request<grpc::RenewRequest>,
    ) -> Result<Response<grpc::RenewResponse>, Status> {
        let caller = caller(&request, Role::Host)?;
        let key = requested_key(&request.into_inner().signing_request)?;
        let (registry, id) = (&self.registry, caller.identity.id);
        let _turn = registry.lanes.turn(id).await;
        // The host record is looked at in the same transaction as everything else.
        let renewed = registry.renew_certificate(id, caller.public_key, key).await;
        let certificate_pem = renewed.map_err(|error| match error {
            RenewError::NotTheHost => not_the_host(),
            RenewError::OtherKey => Status::invalid_argument(error.to_string()),
            RenewError::Issue(error) => not_issued(&error),
            RenewError::Store(error) => unavailable(&error),
        })?;
        Ok(Response::new(grpc::RenewResponse { certificate_pem }))
    }

    async fn mint(
        &self,
        request: Request<grpc::MintRequest>,
    ) -> Result<Response<grpc::MintResponse>, Status> {
        let caller = caller(&request, Role::Host)?;
        let ask = Ask::read(caller.identity.id, &request.into_inner())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        // The host record is looked at in the same transaction as everything else.
        let answer = self.registry.mint(ask, caller.public_key).await;
        let answer = answer.map_err(|error| match error {
            MintError::TooOften => Status::resource_exhausted(error.to_string()),
            MintError::NotTheHost => not_the_host(),
            MintError::Store(error) => unavailable(&error),
        })?;
        use grpc::mint_response::Answer;
        let answer = match answer {
            Ok(minted) => Answer::Minted(grpc::Minted {
                token: minted.token.into_bytes(),
                back_token: minted.back.map(|back| back.into_bytes()).unwrap_or_default(),
                dst_host_id: minted.destination_host.as_bytes().to_vec(),
                dst_agent_port: u32::from(minted.destination_agent_port),
                registry_unix_ms: self.registry.clock.now_unix_ms(),
            }),
            Err(_) => Answer::Refused(grpc::Refused {
                because: REFUSED.to_owned(),
            }),
        };
        Ok(Response::new(grpc::MintResponse { answer: Some(answer) }))
    }
}
