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
use std::net::IpAddr;
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
    pub fn addresses_in_use(&self, network: Uuid) -> Result<Vec<IpAddr>, StoreError> {
        let mut query = self.transaction.prepare_cached(
            "SELECT address FROM vm_address WHERE network = ?1 UNION SELECT address FROM host ORDER BY 1",
        )?;
        let rows = query
            .query_map(params![network.as_bytes()], |row| row.ip(0))?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// In the order of their 16 bytes, so IPv4 first.
    pub fn addresses(&self, vm: Uuid) -> Result<Vec<IpAddr>, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached("SELECT address FROM vm_address WHERE vm = ?1 ORDER BY address")?;
        let rows = query
            .query_map(params![vm.as_bytes()], |row| row.ip(0))?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// The same, each with the length of the network's prefix of its family.
    pub(super) fn addresses_with_lengths(&self, vm: Uuid) -> Result<Vec<(IpAddr, u8)>, StoreError> {
        // IPv4 is what begins as ::ffff:0:0/96 does.
        let mut query = self.transaction.prepare_cached(
            "SELECT vm_address.address, prefix.length
             FROM vm_address JOIN prefix ON prefix.network = vm_address.network AND prefix.family =
                  CASE substr(vm_address.address, 1, 12) WHEN x'00000000000000000000ffff' THEN 4 ELSE 6 END
             WHERE vm_address.vm = ?1 ORDER BY vm_address.address",
        )?;
        let rows = query
            .query_map(params![vm.as_bytes()], |row| Ok((row.ip(0)?, row.small(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    pub fn address_is_taken(&self, network: Uuid, address: IpAddr) -> Result<bool, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached("SELECT 1 FROM vm_address WHERE network = ?1 AND address = ?2")?;
        Ok(query.exists(params![network.as_bytes(), columns::address(address)])?)
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
        addresses: &[IpAddr],
        mac: Mac,
    ) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO vm (id, network, name, mac, generation) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                vm.id.as_bytes(),
                network.as_bytes(),
                vm.name,
                mac.bytes(),
                vm.generation
            ],
        )?;
        self.insert_addresses(network, vm.id, addresses)?;
        self.audit(
            actor,
            &Event::VmCreated {
                vm: vm.id,
                network,
                name: &vm.name,
                addresses: addresses.to_vec(),
                mac,
            },
        )
    }

    /// Takes all addresses from the VM; the caller gives it others in this same change.
    pub fn release_addresses(&self, vm: Uuid) -> Result<(), StoreError> {
        self.transaction
            .execute("DELETE FROM vm_address WHERE vm = ?1", params![vm.as_bytes()])?;
        Ok(())
    }

    /// Gives addresses to a VM that has none.
    pub fn set_addresses(
        &self,
        actor: Actor,
        network: Uuid,
        vm: Uuid,
        addresses: &[IpAddr],
    ) -> Result<(), StoreError> {
        self.revision()?;
        self.insert_addresses(network, vm, addresses)?;
        let addresses = addresses.to_vec();
        self.audit(actor, &Event::VmReaddressed { vm, addresses })
    }

    fn insert_addresses(&self, network: Uuid, vm: Uuid, addresses: &[IpAddr]) -> Result<(), StoreError> {
        for address in addresses {
            self.transaction.execute(
                "INSERT INTO vm_address (network, address, vm) VALUES (?1, ?2, ?3)",
                params![network.as_bytes(), columns::address(*address), vm.as_bytes()],
            )?;
        }
        Ok(())
    }

    /// Removes a VM that has no pairs any more, with its placement; all its generations are dead from here on.
    pub fn remove_vm(&self, actor: Actor, vm: &Vm, floor_until_unix_ms: u64) -> Result<(), StoreError> {
        self.revision()?;
        self.release_addresses(vm.id)?;
        for sql in [
            "DELETE FROM fence WHERE vm = ?1",
            "DELETE FROM placement WHERE vm = ?1",
            "DELETE FROM vm WHERE id = ?1",
        ] {
            self.transaction.execute(sql, params![vm.id.as_bytes()])?;
        }
        if vm.generation > 0 {
            self.raise_floor(vm.id, vm.generation.saturating_add(1), floor_until_unix_ms)?;
        }
        let name = &vm.name;
        self.audit(actor, &Event::VmRemoved { vm: vm.id, name })
    }
}
