//! The token: the registry's proof that one pair may talk now.
//!
//! Job: turn [`Claims`] into a [`Token`] under the destination VM's secret key, and bytes from outside into a
//! [`VerifiedToken`] under the same key; likewise for the [`MintProof`] that goes with every mint request.
//!
//! Guarantee: the types change once per step, and no constructor skips one.
//!
//! ```text
//! registry            Claims ──mint(key)──▶ Token ──bytes──▶ …
//! destination agent   … ──bytes──▶ UnverifiedToken ──verify(key)──▶ VerifiedToken ──judge(now)──▶ in time
//! ```
//!
//! A [`VerifiedToken`] is made by [`UnverifiedToken::verify`] alone, so whatever asks for one cannot be handed
//! bytes that nobody checked. Every claim has exactly one encoding; anything else is refused with a
//! [`Refusal`], whose words and order are part of the contract (see `docs/token.md`). Minting refuses what
//! verifying would refuse, with the same words.
//!
//! There is no clock and no socket here: time is an argument, so every answer can be tested and repeated.

#![forbid(unsafe_code)]

mod claims;
mod codec;
mod grant_text;
mod grants;
mod keys;
mod mint_proof;
mod refusal;
mod token;

pub use claims::Claims;
pub use codec::{FIXED_LEN, MAX_TOKEN_LEN, MIN_TOKEN_LEN, TAG_LEN, address_bytes, address_from_bytes};
pub use grant_text::GrantError;
pub use grants::{Grant, Grants, MAX_GRANTS};
pub use keys::{KeyError, SECRET_KEY_LEN, SecretKey};
pub use mint_proof::{
    MINT_NONCE_LEN, MINT_PROOF_LEN, MINT_PROOF_WINDOW_SECS, MintProof, MintQuestion, WrongProof,
};
pub use refusal::{Refusal, Untimely};
pub use token::{ClaimedDestination, Token, UnverifiedToken, VerifiedToken, judge};

/// Longest life that a token may have.
pub const MAX_LIFE_SECS: u64 = 86_400;
