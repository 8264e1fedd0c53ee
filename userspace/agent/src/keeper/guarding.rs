//! The guard in the uplink's driver: on or off, as [`xdp_guard`](crate::xdp_guard) decides.

use super::{Finding, Keeper, Kind};
use crate::{
    clock::BootTime,
    datapath::GuardError,
    net::Link,
    xdp_guard::{Choice, Ground, Rule, Sample, Shown, Why, decide},
};
use arc_swap::ArcSwap;
use pairgate_abi::{Direction, DropReason, map};
use std::{collections::BTreeSet, sync::Arc};
use tokio::task::block_in_place;

/// What the keeper remembers of it between two looks.
#[derive(Debug)]
pub(super) struct Guarding {
    pub(super) shown: Arc<ArcSwap<Shown>>,
    choice: Choice,
    rule: Rule,
    /// The uplink's MAC address as the program has it.
    mac: Option<[u8; 6]>,
}

impl Guarding {
    pub(super) fn new(choice: Choice) -> Self {
        Self {
            shown: Arc::new(ArcSwap::from_pointee(Shown::new(choice))),
            choice,
            rule: Rule::default(),
            mac: None,
        }
    }
}

impl Keeper {
    /// Looks whether the guard should be on, and is. Where it was wanted and cannot be, that is found. True if the uplink
    /// has another program now, or none.
    pub(super) fn tend_guard(&mut self, links: &[Link], standing: &mut BTreeSet<Finding>) -> bool {
        let (name, index) = self.doors.uplink.clone();
        let Some(uplink) = links.iter().find(|link| link.index == index) else {
            return false; // and nothing comes in
        };
        let is_on = self.is_guarded(uplink);
        let ground = Ground {
            is_veth: uplink.is_veth,
            other_network: links
                .iter()
                .find(|link| link.is_vlan && link.parent == Some(index))
                .map(|link| link.name.clone()),
        };
        let sample = Sample {
            strays: self.strays(),
            frames: uplink.rx_packets,
        };
        let Guarding { choice, rule, .. } = &mut self.guarding;
        let wanted = decide(*choice, &ground, rule, is_on, sample, BootTime::now());
        let off = match wanted {
            Ok(()) => block_in_place(|| self.keep_guard(uplink, is_on)).err(),
            Err(why) => {
                if let Err(error) = block_in_place(|| self.loaded.release_guards(None)) {
                    tracing::error!(%error, uplink = %name, "the XDP guard could not be taken off");
                }
                Some(why)
            }
        };
        if let (Choice::On, Some(why)) = (self.guarding.choice, &off) {
            let what =
                format!("the XDP guard is wanted and not on {name}: {why}; nothing else depends on it");
            standing.insert(Finding::new(Kind::Guard, what));
        }
        let shown = Shown {
            choice: self.guarding.choice,
            off,
        };
        if **self.guarding.shown.load() != shown {
            match &shown.off {
                None => tracing::info!(uplink = %name, "the XDP guard is on"),
                Some(why) => tracing::info!(uplink = %name, %why, "the XDP guard is off"),
            }
            self.guarding.shown.store(Arc::new(shown));
        }
        block_in_place(|| self.loaded.guard_on(index)) != uplink.xdp
    }

    /// Whether our guard is on the uplink, be it that an earlier agent has left it there: then it is taken up before anything
    /// is decided, so that nothing is taken off that would be put on again.
    fn is_guarded(&mut self, uplink: &Link) -> bool {
        match block_in_place(|| self.loaded.take_up_guard(uplink.index)) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, uplink = %uplink.name, "the XDP guard of the earlier agent could not be taken up");
            }
        }
        let ours = block_in_place(|| self.loaded.guard_on(uplink.index));
        ours.is_some() && uplink.xdp == ours
    }

    /// Puts the guard on if it is not, and lets it know what it needs.
    fn keep_guard(&mut self, uplink: &Link, is_on: bool) -> Result<(), Why> {
        // Before it is on: it judges by nothing else.
        let mac = uplink.mac.unwrap_or_default();
        let written = self.loaded.set_uplink_mac(mac);
        let was_other = written.map_err(|error| Why::Failed(error.to_string()))?;
        if was_other && self.guarding.mac == uplink.mac {
            self.auditor
                .mended(&[Finding::new(Kind::Altered, map::UPLINK_MAC)]);
        }
        self.guarding.mac = uplink.mac;
        let done = if is_on {
            self.loaded.pin_guard_again().map(|is_mended| {
                if is_mended {
                    let what = format!("the pin of the XDP guard on {}", uplink.name);
                    self.auditor.mended(&[Finding::new(Kind::Pin, what)]);
                }
            })
        } else {
            self.loaded.attach_guard(uplink.index)
        };
        done.map_err(|error| match error {
            GuardError::NotNative => Why::NotNative,
            GuardError::Taken => Why::Taken(uplink.xdp),
            GuardError::Failed(why) => Why::Failed(why),
        })
    }

    /// Frames that died in the guard, or would have if it had been on. What is counted for a guest is left out: who has a
    /// guest's handle needs no flood.
    fn strays(&self) -> u64 {
        let counts = self.totals.of_slot(0);
        let dropped = counts.dropped().filter(|(way, reason, _)| {
            matches!(way, Direction::FromUplink | Direction::XdpUplink)
                && matches!(reason, DropReason::Handle | DropReason::Outer)
        });
        dropped.fold(0, |sum, (_, _, packets)| sum.wrapping_add(packets))
    }
}
