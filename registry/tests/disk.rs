//! A disk with no room left: what must not wait goes on.
//!
//! The test runs itself again in a user and mount namespace of its own, so that it can make a small disk without
//! touching the machine's.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "each test binary uses a part of it")]
mod support;

use hyper::StatusCode;
use nix::mount::{MsFlags, mount};
use pairgate_registry::{authority::ServerAddress, init::init};
use serde_json::{Value, json};
use std::{
    env,
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
};
use support::{daemon::Daemon, *};

const INSIDE: &str = "PAIRGATE_TEST_SMALL_DISK";
const NAME: &str = "on_a_full_disk_pairs_are_denied_and_nothing_else_is_written_until_there_is_room";

#[test]
fn on_a_full_disk_pairs_are_denied_and_nothing_else_is_written_until_there_is_room() {
    if env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(inside());
    }
    let again = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&again.stdout).contains("1 passed"));
}

/// Writes until the disk takes no more.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for piece in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0x5a; piece]).is_ok() {}
    }
}

async fn inside() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path();
    mount(
        Some("tmpfs"),
        disk,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=48m,mode=700"),
    )
    .unwrap();
    let state = disk.join("state");
    init(&state, &["127.0.0.1".parse::<ServerAddress>().unwrap()]).unwrap();
    let operator = credentials(&state, "operator");
    let daemon = Daemon::start(&state, "").await;
    let post = async |path: &str, body: Value| {
        rest(
            &daemon.address,
            &operator,
            "POST",
            &format!("/api/v1/{path}"),
            Some(body),
        )
        .await
    };
    let done = async |path: &str, body: Value| {
        let (status, answer) = post(path, body).await;
        assert!(status.is_success(), "{path}: {answer}");
    };
    done(
        "networks",
        json!({"name": "default", "prefixes": ["10.77.0.0/16"]}),
    )
    .await;
    done("hosts", json!({"name": "h1", "address": "192.0.2.1"})).await;
    const VMS: usize = 24;
    for number in 0..VMS {
        done("networks/default/vms", json!({"name": format!("vm{number}")})).await;
    }
    let pairs: Vec<_> = (1..VMS)
        .map(|number| pair("vm0", &format!("vm{number}")))
        .collect();
    for pair in &pairs {
        done("networks/default/pairs", pair.clone()).await;
    }

    let filler = disk.join("filler");
    fill(&filler);
    let mut refused = false;
    for number in 0..200 {
        let body = json!({"name": format!("n{number}"), "prefixes": ["10.0.0.0/24"]});
        let (status, problem) = post("networks", body).await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(problem["type"], "unavailable");
            refused = true;
            break;
        }
    }
    assert!(refused, "the disk is full, so creating must have an end");
    for mut denial in pairs {
        denial["timeout_ms"] = 0.into();
        done("networks/default/denials", denial).await;
    }
    done("networks/default/vms/vm0/placement", json!({"host": "h1"})).await;
    done("hosts/h1/reset", json!(null)).await;
    let (status, _) = post("networks/default/pairs", pair("vm0", "vm1")).await;
    assert_eq!(
        status,
        StatusCode::SERVICE_UNAVAILABLE,
        "the reserve is not for this"
    );

    let is_full = async |daemon: &Daemon| {
        let (_, status) = rest(&daemon.address, &operator, "GET", "/api/v1/status", None).await;
        status["disk_is_full"].as_bool().unwrap()
    };
    assert!(is_full(&daemon).await);

    // Killed and started again with the disk as full as it is.
    daemon.killer().kill();
    daemon.log().await;
    let daemon = Daemon::start(&state, "").await;
    let (_, left) = rest(
        &daemon.address,
        &operator,
        "GET",
        "/api/v1/networks/default/pairs",
        None,
    )
    .await;
    let left = left.as_array().or(left["items"].as_array()).unwrap().len();
    assert_eq!(left, 0, "what was denied stays denied");

    fs::remove_file(&filler).unwrap();
    let body = json!({"name": "later", "prefixes": ["10.0.0.0/24"]});
    let (status, answer) = rest(&daemon.address, &operator, "POST", "/api/v1/networks", Some(body)).await;
    assert!(status.is_success(), "there is room again: {answer}");
    assert!(state.join("reserve").exists(), "and the reserve is whole again");
    assert!(!is_full(&daemon).await);
    daemon.killer().kill();
    daemon.log().await;
    nix::mount::umount(disk).unwrap();
}
