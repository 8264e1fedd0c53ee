//! A stock Debian under QEMU, with nothing configured by hand: it gets everything from its tap, and talks over its pair.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_lab::{
    guard::Lab,
    guest::{Inside, debian},
    patience,
    plan::GUESTS,
    probe::{EchoServer, cli::Answered, ping},
    programs::Programs,
    record::Wishes,
};
use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

/// How long something may take in a machine whose processor is emulated.
const LIMIT: Duration = Duration::from_secs(120);
const BYTES: usize = 1 << 20;

/// What a command says in the guest.
fn said(guest: &Inside, argv: &[&str]) -> String {
    let ended = guest.run(argv, LIMIT).unwrap();
    assert_eq!(ended.code, 0, "{argv:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

fn answered(guest: &Inside, to: IpAddr, payload: usize) -> u32 {
    let arguments = ["ping", &to.to_string(), "3", &payload.to_string(), "3000"];
    guest.probe::<Answered>(&arguments, LIMIT).unwrap().received
}

#[test]
#[ignore = "fetches a Debian and boots it, which takes minutes: cargo xtask prove --stage \"debian guest\""]
fn a_stock_debian_comes_up_by_itself_and_talks_over_its_pair() {
    let boot = debian::boot(&Programs::beside_this_one().unwrap()).unwrap();
    let lab = Lab::for_test("debian", Wishes::default()).unwrap();
    let [web1, db1, db2] = GUESTS;
    let begun = Instant::now();
    let guest = lab.boot_instead("web1", boot).unwrap();
    debian::await_up(&guest).unwrap();
    eprintln!(
        "Debian runs a command after {:.1} s",
        begun.elapsed().as_secs_f64()
    );

    let wanted = [
        format!("inet {}/24", web1.address),
        format!("inet6 {}/128", web1.address_6),
    ];
    patience::until(LIMIT, "DHCP and DHCPv6 give it its addresses", || {
        let text = said(&guest, &["ip", "address", "show", "scope", "global"]);
        Ok(wanted.iter().all(|address| text.contains(address)).then_some(()))
    })
    .unwrap();
    eprintln!(
        "Debian has both addresses after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let interface = said(&guest, &["ip", "address", "show"]);
    let routes = said(&guest, &["ip", "route"]) + &said(&guest, &["ip", "-6", "route"]);
    eprintln!("{interface}{routes}");
    for fact in [
        "default via 10.77.0.1",
        "default via fe80::50:47ff:fe00:1",
        "proto dhcp",
        "proto ra",
    ] {
        assert!(routes.contains(fact), "no {fact} in {routes}");
    }
    assert!(interface.contains("mtu 1500"), "{interface}");

    for (to, headers) in [(IpAddr::from(db1.address), 28), (db1.address_6.into(), 48)] {
        for payload in [56, 1500 - headers] {
            assert_eq!(answered(&guest, to, payload), 3, "{payload} bytes to {to}");
        }
        let server = lab.netns("db1").run(|| EchoServer::start(to)).unwrap().unwrap();
        let arguments = [
            "exchange",
            &server.address().to_string(),
            &BYTES.to_string(),
            "60000",
        ];
        assert_eq!(
            guest.probe::<usize>(&arguments, LIMIT).unwrap(),
            BYTES,
            "TCP to {to}"
        );
    }
    for from in [IpAddr::from(web1.address), web1.address_6.into()] {
        let echoes = lab.netns("db1").run(|| ping(from, 3, 56, Duration::from_secs(3)));
        assert!(echoes.unwrap().unwrap().all(), "db1 does not reach {from}");
    }
    let db2 = IpAddr::from(db2.address);
    assert_eq!(answered(&guest, db2, 56), 0, "it reached db2 without a pair");
    lab.json(&["pair", "deny", "web1", "db1"]).unwrap();
    let db1 = IpAddr::from(db1.address);
    assert_eq!(answered(&guest, db1, 56), 0, "the denial did not stop it");
}
