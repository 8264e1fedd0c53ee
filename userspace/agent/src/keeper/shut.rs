//! Taps that are there before anybody has said what they may do: an earlier agent's, and those that other hands
//! make. They are shut: both programs, and no row in `TAPS`, so that nothing passes in either direction.

use super::{Again, Keeper};
use crate::{
    adopt::Adoption,
    datapath::{AttachError, Loaded},
    net::{Net, NetError},
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
    let own = taps::own(&links).map(|tap| (tap.index, tap.name));
    let lent = taps::adopted(&links, adoption).map(|link| (link.index, link.name.clone()));
    let open: Vec<_> = own
        .chain(lent)
        .filter(|(index, _)| !held.contains(index))
        .collect();
    let mut shut = 0;
    for (_, name) in open {
        match block_in_place(|| loaded.attach_tap(&name)) {
            Ok(_) => {
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
