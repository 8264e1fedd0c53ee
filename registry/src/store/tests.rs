mod auditing;
mod batching;
mod layouts;
mod sealing;

use super::*;
use crate::{
    audit::{Actor, Event},
    clock::Clock,
    inventory::{Carries, Facts, Host, Mac, Name, Network, Vm},
    settings::Settings,
    vault::Vault,
};
use pairgate_token::Grants;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tempfile::TempDir;
use uuid::Uuid;

const START: u64 = 1_790_000_000_000;
const ZERO: Uuid = Uuid::from_u128(7);

#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Bench {
    directory: TempDir,
    clock: Arc<Hand>,
    store: Store,
}

fn settings() -> Settings {
    Settings::new(100, 10).unwrap()
}

impl Bench {
    fn new() -> Self {
        Self::batching(batch::BATCH_LEN_MAX)
    }

    fn batching(batch_len_max: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let zero = ZeroCertificate {
            id: ZERO,
            owner: "test".to_owned(),
            expires_unix_ms: START + 1,
            uses_left: 1,
            revoked: false,
        };
        let path = directory.path().join("registry.db");
        let master_key = directory.path().join("master.key");
        let vault = Arc::new(Vault::make(&master_key).unwrap());
        let operator = OperatorCertificate {
            id: Uuid::from_u128(6),
            owner: "test".to_owned(),
            expires_unix_ms: START + 1,
            revoked: false,
        };
        create(&path, &vault, Uuid::from_u128(1), &operator, &zero, START).unwrap();
        let clock = Arc::new(Hand(AtomicU64::new(START)));
        let (store, _) =
            Store::open_batching(&path, &master_key, settings(), clock.clone(), batch_len_max).unwrap();
        Self {
            directory,
            clock,
            store,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("registry.db")
    }

    fn master_key(&self) -> PathBuf {
        self.directory.path().join("master.key")
    }

    fn audited(&self) -> i64 {
        let store = rusqlite::Connection::open(self.path()).unwrap();
        store
            .query_row("SELECT count(*) FROM audit", [], |row| row.get(0))
            .unwrap()
    }

    /// Two VMs, not placed.
    async fn two_vms(&self) -> [Uuid; 2] {
        let vms = [1, 2].map(Uuid::from_u128);
        self.store
            .change(move |change| {
                let network = network("default");
                change.insert_network(Actor::Registry, &network)?;
                for (number, id) in (1u8..).zip(vms) {
                    let vm = Vm {
                        id,
                        name: format!("vm{number}"),
                        generation: 0,
                    };
                    let mac = Mac::new([2, 0, 0, 0, 0, number]).unwrap();
                    let addresses = [[10, 0, 0, number].into()];
                    change.insert_vm(Actor::Registry, network.id, &vm, &addresses, mac)?;
                }
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
        vms
    }
}

fn everything() -> Carries {
    Carries::Granted(Grants::all())
}

fn network(name: &str) -> Network {
    let prefixes = vec!["10.0.0.0/24".parse().unwrap()];
    Network {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        facts: Facts::of(&prefixes),
        prefixes,
    }
}

#[derive(Debug)]
enum Never {
    Mind,
    Store,
}

impl From<StoreError> for Never {
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

#[tokio::test]
async fn a_change_that_fails_at_its_end_leaves_nothing_behind() {
    let bench = Bench::new();
    let (revision, audited) = (bench.store.revision(), bench.audited());
    let failed = bench
        .store
        .change(|change| {
            change.insert_network(Actor::Registry, &network("half"))?;
            change.revision()?;
            Err::<(), _>(Never::Mind)
        })
        .await;
    assert!(matches!(failed, Err(Never::Mind)));
    let name: Name = "half".parse().unwrap();
    let found = bench.store.read(move |view| view.network(&name)).await.unwrap();
    assert_eq!(found, None);
    assert_eq!((bench.store.revision(), bench.audited()), (revision, audited));
}

#[tokio::test]
async fn a_change_burns_one_revision_however_much_it_does() {
    let bench = Bench::new();
    let before = bench.store.revision();
    let mut revisions = bench.store.revisions();
    let burnt = bench
        .store
        .change(|change| Ok::<_, StoreError>((change.revision()?, change.revision()?)))
        .await
        .unwrap();
    assert_eq!(burnt, (before + 1, before + 1));
    revisions.changed().await.unwrap();
    assert_eq!(bench.store.revision(), before + 1);
}

#[tokio::test]
async fn a_pair_id_is_never_used_again_whatever_was_forgotten() {
    let bench = Bench::new();
    let [one, other] = bench.two_vms().await;
    let mut last = 0;
    for _ in 0..3 {
        let id = bench
            .store
            .change(move |change| {
                let id = change.allow(Actor::Registry, one, other, everything())?.id;
                change.deny(Actor::Registry, one, other, 0)?;
                change.forget_tombstones()?;
                assert_eq!(change.dead_pair(one, other)?, None);
                Ok::<_, StoreError>(id)
            })
            .await
            .unwrap();
        assert!(id > last);
        last = id;
    }
}

#[tokio::test]
async fn a_tombstone_is_part_of_the_goal_until_its_time_and_not_longer() {
    let bench = Bench::new();
    let [one, other] = bench.two_vms().await;
    let until = START + 1_000;
    let change = bench.store.change(move |change| {
        let host = Host {
            id: one,
            name: "gone".to_owned(),
            address: [192, 0, 2, 1].into(),
            agent_port: 1,
            overlay_port: 1,
            public_key: None,
        };
        change.insert_host(Actor::Registry, &host)?;
        change.remove_host(Actor::Registry, &host, until)?;
        change.allow(Actor::Registry, one, other, everything())?;
        change.deny(Actor::Registry, one, other, until)
    });
    let dead = change.await.unwrap().unwrap();
    let forget = || bench.store.change(|change| change.forget_tombstones());
    let goal = || bench.store.read(|view| view.goal(Uuid::nil()));
    bench.clock.0.store(until - 1, Ordering::Relaxed);
    forget().await.unwrap();
    let before = goal().await.unwrap();
    assert_eq!((before.dead_pairs, before.dead_hosts), (vec![dead.id], vec![one]));
    bench.clock.0.store(until, Ordering::Relaxed);
    forget().await.unwrap();
    let after = goal().await.unwrap();
    assert_eq!((after.dead_pairs, after.dead_hosts), (vec![], vec![]));
    assert_eq!(
        after.revision,
        dead.revision + 1,
        "hosts are told by a revision of its own"
    );
    forget().await.unwrap();
    assert_eq!(
        bench.store.revision(),
        after.revision,
        "nothing to forget changes nothing"
    );
}

#[tokio::test]
async fn a_zero_certificate_has_as_many_uses_as_it_says() {
    let bench = Bench::new();
    let take = || bench.store.change(|change| change.take_zero_use(ZERO));
    assert!(take().await.unwrap());
    assert!(!take().await.unwrap());
}

#[tokio::test]
async fn settings_of_earlier_runs_are_remembered_until_their_leases_have_ended() {
    let bench = Bench::new();
    let path = bench.path();
    let master_key = bench.master_key();
    let open = |settings| {
        Store::open(&path, &master_key, settings, bench.clock.clone())
            .unwrap()
            .1
            .before
    };
    let short = Settings::new(1, 1).unwrap();
    let before = open(short);
    assert_eq!(before.leases_end_unix_ms, settings().lease_end_unix_ms(START));
    assert_eq!(before.tokens_end_unix_ms, settings().tokens_end_unix_ms(START));
    assert_eq!(open(short), before);
}

#[tokio::test]
async fn two_hosts_never_share_an_address_whoever_checked_what() {
    let bench = Bench::new();
    let host = |name: &str| Host {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        address: [192, 0, 2, 1].into(),
        agent_port: 1,
        overlay_port: 1,
        public_key: None,
    };
    let (one, two) = (host("one"), host("two"));
    let insert = |host: Host| {
        bench
            .store
            .change(move |change| change.insert_host(Actor::Registry, &host))
    };
    insert(one).await.unwrap();
    assert!(insert(two).await.is_err(), "the table itself refuses it");
}

#[tokio::test]
async fn a_view_cannot_write() {
    let bench = Bench::new();
    let written = bench
        .store
        .read(|view| {
            let sql = "UPDATE installation SET revision = 99";
            view.transaction.execute(sql, []).map_err(StoreError::from)
        })
        .await;
    assert!(written.is_err());
}

#[test]
fn an_audit_row_has_a_word_for_every_event() {
    let event = Event::TombstonesForgotten {
        pairs: 1,
        generations: 2,
        hosts: 0,
    };
    let text = serde_json::to_value(&event).unwrap();
    assert_eq!(text["event"], "tombstones_forgotten");
}
