use super::{
    StoreError,
    columns::{Columns, number},
    worker::{Change, View},
};
use crate::{
    audit::{Actor, Event},
    inventory::{
        Facts,
        placement::{Fence, Placed},
    },
    vault::{Belongs, SEALED_LEN, Vault},
};
use pairgate_token::SecretKey;
use rusqlite::{OptionalExtension, Row, params, types::Type};
use std::{collections::HashMap, net::IpAddr};
use uuid::Uuid;

/// A generation that begins.
#[derive(Debug)]
pub struct NewPlacement<'a> {
    pub vm: Uuid,
    pub host: Uuid,
    pub generation: u32,
    pub secret_key: &'a SecretKey,
    pub tap: &'a str,
    /// Open if there are none.
    pub fences: &'a [Fence],
    /// How long the generations below are remembered as dead.
    pub floor_until_unix_ms: u64,
}

/// A placement that is not open yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub vm: Uuid,
    pub host: Uuid,
    pub generation: u32,
    pub fences: Vec<Fence>,
}

/// A VM by the names that operators use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedVm {
    pub name: String,
    pub network: String,
}

/// Everything that one host should know, on one snapshot.
#[derive(Debug)]
pub struct Goal {
    pub revision: u64,
    pub vms: Vec<GoalVm>,
    pub dead_pairs: Vec<u64>,
    /// VM, and the generation below which everything is dead.
    pub floors: Vec<(Uuid, u32)>,
    pub dead_hosts: Vec<Uuid>,
}

#[derive(Debug)]
pub struct GoalVm {
    pub id: Uuid,
    pub name: String,
    pub network: Uuid,
    pub network_name: String,
    pub mac: [u8; 6],
    /// With the length of the network's prefix of their family.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Of its network.
    pub facts: Facts,
    pub generation: u32,
    pub secret_key: SecretKey,
    pub tap: String,
}

