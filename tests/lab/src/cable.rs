//! The cable between a guest's interface and its host's tap: both are taps, and what comes out of one goes into
//! the other, one frame at a time with its virtio-net header, as a virtual machine monitor would do it.
//!
//! It announces at both ends that it takes big packets and unfinished checksums, unless told not to: they cross
//! as they are, and whoever must have them finished does it. Each direction has a thread of its own.
//!
//! It waits for a tap that is not there yet and plugs itself in again when one was removed and made anew. A
//! frame that the other side does not take is lost, as with any cable.

use crate::netns::Netns;
use crate::record::replace;
use crate::tap::{self, Attach};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::fs::File;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Frames moved before it looks whether it should stop.
const TURN: usize = 256;
/// Looks at a tap that could not be attached at least this often, should the kernel's word about it be lost.
const LOOK_AGAIN_MS: u16 = 500;

/// One end of a cable.
#[derive(Clone, Debug)]
pub struct End {
    pub netns: Netns,
    pub interface: String,
}

/// A cable to be laid.
#[derive(Debug)]
pub struct Cable {
    pub name: String,
    pub tap: End,
    pub guest: End,
    /// Whether big packets and unfinished checksums cross.
    pub offload: bool,
    /// Where it says whether it is plugged in at both ends: [`ATTACHED`] or [`WAITING`].
    pub report: Option<PathBuf>,
}

/// Both ends are plugged in.
pub const ATTACHED: &str = "attached";
/// An end is missing.
pub const WAITING: &str = "waiting";

/// Whether the cable that reports there says that it is plugged in.
pub fn is_attached(report: &Path) -> bool {
    std::fs::read_to_string(report).is_ok_and(|word| word == ATTACHED)
}

/// Why frames no longer move.
enum Stopped {
    BySignal,
    /// A tap went away.
    Unplugged,
}

/// Moves frames until SIGTERM or SIGINT.
pub fn run(cable: &Cable) -> Result<()> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.add(Signal::SIGINT);
    mask.thread_block().context("cannot hold back signals")?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).context("cannot watch for signals")?;
    let mut moved = Moved::default();
    loop {
        cable.report(WAITING)?;
        let Some(guest) = cable.guest.plug_in(&signals, cable.offload)? else {
            break;
        };
        let Some(tap) = cable.tap.plug_in(&signals, cable.offload)? else {
            break;
        };
        cable.report(ATTACHED)?;
        eprintln!(
            "cable {}: {} and {} are joined",
            cable.name, cable.guest, cable.tap
        );
        match pump(&guest, &tap, &signals, &mut moved)? {
            Stopped::BySignal => break,
            Stopped::Unplugged => eprintln!("cable {}: an end was pulled out", cable.name),
        }
    }
    let Moved {
        from_guest,
        to_guest,
        refused,
    } = moved;
    eprintln!(
        "cable {}: {from_guest} frames from the guest, {to_guest} to it, {refused} not taken",
        cable.name
    );
    Ok(())
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.netns.name(), self.interface)
    }
}

impl Cable {
    fn report(&self, word: &str) -> Result<()> {
        self.report
            .as_deref()
            .map_or(Ok(()), |path| replace(path, word.as_bytes()))
    }
}

impl End {
    /// Waits for the tap and attaches to it; nothing if a signal came first.
    pub(crate) fn plug_in(&self, signals: &SignalFd, offload: bool) -> Result<Option<File>> {
        // Asked for before the first look, so that no change is missed between a look and the wait for it.
        let changes = self.netns.run(link_changes)??;
        loop {
            match tap::attach(&self.netns, &self.interface, offload) {
                Ok(file) => return Ok(Some(file)),
                Err(Attach::Absent | Attach::Busy) => {}
                Err(Attach::Failed(error)) => return Err(error),
            }
            let mut waited = [
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(changes.as_fd(), PollFlags::POLLIN),
            ];
            wait(&mut waited, PollTimeout::from(LOOK_AGAIN_MS))?;
            if is_ready(&waited[0]) {
                return Ok(None);
            }
            let mut discarded = [0_u8; 8192];
            while recv(changes.as_raw_fd(), &mut discarded, MsgFlags::MSG_DONTWAIT).is_ok() {}
        }
    }
}

