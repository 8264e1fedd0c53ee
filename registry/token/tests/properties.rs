//! What must hold for every token, not only for those someone thought of.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use pairgate_token::{
    Claims, Grant, Grants, KeyError, MAX_LIFE_SECS, MAX_TOKEN_LEN, MIN_TOKEN_LEN, MINT_PROOF_WINDOW_SECS,
    MintProof, MintQuestion, Refusal, SecretKey, Untimely, UnverifiedToken, judge,
};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use uuid::Uuid;

fn keys() -> impl Strategy<Value = SecretKey> {
    any::<[u8; 32]>().prop_map(SecretKey::from_bytes)
}

fn ids() -> impl Strategy<Value = Uuid> {
    (1..=u128::MAX).prop_map(Uuid::from_u128)
}

fn unicast_v4() -> impl Strategy<Value = IpAddr> {
    any::<u32>()
        .prop_map(Ipv4Addr::from)
        .prop_filter_map("not unicast", |address| {
            let first = address.octets()[0];
            (first != 0 && first != 127 && first < 224).then_some(IpAddr::V4(address))
        })
}

fn unicast_v6() -> impl Strategy<Value = IpAddr> {
    any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits >> 1 | 1 << 125)))
}

/// Two addresses of one family.
fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![(unicast_v4(), unicast_v4()), (unicast_v6(), unicast_v6())]
}

fn grants() -> impl Strategy<Value = Grants> {
    let grant = (any::<u8>(), any::<u16>(), any::<u16>()).prop_map(|(protocol, one, other)| {
        let has_ports = [6, 17, 132].contains(&protocol);
        let (first, last) = if has_ports {
            (one.min(other), one.max(other))
        } else {
            (0, 0)
        };
        Grant {
            protocol,
            first,
            last,
        }
    });
    prop::collection::vec(prop_oneof![grant.clone(), grant.prop_map(to_tcp)], 0..=16).prop_map(
        |mut entries| {
            entries.sort_by_key(|entry| (entry.protocol, entry.first));
            entries.dedup_by(|after, before| after.protocol == before.protocol && after.first <= before.last);
            Grants::new(entries).unwrap()
        },
    )
}

fn to_tcp(grant: Grant) -> Grant {
    Grant { protocol: 6, ..grant }
}

prop_compose! {
    fn claims()(
        (replies_only, grants) in prop_oneof![Just((true, Grants::all())), grants().prop_map(|g| (false, g))],
        overlay_port in 1..=u16::MAX,
        pair_id in 1..=u64::MAX,
        (source_generation, destination_generation) in (1..=u32::MAX, 1..=u32::MAX),
        (network, source_vm, destination_vm) in (ids(), ids(), ids()),
        (source_address, destination_address) in addresses().prop_filter("equal", |(one, other)| one != other),
        (source_host, destination_host) in addresses(),
        not_before_unix_secs in 0..=u64::MAX - MAX_LIFE_SECS,
        life_secs in 1..=MAX_LIFE_SECS,
    ) -> Claims {
        Claims {
            replies_only, grants, overlay_port, pair_id, source_generation, destination_generation, network,
            source_vm, destination_vm, source_address, destination_address, source_host, destination_host,
            not_before_unix_secs, expires_unix_secs: not_before_unix_secs + life_secs,
        }
    }
}

fn one_claims() -> Claims {
    Claims {
        replies_only: false,
        grants: Grants::new(vec![Grant {
            protocol: 6,
            first: 80,
            last: 90,
        }])
        .unwrap(),
        overlay_port: 4789,
        pair_id: u64::MAX,
        source_generation: 1,
        destination_generation: 2,
        network: Uuid::from_u128(1),
        source_vm: Uuid::from_u128(2),
        destination_vm: Uuid::from_u128(3),
        source_address: IpAddr::from([10, 77, 0, 11]),
        destination_address: IpAddr::from([10, 77, 0, 21]),
        source_host: IpAddr::from([192, 0, 2, 1]),
        destination_host: IpAddr::from([192, 0, 2, 2]),
        not_before_unix_secs: 1_000,
        expires_unix_secs: 2_000,
    }
}

fn verify(token: &[u8], key: &SecretKey) -> Result<Claims, Refusal> {
    UnverifiedToken::from_bytes(token)?
        .verify(key)
        .map(|token| token.claims().clone())
}

