//! The ways to peer hosts, while pairs lead there.
//!
//! What a route is now was asked of the kernel a moment ago by [`crate::uplink`]. A host to which there is no
//! way any more loses its next hop, so that its packets die as `next_hop` here and not at a gateway that may
//! have become somebody else; its pairs stay, and the next hop comes back with the route. A pair's MTU only
//! falls: it was the least of both hosts', and what the other one takes is not known here any longer; a wider
//! uplink is used from the pair's renewal on.

use super::{Ledger, TableError, Tables, limits};
use pairgate_abi::NextHop;
use std::collections::{HashMap, HashSet};

impl<T: Tables> Ledger<T> {
    /// Hosts to which pairs lead over the uplink.
    pub fn hosts(&self) -> HashSet<[u8; 16]> {
        let leaving = self.book.outgoing().filter(|(_, row)| row.entry.local_tap == 0);
        leaving.map(|(_, row)| row.entry.dst_host).collect()
    }

    /// Notes the ways as they are now, none for a host that cannot be reached, and the largest inner packet that
    /// fits the uplink. Hosts that no pair leads to any more are left out; what is left to be narrowed is, in
    /// the next look.
    pub fn lead(&mut self, ways: &HashMap<[u8; 16], Option<NextHop>>, mtu: u16) -> Result<(), TableError> {
        let hosts = self.hosts();
        for (host, way) in ways.iter().filter(|(host, _)| hosts.contains(*host)) {
            match way {
                Some(hop) => {
                    self.tables.set_next_hop(*host, *hop)?;
                    self.ways.insert(*host, *hop);
                }
                None => {
                    self.unsettled = true;
                    self.tables.remove_next_hop(*host)?;
                    self.ways.remove(host);
                }
            }
        }
        let wider: Vec<_> = self
            .book
            .outgoing()
            .filter(|(_, row)| row.entry.local_tap == 0 && row.entry.mtu > mtu)
            .map(|(key, row)| (key, row.entry))
            .take(limits::NARROWED_AT_ONCE)
            .collect();
        for (key, entry) in wider {
            let entry = self.tables.narrow_out(key, entry, mtu)?;
            self.book.note_mtu(key, entry.mtu);
        }
        self.settle()
    }
}
