//! The agent as a part of its host: its powers, the taps and routes that others change under it, and what is
//! left when it goes for good.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use aya::maps::MapError;
use futures_util::TryStreamExt;
use pairgate_agent::datapath::{Left, Pins};
use pairgate_api::local::AgentStatus;
use pairgate_e2e::{DB1, PATIENCE, Rig};
use pairgate_lab::{links, patience, programs::Programs};
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::route::{RouteMessage, RouteType},
};
use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
};

const UPLINK: &str = "up0";
const H2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Nobody is there; packets sent to it are lost.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 250);

fn status(rig: &Rig, host: &str) -> AgentStatus {
    // Whatever its exit code says about health.
    let answer = rig.lab.call(&["--host", host, "status", "-o", "json"]).unwrap();
    serde_json::from_value(answer.json().unwrap()).unwrap()
}

/// Taps of a host that our programs run on right now, as the kernel says.
fn guarded(rig: &Rig, host: &str) -> std::collections::BTreeSet<u32> {
    let pin_dir = rig.lab.plan().pin_dir(host);
    let netns = rig.lab.netns(host);
    netns
        .run(|| Left::find(&pin_dir).unwrap().guarded().unwrap())
        .unwrap()
}

fn index(rig: &Rig, host: &str, name: &str) -> u32 {
    links::interface_index(&rig.lab.netns(host), name).unwrap()
}

/// A line of /proc/PID/status of every thread.
fn of_threads(pid: i32, field: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        .map(|thread| {
            let text = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{field}:")));
            line.unwrap().trim().to_owned()
        })
        .collect()
}

#[test]
fn an_agent_started_as_root_keeps_four_powers_and_does_everything_with_them() {
    let rig = Rig::start_default("hostpowers").unwrap();
    // CAP_NET_ADMIN 12, CAP_NET_RAW 13, CAP_PERFMON 38, CAP_BPF 39.
    let needed = format!("{:016x}", 1_u64 << 12 | 1 << 13 | 1 << 38 | 1 << 39);
    let none = format!("{:016x}", 0);
    let pid = rig.lab.process("agent-h1").unwrap().pid;
    for (field, wanted) in [
        ("CapEff", needed.as_str()),
        ("CapPrm", &needed),
        ("CapBnd", &needed),
        ("CapInh", &none),
        ("CapAmb", &none),
        ("NoNewPrivs", "1"),
    ] {
        let found = of_threads(pid, field);
        assert!(found.len() > 2, "{found:?}");
        assert!(
            found.iter().all(|value| value == wanted),
            "{field} is {found:?}, not {wanted}"
        );
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let words: Vec<_> = files.split_whitespace().collect();
    assert_eq!(
        words[3], words[4],
        "the limit of open files was not raised: {files}"
    );

    // Taps made, maps written, frames sent.
    rig.await_answer("web1", DB1).unwrap();
    // A tap that somebody deletes is made again.
    let before = index(&rig, "h1", "tap-web1");
    links::delete(&rig.lab.netns("h1"), "tap-web1").unwrap();
    patience::until(PATIENCE, "the tap is there again", || {
        let there = links::exists(&rig.lab.netns("h1"), "tap-web1")?;
        Ok((there && index(&rig, "h1", "tap-web1") != before).then_some(()))
    })
    .unwrap();
    // Programs replaced, maps adopted, by an agent that is killed and comes back.
    rig.lab.kill("agent-h1").unwrap();
    rig.lab.start_again("agent-h1").unwrap();
    rig.lab.await_settled().unwrap();
    rig.await_answer("web1", DB1).unwrap();
}

#[test]
fn a_checkout_in_a_home_that_its_user_keeps_to_himself_serves_as_well() {
    let rig = Rig::start_default("hosthome").unwrap();
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("pairgate/h1");
    fs::create_dir_all(state.parent().unwrap()).unwrap();
    // Somebody else's, and nobody else may pass.
    std::os::unix::fs::chown(home.path(), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let before = rig.lab.plan().host_dir("h1");
    rig.again(
        "agent-h1",
        |arguments| {
            // It has stopped by now, and a new directory has no identity: the old one moves.
            fs::create_dir(&state).unwrap();
            for name in ["host.key", "host.pem", "host.json", "ca.pem"] {
                fs::copy(before.join(name), state.join(name)).unwrap();
            }
            let at = arguments.iter().position(|word| word == "--state-dir").unwrap();
            arguments[at + 1] = state.display().to_string();
        },
        &[],
    )
    .unwrap();
    rig.lab.await_settled().unwrap();
    rig.await_answer("web1", DB1).unwrap();
}

#[test]
fn a_tap_that_lost_its_programs_is_shut_at_the_agents_start_before_any_goal_state() {
    let rig = Rig::start_default("hostshut").unwrap();
    let tap = index(&rig, "h1", "tap-web1");
    assert!(guarded(&rig, "h1").contains(&tap));
    rig.lab.stop("registry").unwrap();
    rig.lab.kill("agent-h1").unwrap();
    let pins = Pins::under(&rig.lab.plan().pin_dir("h1"));
    for program in ["from_tap", "to_tap", "stop_in", "stop_out"] {
        fs::remove_file(pins.directory().join(format!("link-{tap}-{program}"))).unwrap();
    }
    patience::until(PATIENCE, "the programs are gone", || {
        Ok((!guarded(&rig, "h1").contains(&tap)).then_some(()))
    })
    .unwrap();
    rig.lab.start_again("agent-h1").unwrap();
    patience::until(PATIENCE, "the tap is shut again", || {
        Ok(guarded(&rig, "h1").contains(&tap).then_some(()))
    })
    .unwrap();
    // It is shut before the agent answers anybody.
    let answers = || {
        let answer = rig.lab.call(&["--host", "h1", "status", "-o", "json"])?;
        Ok(answer.json().is_ok().then_some(()))
    };
    patience::until(PATIENCE, "the agent answers", answers).unwrap();
    assert_eq!(
        status(&rig, "h1").applied_revision,
        None,
        "the registry was there after all"
    );
}

/// Adds or removes a route in a host's namespace.
fn route(rig: &Rig, host: &str, route: RouteMessage, add: bool) {
    let netns = rig.lab.netns(host);
    let done = netns.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            if add {
                handle.route().add(route).execute().await
            } else {
                handle.route().del(route).execute().await
            }
        })
    });
    done.unwrap().unwrap();
}

