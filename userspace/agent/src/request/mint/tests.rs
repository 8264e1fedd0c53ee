use super::*;
use crate::admit::tests::{NOW, clock, good};
use pairgate_token::{Grant, Grants, SecretKey};

/// What was asked, and an answer that fits.
struct Case {
    guest: Guest,
    destination: IpAddr,
    claims: Claims,
    host: Vec<u8>,
    port: u32,
}

fn fitting() -> Case {
    let case = good();
    let claims = case.claims;
    let guest = Guest {
        id: claims.source_vm,
        address: [10, 77, 0, 11].into(),
        generation: claims.source_generation,
        ..case.guest
    };
    Case {
        guest,
        destination: claims.destination_address,
        claims,
        host: vec![2; 16],
        port: 7444,
    }
}

impl Case {
    fn examine(&self) -> Result<MintedToken, WrongToken> {
        // The destination's key, which the source does not have.
        let token = self.claims.mint(&SecretKey::from_bytes([9; 32])).unwrap();
        let minted = grpc::Minted {
            token: token.into_bytes(),
            dst_host_id: self.host.clone(),
            dst_agent_port: self.port,
            registry_unix_ms: 0,
            back_token: Vec::new(),
        };
        let ours = [192, 0, 2, 1].into();
        examine(minted, &self.guest, self.destination, ours, &clock(), NOW)
    }
}

/// A token as the registry gives it.
pub(crate) fn minted() -> MintedToken {
    fitting().examine().unwrap()
}

/// One that ends so many seconds from now.
pub(crate) fn minted_until(secs: u64) -> MintedToken {
    let mut case = fitting();
    case.claims.expires_unix_secs += secs;
    case.claims.expires_unix_secs -= 3600;
    case.examine().unwrap()
}

#[test]
fn a_token_for_what_was_asked_is_taken() {
    let minted = minted();
    assert_eq!(minted.agent_port(), 7444);
    assert_eq!(NOW.until(minted.deadline()).as_secs(), 3600);
}

#[test]
fn a_token_for_anything_else_is_not_taken() {
    type Change = fn(&mut Case);
    let cases: [(&str, WrongToken, Change); 13] = [
        ("another network", WrongToken::Source, |c| {
            c.claims.network = Uuid::from_u128(1)
        }),
        ("another source VM", WrongToken::Source, |c| {
            c.claims.source_vm = Uuid::from_u128(1)
        }),
        ("an old generation", WrongToken::Source, |c| {
            c.claims.source_generation = 1
        }),
        ("another source address", WrongToken::Source, |c| {
            c.claims.source_address = [10, 77, 0, 12].into();
        }),
        ("another source host", WrongToken::Source, |c| {
            c.claims.source_host = [192, 0, 2, 9].into()
        }),
        ("another destination", WrongToken::Destination, |c| {
            c.claims.destination_address = [10, 77, 0, 22].into();
        }),
        ("a VM of this host", WrongToken::SameHost, |c| {
            c.claims.destination_host = c.claims.source_host;
        }),
        ("replies only", WrongToken::Unsupported, |c| {
            c.claims.replies_only = true
        }),
        ("some ports only", WrongToken::Unsupported, |c| {
            let web = Grant {
                protocol: 6,
                first: 443,
                last: 443,
            };
            c.claims.grants = Grants::new(vec![web]).unwrap();
        }),
        ("the past", WrongToken::Time(Untimely::Expired), |c| {
            c.claims.not_before_unix_secs -= 7200;
            c.claims.expires_unix_secs -= 7200;
        }),
        ("the future", WrongToken::Time(Untimely::Early), |c| {
            c.claims.not_before_unix_secs += 60;
        }),
        ("no host", WrongToken::Incomplete, |c| c.host = vec![0; 16]),
        ("no port", WrongToken::Incomplete, |c| c.port = 65_536),
    ];
    for (what, wrong, change) in cases {
        let mut case = fitting();
        change(&mut case);
        assert_eq!(case.examine().map(|_| ()), Err(wrong), "a token for {what}");
    }
}

#[test]
fn bytes_that_are_no_token_are_not_taken() {
    let case = fitting();
    let minted = grpc::Minted {
        token: vec![1; 184],
        dst_host_id: case.host,
        dst_agent_port: case.port,
        registry_unix_ms: 0,
        back_token: Vec::new(),
    };
    let ours = [192, 0, 2, 1].into();
    let wrong = examine(minted, &case.guest, case.destination, ours, &clock(), NOW);
    assert!(matches!(wrong, Err(WrongToken::Form(_))));
}
