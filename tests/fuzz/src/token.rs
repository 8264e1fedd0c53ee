//! The token crate: tokens, claims, grants and the proof of a mint request.

use arbitrary::{Result, Unstructured};
use pairgate_token::{
    Claims, Grant, Grants, MAX_LIFE_SECS, MAX_TOKEN_LEN, MIN_TOKEN_LEN, MintProof, MintQuestion, SecretKey,
    TAG_LEN, UnverifiedToken, judge,
};
use std::net::IpAddr;
use uuid::Uuid;

pub(crate) fn key() -> SecretKey {
    SecretKey::from_bytes([7; 32])
}

pub(crate) fn token_bytes(data: &[u8]) {
    let Ok(token) = UnverifiedToken::from_bytes(data) else {
        return;
    };
    assert!(data.len() >= MIN_TOKEN_LEN);
    let _ = token.claimed_destination();
    let claims = token.claims_without_proof();
    let verified = token.verify(&key());
    let Ok(claims) = claims else {
        assert!(verified.is_err(), "what has no readable form is verified");
        return;
    };
    assert!(data.len() <= MAX_TOKEN_LEN);
    // The only encoding of what it says: minted again, all but the tag is the same.
    let again = claims.mint(&key()).unwrap();
    let signed = data.len() - TAG_LEN;
    assert_eq!(
        again.as_bytes()[..signed],
        data[..signed],
        "two encodings of the same claims"
    );
    assert_eq!(
        verified.is_ok(),
        again.as_bytes() == data,
        "a tag that is not the key's is taken"
    );
    check_flips(again.as_bytes(), data.first().copied().unwrap_or(0));
}

/// With any one bit flipped it is refused; `start` chooses which bits are tried.
fn check_flips(token: &[u8], start: u8) {
    for bit in (usize::from(start) % 61..token.len() * 8).step_by(61) {
        let mut bytes = token.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let verified = UnverifiedToken::from_bytes(bytes).and_then(|token| token.verify(&key()));
        assert!(verified.is_err(), "bit {bit} may be flipped");
    }
}

pub(crate) fn token_text(data: &[u8]) {
    let Ok(token) = UnverifiedToken::from_text(data) else {
        return;
    };
    assert_eq!(token.to_text().as_bytes(), data, "two texts of the same token");
    token_bytes(token.as_bytes());
}

pub(crate) fn token_claims(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (Ok(claims), Ok(bit)) = (claims(&mut u), u.arbitrary::<u16>()) else {
        return;
    };
    let sound = claims.check();
    let minted = claims.mint(&key());
    assert_eq!(
        minted.as_ref().err(),
        sound.err().as_ref(),
        "minting and checking disagree"
    );
    let Ok(token) = minted else {
        return;
    };
    let verified = UnverifiedToken::from_bytes(token.as_bytes())
        .unwrap()
        .verify(&key())
        .unwrap();
    assert_eq!(verified.claims(), token.claims());
    assert!(
        judge(&verified, claims.expires_unix_secs).is_err(),
        "it holds at its end"
    );
    assert!(judge(&verified, claims.not_before_unix_secs).is_ok());
    assert!(claims.expires_unix_secs - claims.not_before_unix_secs <= MAX_LIFE_SECS);
    let mut bytes = token.into_bytes();
    let bit = usize::from(bit) % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    let flipped = UnverifiedToken::from_bytes(bytes).and_then(|token| token.verify(&key()));
    assert!(flipped.is_err(), "bit {bit} may be flipped");
}

