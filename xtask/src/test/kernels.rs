//! The datapath suite on other kernels: Debian's stock ones under QEMU's software emulation, with the test program
//! inside. What the suite says is shown as it comes, and its verdict is ours.

use crate::ebpf;
use crate::place::Place;
use crate::step;
use anyhow::{Context, Result, bail, ensure};
use pairgate_machine::{Boot, Initramfs, Kernel, Machine, Release, Store};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The kernel this machine runs, as opposed to a stock one.
const RUNNING: &str = "running";
/// What the programs, the test's devices and the older way of attaching need.
const MODULES: [&str; 5] = ["tun", "veth", "vxlan", "sch_ingress", "cls_bpf"];
/// Emulated, the suite takes some ten minutes on a machine that does nothing else.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// The program is 55 MB, and lies in memory twice while the archive is unpacked.
const MEMORY_MIB: u32 = 1536;
/// How much of what the suite repeats thousands of times is repeated in the emulator: it is 20 times slower there.
const PERCENT: u32 = 5;

/// What `--kernel` takes.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    Release::ALL.into_iter().map(Release::name).chain([RUNNING])
}

/// Runs the suite on each kernel named.
pub(crate) fn run(place: &Place, kernels: &[String]) -> Result<()> {
    ebpf::build(place, false)?;
    let suite = build(place)?;
    for name in kernels {
        eprintln!("\n==== kernel {name} ====");
        match Release::from_name(name) {
            Some(release) => on_stock(place, &suite, release)?,
            None => step::run(std::process::Command::new(&suite).args(["--test-threads=1"]))?,
        }
    }
    Ok(())
}

/// A line of what cargo says about a build.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// The datapath suite as one program.
fn build(place: &Place) -> Result<PathBuf> {
    let mut command = super::cargo(place, "test");
    command.args(["--package", "pairgate-e2e", "--test", "packets", "--no-run"]);
    let said = step::output(command.args(["--message-format", "json"]))?;
    let mut messages = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .find_map(|message| message.executable)
        .context("cargo named no program for the datapath suite")
}

fn on_stock(place: &Place, suite: &Path, release: Release) -> Result<()> {
    let store = Store::at(&place.target.join("machine"));
    let kernel = store.kernel(release)?;
    let initramfs = pack(&store, &kernel, suite)?;
    let boot = Boot::new(&store, &kernel, &initramfs)?
        .memory_mib(MEMORY_MIB)
        .processors(2);
    let log = store.folder().join(format!("packets-{}.log", release.name()));
    let start = Instant::now();
    let mut machine = Machine::start(boot.command(), &log)?;
    let code = machine.run_to_end(LIMIT, |line| println!("{line}"))?;
    let took = start.elapsed().as_secs_f64();
    eprintln!(
        "kernel {}: {took:.0} s, its console is in {}",
        kernel.version,
        log.display()
    );
    std::fs::remove_file(&initramfs).context("cannot remove the archive after use")?;
    ensure!(
        code == 0,
        "the datapath suite failed on kernel {}; its console is in {}; one test again: PAIRGATE_SUITE=NAME cargo xtask \
         test --kernel {}",
        kernel.version,
        log.display(),
        release.name()
    );
    Ok(())
}

fn pack(store: &Store, kernel: &Kernel, suite: &Path) -> Result<PathBuf> {
    let mut files = Initramfs::new();
    files.busybox(store)?;
    files.modules(store, kernel, &MODULES)?;
    files.program(suite, "bin/packets")?;
    let wish = std::env::var("PAIRGATE_SUITE").unwrap_or_default();
    if !wish
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || " _:-=".contains(c))
    {
        bail!("PAIRGATE_SUITE may hold letters, digits, blanks and _ : - = only: {wish}");
    }
    // What the verifier has counted is printed first; the rest of the suite says nothing unless it fails.
    files.init(&format!(
        "cd /tmp; export PAIRGATE_PERCENT={PERCENT}; packets --nocapture verified:: && \
         packets --test-threads=1 --skip verified:: {wish}"
    ));
    let path = store.folder().join(format!("packets-{}.cpio", kernel.version));
    files.write(&path)?;
    Ok(path)
}
