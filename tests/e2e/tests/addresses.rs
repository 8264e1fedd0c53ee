//! A guest's addresses: it speaks by those that are registered and by no others, also when they change while it runs.

use anyhow::Result;
use pairgate_e2e::{DB1, DB1_6, Rig, WEB1, WEB1_6};
use pairgate_lab::{
    links,
    plan::{GUEST_INTERFACE, GUEST_PREFIX},
    probe::ping,
};
use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

/// An address of the network that nobody has at first.
const NEW: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);

/// Whether a datagram from this address of db1 reaches web1.
fn speaks(rig: &Rig, from: Ipv4Addr) -> Result<bool> {
    let receiver = rig.lab.netns("web1").run(|| UdpSocket::bind((WEB1, 0)))??;
    receiver.set_read_timeout(Some(Duration::from_millis(500)))?;
    let at = receiver.local_addr()?;
    let sender = rig.lab.netns("db1").run(|| UdpSocket::bind((from, 0)))??;
    sender.send_to(b"hello", at)?;
    let heard = receiver.recv_from(&mut [0; 16]);
    Ok(heard.is_ok_and(|(_, source)| {
        source == SocketAddr::from((from, sender.local_addr().map_or(0, |a| a.port())))
    }))
}

#[test]
fn a_guest_speaks_by_its_registered_addresses_alone_while_they_change() {
    let rig = Rig::start_default("addresses").unwrap();
    let set = |addresses: &[&str]| {
        rig.lab
            .json(&[&["vm", "set-addresses", "db1"], addresses].concat())
            .unwrap();
        rig.lab.await_settled().unwrap();
    };
    links::ensure_address(&rig.lab.netns("db1"), GUEST_INTERFACE, NEW.into(), GUEST_PREFIX).unwrap();
    rig.await_answer("web1", DB1).unwrap();
    rig.await_answer("web1", DB1_6).unwrap();
    assert!(speaks(&rig, DB1).unwrap());
    assert!(!speaks(&rig, NEW).unwrap(), "nobody has given it this address");
    rig.await_dropped("h2", "from_tap", "spoofed_address", 1).unwrap();

    // One more: everything is there by the new pair ids, old addresses included.
    set(&["10.77.0.21", "10.77.0.99", "fd77::21"]);
    assert!(
        rig.answers("web1", NEW).unwrap(),
        "the new address is not reached"
    );
    assert!(rig.answers("web1", DB1).unwrap() && rig.answers("web1", DB1_6).unwrap());
    assert!(speaks(&rig, NEW).unwrap() && speaks(&rig, DB1).unwrap());

    // One less: it is gone in both directions, and the others stay.
    set(&["10.77.0.99", "fd77::21"]);
    assert!(
        !rig.answers("web1", DB1).unwrap(),
        "the old address is still reached"
    );
    assert!(
        !speaks(&rig, DB1).unwrap(),
        "the guest still speaks by its old address"
    );
    assert!(rig.answers("web1", NEW).unwrap() && speaks(&rig, NEW).unwrap());
    let six = rig
        .lab
        .netns("db1")
        .run(|| ping(WEB1_6, 1, 56, Duration::from_millis(250)));
    assert!(six.unwrap().unwrap().all());
}
