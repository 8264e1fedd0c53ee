use super::{
    StoreError,
    columns::{self, Columns},
    worker::{Change, View},
};
use crate::{
    audit::{Actor, Event},
    inventory::{Mac, Name, Vm},
};
use rusqlite::{OptionalExtension, params};
use std::net::Ipv4Addr;
use uuid::Uuid;

impl View<'_> {
    pub fn vm(&self, network: Uuid, name: &Name) -> Result<Option<Vm>, StoreError> {
        let found = self
            .transaction
            .prepare_cached("SELECT id, generation FROM vm WHERE network = ?1 AND name = ?2")?
            .query_row(params![network.as_bytes(), name.as_str()], |row| {
                Ok(Vm {
                    id: row.uuid(0)?,
                    name: name.to_string(),
                    generation: row.small(1)?,
                })
            })
            .optional()?;
        Ok(found)
    }

    /// The addresses that guests of the network and hosts have, ascending.
    pub fn addresses_in_use(&self, network: Uuid) -> Result<Vec<Ipv4Addr>, StoreError> {
        let mut query = self.transaction.prepare_cached(
            "SELECT address FROM vm WHERE network = ?1 UNION SELECT address FROM host ORDER BY 1",
        )?;
        let rows = query
            .query_map(params![network.as_bytes()], |row| row.ipv4(0))?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    pub fn address_is_taken(&self, network: Uuid, address: Ipv4Addr) -> Result<bool, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached("SELECT 1 FROM vm WHERE network = ?1 AND address = ?2")?;
        Ok(query.exists(params![network.as_bytes(), columns::v4(address)])?)
    }

    pub fn mac_is_taken(&self, network: Uuid, mac: Mac) -> Result<bool, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached("SELECT 1 FROM vm WHERE network = ?1 AND mac = ?2")?;
        Ok(query.exists(params![network.as_bytes(), mac.bytes()])?)
    }
}

impl Change<'_> {
    pub fn insert_vm(
        &self,
        actor: Actor,
        network: Uuid,
        vm: &Vm,
        address: Ipv4Addr,
        mac: Mac,
    ) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO vm (id, network, name, address, mac, generation) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                vm.id.as_bytes(),
                network.as_bytes(),
                vm.name,
                columns::v4(address),
                mac.bytes(),
                vm.generation
            ],
        )?;
        self.audit(
            actor,
            &Event::VmCreated {
                vm: vm.id,
                network,
                name: &vm.name,
                address,
                mac,
            },
        )
    }
}
