//! Guests with nothing configured by hand: real clients of Debian and the kernel's own code get everything from the
//! tap, and nobody but the tap's own agent answers them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;
use pairgate_e2e::{DB1, DB1_6, DB2, MARK, PATIENCE, Rig, WEB1, WEB1_6, carries_mark};
use pairgate_lab::{
    links, patience,
    plan::{GUEST_INTERFACE, UPLINK},
    probe::RawSender,
    process::output_within,
};
use pairgate_machine::apt;
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};
use tempfile::TempDir;

/// Longer than any client takes, its own waiting included.
const CLIENT: Duration = Duration::from_secs(60);

/// A guest as it is after it has started: its interface is up, and knows nothing.
struct Fresh<'a> {
    rig: &'a Rig,
    name: &'static str,
    folder: TempDir,
}

impl<'a> Fresh<'a> {
    fn new(rig: &'a Rig, name: &'static str) -> Result<Self> {
        let fresh = Self {
            rig,
            name,
            folder: tempfile::tempdir()?,
        };
        let netns = rig.lab.netns(name);
        netns.sysctl(&format!("ipv6/conf/{GUEST_INTERFACE}/disable_ipv6"), "1")?;
        fresh.ip(&["address", "flush", "dev", GUEST_INTERFACE])?;
        // Not what the registry says, so that the right one shows who has set it.
        fresh.ip(&["link", "set", GUEST_INTERFACE, "mtu", "1400"])?;
        ensure!(!fresh.ip(&["address", "show", GUEST_INTERFACE])?.contains("inet"));
        Ok(fresh)
    }

    fn ip(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("ip");
        command.args(arguments);
        self.run(&mut command)
    }

    fn run(&self, command: &mut Command) -> Result<String> {
        let output = output_within(&self.rig.lab.netns(self.name), command, CLIENT)?;
        let (said, wrong) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(
            output.status.success(),
            "{command:?} in {}: {said}{wrong}",
            self.name
        );
        Ok(said.into_owned())
    }