/// Wrong if it fails: the same claims are two, by how an IPv4 address was written.
#[test]
fn an_ipv4_address_in_its_ipv6_form_is_the_same_address() {
    let key = SecretKey::from_bytes([7; 32]);
    let wide = |address| match address {
        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
        IpAddr::V6(_) => address,
    };
    let plain = one_claims();
    let claims = Claims {
        source_address: wide(plain.source_address),
        destination_address: wide(plain.destination_address),
        source_host: wide(plain.source_host),
        destination_host: wide(plain.destination_host),
        ..plain.clone()
    };
    let token = claims.mint(&key).unwrap();
    assert_eq!(token.claims(), &plain);
    assert_eq!(token.as_bytes(), plain.mint(&key).unwrap().as_bytes());
}

#[test]
fn tokens_are_as_long_as_the_document_says() {
    assert_eq!((MIN_TOKEN_LEN, MAX_TOKEN_LEN), (184, 280));
}

/// Wrong if it fails: a log holds what opens a pair, or says nothing of what it is about.
#[test]
fn what_is_secret_does_not_print_and_what_is_claimed_does() {
    let key = SecretKey::from_bytes([0x5a; 32]);
    assert_eq!(format!("{key:?}"), "SecretKey(..)");
    let question = MintQuestion {
        network: Uuid::from_u128(1),
        source_vm: Uuid::from_u128(2),
        source_address: IpAddr::from([10, 77, 0, 11]),
        destination_address: IpAddr::from([10, 77, 0, 21]),
        nonce: [3; 16],
        unix_secs: 1_000,
    };
    assert_eq!(format!("{:?}", MintProof::make(&key, &question)), "MintProof(..)");
    let token = one_claims().mint(&key).unwrap();
    let unverified = UnverifiedToken::from_bytes(token.as_bytes()).unwrap();
    let verified = unverified.clone().verify(&key).unwrap();
    let tag: Vec<String> = token.as_bytes()[token.as_bytes().len() - 32..]
        .iter()
        .map(u8::to_string)
        .collect();
    for (name, printed) in [
        ("Token", format!("{token:?}")),
        ("UnverifiedToken", format!("{unverified:?}")),
        ("VerifiedToken", format!("{verified:?}")),
    ] {
        assert!(printed.starts_with(&format!("{name} {{ claim")), "{printed}");
        assert!(
            printed.contains("generation: 2") && printed.ends_with(", .. }"),
            "{printed}"
        );
        assert!(!printed.contains(&tag.join(", ")), "{printed}");
    }
}

#[test]
fn a_wrong_digit_of_a_key_is_named_by_its_place() {
    for place in [0, 1, 6, 7, 62, 63] {
        let mut text = [b'a'; 64];
        text[place] = b'g';
        let refused = SecretKey::from_hex(&text).unwrap_err();
        assert_eq!(refused, KeyError::HexDigit { position: place + 1 });
    }
}

