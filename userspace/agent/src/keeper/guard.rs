//! Bringing the taps in line with a goal state. Order is everything here: a tap goes up only when its row and
//! both programs are in place, and goes away only when its pairs and its row are out of the kernel.

use super::{Again, Finding, GuestState, Keeper, Kind, TableError};
use crate::{
    clock::BootTime,
    datapath::AttachError,
    goal::{Goal, Guest},
    net::NetError,
    taps::{self, TapError},
};
use std::collections::HashMap;
use tokio::task::block_in_place;

/// Something that should be gone may still be there.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArrangeError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// Why a guest's tap is not up.
#[derive(Debug, thiserror::Error)]
enum GuardError {
    #[error(transparent)]
    Tap(#[from] TapError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error("this host has as many taps as it can count packets for")]
    Full,
    #[error("the interface was replaced while the programs were being attached")]
    Replaced,
}

impl Keeper {
    /// Removes the taps that the goal state does not want, then makes or adopts those it wants. A guest whose
    /// tap cannot be made is marked and tried again; a tap that cannot be removed is an error.
    pub(super) async fn arrange_taps(&mut self, goal: &Goal) -> Result<(), ArrangeError> {
        let links = self.net.links().await?;
        let (wanted, unwanted): (Vec<_>, Vec<_>) = taps::own(&links).partition(|tap| {
            let guest = goal.guests.get(&tap.vm);
            guest.is_some_and(|guest| guest.tap.as_str() == tap.name)
        });
        let by_name: HashMap<&str, &Guest> = goal
            .guests
            .values()
            .map(|guest| (guest.tap.as_str(), guest))
            .collect();
        let whose = |index: u32, name: &str| Some((index, *by_name.get(name)?));
        let present: HashMap<u32, &Guest> = wanted
            .iter()
            .filter_map(|tap| whose(tap.index, &tap.name))
            .chain(taps::adopted(&links, &self.adoption).filter_map(|link| whose(link.index, &link.name)))
            .collect();
        let rows = self.ledger.seats().taps();
        // A number can come back with another guest's tap: nothing of the first one's may lead there.
        let is_over = |tap: &&u32| {
            let guest = present.get(*tap);
            guest.is_none_or(|guest| self.ledger.seats().is_anothers(**tap, guest))
        };
        let over: Vec<u32> = rows.iter().filter(is_over).copied().collect();
        for tap in &over {
            let entry = self.ledger.seats().entry(*tap);
            block_in_place(|| self.ledger.vacate(*tap, BootTime::now()))?;
            self.lost.remove(tap);
            if let Some(entry) = entry {
                self.totals.retire(entry.slot);
            }
        }
        block_in_place(|| self.ledger.remove_strays(BootTime::now()))?;
        let first = self.guests.is_empty();
        let gone = !over.is_empty() || rows.len() != present.len() || !unwanted.is_empty();
        for tap in unwanted {
            tracing::info!(tap = %tap.name, vm = %tap.vm, "the VM is not placed here any more: its tap is removed");
            taps::remove(&self.net, tap.index).await?;
        }
        if first || gone {
            // Links whose interface is gone are empty shells.
            block_in_place(|| self.loaded.remove_stale_links())?;
        }
        let mut guests = HashMap::new();
        for guest in goal.guests.values() {
            let state = self.state_of(guest, &present).await;
            guests.insert(guest.id, state);
        }
        self.guests = guests;
        Ok(())
    }

    async fn state_of(&mut self, guest: &Guest, present: &HashMap<u32, &Guest>) -> GuestState {
        if let Some(GuestState::Guarded { tap, mtu }) = self.guests.get(&guest.id)
            && present.get(tap).is_some_and(|of| of.id == guest.id)
        {
            let (tap, mtu) = (*tap, *mtu);
            return match self.keep_guarded(guest, tap, mtu).await {
                Ok(()) => GuestState::Guarded { tap, mtu: guest.mtu },
                Err(error) => self.failed(guest, &error),
            };
        }
        match self.guard(guest).await {
            Ok(Some(tap)) => {
                tracing::info!(vm = ?guest.name, tap = %guest.tap, "tap is up and guarded");
                GuestState::Guarded { tap, mtu: guest.mtu }
            }
            Ok(None) => GuestState::Absent,
            Err(error) => self.failed(guest, &error),
        }
    }

