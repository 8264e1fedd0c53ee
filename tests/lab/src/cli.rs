//! The operator's CLI, called from inside the laboratory as an operator would call it.

use crate::netns::Netns;
use crate::plan::{Plan, RUN_ROOT};
use crate::process;
use crate::programs::Programs;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

/// Longer than any answer takes; the CLI's own limits are shorter.
const LIMIT: Duration = Duration::from_secs(40);

/// Calls the CLI of one laboratory.
#[derive(Clone, Debug)]
pub struct Cli {
    plan: Plan,
    programs: Programs,
}

/// What a call of the CLI ended with.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 0 done or yes, 1 failed or no, 2 usage, 3 could not tell; 128 and above: killed.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// What it printed, as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| {
            format!(
                "the CLI did not print JSON but `{}` ({})",
                self.stdout,
                self.stderr.trim()
            )
        })
    }
}

impl Cli {
    pub fn new(plan: &Plan, programs: &Programs) -> Self {
        Self {
            plan: plan.clone(),
            programs: programs.clone(),
        }
    }

    /// Calls it and returns how it ended, whatever that is.
    pub fn call(&self, arguments: &[&str]) -> Result<Answer> {
        let mut command = Command::new(self.programs.path("pairgate")?);
        command.args(arguments).envs(environment(&self.plan));
        let netns = Netns::named(&self.plan.netns("reg"));
        let output = process::output_within(&netns, &mut command, LIMIT)?;
        Ok(Answer {
            code: output.status.code().unwrap_or(128),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Calls it and wants exit 0.
    pub fn done(&self, arguments: &[&str]) -> Result<Answer> {
        wanted(arguments, self.call(arguments)?)
    }

    /// Calls it with `-o json` and wants exit 0. `status` may end with 1 as well: it answered, and what it saw
    /// is not all well.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let answer = self.call(&all)?;
        if answer.code == 1 && arguments.first() == Some(&"status") && !answer.stdout.is_empty() {
            return answer.json();
        }
        wanted(&all, answer)?.json()
    }
}

/// The answer, if it is exit 0.
fn wanted(arguments: &[&str], answer: Answer) -> Result<Answer> {
    let Answer { code, stdout, stderr } = &answer;
    if *code != 0 {
        bail!(
            "`pairgate {}` ended with {code}: {}{}",
            arguments.join(" "),
            stderr.trim(),
            stdout.trim()
        );
    }
    Ok(answer)
}

/// What tells the CLI where registry and agents are, and who calls.
fn environment(plan: &Plan) -> Vec<(&'static str, String)> {
    let registry = plan.registry_dir();
    let file = |name: &str| registry.join(name).display().to_string();
    vec![
        ("PAIRGATE_REGISTRY", plan.registry()),
        ("PAIRGATE_AUTHORITY", file("ca.pem")),
        ("PAIRGATE_CERT", file("operator.pem")),
        ("PAIRGATE_KEY", file("operator.key")),
        (
            "PAIRGATE_AGENT_SOCKET",
            format!("{RUN_ROOT}/{}/{{host}}/agent.sock", plan.prefix.stem()),
        ),
    ]
}

/// Writes a script into the state folder that calls the CLI from anywhere.
pub fn write_script(plan: &Plan, programs: &Programs) -> Result<()> {
    let mut text = String::from("#!/bin/sh\n# The operator's CLI inside this laboratory; needs root.\n");
    for (name, value) in environment(plan) {
        text.push_str(&format!("export {name}={}\n", quoted(&value)));
    }
    let lab = quoted(&programs.path("pairgate-lab")?.display().to_string());
    let cli = quoted(&programs.path("pairgate")?.display().to_string());
    text.push_str(&format!(
        "exec {lab} enter {} -- {cli} \"$@\"\n",
        plan.netns("reg")
    ));
    let path = plan.state_dir.join("pairgate");
    crate::record::replace(&path, text.as_bytes())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}

/// As one word of a shell's command line.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_with_quotes_stays_one_word_of_the_script() {
        assert_eq!(super::quoted("a'b c"), r"'a'\''b c'");
    }
}
