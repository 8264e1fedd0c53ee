//! A whole run with secrets that are known beforehand, by daemons that write down everything they can
//! (`RUST_LOG=trace`, libraries included): found in no log, metric, error, answer, map or file.
//!
//! The test knows the VMs' keys because the registry hands them to whoever holds a host's certificate, and it
//! knows every token's tag because it can make it from the claims that the agents show and the key.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_agent::datapath::Pins;
use pairgate_api::{grpc::GoalState, local::TokenClaims};
use pairgate_e2e::{
    Answer, DB1, DB2, Rig, WEB1,
    canary::{Search, Secret, files},
};
use pairgate_lab::plan::Plan;
use pairgate_token::{Claims, Grant, Grants, SecretKey};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    path::Path,
};
use uuid::Uuid;
use zerocopy::IntoBytes;

const H2: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// Everything in which something may have been said.
#[derive(Default)]
struct Heard(Vec<(String, Vec<u8>)>);

impl Heard {
    fn add(&mut self, place: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.0.push((place.into(), text.into()));
    }

    /// What the CLI prints, however it ends.
    fn call(&mut self, rig: &Rig, verb: &[&str]) {
        let answer = rig.lab.call(verb).unwrap();
        self.add(
            format!("standard output of pairgate {verb:?}"),
            answer.stdout.into_bytes(),
        );
        self.add(
            format!("standard error of pairgate {verb:?}"),
            answer.stderr.into_bytes(),
        );
    }

    fn all(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(_, text)| text.clone()).collect()
    }
}

/// The keys of all VMs by id: what the registry sends the hosts.
fn keys(goals: &[GoalState]) -> HashMap<Uuid, SecretKey> {
    let vms = goals.iter().flat_map(|goal| &goal.vms);
    vms.map(|vm| {
        let id = Uuid::from_slice(&vm.id).unwrap();
        (id, SecretKey::from_slice(&vm.secret_key).unwrap())
    })
    .collect()
}

fn claims(shown: &TokenClaims) -> Claims {
    let grants = shown.grants.iter().map(|grant| Grant {
        protocol: grant.protocol,
        first: grant.first,
        last: grant.last,
    });
    Claims {
        replies_only: shown.flags == 1,
        grants: Grants::new(grants.collect()).unwrap(),
        overlay_port: shown.dst_port,
        pair_id: shown.pair_id,
        source_generation: shown.src_generation,
        destination_generation: shown.dst_generation,
        network: shown.network,
        source_vm: shown.src_vm,
        destination_vm: shown.dst_vm,
        source_address: shown.src_addr,
        destination_address: shown.dst_addr,
        source_host: shown.src_host,
        destination_host: shown.dst_host,
        not_before_unix_secs: shown.not_before,
        expires_unix_secs: shown.expires,
    }
}

/// The tags of the tokens behind every pair that is open, made once more.
fn tags(rig: &Rig, keys: &HashMap<Uuid, SecretKey>) -> Vec<Secret> {
    let mut secrets = HashMap::new();
    for host in ["h1", "h2"] {
        let status = rig.lab.json(&["--host", host, "status"]).unwrap();
        for pair in status["pairs"].as_array().unwrap() {
            let shown: TokenClaims = serde_json::from_value(pair["claims"].clone()).unwrap();
            let claims = claims(&shown);
            let token = claims.mint(&keys[&claims.destination_vm]).unwrap();
            secrets.insert(token.as_bytes().to_vec(), claims.pair_id);
        }
    }
    secrets
        .into_iter()
        .map(|(token, pair)| Secret::new(format!("the tag of a token of pair {pair}"), tag(&token)))
        .collect()
}

/// The last 32 bytes: the rest are claims, which are no secret.
fn tag(token: &[u8]) -> &[u8] {
    &token[token.len() - 32..]
}

/// The private key of a PEM file, without its first bytes, which are the same in all.
fn private_key(path: &Path) -> Secret {
    let pem = std::fs::read_to_string(path).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    // As it stands in the file: nobody needs another form to use it.
    let half = &base64.as_bytes()[base64.len() / 2..];
    Secret::new(format!("the private key {}", path.display()), half)
}

fn maps(plan: &Plan, host: &str, heard: &mut Heard) {
    let pins = Pins::under(&plan.pin_dir(host));
    let mut bytes = Vec::new();
    for entry in pins.pairs_in().unwrap().iter() {
        let (key, value) = entry.unwrap();
        bytes.extend([key.0.as_bytes(), value.0.as_bytes()].concat());
    }
    for entry in pins.pairs_out().unwrap().iter() {
        let (key, value) = entry.unwrap();
        bytes.extend([key.0.as_bytes(), value.0.as_bytes()].concat());
    }
    for entry in pins.taps().unwrap().iter() {
        bytes.extend(entry.unwrap().1.0.as_bytes());
    }
    assert!(!bytes.is_empty());
    heard.add(format!("the maps of {host}"), bytes);
}

