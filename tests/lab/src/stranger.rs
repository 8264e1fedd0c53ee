//! A machine on the underlay that belongs to nobody: it has an address, and may send what it likes.

use crate::links;
use crate::netns::Netns;
use crate::plan::{Plan, STRANGERS, underlay_4, underlay_6};
use crate::process;
use crate::underlay;
use anyhow::{Result, ensure};
use std::net::Ipv4Addr;

/// Joined to the bridge until dropped.
#[derive(Debug)]
pub struct Stranger {
    netns: Netns,
    net: Netns,
    number: u8,
    short: String,
}

impl Stranger {
    /// Joins with an address of its own from [`STRANGERS`].
    pub fn join(plan: &Plan, number: u8) -> Result<Self> {
        ensure!(
            STRANGERS.contains(&number),
            "a stranger's number is one of {STRANGERS:?}, not {number}"
        );
        let short = format!("stranger{number}");
        let netns = Netns::named(&plan.netns(&short));
        let net = Netns::named(&plan.netns("net"));
        let stranger = Self {
            netns,
            net,
            number,
            short,
        };
        stranger.netns.ensure()?;
        links::set_up(&stranger.netns, "lo", None, None)?;
        let addresses = [stranger.address().into(), underlay_6(number).into()];
        underlay::ensure_port(plan, &stranger.net, &stranger.short, &addresses)?;
        Ok(stranger)
    }

    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    pub fn address(&self) -> Ipv4Addr {
        underlay_4(self.number)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // The bridge's end first: a namespace is cleared away in the background, and the name may be wanted
        // again at once.
        let ended = self
            .netns
            .inode()
            .map_or(Ok(()), |inode| process::end_all_in(&[inode]));
        let unplugged = links::delete(&self.net, &format!("to-{}", self.short));
        if let Err(error) = ended.and(unplugged).and(self.netns.delete()) {
            eprintln!("cannot remove the stranger {}: {error:#}", self.short);
        }
    }
}
