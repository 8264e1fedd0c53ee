//! Two networks with the same addresses, on the same two hosts: each guest hears its own network and no other.

use anyhow::{Context, Result};
use pairgate_api::rest;
use pairgate_e2e::{DB1, DB1_6, PATIENCE, Rig, WEB1, WEB1_6};
use pairgate_lab::{
    links,
    netns::Netns,
    patience,
    plan::{GUEST_INTERFACE, GUEST_MTU, GUEST_PREFIX, GUEST_PREFIX_6, NETWORK_PREFIXES},
    probe::{Sniffer, ping},
    programs::Programs,
    tap,
};
use std::{
    net::IpAddr,
    process::{Child, Command},
    time::Duration,
};

const OTHER: &str = "blue";
const ECHO_LIMIT: Duration = Duration::from_millis(250);
/// Bytes of the echoes in the laboratory's network and in the other: by them a frame tells where it is from.
const OWN: usize = 56;
const BLUE: usize = 77;

/// Takes echoes of this many bytes, of either family.
fn echo(payload: usize) -> impl Fn(&[u8]) -> bool + Send + 'static {
    move |frame| {
        let headers = match frame.get(12..14) {
            Some(&[8, 0]) => 14 + 20 + 8,
            Some(&[0x86, 0xdd]) => 14 + 40 + 8,
            _ => return false,
        };
        frame.len() == headers + payload
    }
}

/// A guest of the other network, which has the addresses of one of the laboratory's own.
struct Double {
    netns: Netns,
    cable: Child,
}

impl Double {
    /// Made as an operator and a virtual machine monitor would. `short` is a name that the laboratory takes down.
    fn plug_in(rig: &Rig, short: &str, name: &str, host: &str, addresses: [IpAddr; 2]) -> Result<Self> {
        let [four, six] = addresses;
        let (four_text, six_text) = (four.to_string(), six.to_string());
        let create = [
            "vm",
            "create",
            name,
            "--address",
            &four_text,
            "--address",
            &six_text,
        ];
        rig.lab.json(&[&create[..], &["--network", OTHER]].concat())?;
        rig.lab.json(&["vm", "place", name, host, "--network", OTHER])?;
        let shown = rig.lab.json(&["vm", "show", name, "--network", OTHER])?;
        let vm: rest::Vm = serde_json::from_value(shown)?;
        let mac = vm.mac.split(':').map(|part| u8::from_str_radix(part, 16));
        let mac: Vec<u8> = mac.collect::<Result<_, _>>()?;
        let mac: [u8; 6] = mac.try_into().ok().context("a MAC has six parts")?;

        let tap = vm.placement.context("the VM is placed")?.tap;

        let plan = rig.lab.plan();
        let netns = Netns::named(&plan.netns(short));
        netns.ensure()?;
        for which in ["all", "default"] {
            netns.sysctl(&format!("ipv6/conf/{which}/accept_ra"), "0")?;
            netns.sysctl(&format!("ipv6/conf/{which}/router_solicitations"), "0")?;
            // The address is used at once.
            netns.sysctl(&format!("ipv6/conf/{which}/accept_dad"), "0")?;
        }
        tap::ensure(&netns, GUEST_INTERFACE)?;
        links::set_up(&netns, GUEST_INTERFACE, Some(mac), Some(GUEST_MTU))?;
        links::ensure_address(&netns, GUEST_INTERFACE, four, GUEST_PREFIX)?;
        links::ensure_address(&netns, GUEST_INTERFACE, six, GUEST_PREFIX_6)?;
        let mut command = Command::new(Programs::beside_this_one()?.path("pairgate-lab")?);
        command.args(["cable", "--name", short, "--tap", &tap]);
        command.args(["--tap-netns", &plan.netns(host), "--guest", GUEST_INTERFACE]);
        command.args(["--guest-netns", netns.name()]);
        let cable = netns.spawn(&mut command)?;
        Ok(Self { netns, cable })
    }
}

impl Double {
    /// Whether one echo of this many bytes is answered.
    fn answers(&self, to: impl Into<IpAddr>, payload: usize) -> Result<bool> {
        let to = to.into();
        Ok(self.netns.run(|| ping(to, 1, payload, ECHO_LIMIT))??.all())
    }

    fn await_answer(&self, to: impl Into<IpAddr>) -> Result<()> {
        let to = to.into();
        patience::until(PATIENCE, "the other network talks", || {
            Ok(self.answers(to, BLUE)?.then_some(()))
        })
    }

    fn watch(&self, takes: impl Fn(&[u8]) -> bool + Send + 'static) -> Result<Sniffer> {
        Ok(self.netns.run(|| Sniffer::start(GUEST_INTERFACE, takes))??)
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        // The namespace goes with the laboratory.
        let _ = self.cable.kill();
        let _ = self.cable.wait();
    }
}

#[test]
fn two_networks_with_the_same_addresses_never_see_each_other() {
    let rig = Rig::start_default("networks").unwrap();
    let mut create = vec!["network", "create", OTHER];
    for prefix in NETWORK_PREFIXES {
        create.extend(["--prefix", prefix]);
    }
    rig.lab.json(&create).unwrap();
    // Names of namespaces that the laboratory takes down; the guests are called as their doubles.
    let web1 = Double::plug_in(&rig, "stranger1", "web1", "h1", [WEB1.into(), WEB1_6.into()]).unwrap();
    let db1 = Double::plug_in(&rig, "stranger2", "db1", "h2", [DB1.into(), DB1_6.into()]).unwrap();
    rig.lab.await_settled().unwrap();
    let (own_web1, own_db1) = (
        rig.watch_guest("web1", echo(BLUE)).unwrap(),
        rig.watch_guest("db1", echo(BLUE)).unwrap(),
    );
    let (blue_web1, blue_db1) = (web1.watch(echo(OWN)).unwrap(), db1.watch(echo(OWN)).unwrap());

    rig.await_answer("web1", DB1).unwrap();
    rig.await_answer("web1", DB1_6).unwrap();
    assert!(
        !web1.answers(DB1, BLUE).unwrap(),
        "another network's pair is no pair"
    );
    assert!(!web1.answers(DB1_6, BLUE).unwrap());

    let blue = |verb: &str| {
        rig.lab
            .json(&["pair", verb, "web1", "db1", "--network", OTHER])
            .unwrap();
        rig.lab.await_settled().unwrap();
    };
    blue("allow");
    web1.await_answer(DB1).unwrap();
    web1.await_answer(DB1_6).unwrap();
    for _ in 0..10 {
        assert!(rig.answers("web1", DB1).unwrap() && rig.answers("db1", WEB1_6).unwrap());
        assert!(web1.answers(DB1, BLUE).unwrap() && db1.answers(WEB1_6, BLUE).unwrap());
    }
    blue("deny");
    assert!(!web1.answers(DB1, BLUE).unwrap());
    assert!(
        rig.answers("web1", DB1).unwrap(),
        "the denial reached the wrong network"
    );
    for (who, sniffer) in [
        ("web1", own_web1),
        ("db1", own_db1),
        ("the other web1", blue_web1),
        ("the other db1", blue_db1),
    ] {
        assert_eq!(sniffer.count(), 0, "{who} heard another network");
    }
}
