//! What an operator lives with, on a running installation: a file applied, the screens read, the machine
//! examined, and what is shipped beside the programs held against them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_e2e::{DB2, PATIENCE, Rig};
use pairgate_lab::{patience, process, programs::Programs};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

fn packaging(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../userspace/packaging");
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// A file of this test, gone with it.
fn site(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("site.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// How a call with this file ended: exit code, and what it printed as JSON.
fn call(rig: &Rig, verb: &[&str], file: &Path) -> (i32, Value) {
    let mut line = verb.to_vec();
    line.extend(["-f", file.to_str().unwrap(), "-o", "json"]);
    let answer = rig.lab.call(&line).unwrap();
    (answer.code, answer.json().unwrap_or(Value::String(answer.stderr)))
}

fn changes(answer: &Value) -> Vec<&str> {
    let changes = answer["changes"].as_array().unwrap();
    changes
        .iter()
        .map(|change| change["change"].as_str().unwrap())
        .collect()
}

const SITE: &str = r#"
    [[network]]
    name = "default"
    prefixes = ["10.77.0.0/24", "fd77::/64"]
    [[network]]
    name = "blue"
    prefixes = ["10.9.0.0/24"]
    dns = ["192.0.2.53"]
    [[vm]]
    name = "web1"
    addresses = ["10.77.0.11", "fd77::11"]
    host = "h1"
    [[vm]]
    name = "far"
    network = "blue"
    host = "h2"
    [[vm]]
    name = "near"
    network = "blue"
    [[pair]]
    between = ["web1", "db2"]
    [[pair]]
    network = "blue"
    between = ["near", "far"]
"#;

#[test]
fn a_file_is_compared_applied_once_and_takes_pairs_away_only_when_told() {
    let rig = Rig::start_default("opsfile").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = site(&folder, SITE);
    let all = [
        "create_network",
        "create_vm",
        "create_vm",
        "place_vm",
        "allow_pair",
        "allow_pair",
    ];

    let (code, answer) = call(&rig, &["diff"], &file);
    assert_eq!((code, answer["same"].as_bool()), (1, Some(false)), "{answer}");
    assert_eq!(changes(&answer), all);
    let (code, answer) = call(&rig, &["apply", "--dry-run"], &file);
    assert_eq!((code, changes(&answer)), (0, all.to_vec()), "{answer}");
    assert_eq!(
        call(&rig, &["diff"], &file).0,
        1,
        "a dry run has changed something"
    );

    let (code, answer) = call(&rig, &["apply"], &file);
    assert_eq!((code, changes(&answer)), (0, all.to_vec()), "{answer}");
    let states: BTreeSet<_> = answer["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| &change["state"])
        .collect::<Vec<_>>()
        .into_iter()
        .map(|state| state.as_str().unwrap())
        .collect();
    assert_eq!(states, BTreeSet::from(["done"]));
    let (code, answer) = call(&rig, &["diff"], &file);
    assert_eq!((code, answer["same"].as_bool()), (0, Some(true)), "{answer}");
    let generation = rig.vm("web1").unwrap().placement.unwrap().generation;
    let (code, answer) = call(&rig, &["apply"], &file);
    assert_eq!((code, changes(&answer).len()), (0, 0), "{answer}");
    assert_eq!(rig.vm("web1").unwrap().placement.unwrap().generation, generation);
    rig.await_answer("web1", DB2).unwrap();

    // web1 and db1 were allowed before, and the file does not list them.
    let (code, answer) = call(&rig, &["diff", "--deny-unlisted-pairs"], &file);
    assert_eq!((code, changes(&answer)), (1, vec!["deny_pair"]), "{answer}");
    assert_eq!(
        answer["changes"][0]["between"],
        serde_json::json!(["db1", "web1"])
    );
    let (code, answer) = call(&rig, &["apply", "--deny-unlisted-pairs"], &file);
    assert_eq!((code, changes(&answer)), (0, vec!["deny_pair"]), "{answer}");
    assert_eq!(rig.ping("web1", pairgate_e2e::DB1, 3, 56).unwrap().received, 0);
    assert_eq!(call(&rig, &["diff", "--deny-unlisted-pairs"], &file).0, 0);
    assert!(rig.answers("web1", DB2).unwrap(), "a listed pair was cut");

    let other = SITE.replace("192.0.2.53", "192.0.2.54");
    let (code, answer) = call(&rig, &["apply"], &site(&folder, &other));
    assert_eq!((code, changes(&answer)), (0, vec!["set_network"]), "{answer}");
    let blue = rig.lab.json(&["network", "show", "blue"]).unwrap();
    assert_eq!(blue["dns"], serde_json::json!(["192.0.2.54"]));

    for (text, code, words) in [
        (
            SITE.replace("10.77.0.0/24", "10.78.0.0/24"),
            1,
            "a network keeps its prefixes",
        ),
        (SITE.replace("\"h1\"", "\"h9\""), 2, "host h9"),
        (SITE.replace("\"db2\"", "\"db9\""), 2, "VM db9"),
    ] {
        let revision = rig.status().unwrap().revision;
        let (found, said) = call(&rig, &["apply"], &site(&folder, &text));
        assert_eq!(found, code, "{said}");
        assert!(said.as_str().unwrap().contains(words), "{said}");
        assert_eq!(
            rig.status().unwrap().revision,
            revision,
            "a refused file has changed something"
        );
    }
}

/// One scrape of a host's metrics.
fn scrape(rig: &Rig, host: &str) -> String {
    let netns = rig.lab.netns(host);
    netns
        .run(|| {
            let mut stream = TcpStream::connect(pairgate_lab::plan::METRICS).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        })
        .unwrap()
}

/// `pairgate doctor` in a host's own namespace, with what the laboratory knows of certificates.
fn doctor(rig: &Rig, host: &str, more: &[&str]) -> (Option<i32>, Value) {
    let plan = rig.lab.plan();
    let mut command = Command::new(Programs::beside_this_one().unwrap().path("pairgate").unwrap());
    command.args(["doctor", "-o", "json", "--host", host, "--socket"]);
    command.arg(plan.run_dir().join(host).join("agent.sock"));
    command.arg("--pin-dir").arg(plan.pin_dir(host)).args(more);
    let registry = plan.registry_dir();
    for (name, file) in [
        ("AUTHORITY", "ca.pem"),
        ("CERT", "operator.pem"),
        ("KEY", "operator.key"),
    ] {
        command.env(format!("PAIRGATE_{name}"), registry.join(file));
    }
    let output = process::output_within(&rig.lab.netns(host), &mut command, PATIENCE).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), serde_json::from_str(&text).unwrap())
}

/// The states of one check.
fn found<'a>(answer: &'a Value, check: &str) -> Vec<&'a str> {
    let findings = answer["findings"].as_array().unwrap();
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    of_check
        .map(|finding| finding["state"].as_str().unwrap())
        .collect()
}

