//! What the built program says when servers are away, refuse, or talk nonsense. The agent's side of the
//! socket is played here byte by byte, so that it can be wrong in ways that the real one is not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

fn pairgate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pairgate"));
    for variable in ["REGISTRY", "AUTHORITY", "CERT", "KEY", "AGENT_SOCKET"] {
        command.env_remove(format!("PAIRGATE_{variable}"));
    }
    command.args(arguments).output().unwrap()
}

fn complaint(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Answers each connection with the next of these, whatever is asked, then goes away.
fn play_agent(socket: &Path, answers: Vec<String>) -> thread::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).unwrap();
    let play = move |answer: String| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.extend(byte);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    thread::spawn(move || answers.into_iter().map(play).collect())
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

const STATUS_OF_H1: &str = r#"{"version":"0.1.0","abi_version":1,"host":"h1",
    "host_id":"00000000-0000-0000-0000-000000000001","address":"192.0.2.1","uplink":"up0","registry_connected":true,
    "applied_revision":3,"lease_left_ms":3599000,"survives_ms":61000,"vms":[],"pairs":[],"tombstones":0,"new_field":1}"#;
const DROPS: &str = "{\"drops\":[{\"vm\":\"web1\",\"network\":\"default\",\"direction\":\"from_tap\",\
    \"reason\":\"no_pair\",\"meaning\":\"red \u{9b}31m\",\"packets\":18446744073709551615}],\"passed\":[]}";

#[test]
fn without_a_registry_to_ask_the_missing_option_is_named() {
    for arguments in [
        &["status"][..],
        &["pair", "allow", "a", "b"],
        &["vm", "list"],
        &["host", "list"],
    ] {
        let said = pairgate(arguments);
        assert_eq!(said.status.code(), Some(2), "{said:?}");
        let complaint = complaint(&said);
        assert!(
            complaint.contains("--registry") && complaint.contains("PAIRGATE_REGISTRY"),
            "{complaint}"
        );
    }
}

#[test]
fn a_host_is_named_only_where_that_means_something() {
    let said = pairgate(&["vm", "list", "--host", "h1"]);
    assert_eq!(said.status.code(), Some(2));
    assert!(complaint(&said).contains("--host has no meaning here"));
}

#[test]
fn credentials_that_cannot_be_read_are_named() {
    let file = "/nonexistent/operator.pem";
    let said = pairgate(&[
        "status",
        "--registry",
        "127.0.0.1:1",
        "--authority",
        file,
        "--cert",
        file,
        "--key",
        file,
    ]);
    assert_eq!(said.status.code(), Some(3));
    assert!(complaint(&said).contains(file));
}

#[test]
fn an_agent_that_is_away_is_a_could_not_tell_with_the_path_and_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("{host}.sock");
    for verb in ["status", "drops", "pairs"] {
        let said = pairgate(&[verb, "--host", "h1", "--socket", socket.to_str().unwrap()]);
        assert_eq!(said.status.code(), Some(3));
        let complaint = complaint(&said);
        assert!(
            complaint.contains("/h1.sock") && complaint.contains("next: "),
            "{complaint}"
        );
    }
    let said = pairgate(&["drops", "--socket", socket.to_str().unwrap()]);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
}

#[test]
fn json_is_what_the_agent_said_and_its_table_cannot_colour_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("h1.sock");
    let path = socket.to_str().unwrap();
    let agent = play_agent(
        &socket,
        vec![
            http("200 OK", STATUS_OF_H1),
            http("200 OK", DROPS),
            http("200 OK", DROPS),
        ],
    );
    let status = pairgate(&["status", "--host", "h1", "--socket", path, "-o", "json"]);
    assert_eq!(String::from_utf8(status.stdout).unwrap().trim_end(), STATUS_OF_H1);
    let drops = pairgate(&["drops", "--socket", path]);
    let table = String::from_utf8(drops.stdout).unwrap();
    assert!(table.contains("18446744073709551615  no_pair  web1"), "{table}");
    assert!(table.contains("red \\u{9b}31m"), "{table}");
    let drops = pairgate(&["drops", "--socket", path, "-o", "json"]);
    let json = String::from_utf8(drops.stdout).unwrap();
    assert!(!json.contains('\u{9b}'), "{json}");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&json).unwrap(),
        serde_json::from_str::<serde_json::Value>(DROPS).unwrap()
    );
    assert_eq!(
        agent.join().unwrap(),
        [
            "GET /v1/status HTTP/1.1",
            "GET /v1/drops HTTP/1.1",
            "GET /v1/drops HTTP/1.1"
        ]
    );
}

