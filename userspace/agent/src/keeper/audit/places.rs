//! The places that the maps do not tell of: pins, hooks, interfaces and their settings.

use super::{Finding, Kind, Walks};
use crate::{
    clock::BootTime,
    datapath::Ahead,
    keeper::{
        GuestState, Keeper,
        limits::{AUDITED_AT_ONCE, SETTINGS_AT_ONCE},
    },
    net::Link,
    port::DEVICE,
    taps,
};
use pairgate_abi::map;
use std::collections::{BTreeSet, HashMap};
use tokio::task::block_in_place;

impl Keeper {
    /// Everything beside the maps of pairs, which have their own walk.
    pub(in crate::keeper) async fn audit_places(&mut self) {
        let mut standing = BTreeSet::new();
        match block_in_place(|| self.ledger.audit_rows(BootTime::now(), &mut standing)) {
            Ok(mended) => self.auditor.mended(&mended),
            Err(error) => tracing::error!(%error, "the maps could not be compared with what was declared"),
        }
        block_in_place(|| self.audit_pins(&mut standing));
        match self.net.links().await {
            Ok(links) => {
                block_in_place(|| self.audit_hooks(&links, &mut standing));
                // What was put on or taken off just now is not in that list.
                let links = if self.tend_guard(&links, &mut standing) {
                    self.net.links().await.unwrap_or(links)
                } else {
                    links
                };
                self.audit_links(&links, &mut standing).await;
            }
            Err(error) => tracing::error!(%error, "the interfaces could not be looked at"),
        }
        self.auditor.stands(standing);
    }

    /// The next step of the walk through the maps of pairs, if one is under way.
    pub(in crate::keeper) fn audit_pairs(&mut self) {
        if self.auditor.walks.are_over() {
            return;
        }
        let began = std::time::Instant::now();
        let walked = self
            .ledger
            .audit_pairs(&mut self.auditor.walks, AUDITED_AT_ONCE, BootTime::now());
        match walked {
            Ok(mended) => self.auditor.mended(&mended),
            Err(error) => {
                tracing::error!(%error, "the maps of pairs could not be compared with what was declared");
                // What is left is looked at by the next walk.
                self.auditor.walks = Walks::default();
            }
        }
        self.auditor.took(began.elapsed());
    }

    /// Without its pin a map or a program ends with this agent.
    fn audit_pins(&mut self, standing: &mut BTreeSet<Finding>) {
        let maps_are_pinned = match self.loaded.pin_maps_again() {
            Ok(maps) => {
                let mended: Vec<_> = maps
                    .into_iter()
                    .map(|map| Finding::new(Kind::Pin, format!("the pin of the map {map}")))
                    .collect();
                self.auditor.mended(&mended);
                true
            }
            Err(error) => {
                standing.insert(Finding::new(Kind::Pin, error.to_string()));
                false
            }
        };
        match self.ledger.pin_flows_again() {
            Ok(slots) => {
                let mended: Vec<_> = slots
                    .into_iter()
                    .map(|slot| Finding::new(Kind::Pin, format!("the pin of the table of slot {slot}")))
                    .collect();
                self.auditor.mended(&mended);
            }
            Err(error) => drop(standing.insert(Finding::new(Kind::Pin, error.to_string()))),
        }
        match self.loaded.pin_again() {
            Ok(links) => {
                let mended: Vec<_> = links
                    .into_iter()
                    .map(|(index, program)| {
                        let what = format!("the pin of {} on interface {index}", program.name());
                        Finding::new(Kind::Pin, what)
                    })
                    .collect();
                self.auditor.mended(&mended);
            }
            Err(error) => drop(standing.insert(Finding::new(Kind::Pin, error.to_string()))),
        }
        // Reached by its pin, which may not be there: that stands already.
        if maps_are_pinned {
            // The programs have it as a constant: it is the next agent that would go by another.
            match self.loaded.set_mark() {
                Ok(true) => self.auditor.mended(&[Finding::new(Kind::Altered, map::MARK)]),
                Ok(false) => {}
                Err(error) => drop(standing.insert(Finding::new(Kind::Altered, error.to_string()))),
            }
        }
    }

    /// Other people's programs that see packets before ours, or after ours have sent them. They are let be: what they are
    /// for is not known here.
    fn audit_hooks(&mut self, links: &[Link], standing: &mut BTreeSet<Finding>) {
        let names: HashMap<u32, &str> = links
            .iter()
            .map(|link| (link.index, link.name.as_str()))
            .collect();
        match self.loaded.ahead() {
            Ok(ahead) => {
                for Ahead {
                    program,
                    interface,
                    ours,
                } in ahead
                {
                    let name = names.get(&interface).copied().unwrap_or("an interface");
                    let what = format!(
                        "program {program} (`bpftool prog show id {program}`) runs before {} on {name}, and may pass or change what ours would refuse",
                        ours.name()
                    );
                    standing.insert(Finding::new(Kind::Foreign, what));
                }
            }
            Err(error) => tracing::error!(%error, "the programs on the interfaces could not be listed"),
        }
        let (uplink, index) = &self.doors.uplink;
        match self.loaded.outward(*index) {
            Ok(outward) => {
                let found = outward
                    .into_iter()
                    .map(|program| Finding::new(Kind::Foreign, outward_of(uplink, program)));
                standing.extend(found);
            }
            Err(error) => {
                tracing::error!(%error, "the programs on the way out of the uplink could not be listed")
            }
        }
    }

