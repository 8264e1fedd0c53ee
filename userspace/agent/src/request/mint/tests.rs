use super::*;
use crate::admit::tests::{NOW, clock, good, own};
use pairgate_token::SecretKey;

/// What was asked, and an answer that fits.
struct Case {
    guest: Guest,
    source: IpAddr,
    destination: IpAddr,
    claims: Claims,
    host: Vec<u8>,
    port: u32,
}

const OURS: OwnHost = OwnHost {
    id: Uuid::from_u128(0x1),
    address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
};

fn fitting() -> Case {
    let case = good();
    let claims = case.claims;
    let guest = Guest {
        id: claims.source_vm,
        addresses: vec![own("10.77.0.11", 24)],
        generation: claims.source_generation,
        ..case.guest
    };
    Case {
        guest,
        source: claims.source_address,
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
        examine(minted, self.question(), OURS, &clock(), NOW)
    }

    fn question(&self) -> Question<'_> {
        Question {
            guest: &self.guest,
            source: self.source,
            destination: self.destination,
            with_back: false,
        }
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

/// One for two IPv6 addresses.
pub(crate) fn minted_six() -> MintedToken {
    let mut case = fitting();
    case.source = "fd77::11".parse().unwrap();
    case.destination = "fd77::21".parse().unwrap();
    case.claims.source_address = case.source;
    case.claims.destination_address = case.destination;
    case.examine().unwrap()
}

/// One that says something else besides.
pub(crate) fn minted_with(change: impl FnOnce(&mut Claims)) -> MintedToken {
    let mut case = fitting();
    change(&mut case.claims);
    case.examine().unwrap()
}

#[test]
fn a_token_for_what_was_asked_is_taken() {
    let minted = minted();
    assert_eq!(minted.agent_port(), 7444);
    assert_eq!(NOW.until(minted.deadline()).as_secs(), 3600);
}

#[test]
fn a_token_that_joins_two_guests_of_this_host_is_taken_as_such() {
    let mut case = fitting();
    assert!(!case.examine().unwrap().is_local());
    case.claims.destination_host = case.claims.source_host;
    case.host = OURS.id.into_bytes().to_vec();
    assert!(case.examine().unwrap().is_local());
}

#[test]
fn a_token_for_anything_else_is_not_taken() {
    type Change = fn(&mut Case);
    let cases: [(&str, WrongToken, Change); 12] = [
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
        ("another host at our address", WrongToken::Destination, |c| {
            c.claims.destination_host = c.claims.source_host;
        }),
        ("this host at another address", WrongToken::Destination, |c| {
            c.host = OURS.id.into_bytes().to_vec();
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
        dst_host_id: case.host.clone(),
        dst_agent_port: case.port,
        registry_unix_ms: 0,
        back_token: Vec::new(),
    };
    let wrong = examine(minted, case.question(), OURS, &clock(), NOW);
    assert!(matches!(wrong, Err(WrongToken::Form(_))));
}