#[test]
fn open_pairs_follow_the_routes_and_the_mtu_of_the_uplink() {
    let rig = Rig::start_default("hostways").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let pins = Pins::under(&rig.lab.plan().pin_dir("h1"));
    let host = H2.to_ipv6_mapped().octets();
    let neighbour = || match pins.next_hops().unwrap().get(&host, 0) {
        Ok(hop) => Some(hop.0.neighbour),
        Err(MapError::KeyNotFound) => None,
        Err(error) => panic!("the kernel does not say what stands in the map: {error}"),
    };
    // The packet that was held goes first, then its pair's way and entry are written: the answer may be here before.
    patience::until(PATIENCE, "the peer is a neighbour", || {
        Ok((neighbour() == Some(host)).then_some(()))
    })
    .unwrap();

    let to_h2 = || RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(H2, 32);
    let by_nobody = || to_h2().gateway(NOBODY).build();
    route(&rig, "h1", by_nobody(), true);
    patience::until(PATIENCE, "the new gateway is used", || {
        Ok((neighbour() == Some(NOBODY.to_ipv6_mapped().octets())).then_some(()))
    })
    .unwrap();
    assert!(
        !rig.answers("web1", DB1).unwrap(),
        "the frames go another way than the route says"
    );
    route(&rig, "h1", by_nobody(), false);
    rig.await_answer("web1", DB1).unwrap();
    assert_eq!(neighbour(), Some(host));

    let nowhere = || to_h2().kind(RouteType::BlackHole).build();
    route(&rig, "h1", nowhere(), true);
    patience::until(PATIENCE, "there is no way", || {
        Ok(neighbour().is_none().then_some(()))
    })
    .unwrap();
    let before = rig.dropped("h1", "from_tap", "next_hop").unwrap();
    assert!(!rig.answers("web1", DB1).unwrap());
    rig.await_dropped("h1", "from_tap", "next_hop", before + 1)
        .unwrap();
    route(&rig, "h1", nowhere(), false);
    rig.await_answer("web1", DB1).unwrap();

    links::set_up(&rig.lab.netns("h1"), UPLINK, None, Some(1400)).unwrap();
    patience::until(PATIENCE, "pairs take only what fits", || {
        let pairs = pins.pairs_out()?;
        let entries: Vec<_> = pairs.iter().collect::<Result<_, _>>()?;
        Ok((!entries.is_empty() && entries.iter().all(|(_, entry)| entry.0.mtu == 1350)).then_some(()))
    })
    .unwrap();
    let before = rig.dropped("h1", "from_tap", "too_big").unwrap();
    assert_eq!(rig.ping("web1", DB1, 1, 1400).unwrap().received, 0);
    rig.await_dropped("h1", "from_tap", "too_big", before + 1)
        .unwrap();
    assert!(
        rig.ping("web1", DB1, 1, 1300).unwrap().all(),
        "what fits is lost, too"
    );
}

