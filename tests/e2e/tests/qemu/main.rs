//! Real Linux guests under QEMU: whoever may talk does, nobody else, and what a hostile guest sends is heard by nobody.
//!
//! One laboratory serves a whole test, because every guest takes seconds to boot.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod hostile;

use pairgate_e2e::{DB1, DB1_6, DB2, DB2_6, Forge, MARK, Rig, WEB1, WEB1_6, carries_mark};
use pairgate_lab::{
    guest::{Inside, channel::Job},
    links, patience,
    probe::{
        Sniffer,
        cli::{Answered, Came, Taken, text},
    },
    record::Wishes,
    settings::Vms,
};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

/// How long something may take in a machine whose processor is emulated, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const ECHO_LIMIT_MS: &str = "3000";
const BYTES: usize = 1 << 20;
/// Nothing that was sent before takes so long to arrive.
const QUIET: Duration = Duration::from_millis(1500);
const H2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// What the host's stack would take from a tap, if it took anything.
const ETHERTYPES: [u16; 6] = [0x0800, 0x0806, 0x86dd, 0x0004, 0x8847, 0x88cc];

fn start(name: &str) -> Rig {
    let wishes = Wishes {
        vms: Some(Vms::Qemu),
        ..Wishes::default()
    };
    let begun = Instant::now();
    let rig = Rig::start(name, wishes).unwrap();
    eprintln!(
        "laboratory with three guests under QEMU: up after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    rig
}

fn ping(guest: &Inside, to: impl Into<IpAddr>, count: u32, payload: usize) -> u32 {
    let (to, count) = (to.into().to_string(), count.to_string());
    let found: Answered = guest
        .probe(&["ping", &to, &count, &payload.to_string(), ECHO_LIMIT_MS], LIMIT)
        .unwrap();
    found.received
}

/// Whether one echo is answered soon.
fn answers(guest: &Inside, to: impl Into<IpAddr>) -> bool {
    let found: Answered = guest
        .probe(&["ping", &to.into().to_string(), "1", "56", "500"], LIMIT)
        .unwrap();
    found.received == 1
}

/// Sends bytes to an echo server in another guest; how many came back as they went.
fn tcp(from: &Inside, to: &Inside, at: IpAddr) -> anyhow::Result<usize> {
    let mut server = to.start_probe(&["echo", &at.to_string()], "")?;
    let address = server.first_line(LIMIT)?;
    from.probe(&["exchange", &address, &BYTES.to_string(), "20000"], LIMIT)
}

#[test]
fn guests_talk_over_their_pair_until_it_is_denied_and_to_nobody_else() {
    let rig = start("qemu-talk");
    let [web1, db1, db2] = ["web1", "db1", "db2"].map(|name| rig.lab.inside(name).unwrap());

    // The very first packet of each family finds no entry, waits, and arrives.
    assert_eq!(ping(&web1, DB1, 1, 56), 1, "the first packet was lost");
    assert_eq!(ping(&web1, DB1_6, 1, 56), 1, "the first packet was lost");
    for (from, targets, headers) in [
        (&web1, [IpAddr::from(DB1), DB1_6.into()], [28, 48]),
        (&db1, [WEB1.into(), WEB1_6.into()], [28, 48]),
    ] {
        for (to, header) in targets.into_iter().zip(headers) {
            for payload in [0, 1, 1000, 1500 - header] {
                assert_eq!(ping(from, to, 3, payload), 3, "{from} to {to}, {payload} bytes");
            }
        }
    }

    let h1 = rig.lab.netns("h1");
    for (from, to, at) in [
        (&web1, &db1, IpAddr::from(DB1)),
        (&web1, &db1, DB1_6.into()),
        (&db1, &web1, WEB1.into()),
    ] {
        let before = links::counters(&h1, "tap-web1").unwrap();
        assert_eq!(tcp(from, to, at).unwrap(), BYTES, "{from} to {at}");
        let after = links::counters(&h1, "tap-web1").unwrap();
        let (bytes, packets) = (
            after.rx_bytes - before.rx_bytes,
            after.rx_packets - before.rx_packets,
        );
        eprintln!(
            "TCP {from} to {at}: {} bytes a packet leave web1",
            bytes / packets
        );
        assert!(
            bytes > packets * 2000,
            "{bytes} bytes in {packets} packets: the guest cuts TCP itself"
        );
    }

    let mut catcher = db1
        .start_probe(&["catch", &DB1.to_string(), "200", "20000"], "")
        .unwrap();
    let address = catcher.first_line(LIMIT).unwrap();
    let sent: u64 = web1
        .probe(&["burst", &WEB1.to_string(), &address, "20", "10", "1400"], LIMIT)
        .unwrap();
    let came: Came = serde_json::from_str(&catcher.finish(LIMIT).unwrap().stdout).unwrap();
    assert_eq!((sent, came.datagrams, came.damaged), (200, 200, 0));

    nobody_else(&rig, &web1, &db1, &db2);
    a_denial_stops_it(&rig, &web1, &db1);
}

fn nobody_else(rig: &Rig, web1: &Inside, db1: &Inside, db2: &Inside) {
    let refused = || {
        rig.dropped("h1", "from_tap", "no_pair").unwrap() + rig.dropped("h1", "from_tap", "denied").unwrap()
    };
    let before = refused();
    let mut heard = ear(db2, &text(&WEB1.octets()));
    for to in [IpAddr::from(DB2), DB2_6.into()] {
        assert!(!answers(web1, to), "web1 reached {to} without a pair");
    }
    assert!(!answers(db2, WEB1), "db2 reached web1 without a pair");
    assert!(!answers(db2, DB1), "db2 reached its neighbour without a pair");
    assert!(!answers(db1, DB2), "db1 reached its neighbour without a pair");
    // Its host's answers to its own address questions are not from web1.
    let from_web1 = |line: &String| line.get(24..28) != Some("0806");
    let heard: Vec<_> = heard.lines_until_quiet(QUIET).unwrap();
    let heard: Vec<_> = heard.into_iter().filter(from_web1).collect();
    assert_eq!(heard, Vec::<String>::new(), "db2 heard web1");
    assert!(
        refused() >= before + 2,
        "two echoes died on h1, and it has counted {}",
        refused() - before
    );
}

/// While a guest floods its peer, not one packet passes at the peer's host once the denial has returned.
fn a_denial_stops_it(rig: &Rig, web1: &Inside, db1: &Inside) {
    let to_db1 = || rig.passed("h2", "from_uplink").unwrap();
    let from = format!("{WEB1}:0");
    let mut flood = web1
        .start_probe(&["flood", &from, &format!("{DB1}:9"), "500"], "")
        .unwrap();
    flood.first_line(LIMIT).unwrap();
    let before = to_db1();
    patience::until(LIMIT, "the flood arrives", || {
        Ok((to_db1() > before + 100).then_some(()))
    })
    .unwrap();
    rig.lab.json(&["pair", "deny", "web1", "db1"]).unwrap();
    let returned = to_db1();
    // What it has said until now is old; from here on it sends at least so many more.
    let said = flood.lines_until_quiet(Duration::from_millis(40)).unwrap();
    let mut sent = || flood.first_line(LIMIT).unwrap().parse::<u64>().unwrap();
    let at_return = said.last().map_or_else(&mut sent, |line| line.parse().unwrap());
    patience::until(LIMIT, "the flood goes on", || {
        Ok((sent() > at_return + 200).then_some(()))
    })
    .unwrap();
    assert_eq!(
        to_db1(),
        returned,
        "packets for db1 passed after the denial had returned"
    );
    drop(flood);
    assert!(!answers(web1, DB1) && !answers(db1, WEB1), "a denied pair talks");
    rig.lab.json(&["pair", "allow", "web1", "db1"]).unwrap();
    patience::until(LIMIT, "the pair talks again", || {
        Ok(answers(web1, DB1).then_some(()))
    })
    .unwrap();
}

/// Hears the frames that arrive in a guest and hold these bytes.
fn ear(guest: &Inside, holds: &str) -> Job {
    let mut job = guest.start_probe(&["listen", "eth0", holds], "").unwrap();
    assert_eq!(job.first_line(LIMIT).unwrap(), "listening");
    job
}

fn send(guest: &Inside, arguments: &[&str], frames: impl IntoIterator<Item = Vec<u8>>) -> Taken {
    let lines: String = frames.into_iter().map(|frame| text(&frame) + "\n").collect();
    let job = guest
        .start_probe(&[&["send", "eth0"], arguments].concat(), &lines)
        .unwrap();
    let ended = job.finish(LIMIT).unwrap();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn nobody_hears_what_a_hostile_guest_sends() {
    let rig = start("qemu-hostile");
    let [web1, db1, db2] = ["web1", "db1", "db2"].map(|name| rig.lab.inside(name).unwrap());
    let (own, victim) = (rig.mac("web1").unwrap(), rig.mac("db1").unwrap());
    assert!(ping(&web1, DB1, 1, 56) == 1);
    let mut guests = [ear(&db1, &text(MARK)), ear(&db2, &text(MARK))];
    let underlay = rig.watch("h2", "up0", carries_mark).unwrap();
    let stack: Vec<Sniffer> = ETHERTYPES
        .iter()
        .map(|&kind| {
            let ear = || Sniffer::start_for("tap-web1", kind, carries_mark);
            rig.lab.netns("h1").run(ear).unwrap().unwrap()
        })
        .collect();

    for hostile in hostile::frames(own, victim, H2).unwrap() {
        let counted = |rig: &Rig| match hostile.reason {
            Some(reason) => rig.dropped("h1", "from_tap", reason).unwrap(),
            None => all_dropped(rig),
        };
        let before = counted(&rig);
        let taken = send(&web1, &[], [hostile.frame.clone(), hostile.frame]);
        assert_eq!(taken.sent, 2, "{}: its own kernel refused it", hostile.what);
        let what = format!("{}: counted as {:?}", hostile.what, hostile.reason);
        patience::until(LIMIT, &what, || Ok((counted(&rig) >= before + 2).then_some(()))).unwrap();
    }

    let lies = hostile::lies(own, DB1).unwrap();
    let count = lies.len() as u64;
    let taken = send(&web1, &["--with-header"], lies);
    assert_eq!(taken.sent + taken.refused, count);
    assert!(taken.sent > 0, "the guest's own kernel believes no header at all");
    eprintln!("{} of {count} lying headers left the guest's kernel", taken.sent);

    // Last comes what may arrive: whatever was on its way before it has arrived too.
    rig.lab.json(&["pair", "allow", "web1", "db2"]).unwrap();
    patience::until(LIMIT, "the new pair talks", || {
        Ok(answers(&web1, DB2).then_some(()))
    })
    .unwrap();
    let honest = [DB1, DB2].map(|to| Forge::honest(own, WEB1, to).udp().unwrap());
    assert_eq!(send(&web1, &[], honest).sent, 2);
    for (guest, to) in guests.iter_mut().zip([DB1, DB2]) {
        let first = guest.first_line(LIMIT).unwrap();
        let wanted = text(&to.octets()) + "0fa00fa0";
        assert!(first.contains(&wanted), "the guest at {to} heard {first}");
        assert_eq!(
            guest.lines_until_quiet(QUIET).unwrap(),
            Vec::<String>::new(),
            "at {to}"
        );
    }
    let crossed: Vec<_> = underlay
        .frames()
        .into_iter()
        .map(|frame| text(&frame.bytes))
        .collect();
    assert_eq!(crossed.len(), 2, "on the underlay: {crossed:?}");
    for ear in &stack {
        let heard = ear.frames();
        assert_eq!(heard.len(), 0, "the host's stack heard {}", text(&heard[0].bytes));
    }
    assert!(answers(&web1, DB1), "the pair suffered");
    rig.lab.call(&["--host", "h1", "status"]).unwrap();
}

fn all_dropped(rig: &Rig) -> u64 {
    let drops = rig.lab.json(&["drops", "--host", "h1"]).unwrap();
    let drops: pairgate_api::local::Drops = serde_json::from_value(drops).unwrap();
    let from_tap = drops.drops.iter().filter(|count| count.direction == "from_tap");
    from_tap.map(|count| count.packets).sum()
}
