//! A guest that lies about who it is, and a stranger on the underlay: nobody hears them, and each lie is
//! counted under its own word.
use pairgate_e2e::{DB1, DB2, Forge, MARK, PATIENCE, Rig, WEB1, carries_mark, seal_ipv4, vxlan};
use pairgate_lab::{
    links,
    plan::{GUEST_INTERFACE, UPLINK},
    probe::RawSender,
    stranger::Stranger,
};
use std::net::Ipv4Addr;

/// Frames of each kind: more than one, so that a lucky first does not hide the rule.
const TIMES: u64 = 5;
const H1: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const H2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

#[test]
fn a_lying_guest_is_heard_by_nobody() {
    let rig = Rig::start_default("lying-guest").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let (web1, db1) = (rig.mac("web1").unwrap(), rig.mac("db1").unwrap());
    let watchers = [
        ("db1", rig.watch_guest("db1", carries_mark).unwrap()),
        ("db2", rig.watch_guest("db2", carries_mark).unwrap()),
        (
            "the underlay at h2",
            rig.watch("h2", "up0", carries_mark).unwrap(),
        ),
    ];
    let honest = Forge::honest(web1, WEB1, DB1);
    let sender = rig
        .lab
        .netns("web1")
        .run(|| RawSender::open(GUEST_INTERFACE))
        .unwrap()
        .unwrap();
    let lies = [
        (
            "another's MAC",
            "spoofed_mac",
            Forge { mac: db1, ..honest }.udp().unwrap(),
        ),
        (
            "another's address",
            "spoofed_address",
            Forge {
                address: DB2,
                ..honest
            }
            .udp()
            .unwrap(),
        ),
        (
            "another's MAC and address",
            "spoofed_mac",
            Forge {
                mac: db1,
                address: DB1,
                ..honest
            }
            .udp()
            .unwrap(),
        ),
        (
            "a claim to another's address",
            "spoofed_arp",
            Forge {
                address: DB1,
                ..honest
            }
            .arp_reply()
            .unwrap(),
        ),
        (
            "a claim in another's name",
            "spoofed_mac",
            Forge {
                mac: db1,
                address: DB1,
                ..honest
            }
            .arp_reply()
            .unwrap(),
        ),
        ("a VLAN tag", "vlan", honest.tagged().unwrap()),
        (
            "an IPv6 address that is nobody's",
            "spoofed_address",
            honest.ipv6().unwrap(),
        ),
        ("a fragment", "fragment", honest.fragment().unwrap()),
        ("another protocol", "ethertype", honest.lldp()),
        (
            "a broadcast",
            "multicast",
            Forge {
                to: Ipv4Addr::BROADCAST,
                to_mac: [0xff; 6],
                ..honest
            }
            .udp()
            .unwrap(),
        ),
        (
            "another MAC than the gateway's",
            "bad_header",
            Forge {
                to_mac: db1,
                ..honest
            }
            .udp()
            .unwrap(),
        ),
        (
            "a frame cut off in its header",
            "too_short",
            honest.udp().unwrap()[..30].to_vec(),
        ),
    ];
    for (what, reason, frame) in lies {
        let before = rig.dropped("h1", "from_tap", reason).unwrap();
        for _ in 0..TIMES {
            sender.send(&frame).unwrap();
        }
        let counted = rig.await_dropped("h1", "from_tap", reason, before + TIMES);
        assert!(counted.is_ok(), "{what}: {counted:?}");
    }
    // What the honest guest sends by the same way arrives, so the watchers do see.
    sender.send(&honest.udp().unwrap()).unwrap();
    assert!(
        watchers[0].1.wait_for(1, PATIENCE),
        "not even an honest frame arrived"
    );
    for (who, watcher) in &watchers {
        let expected = usize::from(*who != "db2");
        // Each watcher reads in a thread of its own and may be behind the first.
        assert!(
            watcher.wait_for(expected, PATIENCE),
            "{who} did not hear the honest frame"
        );
        let heard = watcher.frames();
        let forged = heard
            .iter()
            .filter(|frame| !frame.bytes.ends_with(MARK) || frame.bytes.len() < 40)
            .count();
        assert_eq!(
            (heard.len(), forged),
            (expected, 0),
            "{who} heard {:02x?}",
            heard.last()
        );
    }
}

#[test]
fn a_stranger_on_the_underlay_reaches_no_guest() {
    let rig = Rig::start_default("stranger").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    // An observer's copy of one genuine frame from h1 to h2.
    let genuine = {
        let overheard = rig.watch("h2", "up0", vxlan(H2)).unwrap();
        assert!(rig.answers("web1", DB1).unwrap());
        assert!(overheard.wait_for(1, PATIENCE));
        overheard.frames().remove(0).bytes
    };
    assert_eq!(genuine[26..30], H1.octets());
    let stranger = Stranger::join(rig.lab.plan(), 240).unwrap();
    let sender = stranger.netns().run(|| RawSender::open(UPLINK)).unwrap().unwrap();
    // From his own MAC: taking h1's place on the underlay's bridge is another attack, and not on us.
    let own_mac = links::mac(stranger.netns(), UPLINK).unwrap();
    let at_db1 = rig
        .watch_guest("db1", |frame| frame.get(12..14) == Some(&[8, 0]))
        .unwrap();
    let spoiled = |at: usize, bytes: &[u8]| {
        let mut frame = genuine.clone();
        frame[6..12].copy_from_slice(&own_mac);
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        // A bridge may look at the outer header, so its checksum is right whatever it says.
        seal_ipv4(&mut frame);
        frame
    };
    let other = |at: usize| genuine[at] ^ 0x55;
    let frames = [
        ("another handle in h1's name", "handle", spoiled(46, &[other(46)])),
        ("another group in h1's name", "handle", spoiled(44, &[other(44)])),
        (
            "h1's handle under his own address",
            "outer",
            spoiled(26, &[192, 0, 2, 240]),
        ),
        (
            "h1's handle for another guest",
            "inner",
            spoiled(80, &DB2.octets()),
        ),
        (
            "h1's handle from another guest",
            "inner",
            spoiled(76, &DB2.octets()),
        ),
        (
            "h1's handle with another ethertype",
            "inner",
            spoiled(62, &[0x86, 0xdd]),
        ),
        ("an outer checksum", "outer", spoiled(40, &[1, 1])),
    ];
    for (what, reason, frame) in frames {
        let before = rig.dropped("h2", "from_uplink", reason).unwrap();
        for _ in 0..TIMES {
            sender.send(&frame).unwrap();
        }
        let counted = rig.await_dropped("h2", "from_uplink", reason, before + TIMES);
        assert!(counted.is_ok(), "{what}: {counted:?}");
    }
    assert_eq!(
        at_db1.count(),
        0,
        "a stranger's frame reached db1: {:02x?}",
        at_db1.frames().first()
    );
    assert!(rig.answers("web1", DB1).unwrap(), "the genuine pair suffered");
}
