//! Namespaces, links and cables on their own, without anything of Pairgate's. Needs root.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use pairgate_lab::netns::Netns;
use pairgate_lab::plan::{Plan, Prefix};
use pairgate_lab::process::{self, Record};
use pairgate_lab::settings::Settings;
use pairgate_lab::stranger::Stranger;
use pairgate_lab::{cable, down, is_root, links, patience, probe, record, tap, underlay};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SHORT: Duration = Duration::from_secs(5);

/// Takes everything with a prefix down when a test ends, however it ends.
struct Cleared<'a>(&'a Prefix, &'a Path);

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        down::down(self.0, self.1, false).unwrap();
    }
}

fn prefix(text: &str) -> Option<Prefix> {
    if !is_root() {
        eprintln!("skipped: needs root");
        return None;
    }
    Some(Prefix::new(text).unwrap())
}

fn lay_cable(state: &Path, report: &Path, host: &Netns, guest: &Netns) -> Record {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pairgate-lab"));
    command.args([
        "cable",
        "--name",
        "web1",
        "--tap",
        "tap-web1",
        "--tap-netns",
        host.name(),
    ]);
    command
        .args(["--guest", "eth0", "--guest-netns", guest.name(), "--report"])
        .arg(report);
    process::start(guest, "cable-web1", &mut command, &state.join("cable.log")).unwrap()
}

fn await_word(report: &Path, attached: bool) {
    let what = format!("the cable says that it is attached: {attached}");
    patience::until(SHORT, &what, || {
        Ok((cable::is_attached(report) == attached).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_cable_waits_for_its_tap_carries_frames_and_plugs_itself_in_again() {
    let Some(prefix) = prefix("pgtcable-") else { return };
    let state = tempfile::tempdir().unwrap();
    let _cleared = Cleared(&prefix, state.path());
    let (host, guest) = (Netns::named("pgtcable-h1"), Netns::named("pgtcable-web1"));
    for netns in [&host, &guest] {
        netns.ensure().unwrap();
    }
    let (host_at, guest_at) = (Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 11));
    tap::ensure(&guest, "eth0").unwrap();
    links::set_up(&guest, "eth0", Some([2, 0, 0, 0, 0, 7]), Some(1500)).unwrap();
    links::ensure_address(&guest, "eth0", guest_at.into(), 24).unwrap();
    assert_eq!(links::mac(&guest, "eth0").unwrap(), [2, 0, 0, 0, 0, 7]);

    let report = state.path().join("report");
    let cable = lay_cable(state.path(), &report, &host, &guest);
    for round in 0..2 {
        await_word(&report, false);
        assert!(
            !links::exists(&host, "tap-web1").unwrap(),
            "the cable made the tap that it waits for"
        );
        tap::ensure(&host, "tap-web1").unwrap();
        links::set_up(&host, "tap-web1", None, None).unwrap();
        links::ensure_address(&host, "tap-web1", host_at.into(), 24).unwrap();
        await_word(&report, true);
        let echoes = guest
            .run(|| probe::ping(host_at, 3, 1400, SHORT))
            .unwrap()
            .unwrap();
        assert!(echoes.all(), "round {round}: {echoes:?}");
        let server = host
            .run(|| probe::EchoServer::start(IpAddr::V4(host_at)))
            .unwrap()
            .unwrap();
        let bytes = guest
            .run(|| probe::exchange(server.address(), 1 << 20, SHORT))
            .unwrap()
            .unwrap();
        assert_eq!(bytes, 1 << 20, "round {round}");
        links::delete(&host, "tap-web1").unwrap();
    }
    cable.stop().unwrap();
    assert!(
        cable.last_words().contains("frames from the guest"),
        "it did not end by itself: {}",
        cable.last_words()
    );
}

#[test]
fn the_underlay_joins_hosts_and_registry_and_goes_without_trace() {
    let Some(prefix) = prefix("pgtunder-") else { return };
    let state = tempfile::tempdir().unwrap();
    let state = state.path().join("lab");
    let _cleared = Cleared(&prefix, &state);
    let plan = Plan::new(prefix.clone(), &state, Settings::default()).unwrap();
    record::Memory {
        plan: plan.clone(),
        populated: false,
    }
    .write()
    .unwrap();
    for _again in 0..2 {
        underlay::ensure(&plan).unwrap();
    }
    let host = Netns::named(&plan.netns("h1"));
    let to = Ipv4Addr::new(192, 0, 2, 254);
    assert!(
        host.run(|| probe::ping(to, 2, 1500, SHORT))
            .unwrap()
            .unwrap()
            .all()
    );
    let v6 = "2001:db8:0:1::254";
    let listener = Netns::named(&plan.netns("reg"))
        .run(|| std::net::TcpListener::bind((v6, 0)).unwrap())
        .unwrap();
    let at = listener.local_addr().unwrap();
    host.run(|| std::net::TcpStream::connect_timeout(&at, SHORT).unwrap())
        .unwrap();

    for _again in 0..2 {
        let stranger = Stranger::join(&plan, 240).unwrap();
        assert!(
            stranger
                .netns()
                .run(|| probe::ping(to, 1, 56, SHORT))
                .unwrap()
                .unwrap()
                .all()
        );
    }
    assert!(!Netns::named(&plan.netns("stranger240")).exists());

    // A process that nobody remembers, as after a crash between its start and its record.
    let mut sleep = Command::new("sleep");
    let mut stray = host.spawn(sleep.arg("600")).unwrap();
    down::down(&prefix, &state, false).unwrap();
    assert!(
        stray.try_wait().unwrap_or(None).is_some() || !Path::new(&format!("/proc/{}", stray.id())).exists()
    );
    for short in plan.namespaces() {
        assert!(!Netns::named(&plan.netns(&short)).path().exists(), "{short}");
    }
    assert!(!state.exists());
    assert!(!plan.run_dir().exists());
    down::down(&prefix, &state, false).unwrap();
}
