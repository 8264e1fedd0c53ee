//! Root's powers, cut down to what an agent needs.
//!
//! It is done before the first thread is made, because powers belong to threads and are handed down. What is
//! given up is gone for good: no thread and no program that this process might ever start gets it back.
//!
//! | power | for |
//! |---|---|
//! | `CAP_BPF`, `CAP_PERFMON` | loading programs that read kernel memory (the checksum's place in a packet), maps |
//! | `CAP_NET_ADMIN` | attaching them, taps, the VXLAN device, `/proc/sys/net` |
//! | `CAP_NET_RAW` | handing held packets to a tap of this host (`AF_PACKET`) |
//!
//! Not `CAP_SYS_ADMIN`, not `CAP_SYS_PTRACE` (so a program that holds the overlay port may go unnamed), and no
//! power over files: directories must belong to the user the agent runs as.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Everything that is kept.
pub const NEEDED: [Capability; 4] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_PERFMON,
];

/// Why the agent does not start with these powers.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    #[error(
        "the agent lacks {missing}; start it as root, or give its user AmbientCapabilities as pairgate-agent.service does"
    )]
    Missing { missing: String },
    #[error("the kernel does not let the agent give up its powers: {0}")]
    Kernel(#[from] CapsError),
    #[error("the kernel does not promise that no program gets more powers: {0}")]
    NoNewPrivileges(nix::errno::Errno),
}

/// Gives up every power but [`NEEDED`], and those that a user's agent was lent on start.
///
/// To be called while there is one thread.
pub fn reduce() -> Result<(), PowerError> {
    let needed = CapsHashSet::from(NEEDED);
    let permitted = caps::read(None, CapSet::Permitted)?;
    let mut missing: Vec<_> = needed.difference(&permitted).map(ToString::to_string).collect();
    if !missing.is_empty() {
        missing.sort_unstable();
        let missing = missing.join(" ");
        return Err(PowerError::Missing { missing });
    }
    // Needs a power that goes below; without it the set cannot grow anyway, since nothing is executed.
    for power in caps::read(None, CapSet::Bounding)?.difference(&needed) {
        if caps::drop(None, CapSet::Bounding, *power).is_err() {
            break;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &needed)?;
    caps::set(None, CapSet::Permitted, &needed)?;
    nix::sys::prctl::set_no_new_privs().map_err(PowerError::NoNewPrivileges)
}

/// As many open files as this process may have: maps, links, taps and connections of a busy host are more than
/// the 1024 that a login gives. A refusal costs nothing until they run out.
pub fn raise_file_limit() {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => {
            if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
                tracing::warn!(%error, "the limit of open files stays at {soft}");
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot tell the limit of open files"),
    }
}
