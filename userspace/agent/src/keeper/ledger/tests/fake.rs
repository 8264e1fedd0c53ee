//! Maps that fail when told to, and remember in which order they were used.

use crate::{
    admit::{LocalPair, VerifiedPair},
    clock::BootTime,
    keeper::{
        Seat, TableError, Tables,
        book::Declared,
        entries,
        entries::Terms,
        tables::{Place, Slice},
    },
    present::CarriedPair,
};
use pairgate_abi::{Budget, FlowKey, Handle, InEntry, NextHop, OutEntry, OutKey, TapEntry};
use std::{cell::RefCell, collections::HashMap, rc::Rc};

/// A kernel that outlives the ledgers over it, as the real one does.
#[derive(Clone, Debug, Default)]
pub(super) struct Fake(pub(super) Rc<RefCell<Kernel>>);

#[derive(Debug, Default)]
pub(super) struct Kernel {
    pub(super) taps: HashMap<u32, TapEntry>,
    pub(super) incoming: HashMap<Handle, InEntry>,
    pub(super) outgoing: HashMap<OutKey, OutEntry>,
    pub(super) hops: HashMap<[u8; 16], NextHop>,
    pub(super) lease: BootTime,
    /// By slot.
    pub(super) flows: HashMap<u32, HashMap<FlowKey, u64>>,
    /// A guest writes into its table without pause.
    pub(super) flooded: bool,
    pub(super) refused: HashMap<OutKey, BootTime>,
    /// By slot.
    pub(super) budgets: HashMap<u32, Budget>,
    /// Verbs in the order in which they were carried out.
    pub(super) log: Vec<&'static str>,
    /// The verb that fails, and how often it works before.
    pub(super) fails: Option<(&'static str, u32)>,
    /// Something was removed or replaced and not waited for.
    pub(super) unsettled: bool,
}

impl Default for BootTime {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Kernel {
    fn try_to(&mut self, verb: &'static str) -> Result<(), TableError> {
        if let Some((fails, works)) = &mut self.fails
            && *fails == verb
        {
            if *works == 0 {
                return Err(TableError {
                    verb,
                    map: "fake",
                    why: "told to fail".to_owned(),
                });
            }
            *works -= 1;
        }
        self.log.push(verb);
        Ok(())
    }
}

fn slice<K: Copy, V: Copy>(rows: &[(K, V)], from: Option<Place>, most: usize) -> Slice<K, V> {
    let from = from.map_or(0, |Place(at)| at as usize);
    let rest = rows.get(from..).unwrap_or_default();
    Slice {
        rows: rest.iter().take(most).copied().collect(),
        next: (rest.len() > most).then_some(Place((from + most) as u32)),
    }
}

impl Tables for Fake {
    fn taps(&self) -> Result<Vec<(u32, TapEntry)>, TableError> {
        Ok(self
            .0
            .borrow()
            .taps
            .iter()
            .map(|(tap, entry)| (*tap, *entry))
            .collect())
    }

    fn incoming(&self) -> Result<Vec<(Handle, InEntry)>, TableError> {
        Ok(self
            .0
            .borrow()
            .incoming
            .iter()
            .map(|(handle, entry)| (*handle, *entry))
            .collect())
    }

    fn outgoing(&self) -> Result<Vec<(OutKey, OutEntry)>, TableError> {
        Ok(self
            .0
            .borrow()
            .outgoing
            .iter()
            .map(|(key, entry)| (*key, *entry))
            .collect())
    }

    fn some_incoming(&self, from: Option<Place>, most: usize) -> Result<Slice<Handle, InEntry>, TableError> {
        let mut rows = self.incoming()?;
        rows.sort_unstable_by_key(|(handle, _)| (handle.vni_number(), handle.group_number()));
        Ok(slice(&rows, from, most))
    }

    fn some_outgoing(&self, from: Option<Place>, most: usize) -> Result<Slice<OutKey, OutEntry>, TableError> {
        let mut rows = self.outgoing()?;
        rows.sort_unstable_by_key(|(key, _)| (key.tap, key.source, key.destination));
        Ok(slice(&rows, from, most))
    }

    fn next_hops(&self) -> Result<Vec<([u8; 16], NextHop)>, TableError> {
        Ok(self
            .0
            .borrow()
            .hops
            .iter()
            .map(|(host, hop)| (*host, *hop))
            .collect())
    }

    fn lease(&self) -> Result<BootTime, TableError> {
        Ok(self.0.borrow().lease)
    }

    fn used_in(&self, handle: Handle) -> Result<Option<u64>, TableError> {
        Ok(self.0.borrow().incoming.get(&handle).map(|entry| entry.used_ns))
    }

    fn used_out(&self, key: OutKey) -> Result<Option<u64>, TableError> {
        Ok(self.0.borrow().outgoing.get(&key).map(|entry| entry.used_ns))
    }

    fn put_tap(&mut self, tap: u32, entry: TapEntry) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("put_tap")?;
        kernel.taps.insert(tap, entry);
        Ok(())
    }

    fn open_in(
        &mut self,
        handle: Handle,
        pair: &VerifiedPair,
        seat: Seat,
        mtu: u16,
    ) -> Result<InEntry, TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("open_in")?;
        let entry = entries::incoming(pair, seat, mtu);
        assert_ne!(
            entry.src_host, entry.dst_host,
            "what comes from ourselves would be received"
        );
        assert!(
            kernel.incoming.insert(handle, entry).is_none(),
            "a handle in use was given again"
        );
        Ok(entry)
    }

