//! Asking the registry for a token, and looking at what it gives.

use crate::{
    answer,
    clock::{BootTime, RegistryClock},
    goal::{Guest, read_id},
};
use pairgate_api::grpc::{self, mint_response::Answer, registry_client::RegistryClient};
use pairgate_token::{
    Claims, MINT_NONCE_LEN, MintProof, MintQuestion, Refusal, Untimely, UnverifiedToken, address_bytes,
};
use std::{net::IpAddr, time::Duration};
use tonic::transport::Channel;
use uuid::Uuid;

/// A mint takes milliseconds; a registry that takes longer is asked again by the next packet.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A token that the registry gave to us over TLS, with claims that are what we asked for.
///
/// Its tag is not checked: only the destination's agent has the key for that. Who made it is known from the
/// connection it came by.
#[derive(Clone, Debug)]
pub struct MintedToken {
    token: UnverifiedToken,
    claims: Claims,
    destination_host: Uuid,
    agent_port: u16,
    deadline: BootTime,
}

impl MintedToken {
    pub fn bytes(&self) -> &[u8] {
        self.token.as_bytes()
    }

    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The host that must prove to be at the other end.
    pub fn destination_host(&self) -> Uuid {
        self.destination_host
    }

    /// Where that host's agent listens.
    pub fn agent_port(&self) -> u16 {
        self.agent_port
    }

    pub fn deadline(&self) -> BootTime {
        self.deadline
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("the registry's time is not known yet")]
    NoTime,
    #[error("the registry cannot be reached or did not take the request: {}", answer::text(.0))]
    Unreachable(Box<tonic::Status>),
    #[error("the registry did not answer within {} seconds", ANSWER_LIMIT.as_secs())]
    Slow,
    #[error("the registry refused: {0:?}")]
    Refused(String),
    #[error("the registry's answer is not what was asked for: {0}")]
    Wrong(WrongToken),
}

/// How a token differs from what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongToken {
    #[error("it is incomplete")]
    Incomplete,
    #[error("its token is not well-made: {0}")]
    Form(#[from] Refusal),
    #[error("its token is not good now: {0}")]
    Time(#[from] Untimely),
    #[error("its token speaks for another source")]
    Source,
    #[error("its token leads to another destination")]
    Destination,
    #[error("its token has a grant or serves replies only, which this agent cannot enforce yet")]
    Unsupported,
    #[error("its token joins two VMs of this host, which this agent cannot do yet")]
    SameHost,
}

impl MintError {
    /// The metric label.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoTime => "no_time",
            Self::Unreachable(_) | Self::Slow => "unreachable",
            Self::Refused(_) => "refused",
            Self::Wrong(WrongToken::SameHost) => "same_host",
            Self::Wrong(WrongToken::Unsupported) => "unsupported",
            Self::Wrong(
                WrongToken::Incomplete
                | WrongToken::Form(_)
                | WrongToken::Time(_)
                | WrongToken::Source
                | WrongToken::Destination,
            ) => "wrong",
        }
    }

    /// Every word, and that of success.
    pub const WORDS: [&'static str; 7] = [
        "minted",
        "no_time",
        "unreachable",
        "refused",
        "same_host",
        "unsupported",
        "wrong",
    ];
}

/// One request: may this guest send to that address? With the token comes that of the opposite pair, if it was
/// asked for and is allowed; it is bytes until [`crate::admit::verify`] has seen them.
pub async fn mint(
    registry: &mut RegistryClient<Channel>,
    clock: &RegistryClock,
    guest: &Guest,
    destination: IpAddr,
    our_address: IpAddr,
    with_back: bool,
) -> Result<(MintedToken, Vec<u8>), MintError> {
    let asked = BootTime::now();
    let question = MintQuestion {
        network: guest.network,
        source_vm: guest.id,
        source_address: IpAddr::V4(guest.address),
        destination_address: destination,
        nonce: rand::random::<[u8; MINT_NONCE_LEN]>(),
        unix_secs: clock.unix_secs(asked).ok_or(MintError::NoTime)?,
    };
    let proof = MintProof::make(&guest.key, &question);
    let request = grpc::MintRequest {
        network_id: question.network.into_bytes().to_vec(),
        src_vm: question.source_vm.into_bytes().to_vec(),
        src_addr: address_bytes(question.source_address).to_vec(),
        dst_addr: address_bytes(question.destination_address).to_vec(),
        nonce: question.nonce.to_vec(),
        unix_secs: question.unix_secs,
        proof: proof.as_bytes().to_vec(),
        with_back,
    };
    let answer = tokio::time::timeout(ANSWER_LIMIT, registry.mint(request)).await;
    let answer = answer.map_err(|_| MintError::Slow)?;
    let answer = answer.map_err(|status| MintError::Unreachable(Box::new(status)))?;
    match answer.into_inner().answer {
        Some(Answer::Minted(mut minted)) => {
            clock.learn(asked, minted.registry_unix_ms);
            let back = std::mem::take(&mut minted.back_token);
            let minted = examine(minted, guest, destination, our_address, clock, BootTime::now());
            Ok((minted.map_err(MintError::Wrong)?, back))
        }
        Some(Answer::Refused(refused)) => Err(MintError::Refused(refused.because)),
        None => Err(MintError::Wrong(WrongToken::Incomplete)),
    }
}

/// Whether the token is for what we asked. A registry that answers something else is broken, and what it
/// gave must not open anything.
fn examine(
    minted: grpc::Minted,
    guest: &Guest,
    destination: IpAddr,
    our_address: IpAddr,
    clock: &RegistryClock,
    now: BootTime,
) -> Result<MintedToken, WrongToken> {
    let token = UnverifiedToken::from_bytes(minted.token)?;
    let claims = token.claims_without_proof()?;
    let source_is_ours = claims.network == guest.network
        && claims.source_vm == guest.id
        && claims.source_generation == guest.generation
        && claims.source_address == IpAddr::V4(guest.address)
        && claims.source_host == our_address;
    if !source_is_ours {
        return Err(WrongToken::Source);
    }
    if claims.destination_address != destination {
        return Err(WrongToken::Destination);
    }
    if claims.replies_only || !claims.grants.is_all() {
        return Err(WrongToken::Unsupported);
    }
    if claims.destination_host == our_address {
        return Err(WrongToken::SameHost);
    }
    claims.judge(clock.unix_secs(now).ok_or(WrongToken::Incomplete)?)?;
    let agent_port = u16::try_from(minted.dst_agent_port)
        .ok()
        .filter(|port| *port != 0);
    Ok(MintedToken {
        deadline: clock
            .deadline(claims.expires_unix_secs)
            .ok_or(WrongToken::Incomplete)?,
        destination_host: read_id(&minted.dst_host_id).ok_or(WrongToken::Incomplete)?,
        agent_port: agent_port.ok_or(WrongToken::Incomplete)?,
        token,
        claims,
    })
}

#[cfg(test)]
pub(crate) mod tests;
