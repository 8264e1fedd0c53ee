//! A stolen host, and many clients at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use pairgate_api::grpc::{self, tombstone::Dead};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use support::{daemon::Daemon, *};
use tokio::{task::JoinSet, time::sleep};
use tonic::Code;

#[tokio::test]
async fn a_host_that_has_lost_a_vm_mints_nothing_in_its_name() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let state = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let web1 = vm(&state, "web1").unwrap().clone();
    let ask = |nonce| question(&web1, "10.77.0.21", nonce, now_unix_secs());
    assert!(h1.mint(ask(1)).await.unwrap().is_some());
    assert!(
        h2.mint(ask(2)).await.unwrap().is_none(),
        "with a key that it should not even have"
    );

    service.place("web1", "h1").await;
    assert!(
        h1.mint(ask(3)).await.unwrap().is_none(),
        "the key of the generation before proves nothing"
    );
    let mut follower = h1.follow(b"one").await;
    let state = follower.next().await.unwrap().unwrap();
    let newer = vm(&state, "web1").unwrap();
    let ask = |nonce| question(newer, "10.77.0.21", nonce, now_unix_secs());
    assert!(h1.mint(ask(4)).await.unwrap().is_some());

    h1.lease().await;
    let moved = service.place("web1", "h3").await;
    assert_eq!(moved["placement"]["state"], "waiting");
    assert!(h1.mint(ask(5)).await.unwrap().is_none(), "it is no longer here");
    let mut h3 = service.enrol("h3").await;
    assert!(h3.mint(ask(6)).await.unwrap().is_none(), "and not there yet");
    service.stop().await;
}

#[tokio::test]
async fn a_word_for_another_host_is_not_taken() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let mut h3 = service.enrol("h3").await;
    h2.lease().await;
    let moved = service.place("db1", "h3").await;
    assert_eq!(moved["placement"]["state"], "waiting");
    // Every other host says that it has applied everything.
    for host in [&mut h1, &mut h3] {
        let mut follower = host.follow(b"x").await;
        let state = follower.next().await.unwrap().unwrap();
        follower.receipt(state.revision).await;
        sleep(Duration::from_millis(100)).await;
    }
    let shown = service.get("/api/v1/networks/default/vms/db1").await;
    assert_eq!(shown["placement"]["state"], "waiting");
    service.stop().await;
}

#[tokio::test]
async fn a_certificate_whose_key_is_not_the_records_gets_nothing() {
    let mut service = Service::new(600, 60).await;
    service.laboratory().await;
    let h3 = service.enrol("h3").await;
    service.stop().await;
    // As after a reset of the host: the certificate lives on, the record knows another key.
    let store = rusqlite::Connection::open(service.state().join("registry.db")).unwrap();
    let sql = "UPDATE host SET public_key = x'00' WHERE name = 'h3'";
    assert_eq!(store.execute(sql, []).unwrap(), 1);
    drop(store);
    service.start().await;
    let mut client = service.agents(&h3.credentials);
    let refused = client.renew_lease(grpc::LeaseRequest {}).await;
    assert_eq!(refused.err().unwrap().code(), Code::PermissionDenied);
    let mut h3 = Host { client, ..h3 };
    let mint = grpc::MintRequest {
        network_id: vec![1; 16],
        src_vm: vec![1; 16],
        src_addr: vec![1; 16],
        dst_addr: vec![2; 16],
        nonce: vec![1; 16],
        unix_secs: now_unix_secs(),
        proof: vec![0; 32],
        with_back: false,
    };
    let refused = h3.mint(mint).await;
    assert_eq!(refused.err().unwrap().code(), Code::PermissionDenied);
    let refused = h3.client.follow(tokio_stream::pending()).await;
    assert_eq!(refused.err().unwrap().code(), Code::PermissionDenied);
    service.stop().await;
}

