//! The public vectors, made by another encoder: both directions, every refusal with its reason.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use pairgate_token::{
    Claims, Grant, Grants, MintProof, MintQuestion, Refusal, SecretKey, UnverifiedToken, judge,
};
use serde::Deserialize;
use std::net::IpAddr;
use uuid::Uuid;

#[derive(Deserialize)]
struct Vectors {
    checked_in_this_order: Vec<String>,
    valid: Vec<Valid>,
    refused: Vec<Refused>,
    mint_proofs: Vec<Proof>,
}

#[derive(Deserialize)]
struct Valid {
    key: String,
    claims: VectorClaims,
    token_hex: String,
    token: String,
}

#[derive(Deserialize)]
struct VectorClaims {
    flags: u8,
    dst_port: u16,
    pair_id: u64,
    src_generation: u32,
    dst_generation: u32,
    network: Uuid,
    src_vm: Uuid,
    dst_vm: Uuid,
    src_addr: IpAddr,
    dst_addr: IpAddr,
    src_host: IpAddr,
    dst_host: IpAddr,
    not_before: u64,
    expires: u64,
    grants: Vec<VectorGrant>,
}

#[derive(Deserialize)]
struct VectorGrant {
    protocol: u8,
    first: u16,
    last: u16,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    key: String,
    token_hex: Option<String>,
    token: String,
    refused_because: String,
}

#[derive(Deserialize)]
struct Proof {
    key: String,
    network: Uuid,
    src_vm: Uuid,
    src_addr: IpAddr,
    dst_addr: IpAddr,
    nonce: String,
    unix_secs: u64,
    proof: String,
}

impl VectorClaims {
    fn claims(&self) -> Claims {
        let grant = |entry: &VectorGrant| Grant {
            protocol: entry.protocol,
            first: entry.first,
            last: entry.last,
        };
        Claims {
            replies_only: self.flags == 1,
            grants: Grants::new(self.grants.iter().map(grant).collect()).unwrap(),
            overlay_port: self.dst_port,
            pair_id: self.pair_id,
            source_generation: self.src_generation,
            destination_generation: self.dst_generation,
            network: self.network,
            source_vm: self.src_vm,
            destination_vm: self.dst_vm,
            source_address: self.src_addr,
            destination_address: self.dst_addr,
            source_host: self.src_host,
            destination_host: self.dst_host,
            not_before_unix_secs: self.not_before,
            expires_unix_secs: self.expires,
        }
    }
}

fn vectors() -> Vectors {
    let vectors: Vectors = serde_json::from_str(include_str!("../vectors/token-v1.json")).unwrap();
    assert!(vectors.valid.len() >= 16 && vectors.refused.len() >= 57 && vectors.mint_proofs.len() >= 3);
    vectors
}

fn key(hex: &str) -> SecretKey {
    SecretKey::from_hex(hex.as_bytes()).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn the_words_and_their_order_are_those_of_the_vectors() {
    let words = Refusal::ALL.map(Refusal::word);
    assert_eq!(words.as_slice(), vectors().checked_in_this_order);
    assert!(Refusal::ALL.is_sorted());
}

#[test]
fn every_valid_vector_is_minted_to_the_same_bytes_and_text() {
    for vector in vectors().valid {
        let token = vector.claims.claims().mint(&key(&vector.key)).unwrap();
        assert_eq!(token.as_bytes(), bytes(&vector.token_hex));
        assert_eq!(token.to_text(), vector.token);
    }
}

#[test]
fn every_valid_vector_is_verified_to_the_same_claims_from_bytes_and_from_text() {
    for vector in vectors().valid {
        let claims = vector.claims.claims();
        for token in [
            UnverifiedToken::from_text(&vector.token),
            UnverifiedToken::from_bytes(bytes(&vector.token_hex)),
        ] {
            let token = token.unwrap();
            assert_eq!(token.claimed_destination().vm, claims.destination_vm);
            assert_eq!(token.claimed_destination().network, claims.network);
            assert_eq!(
                token.claimed_destination().generation,
                claims.destination_generation
            );
            assert_eq!(token.claims_without_proof().unwrap(), claims);
            let verified = token.verify(&key(&vector.key)).unwrap();
            assert_eq!(verified.claims(), &claims);
            assert_eq!(verified.as_bytes(), bytes(&vector.token_hex));
            assert_eq!(judge(&verified, claims.not_before_unix_secs), Ok(()));
        }
    }
}

#[test]
fn every_refused_vector_is_refused_for_its_reason() {
    for vector in vectors().refused {
        let verify = |token: UnverifiedToken| token.verify(&key(&vector.key)).map(|_| ());
        let from_text = UnverifiedToken::from_text(&vector.token).and_then(verify);
        assert_eq!(
            from_text.unwrap_err().word(),
            vector.refused_because,
            "{}",
            vector.name
        );
        if let Some(hex) = &vector.token_hex {
            let from_bytes = UnverifiedToken::from_bytes(bytes(hex)).and_then(verify);
            assert_eq!(
                from_bytes.unwrap_err().word(),
                vector.refused_because,
                "{}",
                vector.name
            );
        }
    }
}

#[test]
fn every_reason_has_a_refused_vector() {
    let vectors = vectors();
    for refusal in Refusal::ALL {
        assert!(
            vectors
                .refused
                .iter()
                .any(|vector| vector.refused_because == refusal.word()),
            "{refusal:?}"
        );
    }
}

#[test]
fn every_mint_proof_is_made_to_the_same_bytes_and_verified() {
    for vector in vectors().mint_proofs {
        let question = MintQuestion {
            network: vector.network,
            source_vm: vector.src_vm,
            source_address: vector.src_addr,
            destination_address: vector.dst_addr,
            nonce: bytes(&vector.nonce).try_into().unwrap(),
            unix_secs: vector.unix_secs,
        };
        let proof = MintProof::make(&key(&vector.key), &question);
        assert_eq!(proof.as_bytes().as_slice(), bytes(&vector.proof));
        let received = MintProof::from_slice(&bytes(&vector.proof)).unwrap();
        assert_eq!(received.verify(&key(&vector.key), &question), Ok(()));
    }
}
