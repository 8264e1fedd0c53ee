//! `pairgate-agent cleanup`: takes away what agents left in the kernel of this network namespace.
//!
//! ```text
//! no agent runs → every pair ends → own taps → VXLAN device → pins of all versions
//! ```
//!
//! The order is what keeps it safe: no tap is ever up without its programs. Taps made by other hands cannot be
//! taken away, so their programs stay and refuse everything, unless the operator asks for them to be opened;
//! the next agent takes them over as they are. This host's key and certificate are not touched.

use crate::{
    args::CleanupArguments,
    datapath::{Left, LeftError},
    lock::{LockError, Locks},
    net::{Net, NetError},
    port, taps,
};
use std::{
    collections::BTreeSet,
    io::{self, Write},
};

/// Why not everything was taken away.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot ask the kernel about its network: {0}")]
    Open(io::Error),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Left(#[from] LeftError),
    #[error("cannot say what was done: {0}")]
    Say(io::Error),
}

/// Takes everything away and says each step on `out`.
pub async fn run(arguments: &CleanupArguments, out: &mut impl Write) -> Result<(), CleanupError> {
    let _locks = Locks::existing(&arguments.state_dir, &arguments.pin_dir)?;
    let net = Net::open().map_err(CleanupError::Open)?;
    let left = Left::find(&arguments.pin_dir)?;
    left.end_leases()?;
    let mut did = Vec::new();

    let links = net.links().await?;
    for tap in taps::own(&links) {
        taps::remove(&net, tap.index).await?;
        did.push(format!("removed tap {} of VM {}", tap.name, tap.vm));
    }
    if net.link_by_name(port::DEVICE).await?.is_some() {
        port::remove(&net).await?;
        let still_there = net.link_by_name(port::DEVICE).await?.is_some();
        did.push(if still_there {
            format!("left {}: it is not an agent's", port::DEVICE)
        } else {
            format!("removed the VXLAN device {}", port::DEVICE)
        });
    }
    let mut shut = BTreeSet::new();
    for index in left.guarded()? {
        let Some(link) = net.link(index).await? else {
            continue;
        };
        if arguments.all {
            did.push(format!(
                "opened tap {}: it was made by other hands, and nothing filters it any more",
                link.name
            ));
        } else {
            did.push(format!(
                "left tap {} shut: it was made by other hands; delete it, or open it with --all",
                link.name
            ));
            shut.insert(index);
        }
    }
    let versions: Vec<_> = left.versions().map(|path| path.display().to_string()).collect();
    left.remove(&shut)?;
    did.extend(
        versions
            .iter()
            .map(|path| format!("removed programs and maps pinned under {path}")),
    );
    say(out, &did, arguments).map_err(CleanupError::Say)
}

fn say(out: &mut impl Write, did: &[String], arguments: &CleanupArguments) -> io::Result<()> {
    for line in did {
        writeln!(out, "{line}")?;
    }
    if did.is_empty() {
        writeln!(out, "nothing of an agent is left in this network namespace")?;
    }
    if arguments.state_dir.join("host.key").exists() {
        let state = arguments.state_dir.display();
        writeln!(
            out,
            "kept {state}: this host's key and certificate; remove it to give up its identity"
        )?;
    }
    Ok(())
}
