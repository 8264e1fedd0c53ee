//! A host that asks without end, and what the others notice of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use support::*;
use tokio::task::JoinSet;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_asks_without_end_is_stopped_and_nobody_else_is() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let state1 = h1.follow(b"one").await.next().await.unwrap().unwrap();
    let state2 = h2.follow(b"two").await.next().await.unwrap().unwrap();
    let db1 = vm(&state2, "db1").unwrap().clone();

    let mut asking = JoinSet::new();
    for asker in 0..16u8 {
        let (mut client, db1) = (h2.client.clone(), db1.clone());
        asking.spawn(async move {
            for number in 0..2_000u32 {
                let mut ask = question(&db1, "10.77.0.99", asker, now_unix_secs());
                ask.nonce[1..5].copy_from_slice(&number.to_be_bytes());
                match client.mint(ask).await {
                    Ok(_) => {}
                    Err(status) => return Some(status.code()),
                }
            }
            None
        });
    }
    let ends = asking.join_all().await;
    assert!(
        ends.iter().all(|end| *end == Some(Code::ResourceExhausted)),
        "{ends:?}"
    );

    let other = question(vm(&state2, "db2").unwrap(), "10.77.0.11", 1, now_unix_secs());
    assert!(h2.mint(other).await.is_ok(), "another VM of the same host");
    let web1 = vm(&state1, "web1").unwrap();
    let minted = h1.mint(question(web1, "10.77.0.21", 1, now_unix_secs())).await;
    assert!(minted.unwrap().is_some(), "another host");
    h2.lease().await;

    service.stop().await;
    let store = rusqlite::Connection::open(service.state().join("registry.db")).unwrap();
    let sql = "SELECT count(*), sum(detail ->> 'times') FROM audit WHERE event = 'mints_refused'";
    let (rows, times): (i64, i64) = store
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert!(rows <= 8 && times > 1_000, "{rows} rows for {times} questions");
    let sql = "SELECT count(*) FROM audit WHERE detail ->> 'because' = 'too_often'";
    let told: i64 = store.query_row(sql, [], |row| row.get(0)).unwrap();
    assert!(told > 0);
}

#[tokio::test]
async fn a_host_that_begins_to_follow_without_end_is_stopped_and_nobody_else_is() {
    let mut service = Service::new(600, 60).await;
    let (mut h1, mut h2) = service.laboratory().await;
    let mut last = Code::Ok;
    for _ in 0..2_000 {
        if let Err(status) = h2.client.follow(tokio_stream::pending()).await {
            last = status.code();
            break;
        }
    }
    assert_eq!(last, Code::ResourceExhausted);
    h1.follow(b"one").await.next().await.unwrap().unwrap();
    h2.lease().await;
    service.stop().await;
}
