//! The operator's CLI, called from inside the laboratory as an operator would call it.

use crate::netns::Netns;
use crate::plan::{Plan, Prefix, RUN_ROOT};
use crate::process;
use crate::programs::Programs;
use anyhow::{Context, Error, Result, bail};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
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

    pub(crate) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Calls it and returns how it ended, whatever that is.
    pub fn call(&self, arguments: &[&str]) -> Result<Answer> {
        let mut command = Command::new(self.programs.path("pairgate")?);
        command.args(arguments).envs(environment(&self.plan));
        let netns = Netns::named(&self.plan.netns(&place(arguments)));
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

/// The namespace from which a call is made, by its short name: the registry's, save for `doctor --host h1`, which
/// looks at the machine that it runs on.
pub fn place(arguments: &[impl AsRef<str>]) -> String {
    let mut words = arguments.iter().map(AsRef::as_ref);
    let (mut host, mut doctor) = (None, false);
    while let Some(word) = words.next() {
        if word == "--host" {
            host = words.next();
        } else if let Some(name) = word.strip_prefix("--host=") {
            host = Some(name);
        } else {
            doctor |= word == "doctor";
        }
    }
    host.filter(|_| doctor).unwrap_or("reg").to_owned()
}

/// Becomes the CLI in the right namespace, as the script of [`write_scripts`] does. Only returns if it failed.
pub fn become_it(prefix: &Prefix, cli: &Path, arguments: &[OsString]) -> Error {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let netns = Netns::named(&format!("{}{}", prefix.as_str(), place(&words)));
    let entered = File::open(netns.path())
        .with_context(|| {
            format!(
                "the laboratory is not up, or has no such host: no namespace {}",
                netns.name()
            )
        })
        .and_then(|file| {
            setns(&file, CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("cannot enter {}; are you root?", netns.name()))
        });
    if let Err(error) = entered {
        return error;
    }
    Error::from(Command::new(cli).args(arguments).exec()).context(format!("cannot run {}", cli.display()))
}

/// Writes two scripts into the state folder: `pairgate` calls the CLI, `guest` runs a command in a guest.
pub fn write_scripts(plan: &Plan, programs: &Programs) -> Result<()> {
    let mut text = String::from("#!/bin/sh\n# The operator's CLI inside this laboratory; needs root.\n");
    for (name, value) in environment(plan) {
        text.push_str(&format!("export {name}={}\n", quoted(&value)));
    }
    let lab = quoted(&programs.path("pairgate-lab")?.display().to_string());
    let cli = quoted(&programs.path("pairgate")?.display().to_string());
    text.push_str(&format!(
        "exec {lab} cli --prefix {} {cli} -- \"$@\"\n",
        plan.prefix.as_str()
    ));
    write_script(&plan.state_dir.join("pairgate"), &text)?;
    let state_dir = quoted(&plan.state_dir.display().to_string());
    let text = format!(
        "#!/bin/sh\n# Runs a command in a guest: web1 ping -c 3 10.77.0.21; needs root.\n\
         exec {lab} guest --state-dir {state_dir} -- \"$@\"\n"
    );
    write_script(&plan.state_dir.join("guest"), &text)
}

fn write_script(path: &Path, text: &str) -> Result<()> {
    crate::record::replace(path, text.as_bytes())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}

/// As one word of a shell's command line.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_quotes_stays_one_word_of_the_script() {
        assert_eq!(quoted("a'b c"), r"'a'\''b c'");
    }

    #[test]
    fn a_doctor_is_sent_to_the_host_that_is_asked_about() {
        for (arguments, expected) in [
            (&["doctor", "--host", "h1"][..], "h1"),
            (&["--host=h2", "doctor", "-o", "json"], "h2"),
            (&["doctor"], "reg"),
            (&["drops", "--host", "h1"], "reg"),
            (&["doctor", "--host"], "reg"),
        ] {
            assert_eq!(place(arguments), expected, "{arguments:?}");
        }
    }
}
