//! What the registry knows about, and the rules for it, as plain values and functions: no store, no clock, no
//! task.

pub mod address;
pub mod carries;
pub mod facts;
pub mod fence;
pub mod lease;
pub mod mac;
pub mod name;
pub mod placement;
pub mod prefix;

use std::net::IpAddr;
use uuid::Uuid;

pub use address::Family;
pub use carries::Carries;
pub use facts::Facts;
pub use mac::Mac;
pub use name::Name;
pub use prefix::Prefix;

/// Of the guests' interfaces, unless their network says otherwise. The overlay adds 50 bytes to it between IPv4 hosts and 70 between IPv6 hosts, so the
/// underlay must carry 1 550 or 1 570.
pub const GUEST_MTU: u32 = 1500;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub id: Uuid,
    pub name: String,
    /// One or two, of different families.
    pub prefixes: Vec<Prefix>,
    pub facts: Facts,
}

impl Network {
    /// The prefix that an address would have to be in.
    pub fn prefix_of(&self, family: Family) -> Option<Prefix> {
        self.prefixes
            .iter()
            .copied()
            .find(|prefix| prefix.family() == family)
    }
}

/// Most addresses of one VM: what the kernel's entry of a tap has room for.
pub const ADDRESSES_MAX: usize = 8;

/// A host record; `public_key` is there from its enrolment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub id: Uuid,
    pub name: String,
    /// Underlay address, of either family.
    pub address: IpAddr,
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
