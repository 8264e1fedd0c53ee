//! What the registry has acknowledged survives everything; what it cannot keep it refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use pairgate_registry::{StartError, init::init, settings::Settings, start, store::OpenError};
use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};
use support::{PATIENCE, Service, credentials, daemon::Daemon, pair, send_under};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

fn installation() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    init(&state, &["127.0.0.1".parse().unwrap()]).unwrap();
    (directory, state)
}

async fn start_refused(state: &Path) -> StartError {
    let settings = Settings::new(60, 60).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    start(state, None, listen, settings, CancellationToken::new())
        .await
        .unwrap_err()
}

#[tokio::test]
async fn kill_nine_loses_nothing_that_was_acknowledged() {
    let (_directory, state) = installation();
    let operator = credentials(&state, "operator");
    let mut acknowledged = Vec::new();
    for round in 0u64..6 {
        let mut daemon = Daemon::start(&state, "").await;
        let names = daemon.names(&operator).await;
        for name in &acknowledged {
            assert!(names.contains(name), "{name} was acknowledged and is gone");
        }
        let killer = daemon.killer();
        let killer = tokio::spawn(async move {
            sleep(Duration::from_millis(100 + 37 * round)).await;
            killer.kill();
        });
        for number in 0.. {
            let name = format!("round{round}-{number}");
            if !daemon.create(&operator, &name).await {
                break;
            }
            acknowledged.push(name);
        }
        killer.await.unwrap();
        daemon.child.wait().await.unwrap();
    }
    assert!(acknowledged.len() > 10, "the test must have written something");
    let store = rusqlite::Connection::open(state.join("registry.db")).unwrap();
    let check: String = store
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let count = |sql| store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(
        count("SELECT count(*) FROM network"),
        count("SELECT count(*) FROM audit WHERE event = 'network_created'"),
        "every change has its audit row, and every row its change"
    );
}

