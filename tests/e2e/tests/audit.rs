//! Somebody who is root on a host changes what the agent keeps in its kernel. The agent compares that with what it has
//! declared all the time: what nobody gave is taken away, what was taken away comes back, and what is not the agent's to
//! mend is named.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(
    dead_code,
    reason = "shared with the tests of the programs, which use more of it"
)]
#[path = "packets/others.rs"]
mod others;

use aya::{
    maps::{MapData, MapInfo},
    programs::{
        SchedClassifier, TcAttachType,
        links::{FdLink, PinnedLink},
        loaded_programs,
        tc::SchedClassifierLink,
    },
};
use others::Other;
use pairgate_abi::{Handle, map};
use pairgate_agent::datapath::{Hook, Pins, Pod, Program};
use pairgate_api::local::AgentStatus;
use pairgate_e2e::{DB1, PATIENCE, Rig};
use pairgate_lab::{links, patience, plan::GUEST_MTU};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
};

const TAP: &str = "tap-web1";
const UPLINK: &str = "up0";

fn pins(rig: &Rig, host: &str) -> Pins {
    Pins::under(&rig.lab.plan().pin_dir(host))
}

fn status(rig: &Rig, host: &str) -> AgentStatus {
    // Whatever its exit code says about health.
    let answer = rig.lab.call(&["--host", host, "status", "-o", "json"]).unwrap();
    serde_json::from_value(answer.json().unwrap()).unwrap()
}

fn count(rig: &Rig, host: &str, kind: &str) -> u64 {
    status(rig, host).found.get(kind).copied().unwrap_or(0)
}

/// Waits until the auditor has found something more of a kind.
fn await_count(rig: &Rig, host: &str, kind: &str, before: u64) {
    patience::until(PATIENCE, &format!("{host} finds something {kind}"), || {
        Ok((count(rig, host, kind) > before).then_some(()))
    })
    .unwrap();
}

/// A loaded program, whoever has loaded it.
fn program(number: u32) -> SchedClassifier {
    let mut loaded = loaded_programs().filter_map(Result::ok);
    let info = loaded.find(|info| info.id() == number).unwrap();
    SchedClassifier::from_program_info(info, "other".into()).unwrap()
}

fn link(pin: &Path) -> FdLink {
    PinnedLink::from_pin(pin).unwrap().into()
}

/// The program under a pinned link, by its number.
fn under(pin: &Path) -> u32 {
    link(pin).info().unwrap().program_id()
}

#[test]
fn maps_that_somebody_has_written_into_are_put_right() {
    let rig = Rig::start_default("audit-maps").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let (h1, h2) = (pins(&rig, "h1"), pins(&rig, "h2"));
    let mut pairs_in = h2.pairs_in().unwrap();
    let (given, entry) = pairs_in.iter().next().unwrap().unwrap();
    let without_use = |entry: Pod<pairgate_abi::InEntry>| pairgate_abi::InEntry {
        used_ns: 0,
        ..entry.0
    };

    // A handle that nobody gave.
    let stray = Handle::new(0x00ab_cdef, 0x1234).unwrap();
    pairs_in.insert(Pod(stray), entry, 0).unwrap();
    patience::until(PATIENCE, "the stray handle is gone", || {
        Ok(pairs_in.get(&Pod(stray), 0).is_err().then_some(()))
    })
    .unwrap();
    await_count(&rig, "h2", "stray", 0);

    // A deadline that somebody has moved.
    let mut longer = entry;
    longer.0.deadline_ns = u64::MAX;
    pairs_in.insert(given, longer, 0).unwrap();
    patience::until(PATIENCE, "the deadline is as it was", || {
        let now = pairs_in.get(&given, 0).ok().map(without_use);
        Ok((now == Some(without_use(entry))).then_some(()))
    })
    .unwrap();
    await_count(&rig, "h2", "altered", 0);

    // Emptied maps, on both sides.
    let mut pairs_out = h1.pairs_out().unwrap();
    for key in pairs_out.keys().collect::<Result<Vec<_>, _>>().unwrap() {
        pairs_out.remove(&key).unwrap();
    }
    for handle in pairs_in.keys().collect::<Result<Vec<_>, _>>().unwrap() {
        pairs_in.remove(&handle).unwrap();
    }
    let mut taps = h1.taps().unwrap();
    for tap in taps.keys().collect::<Result<Vec<_>, _>>().unwrap() {
        taps.remove(&tap).unwrap();
    }
    patience::until(PATIENCE, "the emptied maps are full again", || {
        let back = pairs_in.get(&given, 0).is_ok() && taps.keys().count() == 1;
        Ok((back && pairs_out.keys().count() > 0).then_some(()))
    })
    .unwrap();
    await_count(&rig, "h1", "missing", 0);
    await_count(&rig, "h2", "missing", 0);
    rig.await_answer("web1", DB1).unwrap();

    // A lease that somebody has granted himself.
    let mut lease = h1.lease().unwrap();
    let granted = lease.get(&0, 0).unwrap();
    lease.set(0, u64::MAX, 0).unwrap();
    patience::until(PATIENCE, "the lease is as it was granted", || {
        Ok((lease.get(&0, 0)? < u64::MAX).then_some(()))
    })
    .unwrap();
    assert!(lease.get(&0, 0).unwrap() >= granted);

    // One that somebody has ended is named and stays ended, until it is as granted again: here by the same hands.
    let mut granted = 0;
    patience::until(PATIENCE, "the ended lease is named", || {
        // Again with each look, because the registry may have answered.
        let now = lease.get(&0, 0)?;
        if now > 0 {
            granted = now;
            lease.set(0, 0, 0)?;
        }
        let findings = status(&rig, "h1").findings;
        Ok(findings
            .iter()
            .any(|finding| finding.what.contains(map::LEASE))
            .then_some(()))
    })
    .unwrap();
    assert!(rig.metrics("h1").unwrap().contains("pairgate_audit_standing 1"));
    if lease.get(&0, 0).unwrap() == 0 {
        lease.set(0, granted, 0).unwrap();
    }
    patience::until(PATIENCE, "the lease is named no more", || {
        Ok(status(&rig, "h1").findings.is_empty().then_some(()))
    })
    .unwrap();

    // A mark that the next agent's programs would stamp on packets, and those of now would not know.
    let mut mark = h1.mark_map().unwrap();
    let (chosen, before) = (mark.get(&0, 0).unwrap(), count(&rig, "h1", "altered"));
    mark.set(0, !chosen, 0).unwrap();
    await_count(&rig, "h1", "altered", before);
    assert_eq!(mark.get(&0, 0).unwrap(), chosen);
    assert_eq!(
        status(&rig, "h1").findings,
        [],
        "all of it was the agent's to mend"
    );
}

