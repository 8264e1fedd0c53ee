//! Starting a daemon of the laboratory again, otherwise than it was started first.

use crate::Rig;
use anyhow::{Context, Result, ensure};
use pairgate_lab::{
    process::{self, Record},
    record,
};
use std::{fs, process::Command};

impl Rig {
    /// Stops `registry`, `agent-h1` or the like politely and starts it anew in the same place, with the arguments
    /// and variables that `change` makes of the ones it had.
    pub fn again(
        &self,
        component: &str,
        change: impl FnOnce(&mut Vec<String>),
        environment: &[(&str, &str)],
    ) -> Result<Record> {
        let before = self.lab.process(component)?;
        let line = fs::read(format!("/proc/{}/cmdline", before.pid))
            .with_context(|| format!("{component} does not run"))?;
        let words = line.split(|byte| *byte == 0);
        let mut words: Vec<_> = words
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        // The line ends in a zero.
        words.pop();
        ensure!(words.len() > 1, "{component} has no arguments: {words:?}");
        before.stop()?;
        let mut arguments = words.split_off(1);
        change(&mut arguments);
        let mut command = Command::new(&words[0]);
        command.args(arguments).envs(environment.iter().copied());
        let short = component.strip_prefix("agent-").unwrap_or("reg");
        let process = process::start(&self.lab.netns(short), component, &mut command, &before.log)?;
        record::remember_process(self.lab.plan(), &process)?;
        Ok(process)
    }
}