/// A socket on which the kernel tells of interfaces that come and go.
fn link_changes() -> Result<OwnedFd> {
    let kind = (
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    );
    let socket = socket(kind.0, kind.1, kind.2, kind.3).context("cannot ask the kernel about interfaces")?;
    let links = u32::try_from(libc::RTMGRP_LINK).unwrap_or_default();
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, links)).context("cannot watch interfaces")?;
    Ok(socket)
}

#[derive(Debug, Default)]
struct Moved {
    from_guest: u64,
    to_guest: u64,
    refused: u64,
}

/// Frames that one direction has moved, and those that the other end did not take.
#[derive(Debug, Default)]
struct Way {
    moved: u64,
    refused: u64,
}

/// Both directions, until a signal comes or an end is gone.
fn pump(guest: &File, tap: &File, signals: &SignalFd, moved: &mut Moved) -> Result<Stopped> {
    // Shutting this down ends whoever waits on its other end.
    let (stop, stopped) = UnixStream::pair().context("cannot make a way to stop")?;
    let (out, into, by_signal) = std::thread::scope(|scope| {
        let direction = |from, to| {
            let (stop, stopped) = (&stop, &stopped);
            scope.spawn(move || {
                let way = carry(from, to, stopped);
                let _ = stop.shutdown(Shutdown::Both);
                way
            })
        };
        let (out, into) = (direction(guest, tap), direction(tap, guest));
        let by_signal = wait_either(signals, &stopped);
        let _ = stop.shutdown(Shutdown::Both);
        (out.join(), into.join(), by_signal)
    });
    for way in [out, into].into_iter().enumerate() {
        let (number, Ok(way)) = way else {
            bail!("a direction of the cable panicked");
        };
        let way = way?;
        *(if number == 0 {
            &mut moved.from_guest
        } else {
            &mut moved.to_guest
        }) += way.moved;
        moved.refused += way.refused;
    }
    Ok(if by_signal? {
        Stopped::BySignal
    } else {
        Stopped::Unplugged
    })
}

/// Whether it was a signal that ended the wait.
fn wait_either(signals: &SignalFd, stopped: &UnixStream) -> Result<bool> {
    loop {
        let mut waited = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        wait(&mut waited, PollTimeout::NONE)?;
        if is_ready(&waited[0]) {
            return Ok(true);
        }
        if is_ready(&waited[1]) {
            return Ok(false);
        }
    }
}

/// Moves frames one way until it is stopped or an end is gone. All that waits is moved before it waits again.
fn carry(from: &File, to: &File, stopped: &UnixStream) -> Result<Way> {
    let mut way = Way::default();
    let mut buffer = vec![0_u8; tap::LARGEST];
    loop {
        let mut waited = [
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
            PollFd::new(from.as_fd(), PollFlags::POLLIN),
        ];
        wait(&mut waited, PollTimeout::NONE)?;
        if is_ready(&waited[0]) {
            return Ok(way);
        }
        for _ in 0..TURN {
            let length = match nix::unistd::read(from, &mut buffer) {
                Ok(length) => length,
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Err(_) => return Ok(way),
            };
            match nix::unistd::write(to, &buffer[..length]) {
                Ok(_) => way.moved += 1,
                Err(Errno::EBADFD) => return Ok(way),
                // Set down, full, or a header that the kernel does not believe.
                Err(_) => way.refused += 1,
            }
        }
    }
}

fn wait(descriptors: &mut [PollFd<'_>], timeout: PollTimeout) -> Result<()> {
    match poll(descriptors, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => bail!("cannot wait for frames: {errno}"),
    }
}

fn is_ready(descriptor: &PollFd<'_>) -> bool {
    descriptor.any().unwrap_or(true)
}
