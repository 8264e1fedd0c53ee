//! The audit rows vouch for each other.

use super::*;
use pairgate_api::audit::{Broken, Chain};

/// What a reader of the whole audit finds, in pages of two.
async fn read(store: &Store) -> Result<Chain, Broken> {
    let mut chain = Chain::default();
    loop {
        let after = chain.number();
        let page = store.read(move |view| view.audit(after, 0, 2)).await.unwrap();
        if page.rows.is_empty() {
            return chain.end(&page.head).map(|()| chain);
        }
        page.rows.iter().try_for_each(|row| chain.take(row))?;
    }
}

fn tamper(bench: &Bench, sql: &str) {
    let hand = rusqlite::Connection::open(bench.path()).unwrap();
    assert_eq!(hand.execute(sql, []).unwrap(), 1, "{sql}");
}

#[tokio::test]
async fn what_was_written_is_sound_however_it_was_written() {
    let bench = Bench::new();
    bench.two_vms().await;
    let many = (0..20).map(|_| {
        let store = bench.store.clone();
        async move {
            let network = network(&Uuid::new_v4().to_string());
            store
                .change(move |change| change.insert_network(Actor::Registry, &network))
                .await
        }
    });
    for written in at_once(many).await {
        written.unwrap();
    }
    let refused = bench.store.change(|change| {
        change.insert_network(Actor::Registry, &network("refused"))?;
        Err::<(), _>(Never::Mind)
    });
    refused.await.unwrap_err();
    let chain = read(&bench.store).await.unwrap();
    assert_eq!(chain.number(), bench.audited().unsigned_abs());
}

#[tokio::test]
async fn a_changed_a_cut_and_a_cut_off_row_are_named() {
    for (sql, expected) in [
        (
            "UPDATE audit SET detail = '{}' WHERE number = 2",
            Broken::Changed { number: 2, next: 3 },
        ),
        (
            "UPDATE audit SET previous = NULL WHERE number = 3",
            Broken::Changed { number: 2, next: 3 },
        ),
        (
            "DELETE FROM audit WHERE number = 3",
            Broken::Missing { first: 3, last: 3 },
        ),
        (
            "DELETE FROM audit WHERE number = 7",
            Broken::Missing { first: 7, last: 7 },
        ),
        (
            "UPDATE audit SET actor = 'nobody' WHERE number = 7",
            Broken::LastChanged { number: 7 },
        ),
    ] {
        let bench = Bench::new();
        bench.two_vms().await;
        assert_eq!(read(&bench.store).await.unwrap().number(), 7);
        tamper(&bench, sql);
        assert_eq!(read(&bench.store).await, Err(expected), "{sql}");
    }
}

async fn at_once<F: Future + Send + 'static>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F::Output: Send,
{
    let tasks: Vec<_> = futures.map(tokio::spawn).collect();
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await.unwrap());
    }
    outputs
}