    fn open_out(
        &mut self,
        pair: &CarriedPair,
        seat: Seat,
        hop: NextHop,
        terms: Terms,
    ) -> Result<(OutKey, OutEntry), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("open_out")?;
        let key = entries::out_key(pair.claims(), seat.tap);
        let entry = entries::outgoing(pair, terms);
        kernel.hops.insert(entry.dst_host, hop);
        kernel.outgoing.insert(key, entry);
        Ok((key, entry))
    }

    fn open_local(
        &mut self,
        pair: &LocalPair,
        from: Seat,
        to: Seat,
        terms: Terms,
    ) -> Result<(OutKey, OutEntry), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("open_local")?;
        let (key, entry) = (
            entries::out_key(pair.claims(), from.tap),
            entries::local(pair, to, terms),
        );
        kernel.outgoing.insert(key, entry);
        Ok((key, entry))
    }

    fn set_next_hop(&mut self, host: [u8; 16], hop: NextHop) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("set_next_hop")?;
        kernel.hops.insert(host, hop);
        Ok(())
    }

    fn narrow_out(&mut self, key: OutKey, mut entry: OutEntry, mtu: u16) -> Result<OutEntry, TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("narrow_out")?;
        entry.mtu = entry.mtu.min(mtu);
        kernel.outgoing.insert(key, entry);
        Ok(entry)
    }

    fn shorten_in(
        &mut self,
        handle: Handle,
        mut entry: InEntry,
        end: BootTime,
    ) -> Result<InEntry, TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("shorten_in")?;
        entry.deadline_ns = entry.deadline_ns.min(end.nanos());
        kernel.incoming.insert(handle, entry);
        Ok(entry)
    }

    fn restore_in(&mut self, declared: &Declared<Handle, InEntry>) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("restore_in")?;
        kernel.incoming.insert(declared.key(), declared.entry());
        Ok(())
    }

    fn restore_out(&mut self, declared: &Declared<OutKey, OutEntry>) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("restore_out")?;
        kernel.outgoing.insert(declared.key(), declared.entry());
        Ok(())
    }

    fn remove_tap(&mut self, tap: u32) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("remove_tap")?;
        kernel.unsettled = true;
        kernel.taps.remove(&tap);
        Ok(())
    }

    fn remove_in(&mut self, handle: Handle) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("remove_in")?;
        kernel.unsettled = true;
        kernel.incoming.remove(&handle);
        Ok(())
    }

    fn remove_out(&mut self, key: OutKey) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("remove_out")?;
        kernel.unsettled = true;
        kernel.outgoing.remove(&key);
        Ok(())
    }

    fn remove_next_hop(&mut self, host: [u8; 16]) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("remove_next_hop")?;
        kernel.hops.remove(&host);
        Ok(())
    }

    fn quiesce(&mut self) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("quiesce")?;
        kernel.unsettled = false;
        Ok(())
    }

    fn set_lease(&mut self, end: BootTime) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("set_lease")?;
        kernel.lease = end;
        Ok(())
    }

    fn clear_slot(&mut self, _slot: u32) -> Result<(), TableError> {
        self.0.borrow_mut().try_to("clear_slot")
    }

    fn budget(&self, slot: u32) -> Result<Budget, TableError> {
        Ok(self.0.borrow().budgets.get(&slot).copied().unwrap_or_default())
    }

    fn set_budget(&mut self, slot: u32, budget: Budget) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("set_budget")?;
        kernel.budgets.insert(slot, budget);
        Ok(())
    }

    fn new_flows(&mut self, slot: u32) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("new_flows")?;
        kernel.flows.insert(slot, HashMap::new());
        Ok(())
    }

    fn keep_flows(&mut self, slot: u32) -> Result<(), TableError> {
        self.0.borrow_mut().flows.entry(slot).or_default();
        Ok(())
    }

    fn drop_flows(&mut self, slot: u32) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("drop_flows")?;
        assert!(!kernel.unsettled, "a program may still look for it");
        kernel.flows.remove(&slot);
        Ok(())
    }

    fn flow_slots(&self) -> Result<Vec<u32>, TableError> {
        Ok(self.0.borrow().flows.keys().copied().collect())
    }

    fn pin_flows_again(&mut self) -> Result<Vec<u32>, TableError> {
        Ok(Vec::new())
    }

    fn put_back_flows(&mut self, slot: u32) -> Result<(), TableError> {
        self.keep_flows(slot)
    }

    fn flows(&self, slot: u32) -> Result<Option<Vec<FlowKey>>, TableError> {
        let kernel = self.0.borrow();
        let flows = kernel.flows.get(&slot).into_iter().flatten();
        Ok((!kernel.flooded).then(|| flows.map(|(flow, _)| *flow).collect()))
    }

    fn remove_flow(&mut self, slot: u32, flow: FlowKey) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("remove_flow")?;
        assert!(!kernel.unsettled, "a program may note it again");
        if let Some(flows) = kernel.flows.get_mut(&slot) {
            flows.remove(&flow);
        }
        Ok(())
    }

    fn flow_used(&self, slot: u32, flow: FlowKey) -> Result<Option<u64>, TableError> {
        let kernel = self.0.borrow();
        Ok(kernel
            .flows
            .get(&slot)
            .and_then(|flows| flows.get(&flow))
            .copied())
    }

    fn note_flow(&mut self, slot: u32, flow: FlowKey, at: BootTime) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        if let Some(flows) = kernel.flows.get_mut(&slot) {
            flows.insert(flow, at.nanos());
        }
        Ok(())
    }

    fn refusals(&self) -> Result<Vec<OutKey>, TableError> {
        Ok(self.0.borrow().refused.keys().copied().collect())
    }

    fn refuse(&mut self, key: OutKey, until: BootTime) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("refuse")?;
        kernel.refused.insert(key, until);
        Ok(())
    }

    fn remove_refusal(&mut self, key: OutKey) -> Result<(), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("remove_refusal")?;
        kernel.refused.remove(&key);
        Ok(())
    }
}