    /// The guest's row and its MTU may have changed; everything else holds.
    async fn keep_guarded(&mut self, guest: &Guest, tap: u32, mtu: u16) -> Result<(), GuardError> {
        self.ledger.seat(guest, tap)?.ok_or(GuardError::Full)?;
        if mtu != guest.mtu {
            self.net.set_mtu(tap, guest.mtu).await.map_err(TapError::from)?;
        }
        Ok(())
    }

    fn failed(&mut self, guest: &Guest, error: &GuardError) -> GuestState {
        self.again = self.again.max(Again::Taps);
        let state = GuestState::Failed {
            why: error.to_string(),
        };
        // Tried every second, said once.
        if self.guests.get(&guest.id) != Some(&state) {
            tracing::error!(vm = ?guest.name, tap = %guest.tap, %error, "the VM has no tap, will be tried again");
        }
        state
    }

    /// None if the tap is to be made by other hands and is not there.
    async fn guard(&mut self, guest: &Guest) -> Result<Option<u32>, GuardError> {
        let Some(tap) = taps::ready(&self.net, guest, &self.adoption).await? else {
            return Ok(None);
        };
        let index = tap.index;
        let is_new = self.ledger.seats().entry(index).is_none();
        let seat = block_in_place(|| self.ledger.seat(guest, index))?.ok_or(GuardError::Full)?;
        if is_new {
            // The slot's counters begin at zero; the tap's may not.
            let handed_on = i64::try_from(tap.handed_on).unwrap_or(i64::MAX);
            let passed = self.totals.to_tap(seat.slot).unwrap_or(0);
            self.lost.insert(index, passed.saturating_sub(handed_on));
        }
        let held = block_in_place(|| self.loaded.attach_tap(guest.tap.as_str()))?;
        if held != index {
            return Err(GuardError::Replaced);
        }
        taps::open(&self.net, guest, tap).await?;
        Ok(Some(index))
    }

    /// Looks for taps that somebody has taken a program from.
    /// Such a tap is up and in nobody's hands: it is guarded anew at once.
    pub(super) fn watch_programs(&mut self) {
        let held = match block_in_place(|| self.loaded.attached_taps()) {
            Ok(held) => held,
            Err(error) => {
                tracing::error!(%error, "cannot tell whether the programs still hold the taps");
                return;
            }
        };
        let auditor = &self.auditor;
        self.guests.retain(|vm, state| match state {
            GuestState::Guarded { tap, .. } if !held.contains(tap) => {
                let what =
                    format!("a program was taken off tap {tap} of VM {vm}, or another put in its place");
                auditor.mended(&[Finding::new(Kind::Program, what)]);
                self.again = self.again.max(Again::Taps);
                false
            }
            GuestState::Guarded { .. } | GuestState::Absent | GuestState::Failed { .. } => true,
        });
    }

    /// Looks at the taps' counters, and for taps that somebody has deleted.
    pub(super) async fn watch_taps(&mut self) {
        // What has passed is read before what was handed on, so that traffic in between makes `lost` too
        // small and a drain too long, never the other way round.
        let mut passed = HashMap::new();
        for state in self.guests.values() {
            if let GuestState::Guarded { tap, .. } = state
                && let Some(entry) = self.ledger.seats().entry(*tap)
                && let Some(packets) = self.totals.to_tap(entry.slot)
            {
                passed.insert(*tap, packets);
            }
        }
        let Ok(links) = self.net.links().await else {
            return;
        };
        for link in links {
            let Some(passed) = passed.remove(&link.index) else {
                continue;
            };
            if !link.has_carrier {
                let handed_on = link.tx_packets.saturating_add(link.tx_dropped);
                let handed_on = i64::try_from(handed_on).unwrap_or(i64::MAX);
                self.lost.insert(link.index, passed.saturating_sub(handed_on));
            }
        }
        if !passed.is_empty() {
            tracing::error!(
                "a guest's tap was deleted by somebody else; it is made again if it was this agent's"
            );
            self.again = self.again.max(Again::Taps);
        }
    }
}
