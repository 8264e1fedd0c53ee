//! A guest as a machine of its own: QEMU, on the tap that its host's agent has made.
//!
//! It emulates the processor in software: a machine that offers hardware virtualisation is not needed, and a
//! guest's boot takes seconds all the same. The network card is virtio-net, with every offload unless told not to.

use super::channel::{self, PORT_NAME, PORTS};
use super::{Inside, host_netns, image};
use crate::cable::End;
use crate::cli::Cli;
use crate::plan::{Guest, Plan};
use crate::programs::Programs;
use crate::{installation, patience};
use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use pairgate_machine::Boot;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Memory of a small guest.
const MEMORY_MIB: u32 = 256;
/// How long a guest may take from its start until a command runs in it.
pub const BOOT: Duration = Duration::from_secs(120);
/// In the arguments, this stands for the descriptor of the tap.
const DESCRIPTOR: &str = "{tap}";
/// What virtio-net announces when nothing is said.
const OFFLOADS: [&str; 12] = [
    "csum",
    "gso",
    "host_tso4",
    "host_tso6",
    "host_ecn",
    "host_ufo",
    "guest_csum",
    "guest_tso4",
    "guest_tso6",
    "guest_ecn",
    "guest_ufo",
    "mrg_rxbuf",
];

/// The command that becomes a guest's machine once its tap is there.
pub(crate) fn command(guest: &Guest, plan: &Plan, programs: &Programs) -> Result<Command> {
    let mac = installation::registered(&Cli::new(plan, programs), guest)?.mac;
    let (store, kernel, initramfs) = image::ensure(programs)?;
    let addresses = guest
        .addresses()
        .map(|(address, prefix)| format!("{address}/{prefix}"))
        .join(",");
    let words = format!("pairgate.name={} pairgate.addresses={addresses}", guest.name);
    let boot = Boot::new(&store, &kernel, &initramfs)?
        .memory_mib(MEMORY_MIB)
        .append(&words);
    start(guest, plan, programs, mac, boot)
}

/// The same for a machine that boots something else.
pub fn start(guest: &Guest, plan: &Plan, programs: &Programs, mac: [u8; 6], boot: Boot) -> Result<Command> {
    let mut command = Command::new(programs.path("pairgate-lab")?);
    command.args([
        "machine",
        "--tap",
        &guest.tap(),
        "--netns",
        host_netns(plan, guest).name(),
    ]);
    if !plan.settings.offload {
        command.arg("--no-offload");
    }
    let emulator = boot.arguments(devices(guest, plan, mac)).command();
    command
        .arg("--")
        .arg(emulator.get_program())
        .args(emulator.get_args());
    Ok(command)
}

/// The network card on the tap, and the ports of the way in.
fn devices(guest: &Guest, plan: &Plan, mac: [u8; 6]) -> Vec<String> {
    let mut list = Vec::new();
    let mut add = |name: &str, value: String| list.extend([name.to_owned(), value]);
    add("-name", format!("{}{}", plan.prefix.as_str(), guest.name));
    add("-netdev", format!("tap,id=net0,fd={DESCRIPTOR},vhost=off"));
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    // Its ROM is for those who boot from it.
    let mut card = format!("virtio-net-pci,netdev=net0,mac={mac},romfile=");
    if !plan.settings.offload {
        card.extend(OFFLOADS.map(|offload| format!(",{offload}=off")));
    }
    add("-device", card);
    add("-device", format!("virtio-serial-pci,max_ports={}", PORTS + 1));
    for port in 0..PORTS {
        let path = channel::socket(&plan.run_dir(), guest.name, port);
        let path = path.display();
        add(
            "-chardev",
            format!("socket,id=port{port},path={path},server=on,wait=off"),
        );
        let number = port + 1;
        let port = format!("virtserialport,chardev=port{port},nr={number},name={PORT_NAME}{port}");
        add("-device", port);
    }
    list
}

/// Waits until a command runs in a guest.
pub(crate) fn await_up(inside: &Inside, must_live: impl Fn() -> Result<()>) -> Result<()> {
    await_within(inside, BOOT, must_live)
}

pub(crate) fn await_within(
    inside: &Inside,
    limit: Duration,
    must_live: impl Fn() -> Result<()>,
) -> Result<()> {
    patience::until(limit, &format!("{inside} runs a command"), || {
        must_live()?;
        match inside.run(&["true"], Duration::from_secs(5)) {
            Ok(ended) if ended.code == 0 => Ok(Some(())),
            Ok(ended) => bail!("`true` in {inside} ended with {}: {}", ended.code, ended.stderr),
            Err(_) => Ok(None),
        }
    })
}

/// Waits until the tap is there, attaches to it and becomes this command. Returns if a signal came first.
pub fn run(tap: &End, offload: bool, command: &[String]) -> Result<()> {
    let (program, arguments) = command.split_first().context("no emulator is named")?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.add(Signal::SIGINT);
    mask.thread_block().context("cannot hold back signals")?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).context("cannot watch for signals")?;
    let Some(file) = tap.plug_in(&signals, offload)? else {
        return Ok(());
    };
    mask.thread_unblock()
        .context("cannot let signals through again")?;
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).context("cannot hand the tap on")?;
    let descriptor = file.as_raw_fd().to_string();
    let arguments = arguments.iter().map(|word| word.replace(DESCRIPTOR, &descriptor));
    let failed = Command::new(program).args(arguments).exec();
    Err(failed).with_context(|| format!("cannot run {program}"))
}
