//! The door for offers: takes the caller's identity from its certificate, asks [`super::verify`], and hands
//! what it proves to the keeper.

use super::{Facts, Offerer, Refusal, VerifiedPair, verify};
use crate::{
    clock::{BootTime, RegistryClock},
    keeper::{Admitted, KeeperHandle},
    metrics::Metrics,
    net::{Net, WayError},
    peers::Peers,
    present::{BackError, CarriedPair},
    request::way_to,
    uplink::Uplink,
};
use pairgate_abi::Handle;
use pairgate_api::grpc::{
    Accepted, Back, HintRequest, HintResponse, OfferRequest, OfferResponse, Refused, offer_response::Answer,
    peer_server::Peer,
};
use pairgate_api::routes::Role;
use pairgate_identity::Caller;
use std::{net::SocketAddr, sync::Arc};
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Why a way back that came with an offer was not opened.
#[derive(Debug, thiserror::Error)]
enum CarryBackError {
    #[error(transparent)]
    Back(#[from] BackError),
    #[error(transparent)]
    Way(#[from] WayError),
    #[error(transparent)]
    Carry(#[from] Refusal),
}

/// The `Peer` service of one agent.
#[derive(Clone, Debug)]
pub struct PeerService {
    pub keeper: KeeperHandle,
    pub clock: RegistryClock,
    pub metrics: Arc<Metrics>,
    pub uplink: Uplink,
    pub overlay_port: u16,
    pub boot_id: Uuid,
    pub peers: Arc<Peers>,
    pub net: Net,
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn offer(&self, request: Request<OfferRequest>) -> Result<Response<OfferResponse>, Status> {
        let caller = request.extensions().get::<Caller>();
        let caller = caller.ok_or_else(|| Status::internal("the connection has no caller"))?;
        let offerer = Offerer {
            role: caller.identity.role,
            id: caller.identity.id,
            address: caller.address,
        };
        self.meet(offerer, request.get_ref()).await;
        let result = self.decide(request.get_ref(), offerer).await;
        self.metrics.received(
            result
                .as_ref()
                .map_or_else(|refusal| refusal.word(), |_| "accepted"),
        );
        let answer = match result {
            Ok(Admitted { handle, mtu }) => Answer::Accepted(Accepted {
                vni: handle.vni_number(),
                group: handle.group_number(),
                mtu: u32::from(mtu),
                boot_id: self.boot_id.into_bytes().to_vec(),
            }),
            Err(refusal) => {
                tracing::info!(host = %offerer.id, why = %refusal, word = refusal.word(), "offer refused");
                Answer::Refused(Refused {
                    because: refusal.word().to_owned(),
                })
            }
        };
        Ok(Response::new(OfferResponse { answer: Some(answer) }))
    }

    async fn hint(&self, request: Request<HintRequest>) -> Result<Response<HintResponse>, Status> {
        let caller = request.extensions().get::<Caller>();
        let caller = caller.ok_or_else(|| Status::internal("the connection has no caller"))?;
        let hint = request.get_ref();
        if let (Role::Host, Some(address)) = (caller.identity.role, caller.address)
            && let Some(handle) = Handle::new(hint.vni, hint.group)
            && self.peers.may_hint(caller.identity.id, address, BootTime::now())
        {
            // Whether the handle is one of ours, and what to do then, is the keeper's to find out.
            let _ = self.keeper.again(address, Some(handle)).await;
        }
        Ok(Response::new(HintResponse {}))
    }
}

impl PeerService {
    /// Takes note of who calls. If its agent has started anew, what we send to it is offered again: nobody
    /// else could tell us that it was forgotten.
    async fn meet(&self, offerer: Offerer, request: &OfferRequest) {
        let (Role::Host, Some(address)) = (offerer.role, offerer.address) else {
            return;
        };
        let port = u16::try_from(request.agent_port).unwrap_or(0);
        let port = if port == 0 { pairgate_api::AGENT_PORT } else { port };
        let at = SocketAddr::new(address, port);
        if self.peers.met(offerer.id, at, &request.boot_id, BootTime::now()) {
            tracing::info!(host = %offerer.id, "a peer has started anew: live tokens are offered to it again");
            // A keeper that has stopped offers nothing.
            let _ = self.keeper.again(address, None).await;
        }
    }

    async fn decide(&self, request: &OfferRequest, offerer: Offerer) -> Result<Admitted, Refusal> {
        let view = self.keeper.view();
        let facts = Facts {
            address: self.uplink.address,
            overlay_port: self.overlay_port,
            goal: view.goal.as_deref(),
            clock: &self.clock,
        };
        let pair = verify(&request.token, offerer, facts, BootTime::now())?;
        let admitted = self.keeper.admit(pair.clone()).await?;
        if let Some(back) = &request.back {
            // Before the answer: then the guest's reply finds its way open.
            match self.carry_back(&pair, back).await {
                Ok(()) => {
                    tracing::debug!(host = %offerer.id, pair = pair.claims().pair_id, "the way back came with an offer")
                }
                Err(why) => tracing::warn!(host = %offerer.id, %why, "a way back was not taken"),
            }
        }
        Ok(admitted)
    }

    async fn carry_back(&self, there: &VerifiedPair, back: &Back) -> Result<(), CarryBackError> {
        let pair = CarriedPair::from_offer(there, back, &self.clock, BootTime::now())?;
        let way = way_to(&self.net, &self.uplink, pair.claims().destination_host).await?;
        Ok(self.keeper.carry(pair, way).await?)
    }
}