#[tokio::test]
async fn kill_nine_at_any_instant_carries_nothing_out_twice_under_one_key() {
    let (_directory, state) = installation();
    let operator = credentials(&state, "operator");
    let (mut replayed, mut unknown) = (0, 0);
    for round in 0u64..12 {
        let key = format!("round-{round}");
        let send = async |address: &str| {
            let body = format!(r#"{{"name": "n{round}", "prefixes": ["10.0.0.0/24"]}}"#);
            send_under(address, &operator, "POST", "/api/v1/networks", Some(&key), body).await
        };
        let daemon = Daemon::start(&state, "").await;
        let killer = daemon.killer();
        let killing = tokio::spawn(async move {
            // Around the handshake and the two transactions before and after the change.
            sleep(Duration::from_millis(4 + 3 * round)).await;
            killer.kill();
        });
        let first = send(&daemon.address).await;
        killing.await.unwrap();
        daemon.log().await;

        let daemon = Daemon::start(&state, "").await;
        let (status, answer) = send(&daemon.address).await.unwrap();
        let exists = daemon.names(&operator).await.contains(&format!("n{round}"));
        if status.is_success() {
            assert!(exists, "{answer}");
            if let Ok((_, told)) = first {
                assert_eq!(answer, told, "the same answer as before");
                replayed += 1;
            }
        } else {
            // Not `exists`: that would be a second try.
            assert_eq!(
                (status.as_u16(), answer["type"].as_str()),
                (409, Some("conflict")),
                "{answer}"
            );
            assert!(first.is_err(), "whoever has the answer gets it again");
            unknown += 1;
        }
        daemon.killer().kill();
        daemon.log().await;
    }
    let store = rusqlite::Connection::open(state.join("registry.db")).unwrap();
    let count = |sql| store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(
        count("SELECT count(*) FROM audit WHERE event = 'network_created'"),
        count("SELECT count(*) FROM network"),
    );
    println!("{replayed} replayed, {unknown} unknown");
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_service_and_what_it_refused_is_not_there() {
    let (_directory, state) = installation();
    let operator = credentials(&state, "operator");
    // No file may grow past a megabyte; the write-ahead log soon would.
    let mut daemon = Daemon::start(&state, "trap '' XFSZ; ulimit -f 2048;").await;
    let mut acknowledged = Vec::new();
    for number in 0..2_000 {
        let name = format!("n{number}");
        if !daemon.create(&operator, &name).await {
            break;
        }
        acknowledged.push(name);
    }
    let status = timeout(PATIENCE, daemon.child.wait())
        .await
        .expect("it ends itself")
        .unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(acknowledged.len() > 3, "the disk must have worked at first");
    let daemon = Daemon::start(&state, "").await;
    let mut names = daemon.names(&operator).await;
    names.sort();
    acknowledged.sort();
    assert_eq!(names, acknowledged);
}

#[tokio::test]
async fn a_missing_a_damaged_and_a_foreign_store_are_refused_and_never_replaced() {
    let (_directory, state) = installation();
    let store = state.join("registry.db");
    let good = fs::read(&store).unwrap();

    fs::remove_file(&store).unwrap();
    let error = start_refused(&state).await;
    assert!(
        matches!(error, StartError::Open(OpenError::Missing { .. })),
        "{error}"
    );
    assert!(!store.exists(), "nothing was put in its place");

    let write = |bytes: &[u8]| {
        fs::write(&store, bytes).unwrap();
        fs::set_permissions(&store, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(b"");
    let error = start_refused(&state).await;
    assert!(
        matches!(error, StartError::Open(OpenError::Foreign { .. })),
        "{error}"
    );
    write(&good[..good.len() / 2]);
    let error = start_refused(&state).await;
    assert!(
        matches!(error, StartError::Open(OpenError::Damaged { .. })),
        "{error}"
    );
    write(&good);
    let file = fs::OpenOptions::new().write(true).open(&store).unwrap();
    file.write_all_at(&[0x5a; 4096], 4096).unwrap();
    let error = start_refused(&state).await;
    assert!(
        matches!(error, StartError::Open(OpenError::Damaged { .. })),
        "{error}"
    );

    write(&good);
    let later = rusqlite::Connection::open(&store).unwrap();
    later.pragma_update(None, "user_version", 1_000).unwrap();
    drop(later);
    let error = start_refused(&state).await;
    assert!(
        matches!(error, StartError::Open(OpenError::Layout { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn files_that_others_can_read_or_that_do_not_belong_together_are_refused() {
    let (_directory, state) = installation();
    for name in ["ca.key", "registry.key", "registry.db"] {
        fs::set_permissions(state.join(name), fs::Permissions::from_mode(0o640)).unwrap();
        let error = start_refused(&state).await;
        assert!(matches!(error, StartError::Exposed { .. }), "{name}: {error}");
        fs::set_permissions(state.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let (_other_directory, other) = installation();
    fs::copy(other.join("registry.db"), state.join("registry.db")).unwrap();
    let error = start_refused(&state).await;
    let other_key = matches!(error, StartError::Open(OpenError::OtherMasterKey { .. }));
    assert!(other_key, "a stolen store is worth nothing elsewhere: {error}");
    fs::copy(other.join("master.key"), state.join("master.key")).unwrap();
    let error = start_refused(&state).await;
    assert!(matches!(error, StartError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn one_installation_has_one_service() {
    let mut service = Service::new(60, 60).await;
    let error = start_refused(&service.state()).await;
    assert!(matches!(error, StartError::InUse { .. }), "{error}");
    service.stop().await;
    service.start().await;
    service.stop().await;
}

#[tokio::test]
async fn a_termination_signal_ends_the_service_within_two_seconds_with_streams_open() {
    let mut service = Service::new(60, 60).await;
    let (_h1, h2) = service.laboratory().await;
    service.stop().await;
    let mut daemon = Daemon::start(&service.state(), "").await;
    let mut h2 = daemon.met_by(h2);
    let mut follower = h2.follow(b"one").await;
    follower.next().await.unwrap().unwrap();
    daemon.terminate();
    let status = timeout(Duration::from_secs(2), daemon.child.wait())
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(status.code(), Some(0));
    follower.ended_because().await;
}

/// Wrong if it fails: hosts refuse every goal state of a store that was set back, denials too, and take its leases.
#[tokio::test]
async fn a_store_that_is_set_back_to_a_copy_goes_on_above_every_revision_that_hosts_have_seen() {
    let mut service = Service::new(600, 60).await;
    let (_h1, mut h2) = service.laboratory().await;
    let revision =
        async |service: &Service| service.get("/api/v1/status").await["revision"].as_u64().unwrap();
    let copied = revision(&service).await;
    for _ in 0..20 {
        service.deny(0).await;
        service
            .post("/api/v1/networks/default/pairs", pair("web1", "db1"))
            .await;
    }
    let seen = h2.follow(b"one").await.next().await.unwrap().unwrap().revision;
    assert!(seen > copied + 20);
    service.stop().await;

    // Of all that a copy would bring back, what counts here.
    let store = rusqlite::Connection::open(service.state().join("registry.db")).unwrap();
    let set_back = "UPDATE installation SET revision = ?1";
    store.execute(set_back, [i64::try_from(copied).unwrap()]).unwrap();
    drop(store);
    service.start().await;
    h2.client = service.agents(&h2.credentials);
    let now = h2.follow(b"one").await.next().await.unwrap().unwrap().revision;
    assert!(now > seen, "{now} after {seen}");
    assert_eq!(now, revision(&service).await);
    service.stop().await;
}
