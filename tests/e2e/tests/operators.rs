//! The command line and the registry as an operator has them: both programs, real TLS, no hosts behind them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_lab::programs::Programs;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A registry on loopback; ends with the value.
struct Registry {
    folder: tempfile::TempDir,
    programs: Programs,
    child: Child,
    address: String,
}

impl Registry {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = Programs::beside_this_one().unwrap();
        let registry = programs.path("pairgate-registry").unwrap();
        let state = folder.path().join("state");
        let mut init = Command::new(&registry);
        init.args(["init", "--address", "127.0.0.1", "--state-dir"])
            .arg(&state);
        assert!(init.output().unwrap().status.success());
        let mut serve = Command::new(&registry);
        serve
            .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(&state);
        let mut child = serve.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = log.find_map(|line| {
            let (_, rest) = line
                .unwrap()
                .split_once("listen=")
                .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
            rest.split_whitespace().next().map(str::to_owned)
        });
        // Read on, so that it never stands before a full pipe; ends with the registry.
        std::thread::spawn(move || log.for_each(drop));
        Self {
            folder,
            programs,
            child,
            address: address.unwrap(),
        }
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("site.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// Exit code, and what was printed and complained about.
    fn call(&self, line: &str) -> (i32, String, String) {
        let state = self.folder.path().join("state");
        let mut command = Command::new(self.programs.path("pairgate").unwrap());
        command.args(line.split_whitespace());
        command.args(["--registry", &self.address]);
        for (option, file) in [
            ("--authority", "ca.pem"),
            ("--cert", "operator.pem"),
            ("--key", "operator.key"),
        ] {
            command.arg(option).arg(state.join(file));
        }
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn done(&self, line: &str) -> String {
        let (code, printed, complaint) = self.call(line);
        assert_eq!(code, 0, "{line}: {printed}{complaint}");
        printed
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{line} -o json"))).unwrap()
    }

    /// Every direction that is allowed, with what it carries.
    fn pairs(&self, network: &str) -> Vec<String> {
        let pairs = self.json(&format!("pair list --network {network}"));
        let text = |pair: &Value, field: &str| pair[field].as_str().unwrap().to_owned();
        let row = |pair: &Value| {
            format!(
                "{} {} {}",
                text(pair, "source"),
                text(pair, "destination"),
                text(pair, "grant")
            )
        };
        pairs.as_array().unwrap().iter().map(row).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_installation_is_built_changed_and_cleared_with_the_command_line() {
    let registry = Registry::start();
    registry.done("network create default --prefix 10.77.0.0/24 --prefix fd77::/64");
    registry.done("host create h1 --address 2001:db8::1");
    registry.done("host create h2 --address 2001:db8::2");
    registry.done("vm create web1 --address 10.77.0.11 --address fd77::11");
    registry.done("vm create db2");
    registry.done("vm place web1 h1");
    registry.done("vm place db2 h2");
    let shown = registry.done("vm list");
    assert!(shown.contains("10.77.0.11/24, fd77::11/64"), "{shown}");
    assert!(shown.contains("10.77.0.2/24, fd77::2/64"), "{shown}");

    registry.done("pair allow web1 db2 udp/1000-2000 tcp/443 icmp --one-way");
    assert_eq!(
        registry.pairs("default"),
        ["web1 db2 icmp,tcp/443,udp/1000-2000", "db2 web1 replies"]
    );
    for (line, code) in [
        ("pair check web1 db2 tcp/443 icmp", 0),
        ("pair check web1 db2 tcp/80", 1),
        ("pair check db2 web1", 1),
        ("pair check web1 nobody", 3),
        ("pair check nobody web1", 3),
        ("pair allow web1 db2 tcp/70000", 2),
        ("pair allow web1 nobody", 1),
        ("vm create far --address 192.0.2.1", 1),
        ("network create more --prefix fd77::1/64", 1),
        ("host delete h1", 1),
        ("network delete default", 1),
    ] {
        let (told, printed, complaint) = registry.call(line);
        assert_eq!(told, code, "{line}: {printed}{complaint}");
    }
    let ids = |pairs: &Value| [&pairs[0]["id"], &pairs[1]["id"]].map(|id| id.as_u64().unwrap());
    let before = ids(&registry.json("pair list"));
    registry.done("vm set-addresses web1 10.77.0.12 fd77::12");
    let after = ids(&registry.json("pair list"));
    assert!(
        after.iter().all(|id| !before.contains(id)),
        "{before:?} {after:?}"
    );
    assert_eq!(
        registry.pairs("default"),
        ["web1 db2 icmp,tcp/443,udp/1000-2000", "db2 web1 replies"]
    );

    let ended = registry.json("vm delete db2");
    assert_eq!(
        (&ended["applied"], ended["directions"].as_array().unwrap().len()),
        (&json!(true), 2)
    );
    registry.done("vm delete web1");
    registry.done("host delete h1");
    registry.done("host delete h2");
    registry.done("network delete default");
    for list in ["network list", "host list"] {
        assert_eq!(registry.json(list), json!([]), "{list}");
    }
    registry.done("audit verify");
}

#[test]
fn a_file_with_addresses_and_grants_is_applied_once_and_changed_by_the_next() {
    let registry = Registry::start();
    for host in ["h1", "h2"] {
        let number = &host[1..];
        registry.done(&format!("host create {host} --address 192.0.2.{number}"));
    }
    let site = r#"
        [[network]]
        name = "site"
        prefixes = ["10.9.0.0/24", "fd99::/64"]
        [[vm]]
        name = "web1"
        network = "site"
        addresses = ["10.9.0.11", "fd99::11"]
        host = "h1"
        [[vm]]
        name = "db1"
        network = "site"
        host = "h2"
        [[pair]]
        network = "site"
        between = ["web1", "db1"]
        grant = ["tcp/443", "icmp"]
        one_way = true
    "#;
    let file = registry.file(site);
    let file = file.display();
    assert_eq!(registry.call(&format!("diff -f {file}")).0, 1);
    registry.done(&format!("apply -f {file}"));
    assert_eq!(
        registry.pairs("site"),
        ["web1 db1 icmp,tcp/443", "db1 web1 replies"]
    );
    let ids = registry.json("pair list --network site");
    registry.done(&format!("apply -f {file}"));
    assert_eq!(
        registry.json("pair list --network site"),
        ids,
        "a second time changes nothing"
    );

    registry.file(&site.replace("fd99::11", "fd99::12").replace("one_way = true", ""));
    registry.done(&format!("apply -f {file}"));
    assert_eq!(registry.call(&format!("diff -f {file}")).0, 0);
    assert_eq!(
        registry.pairs("site"),
        ["web1 db1 icmp,tcp/443", "db1 web1 icmp,tcp/443"]
    );
    let web1 = registry.json("vm show web1 --network site");
    assert_eq!(web1["addresses"][1], json!({"address": "fd99::12", "prefix": 64}));
    assert_eq!(
        web1["placement"]["generation"], 2,
        "other addresses are another generation"
    );

    registry.file(&site.replace("\"tcp/443\"", "\"tcp/443x\""));
    let (code, _, complaint) = registry.call(&format!("apply -f {file}"));
    assert_eq!(code, 2, "{complaint}");
    assert!(
        complaint.contains("line 17") && complaint.contains("tcp/443x"),
        "{complaint}"
    );
}
