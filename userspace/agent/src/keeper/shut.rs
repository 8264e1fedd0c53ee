//! Taps that are there before anybody has said what they may do: an earlier agent's, and those that other hands
//! make. They are shut: both programs, and no row in `TAPS`, so that nothing passes in either direction.

use super::{Again, Keeper};
use crate::{
    adopt::Adoption,
    datapath::{AttachError, Loaded},
    net::{Link, Net, NetError},
    taps,
};
use std::collections::HashSet;
use tokio::task::block_in_place;

/// Which taps are open is not known.
#[derive(Debug, thiserror::Error)]
pub enum ShutError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// Puts the programs on every tap of ours that lacks one; returns how many there were. One that vanishes
/// meanwhile or refuses is named in the log and left to the next look.
pub async fn shut(net: &Net, loaded: &mut Loaded, adoption: &Adoption) -> Result<usize, ShutError> {
    let links = net.links().await?;
    let held: HashSet<u32> = block_in_place(|| loaded.attached_taps())?.into_iter().collect();
    let own: HashSet<u32> = taps::own(&links).map(|tap| tap.index).collect();
    let lent: HashSet<u32> = taps::adopted(&links, adoption).map(|link| link.index).collect();
    let is_open = |link: &&Link| {
        (own.contains(&link.index) || lent.contains(&link.index)) && !held.contains(&link.index)
    };
    let mut shut = 0;
    for link in links.iter().filter(is_open) {
        let name = &link.name;
        // The programs first: they are what shuts it.
        let done = block_in_place(|| loaded.attach_tap(name)).map(drop);
        if let Err(error) = taps::silence(net, link).await {
            tracing::warn!(tap = %name, %error, "the host's stack is not silent on a tap");
        }
        match done {
            Ok(()) => {
                tracing::info!(tap = %name, "a tap without programs was found: it is shut");
                shut += 1;
            }
            Err(error) => {
                tracing::error!(tap = %name, %error, "a tap could not be shut, will be tried again")
            }
        }
    }
    Ok(shut)
}

impl Keeper {
    /// Shuts what has appeared, and opens it if a guest waits for it.
    pub(super) async fn shut_new_taps(&mut self) {
        match shut(&self.net, &mut self.loaded, &self.adoption).await {
            Ok(0) => {}
            Ok(_) => self.again = self.again.max(Again::Taps),
            Err(error) => {
                tracing::error!(%error, "cannot tell whether every tap is shut, will be tried again");
                return;
            }
        }
        let waits = self
            .guests
            .values()
            .any(|state| *state == super::GuestState::Absent);
        let Some(goal) = self.ledger.goal().cloned() else {
            return;
        };
        if self.again == Again::Taps || waits {
            self.again = Again::Nothing;
            if let Err(error) = self.arrange_taps(&goal).await {
                tracing::error!(%error, "the taps could not be brought in line, will be tried again");
                self.again = Again::Taps;
            }
            self.publish();
        }
    }
}