#[test]
fn the_state_of_another_host_is_not_shown_under_this_ones_name() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let agent = play_agent(&socket, vec![http("200 OK", STATUS_OF_H1); 3]);
    for verb in ["status", "drops", "pairs"] {
        let said = pairgate(&[verb, "--host", "h2", "--socket", socket.to_str().unwrap()]);
        assert_eq!(said.status.code(), Some(3));
        assert!(complaint(&said).contains("is that of h1"));
    }
    agent.join().unwrap();
}

#[test]
fn a_refusal_ends_with_1_and_an_answer_that_is_none_with_3() {
    let problem = |status: u16| {
        format!(r#"{{"type":"x","status":{status},"title":"no such thing","detail":"look \u001b[2J again"}}"#)
    };
    let cases = [
        (
            http("404 Not Found", &problem(404)),
            1,
            "no such thing: look \\u{1b}[2J again",
        ),
        (http("503 Service Unavailable", &problem(503)), 3, "no such thing"),
        (http("400 Bad Request", "<html>"), 1, "answered 400"),
        (http("200 OK", "<html>"), 3, "makes no sense"),
        (http("200 OK", "{}"), 3, "makes no sense"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned(),
            3,
            "the agent behind",
        ),
        ("SSH-2.0-nonsense\r\n\r\n".to_owned(), 3, "the agent behind"),
        (String::new(), 3, "the agent behind"),
    ];
    for (answer, code, words) in cases {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let agent = play_agent(&socket, vec![answer.clone()]);
        let said = pairgate(&["drops", "--socket", socket.to_str().unwrap()]);
        agent.join().unwrap();
        assert_eq!(said.status.code(), Some(code), "{answer:?} {said:?}");
        let complaint = complaint(&said);
        assert!(complaint.contains(words), "{answer:?}: {complaint}");
        assert!(!complaint.contains('\u{1b}'), "{complaint}");
    }
}

#[test]
fn a_sick_host_ends_with_1_and_every_fault_names_its_cure_in_both_forms() {
    let sick = STATUS_OF_H1.replace("\"registry_connected\":true", "\"registry_connected\":false");
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let agent = play_agent(&socket, vec![http("200 OK", &sick); 2]);
    let ask = |form| {
        let path = socket.to_str().unwrap();
        pairgate(&["status", "--host", "h1", "--socket", path, "-o", form])
    };
    let (table, json) = (ask("table"), ask("json"));
    agent.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!((table.status.code(), json.status.code()), (Some(1), Some(1)));
    assert_eq!(
        text(json.stdout).trim_end(),
        sick,
        "json is what the agent said, unchanged"
    );
    for told in [text(table.stdout), text(json.stderr)] {
        assert!(told.contains("degraded: 1 to cure"), "{told}");
        assert!(
            told.contains("the registry is not reached") && told.contains("cure: "),
            "{told}"
        );
        assert!(!told.contains('\u{1b}'), "colour without a terminal: {told}");
    }
}

#[test]
fn drops_are_followed_until_the_agent_goes_away() {
    let counted = |packets: u64| {
        let body = format!(
            r#"{{"drops":[{{"vm":"web1","network":"default","direction":"from_tap","reason":"no_pair","meaning":"no pair","packets":{packets}}}],"passed":[]}}"#
        );
        http("200 OK", &body)
    };
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let agent = play_agent(&socket, vec![counted(5), counted(5), counted(9), counted(2)]);
    let said = pairgate(&["drops", "-f", "--socket", socket.to_str().unwrap(), "-o", "json"]);
    agent.join().unwrap();
    assert_eq!(said.status.code(), Some(3), "the agent went away");
    let text = String::from_utf8(said.stdout).unwrap();
    let new: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|look| look["drops"][0]["packets"].as_u64().unwrap())
        .collect();
    assert_eq!(
        new,
        [4, 2],
        "the quiet second is no line, a count that began anew is told whole: {text}"
    );
}

