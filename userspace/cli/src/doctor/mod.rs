//! `pairgate doctor`: looks for what stands in Pairgate's way on the machine it runs on.
//!
//! Job: one line per thing that is known to stop an installation, each with its cure. It reads and connects; it
//! changes nothing, and needs root only where the kernel wants that.
//!
//! Guarantee: `ok` says that it was looked at. What could not be looked at is `unknown` with the reason, and
//! then the exit code is 3 at best: silence is no health.

mod checks;
mod kernel;
mod network;

use crate::arguments::{Options, Output};
use crate::client::Agent;
use crate::failure::{Answer, Failure};
use crate::output::{self, Table, shown};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Run it on the host in question, as root. With --registry the way to the registry is tried too; \
                  with an operator certificate also its clock and the agents of all other hosts, else only those \
                  of the pairs that are open now.\n\n\
                  Exit codes: 0 all is well, 1 something is wrong, 3 nothing wrong was seen, but not everything \
                  could be looked at.\n\n\
                  Example:\n  pairgate doctor --host h1 --registry 192.0.2.254"
)]
pub(crate) struct Command {
    /// The agent's pinned maps and links, as given to it
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/pairgate")]
    pin_dir: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Bad,
    Unknown,
}

/// One thing that was looked at. Field names are those of `-o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    state: State,
    /// What was seen.
    seen: String,
    /// What to do; none when it is ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self {
            check,
            state: State::Ok,
            seen: seen.into(),
            cure: None,
        }
    }

    fn bad(check: &'static str, seen: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            check,
            state: State::Bad,
            seen: seen.into(),
            cure: Some(cure.into()),
        }
    }

    fn unknown(check: &'static str, seen: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            check,
            state: State::Unknown,
            seen: seen.into(),
            cure: Some(cure.into()),
        }
    }
}

pub(crate) async fn run(command: &Command, options: &Options) -> Result<Answer, Failure> {
    let mut findings = checks::kernel();
    findings.push(checks::bpf_file_system(&command.pin_dir));
    let agent = match Agent::new(options)?.status("cannot ask the agent").await {
        Ok(status) => {
            findings.push(Finding::ok(
                "agent",
                format!("{} answers, version {}", status.value.host, status.value.version),
            ));
            Some(status.value)
        }
        Err(failure) => {
            findings.push(Finding::bad(
                "agent",
                failure.why(),
                "systemctl status pairgate-agent; journalctl -u pairgate-agent",
            ));
            None
        }
    };
    findings.extend(checks::mtu(agent.as_ref()));
    findings.extend(checks::audit(agent.as_ref()));
    let registry = network::registry(options).await;
    findings.extend(registry.findings);
    findings.extend(network::peers(agent.as_ref(), registry.hosts.as_deref()).await);
    findings.extend(checks::sysctls());
    print(&findings, options.output)?;
    conclude(&findings)
}

fn print(findings: &[Finding], form: Output) -> Result<(), Failure> {
    match form {
        Output::Json => output::json(&serde_json::json!({
            "healthy": findings.iter().all(|finding| finding.state == State::Ok), "findings": findings,
        })),
        Output::Table => output::line(&table(findings, output::alarming)),
    }
}

fn table(findings: &[Finding], paint: impl Fn(&str) -> String) -> String {
    let mut table = Table::plain();
    for finding in findings {
        let word = match finding.state {
            State::Ok => "ok",
            State::Bad => "BAD",
            State::Unknown => "?",
        };
        table.row([word.to_owned(), finding.check.to_owned(), finding.seen.clone()]);
    }
    let mut lines = Vec::new();
    for (line, finding) in table.render().lines().zip(findings) {
        match finding.state {
            State::Bad => lines.push(paint(line)),
            State::Ok | State::Unknown => lines.push(line.to_owned()),
        }
        lines.extend(
            finding
                .cure
                .iter()
                .map(|cure| format!("     cure: {}", shown(cure))),
        );
    }
    lines.join("\n")
}

fn conclude(findings: &[Finding]) -> Result<Answer, Failure> {
    let any = |state| findings.iter().any(|finding| finding.state == state);
    if any(State::Bad) {
        return Ok(Answer::No);
    }
    if any(State::Unknown) {
        return Err(Failure::could_not_tell(
            "nothing wrong was seen, but not everything could be looked at",
            "see the lines marked with ?",
        ));
    }
    Ok(Answer::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_looked_at_is_no_health() {
        let (ok, bad, unknown) = (
            Finding::ok("a", "fine"),
            Finding::bad("b", "broken", "mend it"),
            Finding::unknown("c", "hidden", "be root"),
        );
        assert_eq!(conclude(std::slice::from_ref(&ok)).unwrap(), Answer::Yes);
        assert_eq!(
            conclude(&[ok.clone(), unknown.clone()]).unwrap_err().exit_code(),
            3
        );
        assert_eq!(conclude(&[unknown, bad, ok]).unwrap(), Answer::No);
    }

    #[test]
    fn every_line_that_is_not_ok_is_followed_by_its_cure() {
        let findings = [
            Finding::bad("bpf", "no \u{1b}[2J bpffs", "mount it"),
            Finding::ok("btf", "there"),
        ];
        assert_eq!(
            table(&findings, |line| format!("<{line}>")),
            "<BAD  bpf  no \\u{1b}[2J bpffs>\n     cure: mount it\nok   btf  there"
        );
    }
}
