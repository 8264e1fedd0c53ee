//! What operators see, in the shapes of the REST API. Every list is in the order of names or ids.

use super::{StoreError, columns::Columns, worker::View};
use crate::inventory::Mac;
use pairgate_api::rest;
use rusqlite::{OptionalExtension, Row, params};
use std::net::Ipv4Addr;
use uuid::Uuid;

const VM: &str = "SELECT vm.id, vm.name, network.name, vm.address, prefix.length, vm.mac, network.mtu,
        host.name, placement.generation, placement.tap, placement.open
    FROM vm JOIN network ON network.id = vm.network
        JOIN prefix ON prefix.network = network.id AND prefix.family = 4
        LEFT JOIN placement ON placement.vm = vm.id
        LEFT JOIN host ON host.id = placement.host";

fn vm(row: &Row<'_>) -> rusqlite::Result<rest::Vm> {
    let host: Option<String> = row.get(7)?;
    let placement = match host {
        None => None,
        Some(host) => Some(rest::Placement {
            host,
            generation: row.small(8)?,
            tap: row.get(9)?,
            state: if row.get(10)? { "open" } else { "waiting" }.to_owned(),
        }),
    };
    let mac = Mac::new(row.get(5)?).map_err(|_| rusqlite::Error::InvalidQuery)?;
    Ok(rest::Vm {
        id: row.uuid(0)?,
        name: row.get(1)?,
        network: row.get(2)?,
        address: row.ip(3)?,
        prefix: row.small(4)?,
        mac: mac.to_string(),
        mtu: row.small(6)?,
        placement,
    })
}

impl View<'_> {
    pub fn list_networks(&self) -> Result<Vec<rest::Network>, StoreError> {
        let mut query = self.transaction.prepare_cached(
            "SELECT network.id, network.name, prefix.address, prefix.length, network.mtu
             FROM network JOIN prefix ON prefix.network = network.id ORDER BY network.name, prefix.family",
        )?;
        let rows = query
            .query_map([], |row| {
                let address: Ipv4Addr = row.ipv4(2)?;
                Ok(rest::Network {
                    id: row.uuid(0)?,
                    name: row.get(1)?,
                    prefixes: vec![format!("{address}/{}", row.unsigned(3)?)],
                    mtu: row.small(4)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    pub fn list_vms(&self, network: Uuid) -> Result<Vec<rest::Vm>, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached(&format!("{VM} WHERE network.id = ?1 ORDER BY vm.name"))?;
        let rows = query
            .query_map(params![network.as_bytes()], vm)?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    pub fn show_vm(&self, id: Uuid) -> Result<Option<rest::Vm>, StoreError> {
        let found = self
            .transaction
            .prepare_cached(&format!("{VM} WHERE vm.id = ?1"))?
            .query_row(params![id.as_bytes()], vm)
            .optional()?;
        Ok(found)
    }

    pub fn list_pairs(&self, network: Uuid) -> Result<Vec<rest::Pair>, StoreError> {
        let mut query = self.transaction.prepare_cached(
            "SELECT pair.id, source.name, destination.name, pair.since_unix_ms
             FROM pair JOIN vm AS source ON source.id = pair.source
                  JOIN vm AS destination ON destination.id = pair.destination
             WHERE source.network = ?1 ORDER BY pair.id",
        )?;
        let rows = query
            .query_map(params![network.as_bytes()], |row| {
                Ok(rest::Pair {
                    id: row.unsigned(0)?,
                    source: row.get(1)?,
                    destination: row.get(2)?,
                    grant: "all".to_owned(),
                    since_unix_ms: row.unsigned(3)?,
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
