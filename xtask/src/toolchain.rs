//! Finds a compiler and a linker for the eBPF programs.
//!
//! Two recipes, in this order: [`rustup`] (a nightly with `rust-src`, and `bpf-linker` in PATH) because that is
//! what people who write eBPF have; then [`debian`] (packages unpacked below `target/toolchain`, never
//! installed: they would push the caller's own `rustc` and `rustup` out).

mod debian;
mod linker;
mod rustup;

use crate::place::Place;
use anyhow::Result;
use std::process::Command;

/// Programs are compiled for a little-endian kernel.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// How the eBPF programs are linked: BTF for the kernel, made from the debug information.
const RUSTFLAGS: [&str; 4] = [
    "-Clinker=bpf-linker",
    "-Clink-arg=--btf",
    // Otherwise filling an array becomes a loop over single bytes, and the programs fill one for each packet.
    "-Clink-arg=--disable-expand-memcpy-in-order",
    "-Cdebuginfo=2",
];

/// A compiler and a linker that can build the eBPF programs.
#[derive(Debug)]
pub(crate) enum Toolchain {
    Rustup(rustup::Rustup),
    Debian(debian::Debian),
}

/// Whether what is missing may be fetched without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetch {
    Allowed,
    OnlyLook,
}

impl Toolchain {
    /// The first recipe that this machine can follow, after fetching what is missing for the second.
    pub(crate) fn find(place: &Place, fetch: Fetch) -> Result<Self> {
        if let Some(rustup) = rustup::Rustup::find() {
            return Ok(Self::Rustup(rustup));
        }
        debian::Debian::find_or_fetch(&place.toolchain(), fetch).map(Self::Debian)
    }

    /// Which recipe this is, for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Rustup(rustup) => rustup.describe(),
            Self::Debian(debian) => debian.describe(),
        }
    }

    /// `cargo build` with this toolchain; the caller adds package and target folder.
    pub(crate) fn cargo_build(&self) -> Command {
        let mut command = match self {
            Self::Rustup(rustup) => rustup.cargo_build(),
            Self::Debian(debian) => debian.cargo_build(),
        };
        command.args(["--release", "--locked", "--target", TARGET]);
        // Flags meant for this machine's own processor would break the build for the kernel's.
        command
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("CARGO_BUILD_RUSTFLAGS");
        command.env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"));
        command
    }
}
