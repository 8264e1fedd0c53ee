use super::*;
use crate::store::{AllowedPair, DestinationFacts};
use pairgate_token::UnverifiedToken;

const NOW: u64 = 1_790_000_000;
const H1: Uuid = Uuid::from_u128(1);
const H2: Uuid = Uuid::from_u128(2);

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

fn settings() -> Settings {
    Settings::new(3600, 3600).unwrap()
}

fn question() -> MintQuestion {
    MintQuestion {
        network: Uuid::from_u128(10),
        source_vm: Uuid::from_u128(11),
        source_address: "10.77.0.11".parse().unwrap(),
        destination_address: "10.77.0.21".parse().unwrap(),
        nonce: [7; 16],
        unix_secs: NOW,
    }
}

fn ask(question: MintQuestion) -> Ask {
    Ask {
        host: H1,
        proof: MintProof::make(&key(1), &question),
        with_back: true,
        question,
    }
}

fn placed() -> DestinationPlaced {
    DestinationPlaced {
        host: H2,
        host_address: "192.0.2.2".parse().unwrap(),
        agent_port: 7444,
        overlay_port: 4789,
        generation: 5,
        secret_key: key(2),
        open: true,
    }
}

fn pair(id: u64, carries: &str) -> Option<AllowedPair> {
    Some(AllowedPair {
        id,
        carries: carries.parse().unwrap(),
        since_unix_ms: 0,
    })
}

fn facts() -> Facts {
    Facts {
        source: Some(SourceFacts {
            has_address: true,
            host: H1,
            host_address: "192.0.2.1".parse().unwrap(),
            overlay_port: 4790,
            generation: 3,
            secret_key: key(1),
            open: true,
        }),
        destination: Some(DestinationFacts {
            vm: Uuid::from_u128(12),
            placed: Some(placed()),
        }),
        pair: pair(9, "all"),
        back: pair(8, "all"),
    }
}

fn answer(ask: &Ask, facts: &Facts) -> Result<Minted, Reason> {
    mint(ask, facts, settings(), NOW)
}

#[test]
fn an_allowed_question_gets_a_token_that_says_everything_about_it() {
    let minted = answer(&ask(question()), &facts()).unwrap();
    assert_eq!(minted.destination_host, H2);
    assert_eq!(minted.destination_agent_port, 7444);
    let token = UnverifiedToken::from_bytes(minted.token.as_bytes()).unwrap();
    let token = token.verify(&key(2)).unwrap();
    let claims = token.claims();
    assert_eq!((claims.pair_id, claims.overlay_port), (9, 4789));
    assert_eq!((claims.source_generation, claims.destination_generation), (3, 5));
    assert_eq!(claims.source_vm, Uuid::from_u128(11));
    assert_eq!(claims.destination_vm, Uuid::from_u128(12));
    assert_eq!(claims.source_address, question().source_address);
    assert_eq!(claims.destination_address, question().destination_address);
    assert_eq!(claims.source_host, "192.0.2.1".parse::<IpAddr>().unwrap());
    assert_eq!(claims.destination_host, "192.0.2.2".parse::<IpAddr>().unwrap());
    assert_eq!(claims.not_before_unix_secs, NOW - 30);
    assert_eq!(claims.expires_unix_secs, NOW + 3600);
}

#[test]
fn the_way_back_is_the_mirror_under_the_asking_hosts_key_and_only_where_it_is_allowed() {
    let minted = answer(&ask(question()), &facts()).unwrap();
    let there = minted.token.claims().clone();
    let back = UnverifiedToken::from_bytes(minted.back.unwrap().into_bytes()).unwrap();
    let back = back.verify(&key(1)).unwrap().claims().clone();
    let mirror = Claims {
        overlay_port: 4790,
        pair_id: 8,
        source_generation: there.destination_generation,
        destination_generation: there.source_generation,
        source_vm: there.destination_vm,
        destination_vm: there.source_vm,
        source_address: there.destination_address,
        destination_address: there.source_address,
        source_host: there.destination_host,
        destination_host: there.source_host,
        ..there
    };
    assert_eq!(back, mirror);
    let one_way = Facts {
        back: None,
        ..facts()
    };
    let minted = answer(&ask(question()), &one_way).unwrap();
    assert!(minted.back.is_none(), "a way back that nobody allowed");
    let mut not_asked = ask(question());
    not_asked.with_back = false;
    assert!(answer(&not_asked, &facts()).unwrap().back.is_none());
    // The pair itself is denied: what is left of it gives nothing by this door.
    let only_back = Facts {
        pair: None,
        ..facts()
    };
    assert_eq!(
        answer(&ask(question()), &only_back).map(|_| ()),
        Err(Reason::NotAllowed)
    );
}

#[test]
fn two_vms_on_one_host_get_tokens_for_both_ways_with_equal_host_addresses() {
    let mut facts = facts();
    facts.destination.as_mut().unwrap().placed = Some(DestinationPlaced {
        host: H1,
        host_address: "192.0.2.1".parse().unwrap(),
        ..placed()
    });
    let minted = answer(&ask(question()), &facts).unwrap();
    for claims in [minted.token.claims(), minted.back.unwrap().claims()] {
        assert_eq!(claims.source_host, claims.destination_host, "{claims:?}");
    }
    assert_eq!(minted.destination_host, H1);
}

