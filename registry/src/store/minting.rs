//! The facts that a mint is judged by.

use super::{
    AllowedPair, StoreError,
    columns::{self, Columns},
    placements::secret_key,
    worker::{Change, View},
};
use crate::vault::Belongs;
use pairgate_token::SecretKey;
use rusqlite::{OptionalExtension, params};
use std::net::IpAddr;
use uuid::Uuid;

/// What there is to know about a question. All lookups are always made, whatever the first one found, so that
/// an unknown VM costs what an unknown permission costs.
#[derive(Debug)]
pub struct Facts {
    pub source: Option<SourceFacts>,
    pub destination: Option<DestinationFacts>,
    pub pair: Option<AllowedPair>,
    /// The opposite pair.
    pub back: Option<AllowedPair>,
}

/// A VM of the network, with its placement; a VM without one is not found.
#[derive(Debug)]
pub struct SourceFacts {
    /// Whether the VM has the address that was asked from.
    pub has_address: bool,
    pub host: Uuid,
    pub host_address: IpAddr,
    pub overlay_port: u16,
    pub generation: u32,
    pub secret_key: SecretKey,
    pub open: bool,
}

#[derive(Debug)]
pub struct DestinationFacts {
    pub vm: Uuid,
    pub placed: Option<DestinationPlaced>,
}

#[derive(Debug)]
pub struct DestinationPlaced {
    pub host: Uuid,
    pub host_address: IpAddr,
    pub agent_port: u16,
    pub overlay_port: u16,
    pub generation: u32,
    pub secret_key: SecretKey,
    pub open: bool,
}

impl View<'_> {
    pub fn mint_facts(
        &self,
        network: Uuid,
        source: Uuid,
        [source_address, destination_address]: [IpAddr; 2],
    ) -> Result<Facts, StoreError> {
        let source_facts = self.mint_source(network, source, source_address)?;
        let destination = self.mint_destination(network, destination_address)?;
        let destination_vm = destination.as_ref().map_or(Uuid::nil(), |facts| facts.vm);
        let pair = self.pair(source, destination_vm)?;
        let back = self.pair(destination_vm, source)?;
        Ok(Facts {
            source: source_facts,
            destination,
            pair,
            back,
        })
    }

    fn mint_source(
        &self,
        network: Uuid,
        vm: Uuid,
        address: IpAddr,
    ) -> Result<Option<SourceFacts>, StoreError> {
        let found = self
            .transaction
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM vm_address WHERE vm_address.vm = vm.id AND vm_address.address = ?3),
                        host.id, host.address, placement.generation, placement.sealed_key, placement.open,
                        host.overlay_port
                 FROM vm JOIN placement ON placement.vm = vm.id JOIN host ON host.id = placement.host
                 WHERE vm.network = ?1 AND vm.id = ?2",
            )?
            .query_row(params![network.as_bytes(), vm.as_bytes(), columns::address(address)], |row| {
                let generation = row.small(3)?;
                Ok(SourceFacts {
                    has_address: row.get(0)?,
                    host: row.uuid(1)?,
                    host_address: row.ip(2)?,
                    generation,
                    secret_key: secret_key(row, 4, self.vault, Belongs::Vm { vm, generation })?,
                    open: row.get(5)?,
                    overlay_port: row.small(6)?,
                })
            })
            .optional()?;
        Ok(found)
    }

    fn mint_destination(
        &self,
        network: Uuid,
        address: IpAddr,
    ) -> Result<Option<DestinationFacts>, StoreError> {
        let found = self
            .transaction
            .prepare_cached(
                "SELECT vm.id, host.id, host.address, host.agent_port, host.overlay_port,
                        placement.generation, placement.sealed_key, placement.open
                 FROM vm_address JOIN vm ON vm.id = vm_address.vm
                      LEFT JOIN placement ON placement.vm = vm.id
                      LEFT JOIN host ON host.id = placement.host
                 WHERE vm_address.network = ?1 AND vm_address.address = ?2",
            )?
            .query_row(params![network.as_bytes(), columns::address(address)], |row| {
                let vm = row.uuid(0)?;
                let placed = match row.maybe_uuid(1)? {
                    None => None,
                    Some(host) => {
                        let generation = row.small(5)?;
                        Some(DestinationPlaced {
                            host,
                            host_address: row.ip(2)?,
                            agent_port: row.small(3)?,
                            overlay_port: row.small(4)?,
                            generation,
                            secret_key: secret_key(row, 6, self.vault, Belongs::Vm { vm, generation })?,
                            open: row.get(7)?,
                        })
                    }
                };
                Ok(DestinationFacts { vm, placed })
            })
            .optional()?;
        Ok(found)
    }
}

impl Change<'_> {
    /// Whether no token of this pair was made for these generations before; remembers that one is now.
    pub fn is_first_mint(&self, pair: u64, [source, destination]: [u32; 2]) -> Result<bool, StoreError> {
        let marked = self
            .transaction
            .prepare_cached(
                "UPDATE pair SET minted_source = ?2, minted_destination = ?3
                 WHERE id = ?1 AND (minted_source <> ?2 OR minted_destination <> ?3)",
            )?
            .execute(params![columns::number(pair), source, destination])?;
        Ok(marked == 1)
    }
}