    /// Taps, the VXLAN device and the uplink, as the kernel lists them.
    async fn audit_links(&mut self, links: &[Link], standing: &mut BTreeSet<Finding>) {
        let addresses = self.net.all_addresses().await.unwrap_or_else(|error| {
            tracing::error!(%error, "the addresses could not be looked at");
            Vec::new()
        });
        let (uplink, overlay) = (self.doors.uplink.1, self.doors.overlay.index());
        let guard = block_in_place(|| self.loaded.guard_on(uplink));
        let open: HashMap<u32, u16> = self
            .guests
            .values()
            .filter_map(|state| match state {
                GuestState::Guarded { tap, mtu } => Some((*tap, *mtu)),
                GuestState::Absent | GuestState::Failed { .. } => None,
            })
            .collect();
        let own: BTreeSet<u32> = open.keys().copied().chain([overlay]).collect();
        for rival in self.doors.overlay.rivals(links) {
            let what = format!(
                "the VXLAN device {} is set to this host's overlay port, which {DEVICE} has: it gets no frames; give one of them another port",
                rival.name
            );
            standing.insert(Finding::new(Kind::Foreign, what));
        }
        for link in links {
            let is_own = own.contains(&link.index);
            let is_foreign = |program: &u32| is_own || link.index == uplink && guard != Some(*program);
            if let Some(program) = link.xdp.filter(is_foreign) {
                let what = format!(
                    "the XDP program {program} (`bpftool prog show id {program}`) on {} sees every frame before ours",
                    link.name
                );
                standing.insert(Finding::new(Kind::Foreign, what));
            }
            if !is_own {
                continue;
            }
            if let Some(controller) = link.controller {
                let what = format!(
                    "{} was put under interface {controller}: ip link set {} nomaster",
                    link.name, link.name
                );
                standing.insert(Finding::new(Kind::Device, what));
            }
            for (_, address) in addresses.iter().filter(|(index, _)| *index == link.index) {
                let what = format!(
                    "{} was given the address {address}: ip address flush dev {}",
                    link.name, link.name
                );
                standing.insert(Finding::new(Kind::Device, what));
            }
        }
        self.audit_taps(links, &open, standing).await;
        self.audit_settings(links, &own, standing).await;
    }

    /// The taps that are open for a guest, each with the MTU that it was given. Between two looks the keeper opens and
    /// shuts none without noting it there.
    async fn audit_taps(&self, links: &[Link], open: &HashMap<u32, u16>, standing: &mut BTreeSet<Finding>) {
        for link in links {
            let Some(mtu) = open.get(&link.index) else {
                continue;
            };
            // Without its programs a tap stays down: if they could not be looked for before, nobody has said so.
            if !link.is_up && !self.is_held(link.index) {
                continue;
            }
            match taps::keep_open(&self.net, link, *mtu).await {
                Ok(mended) => {
                    let mended: Vec<_> = mended
                        .into_iter()
                        .map(|what| Finding::new(Kind::Device, what))
                        .collect();
                    self.auditor.mended(&mended);
                }
                Err(error) => drop(standing.insert(Finding::new(Kind::Device, error.to_string()))),
            }
        }
    }

    fn is_held(&self, tap: u32) -> bool {
        let held = block_in_place(|| self.loaded.attached_taps());
        held.is_ok_and(|held| held.contains(&tap))
    }

    /// A few taps' settings in each look, in turn, and always the VXLAN device's.
    async fn audit_settings(
        &mut self,
        links: &[Link],
        own: &BTreeSet<u32>,
        standing: &mut BTreeSet<Finding>,
    ) {
        let mut turn: Vec<_> = links.iter().filter(|link| own.contains(&link.index)).collect();
        turn.sort_unstable_by_key(|link| {
            (
                link.name != DEVICE,
                link.index < self.auditor.next_tap,
                link.index,
            )
        });
        turn.truncate(SETTINGS_AT_ONCE);
        self.auditor.next_tap = turn.last().map_or(0, |link| link.index + 1);
        for link in turn {
            match taps::silence(&self.net, link).await {
                Ok(mended) => {
                    let mended: Vec<_> = mended
                        .into_iter()
                        .map(|what| Finding::new(Kind::Setting, what))
                        .collect();
                    self.auditor.mended(&mended);
                }
                Err(error) => drop(standing.insert(Finding::new(Kind::Setting, error.to_string()))),
            }
        }
    }
}

/// What is said of a program, or of a filter that has none, on the way out of the uplink.
fn outward_of(uplink: &str, program: u32) -> String {
    let who = match program {
        0 => format!("a filter (`tc filter show dev {uplink} egress`)"),
        program => format!("program {program} (`bpftool prog show id {program}`)"),
    };
    format!("{who} is on the way out of {uplink}, and may drop or change what ours send to other hosts")
}