    /// A script for a client: notes what it was told, and does what Debian's own does with the interface. That one
    /// writes the machine's list of name servers, too, which is not this guest's.
    fn script(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        let told = self.folder.path().join("told");
        fs::write(&path, format!("#!/bin/sh\nenv >> {}\n{text}", told.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// What the clients were told, as lines `name=value`.
    fn told(&self) -> Result<Vec<String>> {
        let text =
            fs::read_to_string(self.folder.path().join("told")).context("no client was told anything")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// BusyBox's client.
    fn udhcpc(&self) -> Result<()> {
        apt::ensure_installed(&["udhcpc".to_owned()])?;
        let script = self.script(
            "udhcpc",
            "[ \"$1\" = bound ] || exit 0\n\
             ip link set $interface mtu $mtu\n\
             ip address add $ip/$mask dev $interface\n\
             ip route add default via $router\n",
        )?;
        let mut client = Command::new("udhcpc");
        client.args(["-i", GUEST_INTERFACE, "-n", "-q", "-f", "-t", "8", "-T", "1"]);
        client
            .args(["-O", "mtu", "-O", "domain", "-O", "hostname", "-s"])
            .arg(script);
        self.run(&mut client).map(drop)
    }

    /// ISC's client, in one family.
    fn dhclient(&self, family: &str) -> Result<()> {
        apt::ensure_installed(&["isc-dhcp-client".to_owned()])?;
        let script = self.script(
            "dhclient",
            "case $reason in\n\
             BOUND) ip link set $interface mtu $new_interface_mtu\n\
                ip address add $new_ip_address/$new_subnet_mask dev $interface\n\
                ip route add default via $new_routers ;;\n\
             BOUND6) ip -6 address add $new_ip6_address/$new_ip6_prefixlen dev $interface ;;\n\
             esac\nexit 0\n",
        )?;
        let folder = self.folder.path();
        let settings = folder.join("dhclient.conf");
        fs::write(
            &settings,
            "request subnet-mask, routers, domain-name-servers, domain-name, host-name, interface-mtu,\n\
             dhcp6.name-servers, dhcp6.domain-search;\ntimeout 30;\n",
        )?;
        let process = folder.join(format!("dhclient{family}.pid"));
        let mut client = Command::new("dhclient");
        client
            .args([family, "-1", "-sf"])
            .arg(script)
            .arg("-cf")
            .arg(settings);
        client
            .arg("-lf")
            .arg(folder.join(format!("leases{family}")))
            .arg("-pf")
            .arg(&process);
        let done = self.run(client.arg(GUEST_INTERFACE));
        // It stays to renew; this test does not wait for that.
        if let Ok(process) = fs::read_to_string(&process) {
            let _ = self.run(Command::new("kill").arg(process.trim()));
        }
        done.map(drop)
    }

    /// Lets the kernel ask for routers, and waits until it knows one.
    fn listen_for_routers(&self) -> Result<String> {
        let netns = self.rig.lab.netns(self.name);
        for (setting, value) in [
            ("accept_ra", "1"),
            ("router_solicitations", "3"),
            ("disable_ipv6", "0"),
        ] {
            netns.sysctl(&format!("ipv6/conf/{GUEST_INTERFACE}/{setting}"), value)?;
        }
        patience::until(PATIENCE, &format!("{} knows a router", self.name), || {
            let routes = self.ip(&["-6", "route", "show"])?;
            Ok(routes.contains("default via").then_some(routes))
        })
    }
}

/// Tells the guests something of their network, and waits until both hosts and their taps know.
fn tell(rig: &Rig) -> Result<()> {
    let set = ["network", "set", "default", "--domain", "corp.example"];
    let more = ["--dns", "192.0.2.53", "--dns", "2001:db8::53", "--mtu", "1450"];
    rig.lab.json(&[&set[..], &more[..]].concat())?;
    for (host, tap) in [("h1", "tap-web1"), ("h2", "tap-db1")] {
        patience::until(PATIENCE, &format!("{host} and its tap know the MTU"), || {
            let status = rig.lab.json(&["status", "--host", host])?;
            let mut show = Command::new("ip");
            let shown = rig
                .lab
                .netns(host)
                .output(show.args(["link", "show", "dev", tap]))?;
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            Ok((status["vms"][0]["mtu"] == 1450 && shown.contains("mtu 1450 ")).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn guests_with_nothing_configured_come_up_and_talk_over_their_pairs() {
    let rig = Rig::start_default("comes-up").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    tell(&rig).unwrap();
    let (web, db) = (
        Fresh::new(&rig, "web1").unwrap(),
        Fresh::new(&rig, "db1").unwrap(),
    );
    assert!(
        !rig.answers("web1", DB1).is_ok_and(|answered| answered),
        "the guest has an address still"
    );
    web.udhcpc().unwrap();
    db.dhclient("-4").unwrap();
    for (guest, address) in [(&web, WEB1.to_string()), (&db, DB1.to_string())] {
        let shown = guest.ip(&["-4", "address", "show", GUEST_INTERFACE]).unwrap();
        assert!(shown.contains(&format!("inet {address}/24")), "{shown}");
        assert!(shown.contains("mtu 1450"), "{shown}");
        let routes = guest.ip(&["-4", "route", "show"]).unwrap();
        assert!(routes.contains("default via 10.77.0.1 "), "{routes}");
    }
    let told = web.told().unwrap();
    for expected in [
        "hostname=web1",
        "lease=86400",
        "serverid=169.254.169.254",
        "subnet=255.255.255.0",
        "dns=192.0.2.53",
        "domain=corp.example",
        "mtu=1450",
    ] {
        assert!(
            told.iter().any(|line| line == expected),
            "{expected} was not told: {told:?}"
        );
    }
    rig.await_answer("web1", DB1).unwrap();

    for (guest, address) in [(&web, WEB1_6.to_string()), (&db, DB1_6.to_string())] {
        let routes = guest.listen_for_routers().unwrap();
        assert!(routes.contains("default via fe80::50:47ff:fe00:1 "), "{routes}");
        assert!(routes.contains("fd77::/64 dev"), "{routes}");
        guest.dhclient("-6").unwrap();
        let shown = guest.ip(&["-6", "address", "show", GUEST_INTERFACE]).unwrap();
        assert!(shown.contains(&format!("inet6 {address}/")), "{shown}");
        let global = shown.matches("scope global").count();
        assert_eq!(global, 1, "an address that is not its own: {shown}");
    }
    rig.await_answer("web1", DB1_6).unwrap();
    rig.await_answer("db1", WEB1_6).unwrap();
    let told = db.told().unwrap();
    for expected in [
        "new_domain_name_servers=192.0.2.53",
        "new_domain_name=corp.example",
        "new_dhcp6_name_servers=2001:db8::53",
    ] {
        assert!(
            told.iter().any(|line| line == expected),
            "{expected} was not told: {told:?}"
        );
    }
    // The router is there when the kernel looks whether it still is.
    let beyond = "2001:db8:77::1".parse::<std::net::Ipv6Addr>().unwrap();
    assert!(!rig.answers("web1", beyond).unwrap());
    patience::until(PATIENCE, "the router's MAC address is known", || {
        let known = web.ip(&["-6", "neighbour", "show", "fe80::50:47ff:fe00:1"])?;
        Ok(known.contains("02:50:47:00:00:01").then_some(()))
    })
    .unwrap();
    assert!(
        !rig.answers("web1", DB2).unwrap(),
        "configuration has opened a pair"
    );
    // What the uplink carries less our headers is less than the network's MTU from now on.
    links::set_up(&rig.lab.netns("h1"), UPLINK, None, Some(1480)).unwrap();
    patience::until(PATIENCE, "the guest is told what the uplink carries", || {
        web.udhcpc()?;
        Ok(web.told()?.contains(&"mtu=1430".to_owned()).then_some(()))
    })
    .unwrap();
    let status = rig.lab.json(&["status", "--host", "h1"]).unwrap();
    let told = status["vms"][0]["told"].to_string();
    for word in ["\"ack\"", "\"reply\"", "\"advertisement\""] {
        assert!(told.contains(word), "{word} is not shown: {status}");
    }
}

/// Frames of a server or router, as a guest would send them to take over its neighbours.
fn server_frames(mac: [u8; 6]) -> Vec<(&'static str, Vec<u8>)> {
    let link = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0x66];
    let all_nodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let made = |to: [u8; 6], v4: bool, ports: (u16, u16)| {
        let packet = PacketBuilder::ethernet2(mac, to);
        let packet = if v4 {
            packet.ipv4(WEB1.octets(), [255; 4], 64)
        } else {
            packet.ipv6(link, all_nodes, 255)
        };
        let mut frame = Vec::new();
        packet.udp(ports.0, ports.1).write(&mut frame, MARK).unwrap();
        frame
    };
    let mut router = Vec::new();
    let body = [&[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..], MARK].concat();
    let packet = PacketBuilder::ethernet2(mac, [0x33, 0x33, 0, 0, 0, 1]).ipv6(link, all_nodes, 255);
    packet
        .icmpv6_raw(134, 0, [64, 0, 7, 8])
        .write(&mut router, &body)
        .unwrap();
    vec![
        ("a DHCPv4 server's message", made([0xff; 6], true, (67, 68))),
        (
            "a DHCPv6 server's message",
            made([0x33, 0x33, 0, 0, 0, 1], false, (547, 546)),
        ),
        ("a router advertisement", router),
    ]
}

#[test]
fn a_guest_that_plays_server_or_router_reaches_nobody() {
    let rig = Rig::start_default("plays-server").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let watchers = [
        ("db1", rig.watch_guest("db1", carries_mark).unwrap()),
        ("db2", rig.watch_guest("db2", carries_mark).unwrap()),
        ("the underlay", rig.watch("h2", "up0", carries_mark).unwrap()),
    ];
    let mac = rig.mac("web1").unwrap();
    let sender = rig
        .lab
        .netns("web1")
        .run(|| RawSender::open(GUEST_INTERFACE))
        .unwrap()
        .unwrap();
    let asked = |rig: &Rig| rig.metrics("h1").map(|text| questions(&text, ""));
    let before = asked(&rig).unwrap();
    let died = |rig: &Rig| -> u64 {
        let reasons = ["multicast", "spoofed_address", "spoofed_nd"];
        reasons
            .iter()
            .map(|reason| rig.dropped("h1", "from_tap", reason).unwrap())
            .sum()
    };
    let before_died = died(&rig);
    let frames = server_frames(mac);
    for (what, frame) in &frames {
        for _ in 0..3 {
            sender.send(frame).with_context(|| (*what).to_owned()).unwrap();
        }
    }
    patience::until(PATIENCE, "every frame has died of its reason", || {
        Ok((died(&rig) >= before_died + 3 * frames.len() as u64).then_some(()))
    })
    .unwrap();
    assert_eq!(asked(&rig).unwrap(), before, "the agent was asked");
    for (who, watcher) in watchers {
        assert_eq!(watcher.count(), 0, "{who} heard the false server");
    }
}

/// What a host's agent has counted of questions whose labels hold this.
fn questions(metrics: &str, label: &str) -> u64 {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("pairgate_guest_questions_total{") && line.contains(label));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[test]
fn a_flood_of_discoveries_is_bounded_and_takes_nothing_from_a_neighbour() {
    let rig = Rig::start_default("discovery-flood").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let mac = rig.mac("db1").unwrap();
    let mut message = vec![0; 300];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[28..34].copy_from_slice(&mac);
    message[236..243].copy_from_slice(&[99, 130, 83, 99, 53, 1, 1]);
    message[243] = 255;
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2(mac, [0xff; 6])
        .ipv4([0; 4], [255; 4], 64)
        .udp(68, 67);
    packet.write(&mut frame, &message).unwrap();
    let sender = rig
        .lab
        .netns("db1")
        .run(|| RawSender::open(GUEST_INTERFACE))
        .unwrap()
        .unwrap();
    let neighbour = Fresh::new(&rig, "db2").unwrap();
    let began = std::time::Instant::now();
    let flooding = std::thread::scope(|scope| {
        let flood = scope.spawn(|| -> Result<u64> {
            for sent in 0..20_000 {
                sender.send(&frame)?;
                if sent % 20 == 0 {
                    std::thread::sleep(Duration::from_millis(2)); // 10 000 a second
                }
            }
            Ok(20_000)
        });
        neighbour.udhcpc().unwrap();
        flood.join().unwrap().unwrap()
    });
    let shown = neighbour.ip(&["-4", "address", "show", GUEST_INTERFACE]).unwrap();
    assert!(shown.contains(&format!("inet {DB2}/24")), "{shown}");
    rig.await_dropped("h2", "from_tap", "multicast", flooding - 200)
        .unwrap();
    let text = rig.metrics("h2").unwrap();
    let offers = questions(&text, "result=\"offer\"");
    let most = 2 + 16 + 4 * (began.elapsed().as_secs() + 1);
    assert!(
        (2..=most).contains(&offers),
        "{offers} offers, at most {most} expected"
    );
    assert_eq!(
        questions(&text, "result=\"late\""),
        0,
        "the agent does not keep up"
    );
    rig.await_answer("web1", DB1).unwrap();
}
