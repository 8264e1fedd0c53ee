//! Maps that fail when told to, and remember in which order they were used.

use crate::{
    admit::VerifiedPair,
    clock::BootTime,
    keeper::{Seat, TableError, Tables},
    present::CarriedPair,
};
use pairgate_abi::{Handle, InEntry, NextHop, OutEntry, OutKey, TapEntry};
use pairgate_token::address_bytes;
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

    fn next_hops(&self) -> Result<Vec<[u8; 16]>, TableError> {
        Ok(self.0.borrow().hops.keys().copied().collect())
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

    fn open_in(&mut self, handle: Handle, pair: &VerifiedPair, seat: Seat) -> Result<InEntry, TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("open_in")?;
        let claims = pair.claims();
        let entry = InEntry {
            deadline_ns: pair.deadline().nanos(),
            used_ns: 0,
            pair_id: claims.pair_id,
            src_host: address_bytes(claims.source_host),
            dst_host: address_bytes(claims.destination_host),
            src_addr: address_bytes(claims.source_address),
            dst_addr: address_bytes(claims.destination_address),
            tap: seat.tap,
            mac: seat.mac,
            reserved: [0; 2],
            slot: seat.slot,
            src_generation: claims.source_generation,
            dst_generation: claims.destination_generation,
            src_vm: claims.source_vm.into_bytes(),
            dst_vm: claims.destination_vm.into_bytes(),
        };
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
        mtu: u16,
    ) -> Result<(OutKey, OutEntry), TableError> {
        let mut kernel = self.0.borrow_mut();
        kernel.try_to("open_out")?;
        let claims = pair.claims();
        let dst_host = address_bytes(claims.destination_host);
        let key = OutKey {
            tap: seat.tap,
            destination: address_bytes(claims.destination_address),
        };
        let entry = OutEntry {
            deadline_ns: pair.deadline().nanos(),
            used_ns: 0,
            pair_id: claims.pair_id,
            handle: pair.handle(),
            src_host: address_bytes(claims.source_host),
            dst_host,
            port: claims.overlay_port.to_be_bytes(),
            mtu,
            src_generation: claims.source_generation,
            dst_generation: claims.destination_generation,
            reserved: 0,
            src_vm: claims.source_vm.into_bytes(),
            dst_vm: claims.destination_vm.into_bytes(),
        };
        kernel.hops.insert(dst_host, hop);
        kernel.outgoing.insert(key, entry);
        Ok((key, entry))
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
}
