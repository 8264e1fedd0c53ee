//! What a guest's own stack makes of what it is told: it finds out what its pair carries, and that nobody listens.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_e2e::{DB1, DB1_6, DB2, DB2_6, PATIENCE, Rig};
use pairgate_lab::{links, patience, plan::UPLINK};
use std::{
    io::ErrorKind,
    mem::size_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    os::fd::AsRawFd,
    time::Duration,
};

const MEGABYTE: usize = 1 << 20;
/// What the uplink carries, and what is left of it inside our headers.
const UPLINK_MTU: u32 = 1400;
const INSIDE: i32 = 1350;

/// A socket of a guest that sends to this port.
fn connected(to: (IpAddr, u16)) -> UdpSocket {
    let any: IpAddr = match to.0 {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// Has the socket forbid fragments, as whoever looks for the way's MTU does.
fn looks_for_the_mtu(socket: &UdpSocket, is_ipv4: bool) {
    let (level, name, value) = if is_ipv4 {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)
    } else {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
        )
    };
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the option is a number, and as large as is said.
    let answer =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    assert_eq!(answer, 0);
}

/// The MTU of the way, as the guest's stack has it.
fn known_mtu(socket: &UdpSocket, is_ipv4: bool) -> i32 {
    let (level, name) = if is_ipv4 {
        (libc::IPPROTO_IP, libc::IP_MTU)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU)
    };
    let (mut value, mut size) = (0_i32, size_of::<i32>() as libc::socklen_t);
    // SAFETY: the option is a number, and as large as is said.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut size,
        )
    };
    assert_eq!(answer, 0);
    value
}

/// Wrong if it fails: on an uplink that carries less than the guests send, connections hang.
#[test]
fn guests_find_out_what_their_pair_carries() {
    let rig = Rig::start_default("pathmtu").unwrap();
    let peers = [IpAddr::V4(DB1), IpAddr::V6(DB1_6)];
    for peer in peers {
        rig.await_answer("web1", peer).unwrap();
    }
    links::set_up(&rig.lab.netns("h1"), UPLINK, None, Some(UPLINK_MTU)).unwrap();
    for peer in peers {
        let guest = rig.lab.netns("web1");
        // One socket for all tries: an answer that comes when its socket is closed is about nothing that a stack knows.
        let socket = guest.run(|| connected((peer, 4000))).unwrap();
        looks_for_the_mtu(&socket, peer.is_ipv4());
        let mut last = String::new();
        // Until the agent has seen the uplink's new MTU everything goes out, and dies there.
        let told = patience::until(PATIENCE, "a datagram is refused by the guest's own stack", || {
            let (sent, known) = (socket.send(&[7; 1400]), known_mtu(&socket, peer.is_ipv4()));
            last = format!("to {peer}: {sent:?}, and its stack knows {known}");
            let refused = sent.is_err_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE));
            Ok((refused && known == INSIDE).then_some(()))
        });
        let answered = rig.dropped("h1", "from_tap", "too_big").unwrap();
        told.unwrap_or_else(|error| panic!("{error:#}; {last}; too big so far: {answered}"));
    }
    for peer in peers {
        let came = rig.tcp("web1", ("db1", peer), MEGABYTE, PATIENCE).unwrap();
        assert_eq!(came.unwrap(), MEGABYTE, "TCP to {peer}");
    }
    assert!(rig.dropped("h1", "from_tap", "too_big").unwrap() > 0);
}

/// Wrong if it fails: a client whose grant names no ICMP waits for a server that is not there.
#[test]
fn a_guest_learns_that_nobody_listens_without_a_grant_of_icmp() {
    let rig = Rig::start_default("unreachable").unwrap();
    let allow = ["pair", "allow", "web1", "db2", "udp/5000"];
    rig.lab.json(&allow).unwrap();
    for peer in [IpAddr::V4(DB2), IpAddr::V6(DB2_6)] {
        assert!(!rig.answers("web1", peer).unwrap(), "pings are granted after all");
        let guest = rig.lab.netns("web1");
        patience::until(PATIENCE, "port unreachable comes back", || {
            let refused = guest.run(|| {
                let socket = connected((peer, 5000));
                let asked = socket.send(b"anybody?").and_then(|_| socket.recv(&mut [0; 16]));
                asked.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            })?;
            Ok(refused.then_some(()))
        })
        .unwrap();
    }
}
