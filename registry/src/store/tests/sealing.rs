//! Secret keys on the disk.

use super::*;
use crate::store::{placements::NewPlacement, schema::tests::UNSEALED};
use pairgate_token::SecretKey;
use rusqlite::params;

const KEY: [u8; 32] = *b"the key that nobody may find !!!";

fn is_on_disk(bench: &Bench, needle: &[u8]) -> bool {
    ["registry.db", "registry.db-wal", "registry.db-shm"]
        .iter()
        .filter_map(|name| std::fs::read(bench.directory.path().join(name)).ok())
        .any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
}

async fn key_of(store: &Store, host: Uuid) -> SecretKey {
    let goal = store.read(move |view| view.goal(host)).await.unwrap();
    let [vm] = <[_; 1]>::try_from(goal.vms).unwrap();
    vm.secret_key
}

#[tokio::test]
async fn the_store_without_its_master_key_gives_no_secret() {
    let bench = Bench::new();
    let [vm, _] = bench.two_vms().await;
    let host = bench.place(vm, &KEY).await;
    assert_eq!(key_of(&bench.store, host).await.expose_bytes(), &KEY);
    assert!(is_on_disk(&bench, b"tap-sealed"), "the row itself is there");
    assert!(!is_on_disk(&bench, &KEY));
}

#[tokio::test]
async fn a_key_moved_to_another_vm_does_not_open() {
    let bench = Bench::new();
    let [vm, other] = bench.two_vms().await;
    let host = bench.place(vm, &KEY).await;
    let thief = rusqlite::Connection::open(bench.path()).unwrap();
    let moved = thief.execute("UPDATE placement SET vm = ?1", params![other.as_bytes()]);
    assert_eq!(moved.unwrap(), 1);
    let goal = bench.store.read(move |view| view.goal(host)).await;
    assert!(goal.is_err());
}

#[tokio::test]
async fn a_store_of_before_gets_a_master_key_and_keeps_its_keys_sealed() {
    let bench = Bench::unsealed();
    assert!(is_on_disk(&bench, &KEY), "as the version before kept it");
    let host = Uuid::from_u128(9);
    let store = bench.open().unwrap();
    assert_eq!(key_of(&store, host).await.expose_bytes(), &KEY);
    assert!(!is_on_disk(&bench, &KEY), "not even in free pages or the log");
    let page = store.read(|view| view.audit(0, 0, 10)).await.unwrap();
    let mut chain = pairgate_api::audit::Chain::default();
    page.rows.iter().for_each(|row| chain.take(row).unwrap());
    chain.end(&page.head).unwrap();
    drop(store);
    let store = bench.open().unwrap();
    assert_eq!(
        key_of(&store, host).await.expose_bytes(),
        &KEY,
        "the next start finds it again"
    );
}

#[tokio::test]
async fn a_store_does_not_open_with_another_master_key_or_with_none() {
    let bench = Bench::new();
    std::fs::remove_file(bench.master_key()).unwrap();
    let error = bench.open().unwrap_err();
    assert!(matches!(error, OpenError::MasterKey(_)), "{error}");
    assert!(
        !bench.master_key().exists(),
        "a lost key is never replaced by a new one"
    );
    Vault::make(&bench.master_key()).unwrap();
    let error = bench.open().unwrap_err();
    assert!(matches!(error, OpenError::OtherMasterKey { .. }), "{error}");
}

impl Bench {
    pub(super) fn open(&self) -> Result<Store, OpenError> {
        Store::open(&self.path(), &self.master_key(), settings(), self.clock.clone()).map(|(store, _)| store)
    }

    /// On a host of its own, which is told.
    async fn place(&self, vm: Uuid, key: &[u8; 32]) -> Uuid {
        let host = Host {
            id: Uuid::from_u128(9),
            name: "h9".to_owned(),
            address: [192, 0, 2, 9].into(),
            agent_port: 1,
            overlay_port: 1,
            public_key: None,
        };
        let (id, key) = (host.id, *key);
        self.store
            .change(move |change| {
                change.insert_host(Actor::Registry, &host)?;
                change.place(
                    Actor::Registry,
                    &NewPlacement {
                        vm,
                        host: host.id,
                        generation: 1,
                        secret_key: &SecretKey::from_bytes(key),
                        tap: "tap-sealed",
                        fences: &[],
                        floor_until_unix_ms: 0,
                    },
                )
            })
            .await
            .unwrap();
        id
    }

    /// An installation as the version before made it, with one VM on one host; not opened yet.
    pub(super) fn unsealed() -> Self {
        let bench = Self::new();
        for name in ["registry.db", "registry.db-wal", "registry.db-shm", "master.key"] {
            let _ = std::fs::remove_file(bench.directory.path().join(name));
        }
        let old = rusqlite::Connection::open(bench.path()).unwrap();
        old.pragma_update(None, "application_id", 0x5047_7231).unwrap();
        old.execute_batch(UNSEALED).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        let (host, network, vm) = (Uuid::from_u128(9), Uuid::from_u128(8), Uuid::from_u128(1));
        let rows = [
            (
                "INSERT INTO installation (one, id, revision) VALUES (1, ?1, 1)",
                Uuid::from_u128(1),
            ),
            (
                "INSERT INTO host (id, name, address, agent_port, overlay_port) VALUES (?1, 'h9', zeroblob(16), 1, 1)",
                host,
            ),
            (
                "INSERT INTO network (id, name, mtu) VALUES (?1, 'default', 1500)",
                network,
            ),
            (
                "INSERT INTO prefix (network, family, address, length) VALUES (?1, 4, x'00000000000000000000ffff0a000000', 24)",
                network,
            ),
        ];
        for (sql, id) in rows {
            old.execute(sql, params![id.as_bytes()]).unwrap();
        }
        old.execute(
            "INSERT INTO vm (id, network, name, address, mac, generation)
             VALUES (?1, ?2, 'vm1', x'00000000000000000000ffff0a000001', x'020000000001', 1)",
            params![vm.as_bytes(), network.as_bytes()],
        )
        .unwrap();
        old.execute(
            "INSERT INTO placement (vm, host, generation, secret_key, tap, open) VALUES (?1, ?2, 1, ?3, 'tap-1', 1)",
            params![vm.as_bytes(), host.as_bytes(), KEY],
        )
        .unwrap();
        old.execute(
            "INSERT INTO audit (unix_ms, actor, event, detail) VALUES (1, 'registry', 'e', '{}')",
            [],
        )
        .unwrap();
        bench
    }
}
