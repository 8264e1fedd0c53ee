//! The door for offers: takes the caller's identity from its certificate, asks [`super::verify`], and hands
//! what it proves to the keeper.

use super::{Facts, Offerer, Refusal, verify};
use crate::{
    clock::{BootTime, RegistryClock},
    keeper::{Admitted, KeeperHandle},
    metrics::Metrics,
    uplink::Uplink,
};
use pairgate_api::grpc::{
    Accepted, OfferRequest, OfferResponse, Refused, offer_response::Answer, peer_server::Peer,
};
use pairgate_identity::Caller;
use std::sync::Arc;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// The `Peer` service of one agent.
#[derive(Clone, Debug)]
pub struct PeerService {
    pub keeper: KeeperHandle,
    pub clock: RegistryClock,
    pub metrics: Arc<Metrics>,
    pub uplink: Uplink,
    pub overlay_port: u16,
    pub boot_id: Uuid,
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
        let result = self.decide(&request.get_ref().token, offerer).await;
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
}

impl PeerService {
    async fn decide(&self, token: &[u8], offerer: Offerer) -> Result<Admitted, Refusal> {
        let view = self.keeper.view();
        let facts = Facts {
            address: self.uplink.address,
            overlay_port: self.overlay_port,
            goal: view.goal.as_deref(),
            clock: &self.clock,
        };
        let pair = verify(token, offerer, facts, BootTime::now())?;
        self.keeper.admit(pair).await
    }
}
