//! Registry time over restarts, kill -9 and other boots, as clients see it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use rusqlite::{Connection, params};
use support::{daemon::Daemon, *};

const HOUR_MS: i64 = 3_600_000;

/// What the store remembers: boot instant and registry time.
fn mark(service: &Service) -> (i64, i64) {
    let store = Connection::open(service.state().join("registry.db")).unwrap();
    let sql = "SELECT boot_ms, unix_ms FROM registry_time";
    store
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
}

async fn time(service: &Service) -> (i64, i64) {
    let status = service.get("/api/v1/status").await;
    let number = |field: &str| status[field].as_i64().unwrap();
    (number("unix_ms"), number("wall_clock_ahead_ms"))
}

fn wall_ms() -> i64 {
    i64::try_from(now_unix_secs()).unwrap() * 1000
}

#[tokio::test]
async fn a_wall_clock_that_was_stepped_while_the_registry_was_away_raises_an_alarm_and_changes_nothing() {
    // Not further back than certificates are made valid beforehand: nobody could call.
    for moved_ms in [HOUR_MS, -200_000] {
        let mut service = Service::new(600, 60).await;
        let (_, ahead) = time(&service).await;
        assert!(ahead.abs() < 5_000, "{ahead}");
        service.stop().await;
        // The wall clock cannot be stepped in a test, so what is remembered is: what counts is the distance.
        let store = Connection::open(service.state().join("registry.db")).unwrap();
        store
            .execute_batch("DELETE FROM audit; UPDATE audit_head SET number = 0")
            .unwrap();
        let moved = store.execute("UPDATE registry_time SET unix_ms = unix_ms + ?1", [moved_ms]);
        assert_eq!(moved.unwrap(), 1);
        drop(store);
        let (boot_ms, unix_ms) = mark(&service);
        service.start().await;
        let (now, ahead) = time(&service).await;
        assert!((ahead + moved_ms).abs() < 5_000, "{ahead}");
        assert!(now >= unix_ms && now < unix_ms + 60_000, "the mark counts");
        let (later_boot_ms, later_unix_ms) = mark(&service);
        assert_eq!(
            later_unix_ms - unix_ms,
            later_boot_ms - boot_ms,
            "and the boot clock"
        );
        service.stop().await;
    }
}

#[tokio::test]
async fn after_another_boot_registry_time_is_the_later_of_mark_and_wall_clock() {
    let mut service = Service::new(600, 60).await;
    for (hours, expected) in [(-5, 0), (7, 7)] {
        service.stop().await;
        let store = Connection::open(service.state().join("registry.db")).unwrap();
        let sql = "UPDATE registry_time SET boot_id = zeroblob(16), unix_ms = ?1";
        let moved = store.execute(sql, params![wall_ms() + hours * HOUR_MS]);
        assert_eq!(moved.unwrap(), 1);
        drop(store);
        service.start().await;
        let (now, _) = time(&service).await;
        assert!(
            (now - wall_ms() - expected * HOUR_MS).abs() < 5_000,
            "{hours} {now}"
        );
    }
    service.stop().await;
}

#[tokio::test]
async fn registry_time_does_not_go_back_when_the_service_is_killed() {
    let mut service = Service::new(600, 60).await;
    service.stop().await;
    // Ahead of the wall clock, so that only what is remembered can carry it over.
    let store = Connection::open(service.state().join("registry.db")).unwrap();
    let sql = "UPDATE registry_time SET boot_id = zeroblob(16), unix_ms = ?1";
    store.execute(sql, params![wall_ms() + HOUR_MS]).unwrap();
    drop(store);
    let operator = service.credentials("operator");
    let mut last = 0;
    for _ in 0..5 {
        let daemon = Daemon::start(&service.state(), "").await;
        let (_, status) = rest(&daemon.address, &operator, "GET", "/api/v1/status", None).await;
        let now = status["unix_ms"].as_i64().unwrap();
        assert!(
            now >= last && now >= wall_ms() + HOUR_MS - 5_000,
            "{now} after {last}"
        );
        last = now;
        daemon.killer().kill();
        daemon.log().await;
    }
    service.start().await;
    assert!(time(&service).await.0 >= last);
    service.stop().await;
    assert!(mark(&service).1 >= last, "it is written down at the end");
}