impl View<'_> {
    pub fn placed(&self, vm: Uuid) -> Result<Option<Placed>, StoreError> {
        let found = self
            .transaction
            .prepare_cached("SELECT host, open FROM placement WHERE vm = ?1")?
            .query_row(params![vm.as_bytes()], |row| {
                Ok(Placed {
                    host: row.uuid(0)?,
                    open: row.get(1)?,
                })
            })
            .optional()?;
        Ok(found)
    }

    pub fn fences(&self, vm: Uuid) -> Result<Vec<Fence>, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached("SELECT host, revision FROM fence WHERE vm = ?1 ORDER BY host")?;
        let rows = query
            .query_map(params![vm.as_bytes()], |row| {
                Ok(Fence {
                    host: row.uuid(0)?,
                    revision: row.unsigned(1)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// The VMs whose placement is on this host, open or waiting.
    pub fn placed_on(&self, host: Uuid) -> Result<Vec<PlacedVm>, StoreError> {
        self.placed_vms(
            "SELECT vm.name, network.name FROM placement JOIN vm ON vm.id = placement.vm
                  JOIN network ON network.id = vm.network
             WHERE placement.host = ?1 ORDER BY network.name, vm.name",
            host,
        )
    }

    /// The VMs that wait elsewhere until this host can act for them no more.
    pub fn fenced_on(&self, host: Uuid) -> Result<Vec<PlacedVm>, StoreError> {
        self.placed_vms(
            "SELECT vm.name, network.name FROM fence JOIN vm ON vm.id = fence.vm
                  JOIN network ON network.id = vm.network
             WHERE fence.host = ?1 ORDER BY network.name, vm.name",
            host,
        )
    }

    fn placed_vms(&self, sql: &str, host: Uuid) -> Result<Vec<PlacedVm>, StoreError> {
        let mut query = self.transaction.prepare_cached(sql)?;
        let rows = query
            .query_map(params![host.as_bytes()], |row| {
                Ok(PlacedVm {
                    name: row.get(0)?,
                    network: row.get(1)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// The tap names on a host that belong to other VMs than this one.
    pub fn taps_of_others(&self, host: Uuid, vm: Uuid) -> Result<Vec<String>, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached("SELECT tap FROM placement WHERE host = ?1 AND vm <> ?2")?;
        let rows = query
            .query_map(params![host.as_bytes(), vm.as_bytes()], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    pub fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        let mut query = self
            .transaction
            .prepare_cached("SELECT vm, host, generation FROM placement WHERE open = 0 ORDER BY vm")?;
        let mut waiting: Vec<Waiting> = query
            .query_map([], |row| {
                Ok(Waiting {
                    vm: row.uuid(0)?,
                    host: row.uuid(1)?,
                    generation: row.small(2)?,
                    fences: Vec::new(),
                })
            })?
            .collect::<Result<_, _>>()?;
        for placement in &mut waiting {
            placement.fences = self.fences(placement.vm)?;
        }
        Ok(waiting)
    }

    pub fn goal(&self, host: Uuid) -> Result<Goal, StoreError> {
        let mut dead_pairs = self
            .transaction
            .prepare_cached("SELECT id FROM dead_pair ORDER BY id")?;
        let mut floors = self
            .transaction
            .prepare_cached("SELECT vm, generation FROM floor ORDER BY vm")?;
        let mut dead_hosts = self
            .transaction
            .prepare_cached("SELECT id FROM dead_host ORDER BY id")?;
        Ok(Goal {
            revision: self.current_revision()?,
            vms: self.goal_vms(host)?,
            dead_pairs: dead_pairs
                .query_map([], |row| row.unsigned(0))?
                .collect::<Result<_, _>>()?,
            floors: floors
                .query_map([], |row| Ok((row.uuid(0)?, row.small(1)?)))?
                .collect::<Result<_, _>>()?,
            dead_hosts: dead_hosts
                .query_map([], |row| row.uuid(0))?
                .collect::<Result<_, _>>()?,
        })
    }

    fn goal_vms(&self, host: Uuid) -> Result<Vec<GoalVm>, StoreError> {
        let mut query = self.transaction.prepare_cached(
            "SELECT vm.id, vm.name, network.id, network.name, vm.mac,
                    placement.generation, placement.sealed_key, placement.tap
             FROM placement JOIN vm ON vm.id = placement.vm JOIN network ON network.id = vm.network
             WHERE placement.host = ?1 AND placement.open = 1 ORDER BY vm.id",
        )?;
        let mut vms: Vec<GoalVm> = query
            .query_map(params![host.as_bytes()], |row| goal_vm(row, self.vault))?
            .collect::<Result<_, _>>()?;
        let mut known: HashMap<Uuid, Facts> = HashMap::new();
        for vm in &mut vms {
            vm.addresses = self.addresses_with_lengths(vm.id)?;
            vm.facts = match known.get(&vm.network) {
                Some(facts) => Facts::clone(facts),
                None => {
                    let facts = self.facts(vm.network, &self.prefixes(vm.network)?)?;
                    known.entry(vm.network).or_insert(facts).clone()
                }
            };
        }
        Ok(vms)
    }
}

fn goal_vm(row: &Row<'_>, vault: &Vault) -> rusqlite::Result<GoalVm> {
    let (vm, generation) = (row.uuid(0)?, row.small(5)?);
    Ok(GoalVm {
        id: vm,
        name: row.get(1)?,
        network: row.uuid(2)?,
        network_name: row.get(3)?,
        mac: row.get(4)?,
        addresses: Vec::new(),
        facts: Facts::of(&[]),
        generation,
        secret_key: secret_key(row, 6, vault, Belongs::Vm { vm, generation })?,
        tap: row.get(7)?,
    })
}

pub(super) fn secret_key(
    row: &Row<'_>,
    column: usize,
    vault: &Vault,
    belongs: Belongs,
) -> rusqlite::Result<SecretKey> {
    let sealed: [u8; SEALED_LEN] = row.get(column)?;
    vault
        .open(belongs, &sealed)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error)))
}

impl Change<'_> {
    /// Ends whatever generation there was and begins this one.
    pub fn place(&self, actor: Actor, new: &NewPlacement<'_>) -> Result<(), StoreError> {
        self.transaction.execute(
            "UPDATE vm SET generation = ?2 WHERE id = ?1",
            params![new.vm.as_bytes(), new.generation],
        )?;
        let belongs = Belongs::Vm {
            vm: new.vm,
            generation: new.generation,
        };
        let sealed = self.vault.seal(belongs, new.secret_key)?;
        self.transaction.execute(
            "INSERT INTO placement (vm, host, generation, sealed_key, tap, open) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (vm) DO UPDATE SET host = excluded.host, generation = excluded.generation,
                 sealed_key = excluded.sealed_key, tap = excluded.tap, open = excluded.open",
            params![
                new.vm.as_bytes(),
                new.host.as_bytes(),
                new.generation,
                sealed,
                new.tap,
                new.fences.is_empty()
            ],
        )?;
        self.transaction
            .execute("DELETE FROM fence WHERE vm = ?1", params![new.vm.as_bytes()])?;
        for fence in new.fences {
            self.transaction.execute(
                "INSERT INTO fence (vm, host, revision) VALUES (?1, ?2, ?3)",
                params![new.vm.as_bytes(), fence.host.as_bytes(), number(fence.revision)],
            )?;
        }
        if new.generation > 1 {
            self.raise_floor(new.vm, new.generation, new.floor_until_unix_ms)?;
        }
        self.audit(
            actor,
            &Event::VmPlaced {
                vm: new.vm,
                host: new.host,
                generation: new.generation,
                tap: new.tap,
                waits_for: new.fences.iter().map(|fence| fence.host).collect(),
            },
        )
    }

    /// Everything of the VM below this generation is dead.
    pub(super) fn raise_floor(
        &self,
        vm: Uuid,
        generation: u32,
        until_unix_ms: u64,
    ) -> Result<(), StoreError> {
        self.transaction.execute(
            "INSERT INTO floor (vm, generation, until_unix_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (vm) DO UPDATE SET generation = excluded.generation,
                 until_unix_ms = max(until_unix_ms, excluded.until_unix_ms)",
            params![vm.as_bytes(), generation, number(until_unix_ms)],
        )?;
        Ok(())
    }

    /// Lets a waiting placement begin; the caller has judged its fences in this same change.
    pub fn open_placement(&self, waiting: &Waiting) -> Result<(), StoreError> {
        self.transaction
            .execute("DELETE FROM fence WHERE vm = ?1", params![waiting.vm.as_bytes()])?;
        self.transaction.execute(
            "UPDATE placement SET open = 1 WHERE vm = ?1",
            params![waiting.vm.as_bytes()],
        )?;
        self.audit(
            Actor::Registry,
            &Event::PlacementOpened {
                vm: waiting.vm,
                host: waiting.host,
                generation: waiting.generation,
            },
        )
    }
}
