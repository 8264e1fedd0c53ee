//! Grants by protocol and port, and one-way pairs: what is named passes, answers find their way back to the guest
//! that asked and to no other, and nothing of a grant outlives it.

use anyhow::{Context, Result};
use pairgate_e2e::{DB1, DB1_6, DB2, DB2_6, Rig, WEB1, WEB1_6};
use pairgate_lab::record::Wishes;
use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

/// A guest, by its name and its address of one family.
type Guest = (&'static str, IpAddr);

/// How long a way that is shut is given.
const SHUT: Duration = Duration::from_millis(900);
const OPEN: Duration = Duration::from_secs(5);
const HTTPS: u16 = 443;

/// A TCP conversation: the end that opened it, and the other.
struct Talk {
    client: TcpStream,
    server: TcpStream,
}

impl Talk {
    fn begin(rig: &Rig, from: Guest, to: Guest, port: u16) -> Result<Self> {
        let at = SocketAddr::new(to.1, port);
        let listener = rig.lab.netns(to.0).run(|| TcpListener::bind(at))??;
        let client = rig
            .lab
            .netns(from.0)
            .run(|| TcpStream::connect_timeout(&at, OPEN))?;
        let client = client.with_context(|| format!("{from:?} opens {at}"))?;
        let (server, _) = listener.accept()?;
        Ok(Self { client, server })
    }

    /// The server speaks; whether the client hears it.
    fn answers(&mut self, patience: Duration) -> Result<bool> {
        self.server.write_all(b"answer")?;
        self.client.set_read_timeout(Some(patience))?;
        let mut heard = [0; 6];
        match self.client.read_exact(&mut heard) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn is_shut(rig: &Rig, from: Guest, to: Guest, port: u16) -> Result<bool> {
    let at = SocketAddr::new(to.1, port);
    let _listener = rig.lab.netns(to.0).run(|| TcpListener::bind(at))??;
    let connected = rig
        .lab
        .netns(from.0)
        .run(|| TcpStream::connect_timeout(&at, SHUT))?;
    Ok(connected.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut))
}

fn grant(rig: &Rig, from: &str, to: &str, port: &str) -> Result<()> {
    rig.lab.json(&["pair", "allow", from, to, port, "--one-way"])?;
    rig.lab.await_settled()
}

/// `from` may open 443 at `to`, and nothing else goes anywhere.
fn one_way(rig: &Rig, from: [Guest; 2], to: [Guest; 2]) -> Result<()> {
    grant(rig, from[0].0, to[0].0, "tcp/443")?;
    for (from, to) in from.into_iter().zip(to) {
        let mut talk = Talk::begin(rig, from, to, HTTPS)?;
        assert!(talk.answers(OPEN)?, "{to:?} cannot answer {from:?}");
        assert!(
            is_shut(rig, from, to, 444)?,
            "{from:?} reached another port of {to:?}"
        );
        assert!(
            is_shut(rig, to, from, HTTPS)?,
            "{to:?} opened something at {from:?}"
        );
        assert!(is_shut(rig, to, from, 50_000)?);
        assert!(!rig.answers(from.0, to.1)?, "an echo is no TCP");
        assert!(!rig.answers(to.0, from.1)?);
        assert!(talk.answers(OPEN)?, "the conversation suffered");
    }
    Ok(())
}

/// Another grant ends the conversations of the one before it.
fn a_new_grant_ends_old_talk(rig: &Rig, from: Guest, to: Guest) -> Result<()> {
    let mut talk = Talk::begin(rig, from, to, HTTPS)?;
    assert!(talk.answers(OPEN)?);
    grant(rig, from.0, to.0, "tcp/80")?;
    // The pair is open again, with the new grant.
    let mut other = Talk::begin(rig, from, to, 80)?;
    assert!(other.answers(OPEN)?);
    assert!(
        !talk.answers(2 * SHUT)?,
        "an answer came under a grant that does not name it"
    );
    assert!(is_shut(rig, from, to, HTTPS)?);
    Ok(())
}

#[test]
fn one_way_between_hosts() {
    let rig = Rig::start_default("grants-hosts").unwrap();
    let from = [("web1", WEB1.into()), ("web1", WEB1_6.into())];
    let to = [("db2", DB2.into()), ("db2", DB2_6.into())];
    one_way(&rig, from, to).unwrap();
    a_new_grant_ends_old_talk(&rig, from[0], to[0]).unwrap();
}

#[test]
fn one_way_inside_a_host() {
    let rig = Rig::start_default("grants-inside").unwrap();
    let from = [("db1", DB1.into()), ("db1", DB1_6.into())];
    let to = [("db2", DB2.into()), ("db2", DB2_6.into())];
    one_way(&rig, from, to).unwrap();
    a_new_grant_ends_old_talk(&rig, from[1], to[1]).unwrap();
}

#[test]
fn everything_one_way_is_answered_and_nothing_is_begun_from_the_other_side() {
    let rig = Rig::start_default("grants-everything").unwrap();
    rig.lab
        .json(&["pair", "allow", "web1", "db2", "--one-way"])
        .unwrap();
    rig.lab.await_settled().unwrap();
    let (web1, db2): (Guest, Guest) = (("web1", WEB1.into()), ("db2", DB2.into()));
    rig.await_answer("web1", DB2).unwrap();
    let mut talk = Talk::begin(&rig, web1, db2, 5000).unwrap();
    assert!(talk.answers(OPEN).unwrap());
    assert!(
        !rig.answers("db2", WEB1).unwrap(),
        "an echo that nobody asked for"
    );
    assert!(is_shut(&rig, db2, web1, 5000).unwrap());
}

#[test]
fn a_pair_that_becomes_one_way_is_answered_at_once() {
    let rig = Rig::start_default("grants-narrowed").unwrap();
    let (web1, db1): (Guest, Guest) = (("web1", WEB1.into()), ("db1", DB1.into()));
    rig.await_answer("web1", DB1).unwrap();
    rig.await_answer("db1", WEB1).unwrap();
    rig.lab
        .json(&["pair", "allow", "web1", "db1", "--one-way"])
        .unwrap();
    rig.lab.await_settled().unwrap();
    let mut talk = Talk::begin(&rig, web1, db1, 5000).unwrap();
    assert!(talk.answers(OPEN).unwrap(), "the way there noted nothing");
    assert!(is_shut(&rig, db1, web1, 5000).unwrap());
}

#[test]
fn a_conversation_survives_renewals_and_its_agents_death() {
    let wishes = Wishes {
        token_life_secs: Some(4),
        ..Wishes::default()
    };
    let rig = Rig::start("grants-life", wishes).unwrap();
    grant(&rig, "web1", "db2", "tcp/443").unwrap();
    let mut talk = Talk::begin(&rig, ("web1", WEB1.into()), ("db2", DB2.into()), HTTPS).unwrap();
    // More than two lives of a token.
    for _ in 0..20 {
        assert!(
            talk.answers(OPEN).unwrap(),
            "a renewal took the conversation away"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    for host in ["h1", "h2"] {
        let agent = format!("agent-{host}");
        rig.lab.kill(&agent).unwrap();
        assert!(talk.answers(OPEN).unwrap(), "the agent of {host} is dead");
        rig.lab.start_again(&agent).unwrap();
        rig.lab.await_settled().unwrap();
        assert!(talk.answers(OPEN).unwrap(), "the agent of {host} has come back");
    }
}
