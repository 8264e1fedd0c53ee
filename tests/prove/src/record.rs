//! Records real traffic for the corpus: frames as they pass interfaces of the caller's network namespace, one of each
//! shape, because more of the same teaches nothing.
use crate::generate::captured;
use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
    },
};
use std::{
    collections::BTreeSet,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

/// Bytes of a frame that are kept.
const KEPT: usize = 1600;
/// Frames that are kept.
const MOST: usize = 400;

/// Listens for so long, and adds what is new to the file.
pub fn record(file: &Path, interfaces: &[String], time: Duration) -> Result<()> {
    let mut frames = match std::fs::read(file) {
        Ok(bytes) => captured::parse(&bytes)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut shapes: BTreeSet<_> = frames.iter().map(|frame| shape(frame)).collect();
    let ears: Vec<OwnedFd> = interfaces.iter().map(|name| ear(name)).collect::<Result<_>>()?;
    ensure!(!ears.is_empty(), "no interface to listen on");
    let (end, mut buffer) = (Instant::now() + time, vec![0; 70_000]);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let mut files: Vec<_> = ears
            .iter()
            .map(|ear| PollFd::new(ear.as_fd(), PollFlags::POLLIN))
            .collect();
        poll(&mut files, PollTimeout::try_from(left)?)?;
        for ear in &ears {
            match recv(ear.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let frame = buffer[..length.min(KEPT)].to_vec();
                    if frames.len() < MOST && frame.len() >= 14 && shapes.insert(shape(&frame)) {
                        frames.push(frame);
                    }
                }
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error).context("cannot listen"),
            }
        }
    }
    std::fs::write(file, captured::written(&frames))
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}: {} frames", file.display(), frames.len());
    Ok(())
}

/// What makes a frame another one: how long it is, roughly, and its headers without what counts or sums.
fn shape(frame: &[u8]) -> (usize, Vec<u8>) {
    let seen = |at: &[usize]| {
        at.iter()
            .filter_map(|at| frame.get(*at).copied())
            .collect::<Vec<u8>>()
    };
    let shape = match frame.get(12..14) {
        Some([0x08, 0x00]) => seen(&[12, 13, 14, 20, 23, 33, 34, 46, 47, 62, 73, 104]),
        Some([0x86, 0xdd]) => seen(&[12, 13, 20, 38, 53, 54, 66, 67, 82, 93, 124]),
        _ => seen(&[12, 13, 21, 31, 41]),
    };
    (frame.len() / 16, shape)
}

fn ear(interface: &str) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let ear = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    setsockopt(&ear, sockopt::BindToDevice, &interface.into())
        .with_context(|| format!("cannot listen on {interface}"))?;
    Ok(ear)
}
