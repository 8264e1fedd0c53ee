//! The real program, in a process that can be killed, and whose log is kept.

use super::{Host, PATIENCE, expect_registry, rest, send};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pairgate_api::grpc::registry_client::RegistryClient;
use pairgate_identity::{Credentials, channel, client_config};
use serde_json::json;
use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) address: String,
    log: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

/// Kills one process, from anywhere.
pub(crate) struct Killer(Pid);

impl Killer {
    pub(crate) fn kill(&self) {
        kill(self.0, Signal::SIGKILL).unwrap();
    }
}

impl Daemon {
    /// `before` are shell commands that run in the process before the program.
    pub(crate) async fn start(state: &Path, before: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_pairgate-registry");
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "{before} exec \"$0\" serve --state-dir \"$1\" --listen 127.0.0.1:0"
            ))
            .arg(program)
            .arg(state)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
            let line = line.expect("it starts");
            log.lock().unwrap().push_str(&line);
            if let Some((_, rest)) = line.split_once("listen=") {
                break rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        let kept = log.clone();
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut log = kept.lock().unwrap();
                log.push('\n');
                log.push_str(&line);
            }
        });
        Self {
            child,
            address,
            log,
            reading,
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().unwrap().try_into().unwrap())
    }

    pub(crate) fn killer(&self) -> Killer {
        Killer(self.pid())
    }

    pub(crate) fn terminate(&self) {
        kill(self.pid(), Signal::SIGTERM).unwrap();
    }

    /// Everything that it has written, once it has ended.
    pub(crate) async fn log(mut self) -> String {
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        timeout(PATIENCE, self.reading).await.unwrap().unwrap();
        self.log.lock().unwrap().clone()
    }

    /// The host as a client of this process.
    pub(crate) fn met_by(&self, host: Host) -> Host {
        let tls = client_config(&host.credentials).unwrap();
        Host {
            client: RegistryClient::new(channel(&self.address, tls, expect_registry())),
            ..host
        }
    }

    pub(crate) async fn create(&self, operator: &Credentials, name: &str) -> bool {
        let body = json!({"name": name, "prefixes": ["10.0.0.0/24"]}).to_string();
        let answer = send(&self.address, operator, "POST", "/api/v1/networks", body).await;
        answer.is_ok_and(|(status, _)| status.is_success())
    }

    pub(crate) async fn names(&self, operator: &Credentials) -> Vec<String> {
        let (_, networks) = rest(&self.address, operator, "GET", "/api/v1/networks", None).await;
        let name = |network: &serde_json::Value| network["name"].as_str().unwrap().to_owned();
        networks.as_array().unwrap().iter().map(name).collect()
    }
}
