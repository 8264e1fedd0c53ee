//! A tap made by other hands, as libvirt or a script makes it: shut the moment it is there, open for the one VM
//! that it belongs to, never made and never deleted by the agent.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_agent::datapath::Left;
use pairgate_api::local::AgentStatus;
use pairgate_e2e::{DB1, PATIENCE, Rig};
use pairgate_lab::{
    links, patience,
    plan::GATEWAY_MAC,
    probe::forge::{self, Ends},
    programs::Programs,
    tap,
};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Write},
    net::Ipv4Addr,
    process::Command,
};

const LENT: &str = "tap-lent1";
const OTHER: &str = "other0";
const VM: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 31);
const PORT: u16 = 4242;

fn adopting(arguments: &mut Vec<String>) {
    arguments.extend(["--taps", "tap-lent*"].map(str::to_owned));
}

fn guarded(rig: &Rig) -> BTreeSet<u32> {
    let pin_dir = rig.lab.plan().pin_dir("h1");
    let netns = rig.lab.netns("h1");
    netns
        .run(|| Left::find(&pin_dir).unwrap().guarded().unwrap())
        .unwrap()
}

fn index(rig: &Rig, name: &str) -> u32 {
    links::interface_index(&rig.lab.netns("h1"), name).unwrap()
}

/// What the agent says of the VM; nothing if it is not placed there.
fn state(rig: &Rig) -> Option<String> {
    let answer = rig.lab.call(&["--host", "h1", "status", "-o", "json"]).unwrap();
    let status: AgentStatus = serde_json::from_value(answer.json().unwrap()).unwrap();
    status
        .vms
        .into_iter()
        .find(|vm| vm.name == "lent1")
        .map(|vm| vm.state)
}

fn await_state(rig: &Rig, wanted: Option<&str>) {
    patience::until(PATIENCE, &format!("the VM's tap is {wanted:?}"), || {
        Ok((state(rig).as_deref() == wanted).then_some(()))
    })
    .unwrap();
}

fn done(rig: &Rig, verb: &[&str]) {
    let answer = rig.lab.call(verb).unwrap();
    assert_eq!(answer.code, 0, "{verb:?}: {}", answer.stderr);
}

fn send(guest: &mut File, from_mac: [u8; 6]) {
    let ends = Ends {
        source_mac: from_mac,
        destination_mac: GATEWAY_MAC,
        source: VM,
        destination: DB1,
    };
    let mut frame = vec![0; tap::HEADER];
    frame.extend(forge::udp(ends, (PORT, PORT), b"from a lent tap").unwrap());
    guest.write_all(&frame).unwrap();
}

fn is_ours(frame: &[u8]) -> bool {
    frame.windows(15).any(|window| window == b"from a lent tap")
}

