//! What registry, agents and operators say to each other.
//!
//! [`audit`]: what was done, checkable. [`grpc`]: agents with the registry and with each other. [`rest`]: operators and programs with the
//! registry. [`local`]: the CLI with the agent of its own host, over a Unix socket. [`routes`]: which role
//! may call what.

pub mod audit;
mod hexadecimal;
pub mod local;
pub mod rest;
pub mod routes;

/// Generated from `proto/pairgate.proto`. Messages that carry secret keys or tokens must not be printed, so
/// none of these types implements `Debug`.
#[expect(
    missing_debug_implementations,
    reason = "left out on purpose: some messages carry secret keys"
)]
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod grpc {
    tonic::include_proto!("pairgate.v1");
}

/// Version of what agents, registry and operators say to each other: the `v1` of `pairgate.v1` and `/api/v1`.
pub const PROTOCOL: u32 = 1;

/// Where the registry listens unless told otherwise.
pub const REGISTRY_PORT: u16 = 7443;
/// Where agents listen for each other unless the host record says otherwise.
pub const AGENT_PORT: u16 = 7444;
/// Where hosts receive the overlay unless the host record says otherwise (RFC 7348).
pub const OVERLAY_PORT: u16 = 4789;
