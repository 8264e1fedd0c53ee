//! A whole Pairgate installation on one Linux machine: hosts, guests, registry and the network between them,
//! each in a network namespace of its own.
//!
//! It runs the same programs that a real installation runs and knows none of their code: what it shows is what
//! the programs do. Everything it makes carries a [`plan::Prefix`], so that laboratories live side by side and
//! [`down`](fn@down::down) can remove one without looking at another, also after a crash at any point: nothing
//! that `down` needs is kept only in memory.
//!
//! | wanted | where |
//! |---|---|
//! | names and addresses of everything | [`plan`], [`settings`] |
//! | bring it up, take it down, look at it | [`up`], [`down`], [`status`] |
//! | a laboratory for the length of a test | [`guard::Lab`] |
//! | run commands in its guests | [`guest`] |
//! | only namespaces, links, taps | [`netns`], [`links`], [`tap`] |
//! | packets to send and to count | [`probe`] |
//! | what benchmarks compare with | [`rival`] |
//!
//! Errors are `anyhow`: a person reads them, no program tells them apart.

pub mod bpffs;
pub mod cable;
pub mod cli;
pub mod down;
pub mod ethtool;
pub mod guard;
pub mod guest;
pub mod installation;
pub mod interrupt;
pub mod links;
pub mod lock;
pub mod netns;
pub mod patience;
pub mod plan;
pub mod ports;
pub mod probe;
pub mod process;
pub mod programs;
pub mod record;
pub mod rival;
pub mod settings;
pub mod status;
pub mod stranger;
pub mod tap;
pub mod underlay;
pub mod up;
pub mod watch;

/// Whether this process may make namespaces, taps and mounts.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