#[test]
fn a_tap_of_other_hands_is_shut_at_once_and_serves_the_vm_whose_name_it_has() {
    let rig = Rig::start_default("adoption").unwrap();
    rig.again("agent-h1", adopting, &[]).unwrap();
    rig.lab.await_settled().unwrap();
    let netns = rig.lab.netns("h1");

    // Made and brought up before anybody has told the registry of a VM.
    tap::ensure(&netns, OTHER).unwrap();
    tap::ensure(&netns, LENT).unwrap();
    links::set_up(&netns, LENT, None, None).unwrap();
    let lent = index(&rig, LENT);
    patience::until(PATIENCE, "the tap is shut", || {
        Ok(guarded(&rig).contains(&lent).then_some(()))
    })
    .unwrap();
    assert!(
        !guarded(&rig).contains(&index(&rig, OTHER)),
        "a tap that nobody named was touched"
    );
    let mut guest = tap::attach(&netns, LENT, true).map_err(|_| "attach").unwrap();
    let at_host = rig.watch("h1", LENT, is_ours).unwrap();
    let before = rig.dropped("h1", "from_tap", "no_state").unwrap();
    send(&mut guest, [2; 6]);
    rig.await_dropped("h1", "from_tap", "no_state", before + 1)
        .unwrap();
    drop(at_host);

    let address = VM.to_string();
    done(&rig, &["vm", "create", "lent1", "--address", &address]);

    done(&rig, &["vm", "place", "lent1", "h1"]);
    await_state(&rig, Some("guarded"));
    assert_eq!(index(&rig, LENT), lent, "the tap was made anew");
    done(&rig, &["pair", "allow", "lent1", "db1"]);
    let mac = rig.mac("lent1").unwrap();
    let at_db1 = rig.watch_guest("db1", is_ours).unwrap();
    patience::until(PATIENCE, "what the lent tap's guest sends arrives", || {
        send(&mut guest, mac);
        Ok((at_db1.count() > 0).then_some(()))
    })
    .unwrap();
    // And back: the guest reads an echo request for its own address.
    patience::until(PATIENCE, "what is sent to the lent tap's guest arrives", || {
        rig.ping("db1", VM, 1, 8)?;
        let mut frame = vec![0; tap::LARGEST];
        while let Ok(length) = guest.read(&mut frame) {
            let inner = &frame[tap::HEADER..length];
            if inner.get(12..14) == Some(&[8, 0]) && inner.get(30..34) == Some(&VM.octets()) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
    .unwrap();

    // The VM goes elsewhere: the tap stays where it is, and is shut.
    done(&rig, &["vm", "place", "lent1", "h2"]);
    await_state(&rig, None);
    assert_eq!(index(&rig, LENT), lent, "a tap of other hands was deleted");
    assert!(guarded(&rig).contains(&lent));
    let before = rig.dropped("h1", "from_tap", "no_state").unwrap();
    send(&mut guest, mac);
    rig.await_dropped("h1", "from_tap", "no_state", before + 1)
        .unwrap();

    // It comes back while nobody has made its tap: that is no fault, and the agent makes none.
    drop(guest);
    links::delete(&netns, LENT).unwrap();
    done(&rig, &["vm", "place", "lent1", "h1"]);
    await_state(&rig, Some("absent"));
    assert!(!links::exists(&netns, LENT).unwrap());
    assert_eq!(rig.lab.call(&["--host", "h1", "status"]).unwrap().code, 0);
    tap::ensure(&netns, LENT).unwrap();
    await_state(&rig, Some("guarded"));
}

#[test]
fn cleanup_leaves_a_tap_of_other_hands_shut_unless_it_is_told_otherwise() {
    let rig = Rig::start_default("adoptclean").unwrap();
    let agent = rig.again("agent-h1", adopting, &[]).unwrap();
    let netns = rig.lab.netns("h1");
    tap::ensure(&netns, LENT).unwrap();
    let lent = index(&rig, LENT);
    patience::until(PATIENCE, "the tap is shut", || {
        Ok(guarded(&rig).contains(&lent).then_some(()))
    })
    .unwrap();
    agent.stop().unwrap();
    let plan = rig.lab.plan();
    let cleanup = |all: &[&str]| {
        let mut command = Command::new(
            Programs::beside_this_one()
                .unwrap()
                .path("pairgate-agent")
                .unwrap(),
        );
        command.arg("cleanup").arg("--state-dir").arg(plan.host_dir("h1"));
        command.arg("--pin-dir").arg(plan.pin_dir("h1")).args(all);
        let output = netns.output(&mut command).unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = cleanup(&[]);
    assert!(said.contains("left tap tap-lent1 shut"), "{said}");
    assert!(guarded(&rig).contains(&lent), "the tap is open to the host");
    let said = cleanup(&["--all"]);
    assert!(said.contains("opened tap tap-lent1"), "{said}");
    assert!(!guarded(&rig).contains(&lent));
    assert!(
        links::exists(&netns, LENT).unwrap(),
        "a tap of other hands was deleted"
    );
}