#[test]
fn pairs_are_shown_with_what_passed() {
    let status = STATUS_OF_H1.replace(
        "\"pairs\":[]",
        r#""pairs":[{"pair_id":7,"way":"in","source":"00000000-0000-0000-0000-00000000000a",
            "destination":"00000000-0000-0000-0000-00000000000b","peer_host":"192.0.2.2","left_ms":61000}]"#,
    );
    let drops = DROPS.replace(
        "\"passed\":[]",
        r#""passed":[{"vm":"web1","network":"default","direction":"from_tap","packets":3,"bytes":99}]"#,
    );
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let answers = [http("200 OK", &status), http("200 OK", &drops)];
    let agent = play_agent(&socket, [answers.clone(), answers].concat());
    let path = socket.to_str().unwrap();
    let table = String::from_utf8(pairgate(&["pairs", "--socket", path]).stdout).unwrap();
    assert!(
        table.contains("192.0.2.2") && table.contains("1 min 1 s"),
        "{table}"
    );
    assert!(
        table.contains("from_tap   3       99     18446744073709551615"),
        "{table}"
    );
    let json = pairgate(&["pairs", "--socket", path, "-o", "json"]).stdout;
    agent.join().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["pairs"][0]["pair_id"], 7);
    assert_eq!(json["traffic"][0]["bytes"], 99);
}

#[test]
fn a_file_with_a_fault_is_refused_with_its_line_before_anything_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("site.toml");
    for (text, told) in [
        (
            "[[vm]]\nname = \"a\"\nadress = \"10.0.0.1\"",
            "line 3: unknown field `adress`",
        ),
        ("[[pair]]\nbetween = [\"a\", \"a\"]", "line 2: a pair has two VMs"),
    ] {
        std::fs::write(&file, text).unwrap();
        for verb in ["diff", "apply"] {
            let said = pairgate(&[verb, "-f", file.to_str().unwrap()]);
            assert_eq!(said.status.code(), Some(2), "{said:?}");
            let complaint = complaint(&said);
            assert!(complaint.contains(told), "{complaint}");
        }
    }
    let said = pairgate(&["diff", "-f", "/nonexistent/site.toml"]);
    assert_eq!(said.status.code(), Some(2));
    assert!(complaint(&said).contains("No such file"));
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let said = pairgate(&["completion", shell]);
        assert_eq!(said.status.code(), Some(0));
        let script = String::from_utf8(said.stdout).unwrap();
        for word in ["deny-unlisted-pairs", "doctor", "follow"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let said = pairgate(&["manual", folder.path().to_str().unwrap()]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    for page in [
        "pairgate",
        "pairgate-apply",
        "pairgate-pair-deny",
        "pairgate-doctor",
    ] {
        let text = std::fs::read_to_string(folder.path().join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".SH NAME") && text.contains("Example"), "{page}");
    }
}

#[test]
fn every_verb_explains_itself_with_an_example() {
    for verb in [
        "network create",
        "network list",
        "network show",
        "host create",
        "host list",
        "host show",
        "vm create",
        "vm list",
        "vm show",
        "vm place",
        "pair allow",
        "pair deny",
        "pair list",
        "status",
        "diff",
        "apply",
        "pairs",
        "drops",
        "doctor",
        "completion",
        "token inspect",
        "token verify",
    ] {
        let words: Vec<_> = verb.split(' ').chain(["--help"]).collect();
        let said = pairgate(&words);
        assert_eq!(said.status.code(), Some(0), "{verb}");
        let help = String::from_utf8(said.stdout).unwrap();
        assert!(help.contains("Example"), "{verb}: {help}");
        assert!(help.contains(&format!("  pairgate {verb}")), "{verb}: {help}");
    }
}
