//! What operators see, in the shapes of the REST API. Every list is in the order of names or ids.

use super::{
    StoreError,
    columns::{Columns, number},
    worker::View,
};
use crate::inventory::{Mac, Network};
use pairgate_api::rest;
use rusqlite::{OptionalExtension, Row, params};
use uuid::Uuid;

const VM: &str = "SELECT vm.id, vm.name, network.name, vm.mac, network.mtu,
        host.name, placement.generation, placement.tap, placement.open
    FROM vm JOIN network ON network.id = vm.network
        LEFT JOIN placement ON placement.vm = vm.id
        LEFT JOIN host ON host.id = placement.host";

/// Without its addresses, which are rows of their own.
fn vm(row: &Row<'_>) -> rusqlite::Result<rest::Vm> {
    let host: Option<String> = row.get(5)?;
    let placement = match host {
        None => None,
        Some(host) => Some(rest::Placement {
            host,
            generation: row.small(6)?,
            tap: row.get(7)?,
            state: if row.get(8)? { "open" } else { "waiting" }.to_owned(),
        }),
    };
    let mac = Mac::new(row.get(3)?).map_err(|_| rusqlite::Error::InvalidQuery)?;
    Ok(rest::Vm {
        id: row.uuid(0)?,
        name: row.get(1)?,
        network: row.get(2)?,
        addresses: Vec::new(),
        mac: mac.to_string(),
        mtu: row.small(4)?,
        placement,
    })
}

impl View<'_> {
    /// At most `rows` networks after this name.
    pub fn list_networks(&self, after: &str, rows: u32) -> Result<Vec<Network>, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached("SELECT id, name FROM network WHERE name > ?1 ORDER BY name LIMIT ?2")?;
        let found: Vec<(Uuid, String)> = query
            .query_map(params![after, rows], |row| Ok((row.uuid(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let network = |(id, name)| {
            let prefixes = self.prefixes(id)?;
            let facts = self.facts(id, &prefixes)?;
            Ok(Network {
                id,
                name,
                prefixes,
                facts,
            })
        };
        found.into_iter().map(network).collect()
    }

    /// At most `rows` VMs of the network after this name.
    pub fn list_vms(&self, network: Uuid, after: &str, rows: u32) -> Result<Vec<rest::Vm>, StoreError> {
        let sql = format!("{VM} WHERE vm.network = ?1 AND vm.name > ?2 ORDER BY vm.name LIMIT ?3");
        let mut query = self.transaction.prepare_cached(&sql)?;
        let mut vms: Vec<rest::Vm> = query
            .query_map(params![network.as_bytes(), after, rows], vm)?
            .collect::<Result<_, _>>()?;
        for vm in &mut vms {
            vm.addresses = self.shown_addresses(vm.id)?;
        }
        Ok(vms)
    }

    pub fn show_vm(&self, id: Uuid) -> Result<Option<rest::Vm>, StoreError> {
        let found = self
            .transaction
            .prepare_cached(&format!("{VM} WHERE vm.id = ?1"))?
            .query_row(params![id.as_bytes()], vm)
            .optional()?;
        let Some(mut vm) = found else {
            return Ok(None);
        };
        vm.addresses = self.shown_addresses(id)?;
        Ok(Some(vm))
    }

    fn shown_addresses(&self, vm: Uuid) -> Result<Vec<rest::Address>, StoreError> {
        let addresses = self.addresses_with_lengths(vm)?.into_iter();
        Ok(addresses
            .map(|(address, prefix)| rest::Address { address, prefix })
            .collect())
    }

    /// At most `rows` pairs of the network after this id.
    pub fn list_pairs(&self, network: Uuid, after: u64, rows: u32) -> Result<Vec<rest::Pair>, StoreError> {
        let mut query = self.transaction.prepare_cached(
            "SELECT pair.id, source.name, destination.name, pair.carries, pair.since_unix_ms
             FROM pair JOIN vm AS source ON source.id = pair.source
                  JOIN vm AS destination ON destination.id = pair.destination
             WHERE source.network = ?1 AND pair.id > ?2 ORDER BY pair.id LIMIT ?3",
        )?;
        let rows = query
            .query_map(params![network.as_bytes(), number(after), rows], |row| {
                Ok(rest::Pair {
                    id: row.unsigned(0)?,
                    source: row.get(1)?,
                    destination: row.get(2)?,
                    grant: row.get(3)?,
                    since_unix_ms: row.unsigned(4)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    pub fn count_networks(&self) -> Result<u64, StoreError> {
        self.count("SELECT count(*) FROM network")
    }

    pub fn count_vms(&self) -> Result<u64, StoreError> {
        self.count("SELECT count(*) FROM vm")
    }

    pub fn count_pairs(&self) -> Result<u64, StoreError> {
        self.count("SELECT count(*) FROM pair")
    }
}
