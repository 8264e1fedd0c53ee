//! Tokens before, on and after their way.

use crate::codec::{self, RawClaims};
use crate::{Claims, Refusal, SecretKey, Untimely};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use std::fmt;
use uuid::Uuid;

const LABEL: &str = "pairgate/token/v1";

/// A token that was minted here. Prints without its tag.
#[derive(Clone)]
pub struct Token {
    bytes: Vec<u8>,
    claims: Claims,
}

impl Claims {
    /// Makes the token, under the secret key of the destination VM's placement. Refuses claims that
    /// [`UnverifiedToken::verify`] would refuse, with the same word: nothing is handed out that nobody takes.
    pub fn mint(&self, destination_key: &SecretKey) -> Result<Token, Refusal> {
        self.check()?;
        let mut bytes = codec::encode(self);
        let mut mac = destination_key.mac(LABEL);
        mac.update(&bytes);
        bytes.extend_from_slice(&mac.finalize().into_bytes());
        Ok(Token {
            bytes,
            claims: self.canonical(),
        })
    }
}

impl Token {
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// base64url without padding.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.bytes)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// Bytes of a token's length, from whoever. Prints without its tag.
#[derive(Clone)]
pub struct UnverifiedToken {
    bytes: Vec<u8>,
    raw: RawClaims,
}

/// Whose key would have made the tag, if the claims are true. Good for finding that key, and for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimedDestination {
    pub network: Uuid,
    pub vm: Uuid,
    pub generation: u32,
}

impl UnverifiedToken {
    /// From the text form; refuses `text` and `length`.
    pub fn from_text(text: impl AsRef<[u8]>) -> Result<Self, Refusal> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Text)?;
        Self::from_bytes(bytes)
    }

    /// From the binary form; refuses `length`.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, Refusal> {
        let bytes = bytes.into();
        let raw = codec::take_apart(&bytes)?;
        Ok(Self { bytes, raw })
    }

    /// Which VM's and generation's key to verify with.
    pub fn claimed_destination(&self) -> ClaimedDestination {
        ClaimedDestination {
            network: self.raw.network,
            vm: self.raw.destination_vm,
            generation: self.raw.destination_generation,
        }
    }

    /// The one way to a [`VerifiedToken`]: the tag first, in constant time, then every rule.
    pub fn verify(self, destination_key: &SecretKey) -> Result<VerifiedToken, Refusal> {
        let (signed, tag) = codec::split_tag(&self.bytes)?;
        let mut mac = destination_key.mac(LABEL);
        mac.update(signed);
        mac.verify_slice(tag).map_err(|_| Refusal::Tag)?;
        let claims = codec::decode(&self.raw)?;
        Ok(VerifiedToken {
            bytes: self.bytes,
            claims,
        })
    }

    /// What the token says, its tag unchecked: for showing to a person, and for the source's agent, which
    /// has no key to check it with and must know by other means who made it.
    pub fn claims_without_proof(&self) -> Result<Claims, Refusal> {
        codec::decode(&self.raw)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// base64url without padding.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.bytes)
    }
}

impl fmt::Debug for UnverifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedToken")
            .field("claimed", &self.claimed_destination())
            .finish_non_exhaustive()
    }
}

/// A token whose tag and form are right: the registry said this, to the holder of the destination's key.
/// Whether it holds *now* is the answer of [`judge`]. Prints without its tag.
#[derive(Clone)]
pub struct VerifiedToken {
    bytes: Vec<u8>,
    claims: Claims,
}

impl VerifiedToken {
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The same bytes that were verified: offers are told apart by them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// Whether a verified token holds at this instant of registry time: from its first second until before its
/// last.
pub fn judge(token: &VerifiedToken, unix_secs: u64) -> Result<(), Untimely> {
    token.claims.judge(unix_secs)
}