/// Pairs opened, used, refused and denied; tokens stolen and shown where they do not belong.
fn live(rig: &Rig, heard: &mut Heard) -> Vec<Secret> {
    let h1 = rig.steal("h1").unwrap();
    let web1 = h1.vm("web1").unwrap();
    let stolen = h1.mint(&web1, DB1.into()).unwrap().unwrap();
    let mut bent = stolen.bytes.clone();
    *bent.last_mut().unwrap() ^= 1;
    assert!(matches!(h1.offer(H2, &bent).unwrap(), Answer::Refused(_)));
    assert!(matches!(
        h1.offer(H2, &stolen.bytes[1..]).unwrap(),
        Answer::Refused(_)
    ));
    assert!(matches!(
        h1.offer(H2, &stolen.bytes).unwrap(),
        Answer::Accepted { .. }
    ));
    let text = pairgate_token::UnverifiedToken::from_bytes(stolen.bytes.clone())
        .unwrap()
        .to_text();
    let mut wrong = text.clone();
    wrong.push('!');
    // A wrong token on the command line is an error that must not repeat it.
    heard.call(rig, &["token", "inspect", &wrong]);

    rig.lab.await_settled().unwrap();
    rig.await_answer("web1", DB1).unwrap();
    rig.await_answer("db1", WEB1).unwrap();
    assert!(!rig.answers("web1", DB2).unwrap());
    heard.call(rig, &["pair", "allow", "web1", "db2"]);
    rig.await_answer("web1", DB2).unwrap();
    let keys = keys(&[
        h1.goal_state().unwrap(),
        rig.steal("h2").unwrap().goal_state().unwrap(),
    ]);
    rig.lab.await_settled().unwrap();
    let mut secrets = tags(rig, &keys);
    assert!(secrets.len() >= 4, "both ways of two pairs: {secrets:?}");
    secrets.push(Secret::new("the stolen token's tag", tag(&stolen.bytes)));
    secrets.push(Secret::new("a forged tag", tag(&bent)));
    secrets.extend(
        keys.iter()
            .map(|(vm, key)| Secret::new(format!("the key of VM {vm}"), key.expose_bytes())),
    );
    heard.call(rig, &["pair", "deny", "web1", "db2"]);
    secrets
}

#[test]
fn known_keys_and_tokens_are_found_nowhere_after_a_run_that_wrote_everything_down() {
    let rig = Rig::start_default("canary").unwrap();
    for component in ["registry", "agent-h1", "agent-h2"] {
        rig.again(component, |_| {}, &[("RUST_LOG", "trace")]).unwrap();
    }
    rig.lab.await_settled().unwrap();
    let mut heard = Heard::default();
    let mut secrets = live(&rig, &mut heard);
    let plan = rig.lab.plan();
    for host in ["h1", "h2"] {
        secrets.push(private_key(&plan.host_dir(host).join("host.key")));
        heard.add(format!("the metrics of {host}"), rig.metrics(host).unwrap());
        for verb in ["status", "drops", "pairs"] {
            heard.call(&rig, &["--host", host, verb]);
            heard.call(&rig, &["--host", host, verb, "-o", "json"]);
        }
        maps(plan, host, &mut heard);
    }
    for verb in [
        &["status"][..],
        &["status", "-o", "json"],
        &["vm", "show", "web1", "-o", "json"],
        &["vm", "list", "-o", "json"],
        &["pair", "list", "-o", "json"],
        &["host", "list", "-o", "json"],
        &["audit", "list", "-o", "json"],
        &["vm", "show", "nobody"],
    ] {
        heard.call(&rig, verb);
    }
    for component in ["registry", "agent-h1", "agent-h2"] {
        let pid = rig.lab.process(component).unwrap().pid;
        for file in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
            heard.add(format!("{file} of {component}"), text);
        }
    }
    // Logs, and the registry's database with all that belongs to it.
    let own: HashSet<_> = [
        "ca.key",
        "registry.key",
        "operator.key",
        "zero.key",
        "host.key",
        "master.key",
    ]
    .into();
    for (path, text) in files(&plan.state_dir).unwrap() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !own.contains(name.as_str()) {
            heard.add(path.display().to_string(), text);
        }
    }

    let all = heard.all();
    let has = |text: &str| all.windows(text.len()).any(|window| window == text.as_bytes());
    for text in [
        "TRACE",
        "offer refused",
        "pairgate_mints_total",
        "\"pair_id\"",
        "SQLite format 3",
    ] {
        assert!(has(text), "{text} is nowhere: this test hears nothing");
    }
    let search = Search::new(&secrets);
    let found: Vec<_> = heard
        .0
        .iter()
        .flat_map(|(place, text)| {
            let found = search.in_text(text).into_iter();
            found.map(move |(name, form)| format!("{name} as {form} in {place}"))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    let planted = secrets
        .iter()
        .filter(|secret| secret.name.starts_with("the key"))
        .count();
    assert_eq!(planted, 3, "web1, db1 and db2 have a key each");
}