proptest! {
    #[test]
    fn what_is_minted_is_verified_to_the_same_claims(claims in claims(), key in keys()) {
        let token = claims.mint(&key).unwrap();
        prop_assert_eq!(verify(token.as_bytes(), &key), Ok(claims.clone()));
        let text = UnverifiedToken::from_text(token.to_text()).unwrap();
        prop_assert_eq!(text.as_bytes(), token.as_bytes());
        let verified = text.verify(&key).unwrap();
        prop_assert_eq!(verified.claims(), &claims);
    }

    #[test]
    fn another_key_refuses_the_tag(claims in claims(), key in keys(), other in keys()) {
        prop_assume!(key.expose_bytes() != other.expose_bytes());
        let token = claims.mint(&key).unwrap();
        prop_assert_eq!(verify(token.as_bytes(), &other), Err(Refusal::Tag));
    }

    #[test]
    fn bytes_from_outside_never_panic_and_never_verify(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(verify(&bytes, &SecretKey::from_bytes([7; 32])).is_err());
        if let Ok(token) = UnverifiedToken::from_bytes(bytes) {
            let _ = token.claims_without_proof();
        }
    }

    /// Reaches the rules behind the tag, which random bytes never do: claims with the right length and
    /// magic, everything else random, that read must be what they are written as again.
    #[test]
    fn bytes_that_read_as_claims_are_the_only_encoding_of_them(
        claims in claims(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let key = SecretKey::from_bytes([7; 32]);
        let mut bytes = claims.mint(&key).unwrap().into_bytes();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let read = UnverifiedToken::from_bytes(bytes.as_slice()).and_then(|token| token.claims_without_proof());
        if let Ok(claims) = read {
            let again = claims.mint(&key).unwrap();
            prop_assert_eq!(&again.as_bytes()[..again.as_bytes().len() - 32], &bytes[..bytes.len() - 32]);
        }
    }

    #[test]
    fn text_that_reads_is_the_only_text_of_its_bytes(claims in claims(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut text = claims.mint(&SecretKey::from_bytes([7; 32])).unwrap().to_text().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(token) = UnverifiedToken::from_text(&text) {
            prop_assert_eq!(token.to_text().into_bytes(), text);
        }
    }

    #[test]
    fn a_proof_holds_for_its_own_question_and_key_only(key in keys(), at in 0..96_usize, bit in 0..8_u32) {
        let question = question();
        let proof = MintProof::make(&key, &question);
        prop_assert_eq!(proof.verify(&key, &question), Ok(()));
        let mut other = question.clone();
        let flip = 1_u128 << bit;
        match at {
            0..16 => other.network = Uuid::from_u128(other.network.as_u128() ^ flip << (at * 8)),
            16..32 => other.source_vm = Uuid::from_u128(other.source_vm.as_u128() ^ flip << ((at - 16) * 8)),
            32..48 => other.nonce[at - 32] ^= 1 << bit,
            48..64 => other.unix_secs ^= 1 << ((at - 48) / 2 * 8) << bit,
            64..80 => other.source_address = IpAddr::V6(Ipv6Addr::from(flip << ((at - 64) * 8))),
            _ => other.destination_address = IpAddr::V6(Ipv6Addr::from(flip << ((at - 80) * 8))),
        }
        prop_assert!(proof.verify(&key, &other).is_err());
        let mut bytes = *proof.as_bytes();
        bytes[at % 32] ^= 1 << bit;
        prop_assert!(MintProof::from_slice(&bytes).unwrap().verify(&key, &question).is_err());
    }
}

fn question() -> MintQuestion {
    MintQuestion {
        network: Uuid::from_u128(1),
        source_vm: Uuid::from_u128(2),
        source_address: IpAddr::from([10, 77, 0, 11]),
        destination_address: IpAddr::from([10, 77, 0, 21]),
        nonce: [9; 16],
        unix_secs: 1_000,
    }
}

#[test]
fn every_single_flipped_bit_is_refused() {
    let key = SecretKey::from_bytes([7; 32]);
    let token = one_claims().mint(&key).unwrap().into_bytes();
    for bit in 0..token.len() * 8 {
        let mut bytes = token.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A changed count demands another length; everything else is caught by the tag, before it is read.
        let expected = if bit / 8 == 5 {
            Refusal::Length
        } else {
            Refusal::Tag
        };
        assert_eq!(verify(&bytes, &key), Err(expected), "bit {bit}");
    }
}

#[test]
fn every_shorter_and_longer_token_is_refused() {
    let key = SecretKey::from_bytes([7; 32]);
    let token = one_claims().mint(&key).unwrap().into_bytes();
    for len in 0..token.len() {
        assert_eq!(verify(&token[..len], &key), Err(Refusal::Length), "{len} bytes");
    }
    let mut longer = token;
    longer.push(0);
    assert_eq!(verify(&longer, &key), Err(Refusal::Length));
}

#[test]
fn minting_refuses_what_verifying_would_refuse_with_the_same_word() {
    type Change = fn(&mut Claims);
    let changes: &[(Refusal, Change)] = &[
        (Refusal::Grants, |claims| claims.replies_only = true),
        (Refusal::Pair, |claims| claims.pair_id = 0),
        (Refusal::Generations, |claims| claims.source_generation = 0),
        (Refusal::Generations, |claims| claims.destination_generation = 0),
        (Refusal::Vms, |claims| claims.network = Uuid::nil()),
        (Refusal::Vms, |claims| claims.source_vm = Uuid::nil()),
        (Refusal::Vms, |claims| claims.destination_vm = claims.source_vm),
        (Refusal::Addresses, |claims| {
            claims.source_address = claims.destination_address
        }),
        (Refusal::Addresses, |claims| {
            claims.source_address = "::ffff:10.77.0.21".parse().unwrap()
        }),
        (Refusal::Addresses, |claims| {
            claims.source_address = "fd77::1".parse().unwrap()
        }),
        (Refusal::Addresses, |claims| {
            claims.source_address = "255.255.255.255".parse().unwrap()
        }),
        (Refusal::Hosts, |claims| {
            claims.destination_host = "::1".parse().unwrap()
        }),
        (Refusal::Hosts, |claims| claims.overlay_port = 0),
        (Refusal::Times, |claims| {
            claims.expires_unix_secs = claims.not_before_unix_secs
        }),
        (Refusal::Times, |claims| {
            claims.expires_unix_secs = 1_001 + MAX_LIFE_SECS
        }),
        (Refusal::Times, |claims| claims.not_before_unix_secs = u64::MAX),
    ];
    let key = SecretKey::from_bytes([7; 32]);
    for (refusal, change) in changes {
        let mut claims = one_claims();
        change(&mut claims);
        assert_eq!(claims.mint(&key).unwrap_err(), *refusal, "{claims:?}");
    }
}

#[test]
fn the_first_broken_rule_names_the_refusal() {
    let mut claims = one_claims();
    claims.expires_unix_secs = 0;
    assert_eq!(claims.check(), Err(Refusal::Times));
    claims.overlay_port = 0;
    assert_eq!(claims.check(), Err(Refusal::Hosts));
    claims.source_address = claims.destination_address;
    assert_eq!(claims.check(), Err(Refusal::Addresses));
    claims.network = Uuid::nil();
    assert_eq!(claims.check(), Err(Refusal::Vms));
    claims.source_generation = 0;
    assert_eq!(claims.check(), Err(Refusal::Generations));
    claims.pair_id = 0;
    assert_eq!(claims.check(), Err(Refusal::Pair));
    claims.replies_only = true;
    assert_eq!(claims.check(), Err(Refusal::Grants));
}

#[test]
fn two_vms_on_one_host_may_have_a_token() {
    let key = SecretKey::from_bytes([7; 32]);
    let claims = Claims {
        source_host: one_claims().destination_host,
        ..one_claims()
    };
    assert_eq!(verify(claims.mint(&key).unwrap().as_bytes(), &key), Ok(claims));
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_the_same_claim() {
    let key = SecretKey::from_bytes([7; 32]);
    let mapped = Claims {
        source_address: "::ffff:10.77.0.11".parse().unwrap(),
        ..one_claims()
    };
    let token = mapped.mint(&key).unwrap();
    assert_eq!(token.as_bytes(), one_claims().mint(&key).unwrap().as_bytes());
    assert_eq!(token.claims(), &one_claims());
}

#[test]
fn a_token_holds_from_its_first_second_until_before_its_last() {
    let key = SecretKey::from_bytes([7; 32]);
    let token = one_claims().mint(&key).unwrap();
    let token = UnverifiedToken::from_bytes(token.as_bytes())
        .unwrap()
        .verify(&key)
        .unwrap();
    let answers = [0, 999, 1_000, 1_999, 2_000, u64::MAX].map(|now| judge(&token, now));
    let (early, expired) = (Err(Untimely::Early), Err(Untimely::Expired));
    assert_eq!(answers, [early, early, Ok(()), Ok(()), expired, expired]);
}

#[test]
fn a_mint_question_is_fresh_for_a_minute_to_either_side() {
    let now = question().unix_secs;
    for registry in [now - MINT_PROOF_WINDOW_SECS, now, now + MINT_PROOF_WINDOW_SECS] {
        assert!(question().is_fresh(registry), "{registry}");
    }
    for registry in [0, now - 61, now + 61, u64::MAX] {
        assert!(!question().is_fresh(registry), "{registry}");
    }
}

#[test]
fn nothing_that_holds_a_tag_prints_it() {
    let key = SecretKey::from_bytes([7; 32]);
    let token = one_claims().mint(&key).unwrap();
    let tag = format!("{:?}", &token.as_bytes()[token.as_bytes().len() - 32..]);
    let tag = tag.trim_matches(['[', ']']);
    let unverified = UnverifiedToken::from_bytes(token.as_bytes()).unwrap();
    let verified = unverified.clone().verify(&key).unwrap();
    let proof = MintProof::make(&key, &question());
    let printed = format!("{token:?} {unverified:?} {verified:?} {proof:?}");
    assert!(
        !printed.contains(tag) && !printed.contains(&token.to_text()),
        "{printed}"
    );
    assert!(!printed.contains(&format!("{:?}", proof.as_bytes())), "{printed}");
}

#[test]
fn a_key_has_exactly_its_length_and_a_time_its_word() {
    assert!(SecretKey::from_slice(&[7; 32]).is_ok());
    for length in [0, 31, 33] {
        let error = SecretKey::from_slice(&vec![7; length]).unwrap_err();
        assert!(error.to_string().contains(&length.to_string()), "{error}");
    }
    assert_eq!(Untimely::Early.word(), "early");
    assert_eq!(Untimely::Expired.word(), "expired");
}

#[test]
fn a_grant_covers_what_lies_inside_of_it_alone() {
    let covers = |one: &str, other: &str| one.parse::<Grants>().unwrap().covers(&other.parse().unwrap());
    assert!(covers("tcp/10-20", "tcp/10-20") && covers("tcp/10-20", "tcp/12"));
    for other in ["tcp/9-20", "tcp/10-21", "tcp/9", "udp/12", "all"] {
        assert!(!covers("tcp/10-20", other), "{other}");
    }
    assert!(covers("all", "tcp") && covers("all", "all"));
}
