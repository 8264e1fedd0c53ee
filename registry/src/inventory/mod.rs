//! What the registry knows about, and the rules for it, as plain values and functions: no store, no clock, no
//! task.

pub mod address;
pub mod fence;
pub mod lease;
pub mod mac;
pub mod name;
pub mod placement;
pub mod prefix;

use std::net::Ipv4Addr;
use uuid::Uuid;

pub use mac::Mac;
pub use name::Name;
pub use prefix::Ipv4Prefix;

/// Of the guests' interfaces. The overlay adds 50 bytes to it, so the underlay must carry 1 550.
pub const GUEST_MTU: u32 = 1500;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub id: Uuid,
    pub name: String,
    pub prefix: Ipv4Prefix,
    pub mtu: u32,
}

/// A host record; `public_key` is there from its enrolment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub id: Uuid,
    pub name: String,
    pub address: Ipv4Addr,
    pub agent_port: u16,
    pub overlay_port: u16,
    /// Subject public key info, DER.
    pub public_key: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    pub id: Uuid,
    pub name: String,
    /// The last number that was burnt for it; 0 if it was never placed.
    pub generation: u32,
}