#[test]
fn an_uplink_that_loses_its_address_ends_every_pair_and_says_so() {
    let rig = Rig::start_default("hostaddress").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let up0 = index(&rig, "h1", UPLINK);
    let netns = rig.lab.netns("h1");
    netns
        .run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().unwrap();
                tokio::spawn(connection);
                let mut addresses = handle
                    .address()
                    .get()
                    .set_link_index_filter(up0)
                    .set_prefix_length_filter(24)
                    .execute();
                let own = addresses.try_next().await.unwrap().unwrap();
                while addresses.try_next().await.unwrap().is_some() {}
                handle.address().del(own).execute().await.unwrap();
            });
        })
        .unwrap();
    patience::until(PATIENCE, "the lease has ended", || {
        Ok((status(&rig, "h1").lease_left_ms == 0).then_some(()))
    })
    .unwrap();
    assert!(!rig.answers("web1", DB1).unwrap());
    let log = fs::read_to_string(rig.lab.process("agent-h1").unwrap().log).unwrap();
    assert!(
        log.contains("lost this host's address: the lease ends now"),
        "nothing was said"
    );
    links::ensure_address(&netns, UPLINK, Ipv4Addr::new(192, 0, 2, 1).into(), 24).unwrap();
    rig.await_answer("web1", DB1).unwrap();
}

/// `pairgate-agent cleanup` in a host's namespace.
fn cleanup(rig: &Rig, host: &str) -> Output {
    let plan = rig.lab.plan();
    let mut command = Command::new(
        Programs::beside_this_one()
            .unwrap()
            .path("pairgate-agent")
            .unwrap(),
    );
    command.arg("cleanup").arg("--state-dir").arg(plan.host_dir(host));
    command.arg("--pin-dir").arg(plan.pin_dir(host));
    rig.lab.netns(host).output(&mut command).unwrap()
}

#[test]
fn cleanup_takes_everything_away_that_an_agent_left_and_nothing_while_one_runs() {
    let rig = Rig::start_default("hostclean").unwrap();
    rig.await_answer("web1", DB1).unwrap();
    let refused = cleanup(&rig, "h1");
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("another agent runs"), "{words}");
    assert!(
        rig.answers("web1", DB1).unwrap(),
        "a refused cleanup has done something"
    );

    rig.lab.stop("agent-h1").unwrap();
    assert!(rig.answers("web1", DB1).unwrap(), "without an agent pairs run on");
    let done = cleanup(&rig, "h1");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    for words in [
        "removed tap tap-web1",
        "removed the VXLAN device pgvx0",
        "removed programs and maps",
        "kept ",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let netns = rig.lab.netns("h1");
    for name in ["tap-web1", "pgvx0"] {
        assert!(!links::exists(&netns, name).unwrap(), "{name} is left");
    }
    let pins: PathBuf = rig.lab.plan().pin_dir("h1");
    assert!(!pins.exists(), "pins are left");
    assert!(
        rig.lab.plan().host_dir("h1").join("host.key").exists(),
        "the host's identity is gone"
    );
    let again = cleanup(&rig, "h1");
    assert!(String::from_utf8_lossy(&again.stdout).contains("nothing of an agent"));

    // And from nothing it comes back, as itself.
    fs::create_dir_all(&pins).unwrap();
    rig.lab.start_again("agent-h1").unwrap();
    rig.lab.await_settled().unwrap();
    rig.await_answer("web1", DB1).unwrap();
}
