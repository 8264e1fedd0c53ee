//! First packets: what a guest sends before its pair is open arrives all the same, within the bounds, and what does
//! not arrive is counted.

use anyhow::Result;
use pairgate_e2e::{DB1, DB1_6, DB2, DB2_6, PATIENCE, Rig, WEB1, WEB1_6};
use pairgate_lab::{patience, probe::EchoServer, record::Wishes, settings::Underlay};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

/// Before a TCP stack sends its first segment again (RFC 6298: one second).
const BEFORE_RETRANSMISSION: Duration = Duration::from_millis(900);
/// What is held for one pair.
const HELD: usize = 8;
/// Addresses that no guest has, more than can be held at a time.
const STRANGERS: std::ops::Range<u8> = 100..228;
/// How long a datagram that is still to come may take.
const SILENCE: Duration = Duration::from_millis(1500);

/// A guest, by its name and its address of one family.
type Guest = (&'static str, IpAddr);

/// Ends whatever two guests have between them and lets them begin anew.
fn fresh(rig: &Rig, one: &str, other: &str) -> Result<()> {
    rig.lab.call(&["pair", "deny", one, other])?;
    rig.lab.json(&["pair", "allow", one, other])?;
    rig.lab.await_settled()
}

/// Packets of guests of this host that died while their pair was being opened.
fn lost(rig: &Rig, host: &str) -> Result<u64> {
    let mut all = 0;
    for reason in [
        "no_pair",
        "hold_full",
        "denied",
        "expired",
        "next_hop",
        "room",
        "internal",
    ] {
        all += rig.dropped(host, "from_tap", reason)?;
    }
    Ok(all)
}

fn socket(rig: &Rig, guest: Guest) -> Result<UdpSocket> {
    let socket = rig
        .lab
        .netns(guest.0)
        .run(|| UdpSocket::bind(SocketAddr::new(guest.1, 0)))??;
    socket.set_read_timeout(Some(SILENCE))?;
    Ok(socket)
}

/// Sends numbered datagrams in one go; those that arrived, as they came.
fn datagrams(rig: &Rig, from: Guest, to: Guest, count: usize) -> Result<Vec<u8>> {
    let (sender, receiver) = (socket(rig, from)?, socket(rig, to)?);
    let at = receiver.local_addr()?;
    for number in 0..count {
        sender.send_to(&[number as u8; 100], at)?;
    }
    let mut arrived = Vec::new();
    let mut buffer = [0; 256];
    while arrived.len() < count {
        match receiver.recv_from(&mut buffer) {
            Ok((100, source)) if source.ip() == from.1 => arrived.push(buffer[0]),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(arrived)
}

/// The first packet of every kind, in both families, each on a pair that has just been allowed.
fn first_packets_arrive(rig: &Rig, host: &str, from: [Guest; 2], to: [Guest; 2]) -> Result<()> {
    for (from, to) in from.into_iter().zip(to) {
        let before = lost(rig, host)?;
        fresh(rig, from.0, to.0)?;
        let echoes = rig.ping(from.0, to.1, 1, 56)?;
        assert!(echoes.all(), "the first ping from {from:?} to {to:?}: {echoes:?}");

        fresh(rig, from.0, to.0)?;
        let numbers: Vec<u8> = (0..HELD as u8).collect();
        assert_eq!(
            datagrams(rig, from, to, HELD)?,
            numbers,
            "the first datagrams from {from:?} to {to:?}"
        );

        fresh(rig, from.0, to.0)?;
        let server = rig.lab.netns(to.0).run(|| EchoServer::start(to.1))??;
        let at = server.address();
        let connected = rig
            .lab
            .netns(from.0)
            .run(|| TcpStream::connect_timeout(&at, BEFORE_RETRANSMISSION))?;
        assert!(
            connected.is_ok(),
            "the first segment from {from:?} to {to:?}: {connected:?}"
        );
        assert_eq!(lost(rig, host)?, before, "{host} counts a packet that it lost");
    }
    Ok(())
}

#[test]
fn the_first_packets_between_hosts_arrive() {
    let rig = Rig::start_default("first-hosts").unwrap();
    first_packets_arrive(
        &rig,
        "h1",
        [("web1", WEB1.into()), ("web1", WEB1_6.into())],
        [("db1", DB1.into()), ("db1", DB1_6.into())],
    )
    .unwrap();
}

#[test]
fn the_first_packets_arrive_over_an_ipv6_underlay() {
    let wishes = Wishes {
        underlay: Some(Underlay::V6),
        ..Wishes::default()
    };
    let rig = Rig::start("first-six", wishes).unwrap();
    first_packets_arrive(
        &rig,
        "h1",
        [("web1", WEB1.into()), ("web1", WEB1_6.into())],
        [("db1", DB1.into()), ("db1", DB1_6.into())],
    )
    .unwrap();
}

#[test]
fn the_first_packets_inside_a_host_arrive() {
    let rig = Rig::start_default("first-inside").unwrap();
    first_packets_arrive(
        &rig,
        "h2",
        [("db1", DB1.into()), ("db1", DB1_6.into())],
        [("db2", DB2.into()), ("db2", DB2_6.into())],
    )
    .unwrap();
}

#[test]
fn what_is_over_the_bound_is_counted_and_nothing_is_lost_without_a_word() {
    let rig = Rig::start_default("first-bound").unwrap();
    fresh(&rig, "web1", "db1").unwrap();
    let before = lost(&rig, "h1").unwrap();
    let sent = 4 * HELD;
    let arrived = datagrams(&rig, ("web1", WEB1.into()), ("db1", DB1.into()), sent).unwrap();
    assert!(arrived.len() >= HELD, "{} arrived", arrived.len());
    let counted = lost(&rig, "h1").unwrap() - before;
    assert_eq!(arrived.len() as u64 + counted, sent as u64);
}

#[test]
fn a_refusal_is_remembered_and_forgotten_with_the_next_change() {
    let rig = Rig::start_default("first-refused").unwrap();
    let mints = |rig: &Rig| -> u64 {
        let text = rig.metrics("h1").unwrap();
        let refused = text
            .lines()
            .filter(|line| line.contains("\"refused\"") && line.contains("mint"));
        refused
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .map(|count| count as u64)
            .sum()
    };
    assert_eq!(rig.ping("web1", DB2, 8, 56).unwrap().received, 0);
    rig.await_dropped("h1", "from_tap", "denied", 8).unwrap();
    assert_eq!(
        mints(&rig),
        1,
        "eight packets asked more than once in five seconds"
    );

    rig.lab.json(&["pair", "allow", "web1", "db2"]).unwrap();
    rig.lab.await_settled().unwrap();
    let first = rig.ping("web1", DB2, 1, 56).unwrap();
    assert!(first.all(), "the refusal of before still stands");
    rig.lab.json(&["pair", "deny", "web1", "db2"]).unwrap();
    assert_eq!(rig.ping("web1", DB2, 3, 56).unwrap().received, 0);
}

#[test]
fn an_agent_that_dies_with_packets_in_its_hands_leaves_its_guests_their_room() {
    let rig = Rig::start_default("first-killed").unwrap();
    let before = lost(&rig, "h1").unwrap();
    rig.lab.kill("agent-h1").unwrap();
    let sender = socket(&rig, ("web1", WEB1.into())).unwrap();
    for last in STRANGERS {
        sender
            .send_to(b"nobody", (Ipv4Addr::new(10, 77, 0, last), 9))
            .unwrap();
    }
    rig.lab.start_again("agent-h1").unwrap();
    rig.lab.await_settled().unwrap();
    patience::until(PATIENCE, "every packet to a stranger has its end", || {
        let counted = lost(&rig, "h1")? - before;
        Ok((counted >= STRANGERS.len() as u64).then_some(()))
    })
    .unwrap();
    assert_eq!(
        datagrams(&rig, ("web1", WEB1.into()), ("db1", DB1.into()), HELD)
            .unwrap()
            .len(),
        HELD,
        "what nobody holds any more still takes the room of what comes"
    );
}
