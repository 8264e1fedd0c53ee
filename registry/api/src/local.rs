//! The agent's API on its own host: HTTP over a Unix socket that only root may open.
//!
//! | method and path | answer |
//! |---|---|
//! | GET `/v1/status` | [`AgentStatus`] |
//! | GET `/v1/drops` | [`Drops`] |

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};
use uuid::Uuid;

/// One screen about one host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentStatus {
    pub version: String,
    pub abi_version: u32,
    pub host: String,
    pub host_id: Uuid,
    pub address: IpAddr,
    pub uplink: String,
    /// How the programs hang on interfaces: `TCX` or `clsact`; empty from an agent that does not say.
    #[serde(default)]
    pub hook: String,
    /// Whether the agent follows the registry's goal state now.
    pub registry_connected: bool,
    /// The goal state that is in force; none before the first.
    pub applied_revision: Option<u64>,
    /// Milliseconds until the kernel refuses every pair of this host; 0 when it does already.
    pub lease_left_ms: u64,
    /// Milliseconds until the last pair of this host ends if the registry stays away.
    pub survives_ms: u64,
    pub vms: Vec<LocalVm>,
    pub pairs: Vec<LocalPair>,
    /// Things remembered as dead: pair ids, old generations, removed hosts.
    pub tombstones: u64,
    /// When this host's certificate ends; it is renewed by itself from half of its life on.
    #[serde(default)]
    pub certificate_expires_unix_ms: u64,
    /// The certificate is in its last quarter: it should have been renewed long ago.
    #[serde(default)]
    pub certificate_overdue: bool,
    /// Why the last try to renew it failed; none if none did since it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_why: Option<String>,
    /// The guard in the uplink's driver; none from an agent that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xdp_guard: Option<LocalGuard>,
    /// What the auditor sees on this host that is not as declared and that it cannot put right.
    #[serde(default)]
    pub findings: Vec<AuditFinding>,
    /// What it has found so far, put right or not, by kind; kinds without any are left out.
    #[serde(default)]
    pub found: BTreeMap<String, u64>,
}

/// Whether frames under unknown handles are dropped in the uplink's driver already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalGuard {
    /// `auto`, `on` or `off`.
    pub setting: String,
    pub on: bool,
    /// Why it is not on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// One thing that is not as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFinding {
    /// `pin`, `foreign`, `setting`, `device`, `guard`; the word of the metric.
    pub kind: String,
    /// A sentence that names it, and often the command that helps.
    pub what: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalVm {
    pub id: Uuid,
    pub name: String,
    pub network: String,
    pub addresses: Vec<IpAddr>,
    pub generation: u32,
    pub tap: String,
    /// `guarded` when both programs are attached and the tap is up; `absent` while a tap that other hands make is
    /// not there.
    pub state: String,
    /// What the guest is told when it asks, besides its addresses: the router of its IPv4 network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Bytes; 0 from an agent that does not say.
    #[serde(default)]
    pub mtu: u32,
    /// The last answer of each protocol since the agent has started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<LocalAnswer>,
}

/// What a guest was told about its configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalAnswer {
    /// `dhcpv4`, `dhcpv6` or `router`.
    pub protocol: String,
    /// `offer`, `ack`, `nak`, `advertise`, `reply` or `advertisement`.
    pub answer: String,
    /// By the host's clock.
    pub at_unix_ms: u64,
}

/// One kernel entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalPair {
    pub pair_id: u64,
    /// `in` or `out`.
    pub way: String,
    pub source: Uuid,
    pub destination: Uuid,
    /// Where its packets come from or go to.
    pub peer_host: IpAddr,
    /// Milliseconds until its deadline; 0 when it has passed.
    pub left_ms: u64,
    /// What the token said that opened it. The tag is not kept; none if an agent before this one opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<TokenClaims>,
}

/// A token's claims, as `pairgate token inspect` prints them too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaims {
    /// 1 = replies only.
    pub flags: u8,
    /// Where the destination host receives the overlay.
    pub dst_port: u16,
    /// May exceed 2^53.
    pub pair_id: u64,
    pub src_generation: u32,
    pub dst_generation: u32,
    pub network: Uuid,
    pub src_vm: Uuid,
    pub dst_vm: Uuid,
    pub src_addr: IpAddr,
    pub dst_addr: IpAddr,
    pub src_host: IpAddr,
    pub dst_host: IpAddr,
    /// Unix seconds.
    pub not_before: u64,
    /// Unix seconds.
    pub expires: u64,
    /// Empty = everything.
    pub grants: Vec<GrantClaim>,
}

/// One protocol, and for TCP, UDP and SCTP a range of destination ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantClaim {
    pub protocol: u8,
    pub first: u16,
    pub last: u16,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drops {
    pub drops: Vec<DropCount>,
    pub passed: Vec<PassCount>,
}

/// Packets dropped for one reason; only counts above zero are listed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DropCount {
    /// The guest's name, or none for what belongs to no guest.
    pub vm: Option<String>,
    pub network: Option<String>,
    /// `from_tap`, `from_uplink` or `to_tap`.
    pub direction: String,
    /// The reason's fixed word.
    pub reason: String,
    /// The reason in a sentence.
    pub meaning: String,
    pub packets: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PassCount {
    pub vm: Option<String>,
    pub network: Option<String>,
    pub direction: String,
    pub packets: u64,
    pub bytes: u64,
}
