//! The VXLAN device against a real kernel, each test in a network namespace of its own thread, which ends with
//! the test. They need root and say so when they are skipped.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use pairgate_agent::{
    net::{Net, Vxlan},
    port::{self, DEVICE, OverlayPort, PortError},
};
use std::net::UdpSocket;

const PORT: u16 = 4789;

/// Runs a test in a new network namespace.
fn in_a_namespace<F: Future<Output = ()>>(test: impl FnOnce(Net) -> F + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root to make a network namespace");
        return;
    }
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .unwrap()
            .block_on(async { test(Net::open().unwrap()).await });
    });
    thread.join().unwrap();
}

#[test]
fn the_device_is_down_until_it_is_opened_and_then_has_the_port_and_no_address() {
    in_a_namespace(|net| async move {
        let device = OverlayPort::ready(&net, PORT).await.unwrap();
        let link = net.link(device.index()).await.unwrap().unwrap();
        let wanted = Vxlan {
            port: PORT,
            external: true,
            group_policy: true,
            learning: false,
            zero_checksum_6: true,
        };
        assert_eq!((link.name.as_str(), link.vxlan), (DEVICE, Some(wanted)));
        assert!(!link.is_up, "what comes out of it would enter the host's stack");
        assert!(!device.is_open(&net).await.unwrap());
        device.open(&net).await.unwrap();
        assert!(device.is_open(&net).await.unwrap());
        assert_eq!(
            net.addresses(device.index()).await.unwrap(),
            [] as [std::net::IpAddr; 0],
            "the host could be spoken to through it"
        );
        for any in ["0.0.0.0", "::"] {
            assert!(
                UdpSocket::bind((any, PORT)).is_err(),
                "{any}: another overlay could take the port"
            );
        }
    });
}

#[test]
fn the_next_agent_finds_the_device_of_the_last_and_another_port_gets_a_new_one() {
    in_a_namespace(|net| async move {
        let first = OverlayPort::ready(&net, PORT).await.unwrap();
        first.open(&net).await.unwrap();
        let second = OverlayPort::ready(&net, PORT).await.unwrap();
        assert_eq!(second.index(), first.index(), "frames were lost for nothing");
        second.open(&net).await.unwrap();
        let moved = OverlayPort::ready(&net, PORT + 1).await.unwrap();
        moved.open(&net).await.unwrap();
        assert!(moved.is_open(&net).await.unwrap());
        assert!(
            UdpSocket::bind(("0.0.0.0", PORT)).is_ok(),
            "the old port is still held"
        );
        port::remove(&net).await.unwrap();
        port::remove(&net).await.unwrap();
        assert_eq!(net.link_by_name(DEVICE).await.unwrap(), None);
    });
}

#[test]
fn a_device_that_somebody_took_away_comes_back_under_the_number_that_the_programs_know() {
    in_a_namespace(|net| async move {
        let device = OverlayPort::ready(&net, PORT).await.unwrap();
        device.open(&net).await.unwrap();
        net.delete(device.index()).await.unwrap();
        assert!(!device.is_open(&net).await.unwrap());
        device.make_again(&net).await.unwrap();
        device.open(&net).await.unwrap();
        assert!(device.is_open(&net).await.unwrap());
    });
}

#[test]
fn another_programs_port_and_another_programs_device_are_left_alone() {
    in_a_namespace(|net| async move {
        let other = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        let device = OverlayPort::ready(&net, PORT).await.unwrap();
        let error = device.open(&net).await.unwrap_err();
        assert!(matches!(error, PortError::Taken { .. }), "{error}");
        drop(other);
        device.open(&net).await.unwrap();
        port::remove(&net).await.unwrap();

        let theirs = Vxlan {
            port: PORT,
            external: true,
            ..Vxlan::default()
        };
        net.make_vxlan("vx-theirs", theirs, None).await.unwrap();
        let index = net.link_by_name("vx-theirs").await.unwrap().unwrap().index;
        net.set_up(index).await.unwrap();
        let taken = match OverlayPort::ready(&net, PORT).await {
            Ok(device) => device.open(&net).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(
            taken.to_string().contains("vx-theirs"),
            "nobody could tell what to remove: {taken}"
        );
        port::remove(&net).await.unwrap();

        net.make_vxlan(DEVICE, Vxlan { port: 9, ..theirs }, None)
            .await
            .unwrap();
        let error = OverlayPort::ready(&net, PORT).await.unwrap_err();
        assert!(matches!(error, PortError::Foreign), "{error}");
        port::remove(&net).await.unwrap();
        assert!(
            net.link_by_name(DEVICE).await.unwrap().is_some(),
            "it was not ours"
        );
    });
}
