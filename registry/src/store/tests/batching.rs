//! Changes that wait at once share one transaction.

use super::*;
use crate::store::batch::BATCH_LEN_MAX;
use std::{sync::mpsc, time::Instant};
use tokio::task::JoinSet;

/// Holds the writer's thread until dropped, so that what comes now waits at once.
async fn held(store: &Store) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let store = store.clone();
    tokio::spawn(async move {
        store
            .change(move |_| {
                let _ = begun.send(());
                let _ = released.recv();
                Err::<(), _>(StoreError::Inconsistent("nothing to keep"))
            })
            .await
    });
    has_begun.await.unwrap();
    release
}

fn named_networks(path: &std::path::Path) -> Vec<String> {
    let other = rusqlite::Connection::open(path).unwrap();
    let mut query = other.prepare("SELECT name FROM network ORDER BY name").unwrap();
    query
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[tokio::test]
async fn changes_that_wait_at_once_are_committed_together_and_each_burns_its_revision() {
    let bench = Bench::new();
    let release = held(&bench.store).await;
    let before = bench.store.revision();
    let path = bench.path();
    let insert = |name: &'static str| {
        let path = path.clone();
        bench.store.change(move |change| {
            change.insert_network(Actor::Registry, &network(name))?;
            assert_eq!(
                named_networks(&path),
                [""; 0],
                "nothing is committed before the whole batch is"
            );
            change.revision()
        })
    };
    let refused = bench.store.change(|change| {
        change.insert_network(Actor::Registry, &network("refused"))?;
        Err::<(), _>(Never::Mind)
    });
    let both = async { tokio::join!(insert("first"), refused, insert("second")) };
    let releasing = async { drop(release) };
    let ((first, refused, second), ()) = tokio::join!(both, releasing);
    assert_eq!((first.unwrap(), second.unwrap()), (before + 1, before + 2));
    assert!(matches!(refused, Err(Never::Mind)));
    assert_eq!(
        named_networks(&path),
        ["first", "second"],
        "a refusal undoes itself and nothing else"
    );
    assert_eq!(bench.store.revision(), before + 2);
}

#[tokio::test]
async fn a_change_that_acts_on_what_hosts_were_told_sees_only_what_is_committed() {
    let bench = Bench::new();
    let release = held(&bench.store).await;
    let path = bench.path();
    let insert = bench
        .store
        .change(|change| change.insert_network(Actor::Registry, &network("first")));
    let judging = bench.store.change_on_committed(move |_| {
        let seen = named_networks(&path);
        Ok::<_, StoreError>(seen)
    });
    let both = async { tokio::join!(insert, judging) };
    let (both, ()) = tokio::join!(both, async { drop(release) });
    both.0.unwrap();
    assert_eq!(
        both.1.unwrap(),
        ["first"],
        "the one before it was committed first"
    );
}

#[tokio::test]
async fn a_transaction_that_sqlite_gives_up_is_told_to_everybody_in_it() {
    let bench = Bench::new();
    let release = held(&bench.store).await;
    let insert = bench
        .store
        .change(|change| change.insert_network(Actor::Registry, &network("lost")));
    let giving_up = bench.store.change(|change| {
        // What SQLite does by itself when the disk is full in the middle.
        change.transaction.execute("ROLLBACK", [])?;
        Err::<(), _>(StoreError::Full)
    });
    let both = async { tokio::join!(insert, giving_up) };
    let ((insert, giving_up), ()) = tokio::join!(both, async { drop(release) });
    assert!(matches!(insert, Err(StoreError::Undone)), "{insert:?}");
    assert!(matches!(giving_up, Err(StoreError::Full)), "{giving_up:?}");
    assert_eq!(named_networks(&bench.path()), [""; 0]);
    let after = bench
        .store
        .change(|change| change.insert_network(Actor::Registry, &network("after")));
    after.await.unwrap();
    assert_eq!(named_networks(&bench.path()), ["after"], "the store goes on");
}

/// How many audited changes a second 256 askers get, one after the other each.
async fn rate(store: &Store) -> f64 {
    const ASKERS: u32 = 256;
    const EACH: u32 = 16;
    let begun = Instant::now();
    let mut askers = JoinSet::new();
    for _ in 0..ASKERS {
        let store = store.clone();
        askers.spawn(async move {
            for _ in 0..EACH {
                let event = Event::TombstonesForgotten {
                    pairs: 0,
                    generations: 0,
                    hosts: 0,
                };
                let written = store.change(move |change| change.audit(Actor::Registry, &event));
                written.await.unwrap();
            }
        });
    }
    while let Some(ended) = askers.join_next().await {
        ended.unwrap();
    }
    f64::from(ASKERS * EACH) / begun.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run with --release -- --ignored --nocapture measured"]
async fn group_commit_is_measured_against_one_sync_per_change() {
    let (one, many) = (Bench::batching(1), Bench::batching(BATCH_LEN_MAX));
    let mut ratios = Vec::new();
    rate(&one.store).await;
    rate(&many.store).await;
    for _ in 0..7 {
        let (alone, together) = (rate(&one.store).await, rate(&many.store).await);
        println!(
            "alone {alone:.0}/s, together {together:.0}/s, ratio {:.2}",
            together / alone
        );
        ratios.push(together / alone);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "ratio: median {:.2}, from {:.2} to {:.2}",
        ratios[3], ratios[0], ratios[6]
    );
    assert!(
        ratios[3] > 1.0,
        "one sync for many must not cost more than one for each"
    );
}
