//! The proof that goes with every mint request.
//!
//! A host's certificate says which host asks; this says that the agent there holds the source VM's key of the
//! current placement. Without it, a host whose placement was taken away could go on asking in the VM's name
//! with nothing but its certificate.

use crate::{SecretKey, address_bytes};
use hmac::Mac;
use std::fmt;
use std::net::IpAddr;
use uuid::Uuid;

const LABEL: &str = "pairgate/mint/v1";

/// Bytes of a proof.
pub const MINT_PROOF_LEN: usize = 32;
/// Bytes of the nonce that tells one question from the same question asked again.
pub const MINT_NONCE_LEN: usize = 16;
/// How far the question's time may be from the registry's.
pub const MINT_PROOF_WINDOW_SECS: u64 = 60;

/// What a source agent asks the registry: a token from this VM and address to that address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintQuestion {
    pub network: Uuid,
    pub source_vm: Uuid,
    pub source_address: IpAddr,
    pub destination_address: IpAddr,
    pub nonce: [u8; MINT_NONCE_LEN],
    /// Registry time as the agent estimates it.
    pub unix_secs: u64,
}

impl MintQuestion {
    /// Whether the question was asked within a minute of the registry's time, to either side.
    pub fn is_fresh(&self, registry_unix_secs: u64) -> bool {
        self.unix_secs.abs_diff(registry_unix_secs) <= MINT_PROOF_WINDOW_SECS
    }

    fn mac(&self, source_key: &SecretKey) -> impl Mac + use<> {
        let mut mac = source_key.mac(LABEL);
        mac.update(self.network.as_bytes());
        mac.update(self.source_vm.as_bytes());
        mac.update(&address_bytes(self.source_address));
        mac.update(&address_bytes(self.destination_address));
        mac.update(&self.nonce);
        mac.update(&self.unix_secs.to_be_bytes());
        mac
    }
}

/// `HMAC-SHA256(source VM's secret key, "pairgate/mint/v1" ‖ 0x00 ‖ question)`. Does not print.
#[derive(Clone)]
pub struct MintProof([u8; MINT_PROOF_LEN]);

/// The proof was not made with this key over this question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mint proof was not made with the source VM's current key over this question")]
pub struct WrongProof;

impl MintProof {
    pub fn make(source_key: &SecretKey, question: &MintQuestion) -> Self {
        let mut proof = [0; MINT_PROOF_LEN];
        for (to, from) in proof
            .iter_mut()
            .zip(question.mac(source_key).finalize().into_bytes())
        {
            *to = from;
        }
        Self(proof)
    }

    /// Bytes from outside; a wrong length is a wrong proof.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, WrongProof> {
        bytes.try_into().map(Self).map_err(|_| WrongProof)
    }

    /// In constant time. Says nothing about the time of the question: see [`MintQuestion::is_fresh`].
    pub fn verify(&self, source_key: &SecretKey, question: &MintQuestion) -> Result<(), WrongProof> {
        question
            .mac(source_key)
            .verify_slice(&self.0)
            .map_err(|_| WrongProof)
    }

    pub fn as_bytes(&self) -> &[u8; MINT_PROOF_LEN] {
        &self.0
    }
}

impl fmt::Debug for MintProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MintProof(..)")
    }
}
