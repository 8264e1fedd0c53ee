//! Asking the registry for a token, and looking at what it gives.

use crate::registry_link::RegistryLink;
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

    /// Whether both guests are ours: then it is offered to nobody.
    pub fn is_local(&self) -> bool {
        self.claims.source_host == self.claims.destination_host
    }
}

/// What is asked: may this guest send from that address of its to that other one?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub guest: &'a Guest,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Whether the token of the opposite pair is wanted too.
    pub with_back: bool,
}

/// This host, as its certificate has it.
#[derive(Clone, Copy, Debug)]
pub struct OwnHost {
    pub id: Uuid,
    pub address: IpAddr,
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
}

impl MintError {
    /// The metric label.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoTime => "no_time",
            Self::Unreachable(_) | Self::Slow => "unreachable",
            Self::Refused(_) => "refused",
            Self::Wrong(_) => "wrong",
        }
    }

    /// Every word, and that of success.
    pub const WORDS: [&'static str; 5] = ["minted", "no_time", "unreachable", "refused", "wrong"];
}

/// One request. With the token comes that of the opposite pair, if it was asked for and is allowed; it is bytes
/// until [`crate::admit`] has seen them.
pub async fn mint(
    registry: &mut RegistryClient<RegistryLink>,
    clock: &RegistryClock,
    question: Question<'_>,
    ours: OwnHost,
) -> Result<(MintedToken, Vec<u8>), MintError> {
    let asked = BootTime::now();
    let proven = MintQuestion {
        network: question.guest.network,
        source_vm: question.guest.id,
        source_address: question.source,
        destination_address: question.destination,
        nonce: rand::random::<[u8; MINT_NONCE_LEN]>(),
        unix_secs: clock.unix_secs(asked).ok_or(MintError::NoTime)?,
    };
    let proof = MintProof::make(&question.guest.key, &proven);
    let request = grpc::MintRequest {
        network_id: proven.network.into_bytes().to_vec(),
        src_vm: proven.source_vm.into_bytes().to_vec(),
        src_addr: address_bytes(proven.source_address).to_vec(),
        dst_addr: address_bytes(proven.destination_address).to_vec(),
        nonce: proven.nonce.to_vec(),
        unix_secs: proven.unix_secs,
        proof: proof.as_bytes().to_vec(),
        with_back: question.with_back,
    };
    let answer = tokio::time::timeout(ANSWER_LIMIT, registry.mint(request)).await;
    let answer = answer.map_err(|_| MintError::Slow)?;
    let answer = answer.map_err(|status| MintError::Unreachable(Box::new(status)))?;
    match answer.into_inner().answer {
        Some(Answer::Minted(mut minted)) => {
            clock.learn(asked, minted.registry_unix_ms);
            let back = std::mem::take(&mut minted.back_token);
            let minted = examine(minted, question, ours, clock, BootTime::now());
            Ok((minted.map_err(MintError::Wrong)?, back))
        }
        Some(Answer::Refused(refused)) => Err(MintError::Refused(refused.because)),
        None => Err(MintError::Wrong(WrongToken::Incomplete)),
    }
}

/// Whether the token is for what we asked. A registry that answers something else is broken, and what it
/// gave must not open anything.
pub fn examine(
    minted: grpc::Minted,
    question: Question<'_>,
    ours: OwnHost,
    clock: &RegistryClock,
    now: BootTime,
) -> Result<MintedToken, WrongToken> {
    let token = UnverifiedToken::from_bytes(minted.token)?;
    let claims = token.claims_without_proof()?;
    let guest = question.guest;
    let source_is_ours = claims.network == guest.network
        && claims.source_vm == guest.id
        && claims.source_generation == guest.generation
        && claims.source_address == question.source
        && claims.source_host == ours.address;
    if !source_is_ours {
        return Err(WrongToken::Source);
    }
    let destination_host = read_id(&minted.dst_host_id).ok_or(WrongToken::Incomplete)?;
    // Our address under another id, or the other way round, is nobody's.
    let host_is_one = (claims.destination_host == ours.address) == (destination_host == ours.id);
    if claims.destination_address != question.destination || !host_is_one {
        return Err(WrongToken::Destination);
    }
    claims.judge(clock.unix_secs(now).ok_or(WrongToken::Incomplete)?)?;
    let agent_port = u16::try_from(minted.dst_agent_port)
        .ok()
        .filter(|port| *port != 0);
    Ok(MintedToken {
        deadline: clock
            .deadline(claims.expires_unix_secs)
            .ok_or(WrongToken::Incomplete)?,
        destination_host,
        agent_port: agent_port.ok_or(WrongToken::Incomplete)?,
        token,
        claims,
    })
}

#[cfg(test)]
pub(crate) mod tests;
