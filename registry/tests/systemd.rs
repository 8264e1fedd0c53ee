//! What systemd hears from the real program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use pairgate_registry::init::init;
use support::{PATIENCE, daemon::Daemon};
use tokio::{net::UnixDatagram, time::timeout};

#[tokio::test]
async fn systemd_hears_that_the_registry_is_ready_that_it_lives_and_that_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    init(&state, &["127.0.0.1".parse().unwrap()]).unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let heard = async || {
        let mut bytes = [0; 256];
        let length = timeout(PATIENCE, socket.recv(&mut bytes))
            .await
            .expect("in time")
            .unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    };
    let environment = format!("NOTIFY_SOCKET={} WATCHDOG_USEC=400000", path.display());
    let daemon = Daemon::start(&state, &environment).await;
    assert_eq!(heard().await, "READY=1");
    for _ in 0..3 {
        assert_eq!(heard().await, "WATCHDOG=1");
    }
    daemon.terminate();
    let last = loop {
        let said = heard().await;
        if said != "WATCHDOG=1" {
            break said;
        }
    };
    assert_eq!(last, "STOPPING=1");
    daemon.log().await;
}
