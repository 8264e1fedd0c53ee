//! Whatever dies, whenever: nothing of a laboratory stays behind. Needs root, and the programs of the whole
//! workspace beside this test (`cargo build --workspace --bins`).

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use pairgate_lab::plan::{Plan, Prefix, run_dir};
use pairgate_lab::{down, is_root, netns, patience};
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);

/// What can be seen of a laboratory on the machine.
fn traces(prefix: &Prefix, state: &Path) -> Vec<String> {
    let mut found: Vec<String> = netns::names()
        .into_iter()
        .filter(|name| Plan::owns_netns(prefix, name))
        .collect();
    let pins = Path::new("/sys/fs/bpf/pairgate-lab").join(prefix.stem());
    let lock = Path::new("/run/pairgate-lab").join(format!("{}.lock", prefix.stem()));
    let paths = [state.to_path_buf(), run_dir(prefix), pins, lock];
    found.extend(
        paths
            .iter()
            .filter(|path| path.exists())
            .map(|path| path.display().to_string()),
    );
    let state = state.to_str().unwrap();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if command.contains(state) {
            found.push(command.replace('\0', " "));
        }
    }
    found
}

/// A running `pairgate-lab JOB`, and what it has said so far.
struct Running {
    child: Child,
    /// Kept open: a program that cannot say its next word would end by itself.
    words: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(job: &str, prefix: &Prefix, state: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pairgate-lab"));
        command
            .args([job, "--prefix", prefix.as_str(), "--state-dir"])
            .arg(state);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, words }
    }

    /// The last of so many words, or of all until the one that says that it is up.
    fn listen(&mut self, words: usize) -> String {
        let mut last = String::new();
        for _ in 0..words {
            let Some(word) = self.words.next() else { break };
            last = word.unwrap();
            if last == "up" {
                break;
            }
        }
        last
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn killing_up_after_any_step_leaves_nothing_that_down_does_not_remove() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let prefix = Prefix::new("pgtcrash-").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("lab");
    for step in 1.. {
        let mut up = Running::start("up", &prefix, &state);
        let last = up.listen(step);
        let finished = last == "up";
        // A little further than the step's word, a different bit each time.
        std::thread::sleep(Duration::from_millis(7 * u64::try_from(step % 5).unwrap()));
        up.kill();
        assert!(
            !traces(&prefix, &state).is_empty(),
            "step {step} made nothing, so its removal shows nothing"
        );
        if step % 3 == 0 {
            // A crash is also healed by another `up`.
            let mut again = Running::start("up", &prefix, &state);
            assert_eq!(again.listen(usize::MAX), "up", "after step {step}");
            again.kill();
        }
        down::down(&prefix, &state, false).unwrap();
        assert_eq!(
            traces(&prefix, &state),
            Vec::<String>::new(),
            "after step {step}: {last}"
        );
        if finished {
            assert!(
                step > 5,
                "`up` has only {step} steps: is a whole laboratory made?"
            );
            break;
        }
    }
}

#[test]
fn a_laboratory_goes_with_its_holder_even_by_sigkill() {
    if !is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let prefix = Prefix::new("pgtholder-").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("lab");
    for words in [3, usize::MAX] {
        let mut holder = Running::start("hold", &prefix, &state);
        assert_ne!(holder.listen(words), "");
        assert!(!traces(&prefix, &state).is_empty());
        holder.kill();
        let what = "its watch takes it down";
        let gone = patience::until(LONG, what, || {
            Ok(traces(&prefix, &state).is_empty().then_some(()))
        });
        if let Err(error) = gone {
            down::down(&prefix, &state, false).unwrap();
            panic!("{error:#}");
        }
    }
}