#[test]
fn guests_may_be_of_another_family_than_their_hosts() {
    let mut facts = facts();
    let question = MintQuestion {
        source_address: "fd77::11".parse().unwrap(),
        destination_address: "fd77::21".parse().unwrap(),
        ..self::question()
    };
    let minted = answer(&ask(question.clone()), &facts).unwrap();
    assert_eq!(minted.token.claims().source_address, question.source_address);
    facts.source.as_mut().unwrap().host_address = "2001:db8::1".parse().unwrap();
    facts
        .destination
        .as_mut()
        .unwrap()
        .placed
        .as_mut()
        .unwrap()
        .host_address = "2001:db8::2".parse().unwrap();
    assert!(answer(&ask(question), &facts).is_ok());
    assert!(
        answer(&ask(self::question()), &facts).is_ok(),
        "IPv4 guests over an IPv6 underlay"
    );
}

#[test]
fn each_direction_says_what_it_carries_itself() {
    let facts = Facts {
        pair: pair(9, "tcp/443,udp/1000-2000"),
        back: pair(8, "replies"),
        ..facts()
    };
    let minted = answer(&ask(question()), &facts).unwrap();
    let there = minted.token.claims();
    assert!(!there.replies_only);
    assert_eq!(there.grants.to_string(), "tcp/443,udp/1000-2000");
    let back = minted.back.unwrap().claims().clone();
    assert!(back.replies_only && back.grants.is_all(), "{back:?}");
}

#[test]
fn the_longest_token_life_still_makes_a_token() {
    let longest = Settings::new(86_370, 1).unwrap();
    assert!(mint(&ask(question()), &facts(), longest, NOW).is_ok());
}

#[test]
fn each_check_refuses_by_itself() {
    let mut cases: Vec<(&str, Ask, Facts, Reason)> = Vec::new();
    let mut add = |what, change: &dyn Fn(&mut Ask, &mut Facts), reason| {
        let (mut ask, mut facts) = (ask(question()), facts());
        change(&mut ask, &mut facts);
        cases.push((what, ask, facts, reason));
    };
    add("unknown source", &|_, f| f.source = None, Reason::SourceNotHere);
    add("another host asks", &|a, _| a.host = H2, Reason::SourceNotHere);
    add(
        "source waiting",
        &|_, f| f.source.as_mut().unwrap().open = false,
        Reason::SourceNotHere,
    );
    add(
        "another's address",
        &|_, f| f.source.as_mut().unwrap().has_address = false,
        Reason::SourceAddress,
    );
    for unix_secs in [NOW - 61, NOW + 61, 0, u64::MAX] {
        add(
            "stale",
            &|a, _| {
                *a = ask(MintQuestion {
                    unix_secs,
                    ..question()
                })
            },
            Reason::Stale,
        );
    }
    add(
        "old generation's key",
        &|_, f| f.source.as_mut().unwrap().secret_key = key(3),
        Reason::Proof,
    );
    add(
        "proof of another question",
        &|a, _| a.question.nonce = [8; 16],
        Reason::Proof,
    );
    add(
        "nobody there",
        &|_, f| f.destination = None,
        Reason::NoDestination,
    );
    add("not allowed", &|_, f| f.pair = None, Reason::NotAllowed);
    add(
        "not placed",
        &|_, f| f.destination.as_mut().unwrap().placed = None,
        Reason::DestinationNotPlaced,
    );
    add(
        "destination waiting",
        &|_, f| {
            f.destination.as_mut().unwrap().placed = Some(DestinationPlaced {
                open: false,
                ..placed()
            })
        },
        Reason::DestinationNotPlaced,
    );
    add(
        "guests of two families",
        &|a, _| {
            *a = ask(MintQuestion {
                destination_address: "fd77::21".parse().unwrap(),
                ..question()
            })
        },
        Reason::Families,
    );
    add(
        "hosts of two families",
        &|_, f| f.source.as_mut().unwrap().host_address = "2001:db8::1".parse().unwrap(),
        Reason::Families,
    );
    for (what, ask, facts, reason) in cases {
        assert_eq!(answer(&ask, &facts).map(|_| ()), Err(reason), "{what}");
    }
}

#[test]
fn the_window_of_a_proof_is_a_minute_to_both_sides() {
    for unix_secs in [NOW - 60, NOW + 60] {
        assert!(
            answer(
                &ask(MintQuestion {
                    unix_secs,
                    ..question()
                }),
                &facts()
            )
            .is_ok()
        );
    }
}

#[test]
fn checks_answer_in_the_written_order() {
    let everything_wrong = Facts {
        source: None,
        destination: None,
        pair: None,
        back: None,
    };
    let mut ask = ask(MintQuestion {
        unix_secs: 0,
        ..question()
    });
    ask.question.nonce = [9; 16];
    assert_eq!(
        answer(&ask, &everything_wrong).map(|_| ()),
        Err(Reason::SourceNotHere)
    );
    let nobody = Facts {
        destination: None,
        pair: None,
        ..facts()
    };
    assert_eq!(
        answer(&ask, &nobody).map(|_| ()),
        Err(Reason::Stale),
        "time before the proof before the destination"
    );
}

#[test]
fn the_decoy_mints_so_a_refusal_costs_what_a_token_costs() {
    assert!(decoy_claims(settings(), NOW).mint(&key(0)).is_ok());
}