#[test]
fn pins_programs_and_settings_that_somebody_has_taken_away_come_back() {
    let rig = Rig::start_default("audit-pins").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let h1 = pins(&rig, "h1");
    let list = || {
        let names = fs::read_dir(h1.directory()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = list();
    assert!(before.len() > 15, "{before:?}");
    before.iter().for_each(|pin| fs::remove_file(pin).unwrap());
    assert!(
        rig.answers("web1", DB1).unwrap(),
        "programs went with their pins while their agent runs"
    );
    patience::until(PATIENCE, "every pin is back", || {
        Ok((list() == before).then_some(()))
    })
    .unwrap();
    await_count(&rig, "h1", "pin", 0);

    // Another map under the names of one of ours and of a table: the next agent would go by it.
    let other = MapData::from_pin(h1.map(map::LEASE)).unwrap();
    let is_table = |pin: &&PathBuf| pin.to_string_lossy().contains("flows-");
    let taken = [h1.map(map::MARK), before.iter().find(is_table).unwrap().clone()];
    let named = || taken.each_ref().map(|pin| MapInfo::from_pin(pin).unwrap().id());
    let (ours, found) = (named(), count(&rig, "h1", "pin"));
    for pin in &taken {
        let beside = h1.directory().join("other");
        other.pin(&beside).unwrap();
        fs::rename(&beside, pin).unwrap();
    }
    patience::until(PATIENCE, "the pins name what is ours again", || {
        Ok((named() == ours).then_some(()))
    })
    .unwrap();
    await_count(&rig, "h1", "pin", found + 1);

    let netns = rig.lab.netns("h1");
    netns
        .run(|| {
            let conf = format!("/proc/sys/net/ipv4/conf/{TAP}/rp_filter");
            fs::write(&conf, "0").unwrap();
            patience::until(PATIENCE, "the setting is as it was", || {
                Ok((fs::read_to_string(&conf)?.trim() == "1").then_some(()))
            })
        })
        .unwrap()
        .unwrap();
    await_count(&rig, "h1", "setting", 0);

    links::set_up(&netns, TAP, None, Some(GUEST_MTU - 100)).unwrap();
    links::set_down(&netns, TAP).unwrap();
    patience::until(PATIENCE, "the tap is up again with its MTU", || {
        let shown = netns.output(Command::new("ip").args(["link", "show", "dev", TAP]))?;
        let has_mtu = String::from_utf8_lossy(&shown.stdout).contains(&format!("mtu {GUEST_MTU} "));
        Ok((has_mtu && links::has_carrier(&netns, TAP)?).then_some(()))
    })
    .unwrap();
    await_count(&rig, "h1", "device", 0);

    // Another program under our own link, which stays pinned. A filter is its program.
    if others::hook() == Hook::Tcx {
        let tap = links::interface_index(&netns, TAP).unwrap();
        let pin = h1.link(tap, Program::FromTap);
        let ours = under(&pin);
        let mut other = program(under(&h1.link(tap, Program::StopOut)));
        let swapped = SchedClassifierLink::try_from(link(&pin)).unwrap();
        other.attach_to_link(swapped).unwrap();
        patience::until(PATIENCE, "our program is under the link again", || {
            Ok((under(&pin) == ours).then_some(()))
        })
        .unwrap();
        await_count(&rig, "h1", "program", 0);
        rig.await_answer("web1", DB1).unwrap();
    }
    let found = count(&rig, "h1", "program");
    for pin in before
        .iter()
        .filter(|pin| pin.to_string_lossy().contains("link-"))
    {
        others::detach(pin);
    }
    await_count(&rig, "h1", "program", found);
    rig.await_answer("web1", DB1).unwrap();
    // What lives on after the agent is what was pinned.
    rig.lab.kill("agent-h1").unwrap();
    assert!(rig.answers("web1", DB1).unwrap(), "what came back was not pinned");
}

#[test]
fn another_vxlan_device_on_our_port_is_named_and_one_on_another_port_is_not_disturbed() {
    let rig = Rig::start_default("audit-vxlan").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    // As somebody would join the two hosts who does not know of us.
    let ends = [
        ("h1", "h2", Ipv4Addr::new(10, 99, 0, 1)),
        ("h2", "h1", Ipv4Addr::new(10, 99, 0, 2)),
    ];
    for (near, far, address) in ends {
        let underlay = |host: &str| -> IpAddr {
            let last = if host == "h1" { 1 } else { 2 };
            Ipv4Addr::new(192, 0, 2, last).into()
        };
        let netns = rig.lab.netns(near);
        for (name, port) in [("vx-other", 4790), ("vx-same", 4789)] {
            let between = (underlay(near), underlay(far));
            links::ensure_vxlan(&netns, name, (5, port), between, UPLINK).unwrap();
        }
        links::ensure_address(&netns, "vx-other", address.into(), 24).unwrap();
        links::set_up(&netns, "vx-other", None, None).unwrap();
        assert!(
            links::set_up(&netns, "vx-same", None, None).is_err(),
            "two devices have one port"
        );
    }
    patience::until(PATIENCE, "the device with our port is named", || {
        let findings = status(&rig, "h1").findings;
        let named = findings.iter().any(|finding| finding.what.contains("vx-same"));
        Ok((named && findings.len() == 1).then_some(()))
    })
    .unwrap();
    patience::until(PATIENCE, "their tunnel works beside ours", || {
        let netns = rig.lab.netns("h1");
        let to = IpAddr::from([10, 99, 0, 2]);
        let limit = std::time::Duration::from_millis(250);
        let echoes = netns.run(|| pairgate_lab::probe::ping(to, 1, 56, limit))??;
        Ok(echoes.all().then_some(()))
    })
    .unwrap();
    assert!(rig.answers("web1", DB1).unwrap());
    let netns = rig.lab.netns("h1");
    links::delete(&netns, "vx-same").unwrap();
    patience::until(PATIENCE, "nothing is in the way any more", || {
        Ok(status(&rig, "h1").findings.is_empty().then_some(()))
    })
    .unwrap();
}

#[test]
fn programs_of_others_in_the_way_are_named_and_let_be() {
    let rig = Rig::start_default("audit-foreign").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let netns = rig.lab.netns("h1");
    let foreign = [TAP, UPLINK].map(|name| {
        let index = links::interface_index(&netns, name).unwrap();
        netns.run(|| Other::on(index, &others::end(-1))).unwrap()
    });
    let findings = || {
        let findings = status(&rig, "h1").findings.into_iter();
        findings
            .filter(|finding| finding.kind == "foreign")
            .collect::<Vec<_>>()
    };
    patience::until(PATIENCE, "both programs are named", || {
        Ok((findings().len() == 2).then_some(()))
    })
    .unwrap();
    for (name, ours) in [(TAP, "from_tap"), (UPLINK, "from_uplink")] {
        assert!(
            findings().iter().any(|finding| finding.what.contains(name)
                && finding.what.contains(ours)
                && finding.what.contains("bpftool prog show id")),
            "{:?}",
            findings()
        );
    }
    assert_eq!(count(&rig, "h1", "foreign"), 2, "counted again with each look");
    assert!(rig.metrics("h1").unwrap().contains("pairgate_audit_standing 2"));
    let doctor = rig.lab.call(&["--host", "h1", "doctor"]).unwrap();
    let said = doctor.json().map(|json| json.to_string());
    let said = said.unwrap_or_else(|_| doctor.stdout.clone());
    assert!(said.contains("runs before from_tap on tap-web1"), "{said}");
    assert!(rig.answers("web1", DB1).unwrap());

    // The same program on the way out of the uplink.
    let said = findings();
    let on_uplink = said.iter().find(|finding| finding.what.contains(UPLINK));
    let number = on_uplink.unwrap().what.split(' ').nth(1).unwrap();
    let mut outward = program(number.parse().unwrap());
    netns
        .run(|| outward.attach(UPLINK, TcAttachType::Egress).unwrap())
        .unwrap();
    patience::until(PATIENCE, "the program on the way out is named", || {
        let found = findings();
        let is_named = |way: &str| found.iter().any(|finding| finding.what.contains(way));
        Ok(is_named("is on the way out of up0").then_some(()))
    })
    .unwrap();
    assert_eq!(findings().len(), 3);
    netns.run(|| drop((foreign, outward))).unwrap();
    patience::until(PATIENCE, "nothing is in the way any more", || {
        Ok(findings().is_empty().then_some(()))
    })
    .unwrap();
}
