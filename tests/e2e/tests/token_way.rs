//! What a stolen host can do with tokens: nothing that its own certificate and its own VMs' keys do not
//! already allow.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_api::rest::Vm;
use pairgate_e2e::{Answer, DB1, DB2, PATIENCE, Rig, StolenHost, StolenVm, WEB1};
use pairgate_lab::{patience, record::Wishes};
use pairgate_token::{SecretKey, UnverifiedToken};
use std::net::IpAddr;

fn host(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

/// Three hosts, h1's agent dead and its identity in our hands.
fn stolen(name: &str, token_life_secs: Option<u64>) -> (Rig, StolenHost, StolenVm) {
    let rig = Rig::start(
        name,
        Wishes {
            hosts: Some(3),
            token_life_secs,
            lease_secs: None,
            ..Wishes::default()
        },
    )
    .unwrap();
    let h1 = rig.steal("h1").unwrap();
    rig.lab.kill("agent-h1").unwrap();
    let web1 = h1.vm("web1").unwrap();
    (rig, h1, web1)
}

/// The word of a refusal; `accepted` if there was none.
fn refused(answer: Answer) -> String {
    match answer {
        Answer::Refused(because) => because,
        Answer::Accepted { .. } => "accepted".to_owned(),
    }
}

#[test]
fn a_token_is_good_for_one_way_between_two_hosts_and_nothing_else() {
    let (rig, h1, web1) = stolen("token-bound", None);
    let token = h1.mint(&web1, DB1.into()).unwrap().unwrap();
    let first = h1.offer(host(2), &token.bytes).unwrap();
    assert!(matches!(first, Answer::Accepted { .. }));
    assert_eq!(
        h1.offer(host(2), &token.bytes).unwrap(),
        first,
        "the same offer opens a second entry"
    );

    let elsewhere = rig.steal("h3").unwrap();
    assert_eq!(
        refused(elsewhere.offer(host(2), &token.bytes).unwrap()),
        "source_host",
        "offered by another host"
    );
    assert_eq!(
        refused(h1.offer(host(3), &token.bytes).unwrap()),
        "destination_host",
        "offered to another host"
    );

    rig.lab.start_again("agent-h1").unwrap();
    rig.lab.await_settled().unwrap();
    let h2 = rig.steal("h2").unwrap();
    assert_eq!(
        refused(h2.offer(host(1), &token.bytes).unwrap()),
        "source_host",
        "A to B offered as B to A"
    );
}

#[test]
fn a_forged_or_altered_token_opens_nothing() {
    let (_rig, h1, web1) = stolen("token-forged", None);
    let token = h1.mint(&web1, DB1.into()).unwrap().unwrap();
    let claims = UnverifiedToken::from_bytes(token.bytes.clone())
        .unwrap()
        .claims_without_proof()
        .unwrap();
    for (whose, key) in [
        ("the source's", web1.key.clone()),
        ("a made-up", SecretKey::from_bytes([7; 32])),
    ] {
        let forged = claims.mint(&key).unwrap();
        assert_eq!(
            refused(h1.offer(host(2), forged.as_bytes()).unwrap()),
            "tag",
            "under {whose} key"
        );
    }
    for byte in (0..token.bytes.len()).step_by(7) {
        let mut altered = token.bytes.clone();
        altered[byte] ^= 1 << (byte % 8);
        assert_ne!(
            refused(h1.offer(host(2), &altered).unwrap()),
            "accepted",
            "bit flipped in byte {byte}"
        );
    }
    for cut in [0, 1, 183, token.bytes.len() - 1] {
        assert_eq!(refused(h1.offer(host(2), &token.bytes[..cut]).unwrap()), "length");
    }
    assert!(
        matches!(h1.offer(host(2), &token.bytes).unwrap(), Answer::Accepted { .. }),
        "untouched, it is good"
    );
}

#[test]
fn a_new_generation_ends_the_tokens_of_the_old_one() {
    let (rig, h1, web1) = stolen("token-generation", None);
    let token = h1.mint(&web1, DB1.into()).unwrap().unwrap();
    let before = rig.vm("db1").unwrap();
    let after: Vm = serde_json::from_value(rig.lab.json(&["vm", "place", "db1", "h2"]).unwrap()).unwrap();
    assert!(after.placement.unwrap().generation > before.placement.unwrap().generation);
    let applied = |rig: &Rig| {
        let status = rig.status()?;
        let h2 = status
            .hosts
            .iter()
            .find(|host| host.name == "h2")
            .and_then(|host| host.applied_revision);
        Ok((h2 >= Some(status.revision)).then_some(()))
    };
    patience::until(PATIENCE, "h2 applies the new generation", || applied(&rig)).unwrap();
    assert_eq!(refused(h1.offer(host(2), &token.bytes).unwrap()), "generation");
    let fresh = h1.mint(&web1, DB1.into()).unwrap().unwrap();
    assert!(matches!(
        h1.offer(host(2), &fresh.bytes).unwrap(),
        Answer::Accepted { .. }
    ));
}

#[test]
fn an_expired_token_opens_nothing() {
    let (_rig, h1, web1) = stolen("token-expired", Some(2));
    let token = h1.mint(&web1, DB1.into()).unwrap().unwrap();
    let because = patience::until(PATIENCE, "the token expires", || {
        let because = refused(h1.offer(host(2), &token.bytes)?);
        Ok((because != "accepted").then_some(because))
    });
    assert_eq!(because.unwrap(), "expired");
}

#[test]
fn the_registry_mints_only_for_the_host_and_the_pairs_that_it_knows() {
    let (rig, h1, web1) = stolen("token-mint", None);
    assert!(h1.mint(&web1, DB1.into()).unwrap().is_some());
    assert!(h1.mint(&web1, DB2.into()).unwrap().is_none(), "no pair");
    assert!(
        h1.mint(&web1, IpAddr::from([10, 77, 0, 99])).unwrap().is_none(),
        "nobody there"
    );
    assert!(h1.mint(&web1, WEB1.into()).unwrap().is_none(), "itself");
    let wrong_key = StolenVm {
        key: SecretKey::from_bytes([7; 32]),
        ..web1.clone()
    };
    assert!(h1.mint(&wrong_key, DB1.into()).unwrap().is_none(), "wrong proof");
    let borrowed = StolenVm {
        address: DB2.into(),
        ..web1.clone()
    };
    assert!(
        h1.mint(&borrowed, DB1.into()).unwrap().is_none(),
        "another's address"
    );
    let db1 = rig.vm("db1").unwrap();
    let not_ours = StolenVm {
        id: db1.id,
        address: DB1.into(),
        ..web1.clone()
    };
    assert!(
        h1.mint(&not_ours, WEB1.into()).unwrap().is_none(),
        "another host's VM"
    );
    assert!(h1.vm("db1").is_err(), "h1 was given another host's key");
}
