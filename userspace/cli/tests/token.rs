//! The token verbs of the built program, by the public vectors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use pairgate_token::{Claims, Grants, SecretKey};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use uuid::Uuid;

struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn key_file(&self, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join("key");
        std::fs::write(&path, contents).unwrap();
        path
    }
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../registry/token/vectors/token-v1.json")).unwrap()
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap()
}

fn token(verb: &str, key_file: Option<&Path>, more: &[&str], token: impl AsRef<OsStr>) -> Output {
    token_from(verb, key_file, more, token.as_ref(), b"")
}

fn token_from(verb: &str, key_file: Option<&Path>, more: &[&str], token: &OsStr, stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pairgate"));
    command.args(["token", verb]).args(more);
    if let Some(path) = key_file {
        command.arg("--key-file").arg(path);
    }
    command
        .arg(token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The program may not read at all.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn answer(output: &Output) -> (Option<i32>, Value) {
    (
        output.status.code(),
        serde_json::from_slice(&output.stdout).unwrap(),
    )
}

#[test]
fn every_valid_vector_is_verified_and_its_claims_are_printed_with_the_vectors_names_and_types() {
    let bench = Bench::new();
    for vector in vectors()["valid"].as_array().unwrap() {
        let key = bench.key_file(text(vector, "key"));
        let expected = (Some(0), json!({"valid": true, "claims": vector["claims"]}));
        for verb in ["verify", "inspect"] {
            let said = token(verb, Some(&key), &[], text(vector, "token"));
            assert_eq!(answer(&said), expected);
            assert!(said.stderr.is_empty(), "{said:?}");
        }
    }
}

#[test]
fn every_refused_vector_is_refused_with_its_word() {
    let bench = Bench::new();
    for vector in vectors()["refused"].as_array().unwrap() {
        let key = bench.key_file(text(vector, "key"));
        let expected = (
            Some(1),
            json!({"valid": false, "refused_because": vector["refused_because"]}),
        );
        for verb in ["verify", "inspect"] {
            let said = token(verb, Some(&key), &[], text(vector, "token"));
            assert_eq!(answer(&said), expected, "{verb} {}", vector["name"]);
        }
    }
}

#[test]
fn without_a_key_everything_but_the_tag_is_judged_and_that_is_said() {
    for vector in vectors()["valid"].as_array().unwrap() {
        let said = token("inspect", None, &[], text(vector, "token"));
        assert_eq!(
            answer(&said),
            (Some(0), json!({"valid": true, "claims": vector["claims"]}))
        );
        assert!(
            String::from_utf8(said.stderr)
                .unwrap()
                .contains("tag was not checked")
        );
    }
    for vector in vectors()["refused"].as_array().unwrap() {
        let (code, printed) = answer(&token("inspect", None, &[], text(vector, "token")));
        if text(vector, "refused_because") == "tag" {
            // Only a key can tell.
            assert_eq!(code, Some(0), "{}", vector["name"]);
        } else {
            assert_eq!(
                printed["refused_because"], vector["refused_because"],
                "{}",
                vector["name"]
            );
        }
    }
}

#[test]
fn the_instant_is_judged_only_when_it_is_given_and_after_everything_else() {
    let bench = Bench::new();
    let vectors = vectors();
    let valid = &vectors["valid"][0];
    let key = bench.key_file(text(valid, "key"));
    let at = |field: &str| valid["claims"][field].as_u64().unwrap();
    for (at, refused_because) in [
        (0, Some("early")),
        (at("not_before") - 1, Some("early")),
        (at("not_before"), None),
        (at("expires") - 1, None),
        (at("expires"), Some("expired")),
        (u64::MAX, Some("expired")),
    ] {
        let (code, printed) = answer(&token(
            "verify",
            Some(&key),
            &["--at", &at.to_string()],
            text(valid, "token"),
        ));
        assert_eq!(printed["refused_because"].as_str(), refused_because, "{at}");
        assert_eq!(code, Some(i32::from(refused_because.is_some())), "{at}");
    }
    let refused = &vectors["refused"][0];
    let key = bench.key_file(text(refused, "key"));
    let (_, printed) = answer(&token(
        "verify",
        Some(&key),
        &["--at", "0"],
        text(refused, "token"),
    ));
    assert_eq!(printed["refused_because"], refused["refused_because"]);
}

#[test]
fn one_newline_at_the_end_is_ignored_and_a_second_is_not() {
    let bench = Bench::new();
    let vectors = vectors();
    let vector = &vectors["valid"][0];
    let stdin =
        |key: &Path, stdin: &str| token_from("verify", Some(key), &[], "-".as_ref(), stdin.as_bytes());
    let key = bench.key_file(format!("{}\n", text(vector, "key")));
    assert_eq!(stdin(&key, text(vector, "token")).status.code(), Some(0));
    assert_eq!(
        stdin(&key, &format!("{}\n", text(vector, "token"))).status.code(),
        Some(0)
    );
    let two = answer(&stdin(&key, &format!("{}\n\n", text(vector, "token"))));
    assert_eq!(two, (Some(1), json!({"valid": false, "refused_because": "text"})));
    let empty = answer(&stdin(&key, "\n"));
    assert_eq!(
        empty,
        (Some(1), json!({"valid": false, "refused_because": "length"}))
    );
    let key = bench.key_file(format!("{}\n\n", text(vector, "key")));
    assert_eq!(stdin(&key, text(vector, "token")).status.code(), Some(3));
}

#[test]
fn a_key_file_that_cannot_be_used_gives_no_verdict_and_is_not_repeated() {
    let bench = Bench::new();
    let vectors = vectors();
    let vector = &vectors["valid"][0];
    let key = text(vector, "key");
    let missing = bench.directory.path().join("missing");
    for path in [
        missing,
        bench.directory.path().to_owned(),
        bench.key_file(""),
        bench.key_file(&key[1..]),
        bench.key_file(format!("{key}0")),
        bench.key_file(key.replacen(&key[..2], "xy", 1)),
        bench.key_file([0xff; 64]),
        bench.key_file(vec![b'0'; 1 << 20]),
    ] {
        let said = token("verify", Some(&path), &[], text(vector, "token"));
        assert_eq!(said.status.code(), Some(3), "{said:?}");
        assert!(said.stdout.is_empty(), "{said:?}");
        let complaint = String::from_utf8(said.stderr).unwrap();
        assert!(
            complaint.starts_with("error: cannot read the key file"),
            "{complaint}"
        );
        assert!(
            complaint.contains("next: ") && !complaint.contains(&key[8..]),
            "{complaint}"
        );
    }
}

#[test]
fn bytes_that_are_not_text_are_refused_as_text() {
    let bench = Bench::new();
    let key = bench.key_file("00".repeat(32));
    let refused = (Some(1), json!({"valid": false, "refused_because": "text"}));
    assert_eq!(
        answer(&token("verify", Some(&key), &[], OsStr::from_bytes(b"\xff\xfe"))),
        refused
    );
    assert_eq!(
        answer(&token_from("verify", Some(&key), &[], "-".as_ref(), b"\xff\0")),
        refused
    );
}

#[test]
fn a_token_that_begins_with_a_hyphen_gets_its_verdict() {
    let bench = Bench::new();
    let key = bench.key_file("00".repeat(32));
    for (text, refused_because) in [
        ("-AAA", "length"),
        ("--AA", "length"),
        ("-w", "length"),
        ("-o", "text"),
        ("-+AA", "text"),
        ("--", "text"),
    ] {
        let expected = (
            Some(1),
            json!({"valid": false, "refused_because": refused_because}),
        );
        for verb in ["verify", "inspect"] {
            // After "--" nothing is an option, whatever it looks like.
            let mut command = Command::new(env!("CARGO_BIN_EXE_pairgate"));
            let said = command.args(["token", verb, "-o", "table", "--key-file"]);
            let said = said.arg(&key).args(["--", text]).output().unwrap();
            assert_eq!(answer(&said), expected, "{verb} -- {text}");
        }
    }
    for text in ["-AAA", "--AA"] {
        let said = token("verify", Some(&key), &["--at", "5"], text);
        assert_eq!(
            answer(&said),
            (Some(1), json!({"valid": false, "refused_because": "length"})),
            "{text}"
        );
    }
}

#[test]
fn what_is_far_too_long_gets_its_verdict_too() {
    let bench = Bench::new();
    let key = bench.key_file("00".repeat(32));
    for (text, refused_because) in [
        ("A".repeat(3 << 20), "length"),
        (format!("{}\n", "A".repeat(3 << 20)), "length"),
        (format!("{}=", "A".repeat(3 << 20)), "text"),
    ] {
        let said = token_from("verify", Some(&key), &[], "-".as_ref(), text.as_bytes());
        let expected = (
            Some(1),
            json!({"valid": false, "refused_because": refused_because}),
        );
        assert_eq!(answer(&said), expected);
    }
}

#[test]
fn addresses_are_printed_as_rfc_5952_wants_and_numbers_in_full() {
    let bench = Bench::new();
    let secret = [7; 32];
    let key = bench.key_file("07".repeat(32));
    // The longest run of zeros is left out, the first of two equal ones, never a single group; lower case; IPv4
    // only where it is mapped.
    for (address, printed) in [
        ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("fd77:0:0:0:0:0:0:0", "fd77::"),
        ("0:0:0:1:0:0:0:ABCD", "::1:0:0:0:abcd"),
        ("64:ff9b::102:304", "64:ff9b::102:304"),
        ("0:0:0:0:ffff:0:102:304", "::ffff:0:102:304"),
    ] {
        let claims = claims(address.parse().unwrap(), "2001:db8::ffff".parse().unwrap());
        let text = claims.mint(&SecretKey::from_bytes(secret)).unwrap().to_text();
        let (code, printed_all) = answer(&token("verify", Some(&key), &[], text));
        assert_eq!(code, Some(0), "{address}");
        assert_eq!(printed_all["claims"]["src_addr"], printed, "{address}");
        assert_eq!(printed_all["claims"]["pair_id"], json!(u64::MAX));
        assert_eq!(printed_all["claims"]["expires"], json!(u64::MAX));
    }
    let mapped = claims(
        "::ffff:10.0.0.1".parse().unwrap(),
        "::ffff:a00:2".parse().unwrap(),
    );
    let text = mapped.mint(&SecretKey::from_bytes(secret)).unwrap().to_text();
    let (_, printed) = answer(&token("verify", Some(&key), &[], text));
    assert_eq!(
        (&printed["claims"]["src_addr"], &printed["claims"]["dst_addr"]),
        (&json!("10.0.0.1"), &json!("10.0.0.2"))
    );
}

fn claims(source_address: IpAddr, destination_address: IpAddr) -> Claims {
    Claims {
        replies_only: false,
        grants: Grants::all(),
        overlay_port: 4789,
        pair_id: u64::MAX,
        source_generation: u32::MAX,
        destination_generation: 1,
        network: Uuid::from_u128(1),
        source_vm: Uuid::from_u128(2),
        destination_vm: Uuid::from_u128(3),
        source_address,
        destination_address,
        source_host: "192.0.2.1".parse().unwrap(),
        destination_host: "192.0.2.2".parse().unwrap(),
        not_before_unix_secs: u64::MAX - 86_400,
        expires_unix_secs: u64::MAX,
    }
}

#[test]
fn json_is_printed_whatever_form_is_asked_for() {
    let vectors = vectors();
    for form in ["table", "json"] {
        let said = token(
            "inspect",
            None,
            &["-o", form],
            text(&vectors["valid"][0], "token"),
        );
        assert_eq!(answer(&said).1["valid"], true);
    }
}

#[test]
fn verifying_without_a_key_is_wrong_usage() {
    assert_eq!(token("verify", None, &[], "AAAA").status.code(), Some(2));
}
