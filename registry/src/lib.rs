//! The control service: the only source of truth about hosts, networks, VMs, placements, pairs and keys.
//!
//! ```text
//!   operators ──REST──▶ serve::rest ──▶ manage ──┐                      ┌─▶ audit (same transaction)
//!                                                ├─▶ store (one writer)─┤
//!   agents ───gRPC───▶ serve::grpc ──▶ enrol ────┤                      └─▶ revision ─▶ goal ─▶ agents
//!                                  └─▶ issue ────┘
//!                                  └─▶ standing (receipts and leases, in memory)
//! ```
//!
//! What it guarantees:
//!
//! - What it has acknowledged is on the disk, with its audit row ([`store`]).
//! - A token is made only for a pair that is allowed between two open placements, asked for by the host of
//!   the source VM with that VM's current key ([`issue`]).
//! - A pair id and a generation are never used twice ([`store`], [`inventory::placement`]).
//! - A denial is called applied only when every host that could still deliver has given its receipt or has
//!   no lease any more ([`inventory::fence`]).
//! - Registry time never goes back, and a step of the wall clock changes nothing ([`clock`]).
//! - A host or VM that asks without end is stopped at its quota, and costs the others nothing.
//! - On a full disk pairs can still be denied ([`store`]).
//! - Secret keys and tokens appear in no log, error or audit row; on the disk secret keys are sealed under a
//!   master key that is not in the store ([`vault`]).
//!
//! `inventory` and `issue::judge` decide without store, clock or socket. The registry knows nothing of the
//! kernel side: what a host does with its goal state is the agent's affair.

#![forbid(unsafe_code)]

pub mod audit;
pub mod authority;
pub mod clock;
pub mod enrol;
pub mod goal;
pub mod init;
pub mod inventory;
pub mod issue;
mod lanes;
pub mod manage;
pub mod notify;
mod quota;
mod random;
mod registry;
pub mod renew;
pub mod rescue;
mod serve;
pub mod settings;
pub mod standing;
pub mod store;
pub mod vault;

pub use registry::{Registry, StartError};
pub use serve::{DiskFailed, Running, start};