#[test]
fn screens_and_doctor_tell_health_from_sickness_and_name_only_metrics_that_exist() {
    let rig = Rig::start_default("opssick").unwrap();
    rig.await_answer("web1", pairgate_e2e::DB1).unwrap();
    let code = |arguments: &[&str]| rig.lab.call(arguments).unwrap().code;
    assert_eq!((code(&["status"]), code(&["status", "--host", "h1"])), (0, 0));
    let pairs = rig.lab.json(&["pairs", "--host", "h1"]).unwrap();
    assert_eq!(pairs["host"], "h1");
    let ways: BTreeSet<_> = pairs["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair["way"].as_str().unwrap())
        .collect();
    assert_eq!(ways, BTreeSet::from(["in", "out"]));
    assert!(
        pairs["traffic"]
            .as_array()
            .unwrap()
            .iter()
            .any(|guest| guest["vm"] == "web1" && guest["passed"].as_u64() > Some(0)),
        "{pairs}"
    );

    let shown = scrape(&rig, "h1");
    for file in ["grafana/pairgate-hosts.json", "prometheus/alerts.yaml"] {
        for name in packaging(file).split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            let known = !name.starts_with("pairgate_") || shown.contains(&format!("# TYPE {name} "));
            assert!(known, "{file} names {name}, which no scrape has");
        }
    }

    let registry = rig.lab.plan().registry();
    let (_, answer) = doctor(&rig, "h1", &["--registry", &registry]);
    for check in [
        "kernel",
        "hook",
        "BTF",
        "bpffs",
        "agent",
        "MTU",
        "registry",
        "clock",
        "peer agent",
    ] {
        let states = found(&answer, check);
        assert!(
            !states.is_empty() && states.iter().all(|state| *state == "ok"),
            "{check}: {answer}"
        );
    }

    rig.lab.stop("agent-h2").unwrap();
    patience::until(PATIENCE, "status notices that h2 is away", || {
        Ok((rig.lab.call(&["status"])?.code == 1).then_some(()))
    })
    .unwrap();
    let told = rig.lab.call(&["status"]).unwrap().stdout;
    assert!(
        told.contains("the agent of host h2 is away") && told.contains("cure: on h2"),
        "{told}"
    );
    let (code_of_doctor, answer) = doctor(&rig, "h1", &["--registry", &registry]);
    assert_eq!(
        (code_of_doctor, found(&answer, "peer agent")),
        (Some(1), vec!["bad"]),
        "{answer}"
    );

    rig.lab.stop("registry").unwrap();
    assert_eq!(code(&["status"]), 3);
    patience::until(PATIENCE, "h1 notices that the registry is away", || {
        Ok((rig.lab.call(&["status", "--host", "h1"])?.code == 1).then_some(()))
    })
    .unwrap();
    let (code_of_doctor, answer) = doctor(&rig, "h1", &["--registry", &registry]);
    assert_eq!(
        (code_of_doctor, found(&answer, "registry")),
        (Some(1), vec!["bad"]),
        "{answer}"
    );
}

#[test]
fn the_units_give_the_daemons_no_option_that_they_do_not_have() {
    let programs = Programs::beside_this_one().unwrap();
    for (unit, settings, program, verb) in [
        (
            "systemd/pairgate-agent.service",
            "examples/agent.env",
            "pairgate-agent",
            "run",
        ),
        (
            "systemd/pairgate-registry.service",
            "examples/registry.env",
            "pairgate-registry",
            "serve",
        ),
    ] {
        let help = Command::new(programs.path(program).unwrap())
            .args([verb, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let (unit, settings) = (packaging(unit), packaging(settings));
        let start = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        let words: Vec<_> = start.split_whitespace().collect();
        assert_eq!(
            (words[0], words[1]),
            (format!("ExecStart=/usr/lib/pairgate/{program}").as_str(), verb)
        );
        assert!(words.len() > 3, "{start}");
        for pair in words[2..].chunks(2) {
            assert!(
                pair[0].starts_with("--") && help.contains(&format!("{} <", pair[0])),
                "{pair:?}"
            );
            if let Some(variable) = pair[1].strip_prefix("${") {
                let set = format!("\n{}=", variable.trim_end_matches('}'));
                assert!(settings.contains(&set), "{pair:?} is set in no example");
            }
        }
    }
}
