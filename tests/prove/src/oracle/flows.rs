//! The flow tables, as the programs' `flows` keeps them.
use super::{Oracle, maps::touch};
use pairgate_abi::{Carries, DropReason};
use pairgate_packet::{
    Packet,
    grant::{self, Admission, Note},
};

const STEP_NS: u64 = 1_000_000_000;

impl Oracle {
    pub(super) fn send(&mut self, carries: &Carries, packet: &Packet, slot: u32) -> Result<(), DropReason> {
        let now_ns = self.maps.now_ns;
        if let Note::Opened = grant::sends(carries, packet)?
            && let Some(table) = self.maps.flows.get_mut(&slot)
        {
            let used = table.entry(grant::opened(packet)).or_insert(now_ns);
            touch(used, now_ns, STEP_NS);
        }
        Ok(())
    }

    pub(super) fn receive(
        &mut self,
        carries: &Carries,
        packet: &Packet,
        slot: u32,
    ) -> Result<(), DropReason> {
        let now_ns = self.maps.now_ns;
        if let Admission::Granted = grant::receives(carries, packet)? {
            return Ok(());
        }
        let table = self.maps.flows.get_mut(&slot);
        let Some(used) = table.and_then(|table| table.get_mut(&grant::answered(packet))) else {
            return Err(DropReason::Grant);
        };
        if !grant::is_live(packet.protocol, *used, now_ns) {
            return Err(DropReason::Grant);
        }
        if !packet.is_error {
            touch(used, now_ns, STEP_NS);
        }
        Ok(())
    }
}