#[tokio::test]
async fn many_clients_allow_and_deny_one_pair_and_no_id_is_used_twice_or_forgotten() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, _) = service.laboratory().await;
    let (address, mut clients) = (service.address(), JoinSet::new());
    for client in 0..16u32 {
        let (address, operator) = (address.clone(), service.credentials("operator"));
        clients.spawn(async move {
            let mut ids = Vec::new();
            for turn in 0..6 {
                let mut body = pair("web1", "db1");
                if (client + turn) % 2 == 0 {
                    // Of every four clients one narrows what the others allow.
                    if client % 4 == 0 {
                        body["grant"] = json!(["tcp/443"]);
                    }
                    let path = "/api/v1/networks/default/pairs";
                    let (status, pairs) = rest(&address, &operator, "POST", path, Some(body)).await;
                    assert!(status.is_success(), "{pairs}");
                    let pairs = pairs["pairs"].as_array().unwrap();
                    ids.extend(pairs.iter().map(|pair| pair["id"].clone()));
                } else {
                    body["timeout_ms"] = 0.into();
                    let path = "/api/v1/networks/default/denials";
                    let (status, denial) = rest(&address, &operator, "POST", path, Some(body)).await;
                    assert!(status.is_success(), "{denial}");
                }
            }
            ids
        });
    }
    let told: BTreeSet<u64> = clients
        .join_all()
        .await
        .into_iter()
        .flatten()
        .map(|id| id.as_u64().unwrap())
        .collect();
    service.deny(0).await;
    assert_eq!(service.get("/api/v1/networks/default/pairs").await, json!([]));
    let state = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let dead: BTreeSet<u64> = dead_pairs(&state).into_iter().collect();
    assert!(
        dead.is_superset(&told),
        "every id that anybody was told is dead now: {told:?} {dead:?}"
    );
    assert_eq!(service.audited("pair_allowed"), dead.len() as u64);
    assert_eq!(service.audited("pair_denied"), dead.len() as u64);
    service.stop().await;
}

fn dead_pairs(state: &grpc::GoalState) -> Vec<u64> {
    let pair = |dead: &Dead| match dead {
        Dead::PairId(id) => Some(*id),
        Dead::VmFloor(_) | Dead::HostId(_) => None,
    };
    let dead = state
        .tombstones
        .iter()
        .filter_map(|tombstone| tombstone.dead.as_ref());
    dead.filter_map(pair).collect()
}

#[tokio::test]
async fn no_number_comes_again_after_kill_nine_and_the_first_token_of_each_pair_is_written_down() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    service.stop().await;
    let operator = service.credentials("operator");
    let (mut last_pair, mut last_generation, mut keys) = (2, 1, BTreeSet::new());
    let (mut rounds, mut nonce) = (0, 0u8);
    for _ in 0..4 {
        let mut minted_any = false;
        let daemon = Daemon::start(&service.state(), "").await;
        (h1, h2) = (daemon.met_by(h1), daemon.met_by(h2));
        let post = async |path: &str, body: Value| {
            let (status, answer) = rest(&daemon.address, &operator, "POST", path, Some(body)).await;
            assert!(status.is_success(), "{answer}");
            answer
        };
        let mut denial = pair("web1", "db1");
        denial["timeout_ms"] = 0.into();
        post("/api/v1/networks/default/denials", denial).await;
        let pairs = post("/api/v1/networks/default/pairs", pair("web1", "db1")).await;
        for allowed in pairs["pairs"].as_array().unwrap() {
            let id = allowed["id"].as_u64().unwrap();
            assert!(id > last_pair, "{id} came after {last_pair}");
            last_pair = id;
        }
        let placed = post(
            "/api/v1/networks/default/vms/web1/placement",
            json!({"host": "h1"}),
        )
        .await;
        let generation = placed["placement"]["generation"].as_u64().unwrap();
        assert!(generation > last_generation);
        last_generation = generation;
        let state = h1.follow(b"one").await.next().await.unwrap().unwrap();
        let web1 = vm(&state, "web1").unwrap();
        assert!(keys.insert(web1.secret_key.clone()), "a key came twice");
        let killer = daemon.killer();
        let killing = tokio::spawn(async move {
            sleep(Duration::from_millis(150)).await;
            killer.kill();
        });
        loop {
            nonce = nonce.wrapping_add(1);
            let ask = question(web1, "10.77.0.21", nonce, now_unix_secs());
            match h1.mint(ask).await {
                Ok(minted) => minted_any |= minted.is_some(),
                Err(_) => break,
            }
        }
        killing.await.unwrap();
        daemon.log().await;
        rounds += u64::from(minted_any);
        assert!(service.audited("token_minted") >= rounds);
    }
    assert!(rounds > 0, "the test must have minted something");
    drop(h2);
}
