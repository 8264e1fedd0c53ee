//! The agent as systemd runs it: settings from the file that the unit names, and the words by which it says that
//! it is ready, lives and stops.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pairgate_agent::{args::RunArguments, config::Settings};
use pairgate_e2e::{DB1, PATIENCE, Rig};
use pairgate_lab::patience;
use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

/// The same settings as these arguments, as a file.
fn as_file(arguments: &[String], path: &Path) {
    let lines = arguments[1..].chunks(2).map(|pair| {
        let key = pair[0].trim_start_matches("--").replace('-', "_");
        format!("{key} = \"{}\"\n", pair[1])
    });
    fs::write(path, lines.collect::<String>()).unwrap();
}

/// Everything that was said so far.
fn hear(socket: &UnixDatagram, heard: &mut Vec<String>) {
    let mut bytes = [0; 4096];
    while let Ok(length) = socket.recv(&mut bytes) {
        heard.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
    }
}

fn await_word(socket: &UnixDatagram, heard: &mut Vec<String>, word: &str) {
    patience::until(PATIENCE, &format!("{word} is said"), || {
        hear(socket, heard);
        Ok(heard.iter().any(|said| said.contains(word)).then_some(()))
    })
    .unwrap();
}

#[test]
fn with_the_file_alone_it_is_ready_without_the_registry_and_says_how_it_stands() {
    let rig = Rig::start_default("service").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("agent.toml");
    let at = folder.path().join("notify");
    let socket = UnixDatagram::bind(&at).unwrap();
    socket.set_nonblocking(true).unwrap();
    let registry = rig.lab.process("registry").unwrap();
    rig.lab.stop("registry").unwrap();
    assert!(!registry.is_alive());
    let agent = rig.again(
        "agent-h1",
        |arguments| {
            as_file(arguments, &file);
            *arguments = vec![
                "run".to_owned(),
                "--config".to_owned(),
                file.display().to_string(),
            ];
        },
        &[
            ("NOTIFY_SOCKET", at.to_str().unwrap()),
            ("WATCHDOG_USEC", "1000000"),
        ],
    );
    let agent = agent.unwrap();
    let given = RunArguments {
        config: Some(file),
        ..RunArguments::default()
    };
    assert_eq!(Settings::resolve(given).unwrap().uplink, "up0");

    let mut heard = Vec::new();
    await_word(&socket, &mut heard, "READY=1");
    await_word(
        &socket,
        &mut heard,
        "STATUS=the registry is away; no goal state in force yet",
    );
    assert!(!heard.iter().any(|said| said.contains("STOPPING")), "{heard:?}");
    rig.lab.start_again("registry").unwrap();
    await_word(&socket, &mut heard, "1 of 1 taps guarded");
    rig.await_answer("web1", DB1).unwrap();
    heard.clear();
    await_word(&socket, &mut heard, "WATCHDOG=1");
    agent.stop().unwrap();
    await_word(&socket, &mut heard, "STOPPING=1");
}