/// Claims that are mostly sound.
pub(crate) fn claims(u: &mut Unstructured<'_>) -> Result<Claims> {
    let (source_address, destination_address) = addresses(u, 10)?;
    let (source_host, destination_host) = addresses(u, 192)?;
    let not_before_unix_secs = u.arbitrary()?;
    let grants = grants(u)?;
    let id = |u: &mut Unstructured<'_>| u.arbitrary::<u128>().map(Uuid::from_u128);
    Ok(Claims {
        replies_only: u.ratio(1, 8)?,
        grants,
        overlay_port: u.arbitrary()?,
        pair_id: u.arbitrary()?,
        source_generation: u.arbitrary()?,
        destination_generation: u.arbitrary()?,
        network: id(u)?,
        source_vm: id(u)?,
        destination_vm: id(u)?,
        source_address,
        destination_address,
        source_host,
        destination_host,
        not_before_unix_secs,
        expires_unix_secs: match u.int_in_range(0..=3_u8)? {
            0 => u.arbitrary()?,
            _ => not_before_unix_secs.saturating_add(u.int_in_range(0..=MAX_LIFE_SECS + 1)?),
        },
    })
}

/// Two addresses: mostly of one family, and mostly unicast.
fn addresses(u: &mut Unstructured<'_>, first: u8) -> Result<(IpAddr, IpAddr)> {
    let four = |u: &mut Unstructured<'_>| {
        let [a, b, c, d]: [u8; 4] = u.arbitrary()?;
        Ok::<_, arbitrary::Error>(IpAddr::from([if a < 0xf0 { first } else { a }, b, c, d]))
    };
    let six = |u: &mut Unstructured<'_>| u.arbitrary::<[u8; 16]>().map(IpAddr::from);
    Ok(match u.int_in_range(0..=7_u8)? {
        0..=3 => (four(u)?, four(u)?),
        4..=6 => (six(u)?, six(u)?),
        _ => (four(u)?, six(u)?),
    })
}

fn grants(u: &mut Unstructured<'_>) -> Result<Grants> {
    let mut entries = Vec::new();
    for _ in 0..u.int_in_range(0..=17_u8)? {
        let (protocol, one, other): (u8, u16, u16) = u.arbitrary()?;
        let protocol = if protocol < 0xc0 { 6 } else { protocol };
        let (first, last) = if [6, 17, 132].contains(&protocol) {
            (one.min(other), one.max(other))
        } else {
            (0, 0)
        };
        entries.push(Grant {
            protocol,
            first,
            last,
        });
    }
    entries.sort_by_key(|entry| (entry.protocol, entry.first));
    entries.dedup_by(|after, before| after.protocol == before.protocol && after.first <= before.last);
    Ok(Grants::new(entries).unwrap_or_else(|_| Grants::all()))
}

pub(crate) fn grant_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let lines: Vec<&str> = text.lines().collect();
    for grants in [text.parse::<Grants>(), Grants::from_texts(&lines)] {
        let grants = match grants {
            Ok(grants) => grants,
            Err(error) => {
                assert!(
                    error.to_string().len() < 1_000,
                    "the refusal repeats what was said"
                );
                continue;
            }
        };
        let written = grants.to_string();
        assert_eq!(
            written.parse().as_ref(),
            Ok(&grants),
            "{written} reads as something else"
        );
        assert!(grants.covers(&grants) && Grants::all().covers(&grants));
        assert_eq!(Grants::new(grants.entries().to_vec()).as_ref(), Ok(&grants));
    }
}

pub(crate) fn mint_proof(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(question) = question(&mut u) else {
        return;
    };
    let made = MintProof::make(&key(), &question);
    assert!(made.verify(&key(), &question).is_ok());
    let _ = question.is_fresh(u.arbitrary().unwrap_or(0));
    let rest = u.take_rest();
    if let Ok(proof) = MintProof::from_slice(rest) {
        assert_eq!(proof.verify(&key(), &question).is_ok(), made.as_bytes() == rest);
    }
    let _ = SecretKey::from_hex(rest);
    let _ = SecretKey::from_slice(rest);
}

fn question(u: &mut Unstructured<'_>) -> Result<MintQuestion> {
    let (source_address, destination_address) = addresses(u, 10)?;
    Ok(MintQuestion {
        network: Uuid::from_u128(u.arbitrary()?),
        source_vm: Uuid::from_u128(u.arbitrary()?),
        source_address,
        destination_address,
        nonce: u.arbitrary()?,
        unix_secs: u.arbitrary()?,
    })
}
