//! The operators' REST API, all under `/api/v1`. JSON in and out; unknown fields are refused.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | GET `/status` | | [`Status`] |
//! | GET `/audit` | [`AuditQuery`] | [`crate::audit::Page`] |
//! | GET, POST `/networks` | [`NewNetwork`] | `Vec<`[`Network`]`>`, [`Network`] |
//! | GET, PATCH, DELETE `/networks/{network}` | [`NetworkChange`] | [`Network`] |
//! | GET, POST `/hosts` | [`NewHost`] | `Vec<`[`Host`]`>`, [`Host`] |
//! | GET, DELETE `/hosts/{host}` | | [`Host`], [`RemovedHost`] |
//! | POST `/hosts/{host}/reset` | | [`Host`] |
//! | GET, POST `/zero-certificates` | [`NewZero`] | `Vec<`[`Zero`]`>`, [`IssuedZero`] |
//! | POST `/zero-certificates/{id}/revocation` | | [`Zero`] |
//! | GET, POST `/operators` | [`NewOperator`] | `Vec<`[`Operator`]`>`, [`IssuedOperator`] |
//! | POST `/operators/{id}/revocation` | | [`Operator`] |
//! | GET, POST `/networks/{network}/vms` | [`NewVm`] | `Vec<`[`Vm`]`>`, [`Vm`] |
//! | GET, DELETE `/networks/{network}/vms/{vm}` | [`WaitQuery`] | [`Vm`], [`Denial`] |
//! | PUT `/networks/{network}/vms/{vm}/addresses` | [`NewAddresses`] | [`Readdressed`] |
//! | GET `/networks/{network}/vms/{vm}/pairs` | | `Vec<`[`Pair`]`>` |
//! | POST `/networks/{network}/vms/{vm}/placement` | [`NewPlacement`] | [`Vm`] |
//! | GET, POST `/networks/{network}/pairs` | [`NewPair`] | `Vec<`[`Pair`]`>`, [`Allowed`] |
//! | POST `/networks/{network}/denials` | [`NewDenial`] | [`Denial`] |
//!
//! A refusal is an HTTP status with a [`Problem`] (RFC 9457, `application/problem+json`).

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

/// Which rows of the audit are asked for.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only rows with a higher number: the last one of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only rows from this instant on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// Rows at most; 100 unless given, never more than 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which part of a list is asked for. The answer's `Link` header has the address of the next part, if there is one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Entries at most, 1 to 1000; 1000 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the part before ended, as its `Link` header says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What went wrong, for people and programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A word for programs, never renamed: `not_found`, `exists`, `invalid`, `conflict`, `changed`,
    /// `key_reused`, `too_many`, `forbidden`, `unavailable`, `internal`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status, once more.
    pub status: u16,
    /// What failed.
    pub title: String,
    /// Why, and what to do next.
    pub detail: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewNetwork {
    pub name: String,
    /// At most one of each family, such as `10.77.0.0/24`.
    pub prefixes: Vec<String>,
    /// Router of the IPv4 guests, an address of the IPv4 prefix; its first one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers of the guests, at most 4, in the order of preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub dns: Vec<IpAddr>,
    /// DNS search domain, such as `corp.example`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Of the guests' interfaces, 1280 to 9000; 1500 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// What guests are to be told from now on; what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NetworkChange {
    /// Router of the IPv4 guests, an address of the IPv4 prefix that no VM has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub gateway: Option<Ipv4Addr>,
    /// All DNS servers of the guests, at most 4; an empty list takes them away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>))]
    pub dns: Option<Vec<IpAddr>>,
    /// DNS search domain, such as `corp.example`; the empty text takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Of the guests' interfaces, 1280 to 9000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Network {
    pub id: Uuid,
    pub name: String,
    pub prefixes: Vec<String>,
    /// Router of the IPv4 guests; none without an IPv4 prefix.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub gateway: Option<Ipv4Addr>,
    /// DNS servers of the guests, in the order of preference.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub dns: Vec<IpAddr>,
    /// DNS search domain of the guests.
    #[serde(default)]
    pub domain: Option<String>,
    /// Of the guests' interfaces, in bytes.
    pub mtu: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewHost {
    pub name: String,
    /// Underlay address.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: IpAddr,
    /// Where peers reach the agent; 7444 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_port: Option<u16>,
    /// Where the host receives the overlay; 4789 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay_port: Option<u16>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Host {
    pub id: Uuid,
    pub name: String,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: IpAddr,
    pub agent_port: u16,
    pub overlay_port: u16,
    /// `waiting` until the host has enrolled, then `enrolled`.
    pub state: String,
    /// Whether its agent follows the goal state now.
    pub connected: bool,
    /// Highest revision that the host has given a receipt for, since the registry started.
    pub applied_revision: Option<u64>,
    /// Latest instant, Unix milliseconds by registry time, at which a lease granted to it can still hold;
    /// none if none can.
    pub lease_ends_unix_ms: Option<u64>,
}

/// A host that is no more; its certificate is refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RemovedHost {
    pub id: Uuid,
    pub name: String,
    /// The goal state that tells the others.
    pub revision: u64,
    /// Latest instant at which its last lease ends, Unix milliseconds by registry time; none if it holds none. No VM
    /// was placed there any more.
    pub lease_ends_unix_ms: Option<u64>,
}

impl Host {
    /// A `state`: its agent has a certificate.
    pub const ENROLLED: &str = "enrolled";
}

/// A zero certificate: good for enrolling hosts, and for nothing else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewZero {
    /// Who gets it; of the form of a name.
    pub owner: String,
    /// PKCS #10 in PEM, Ed25519 or P-256; only its public key is used, and the private key stays with its owner.
    pub signing_request: String,
    /// Enrolments that it is good for; 1 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// Seconds, 60 to 2592000; one day unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_secs: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Zero {
    pub id: Uuid,
    pub owner: String,
    pub expires_unix_ms: u64,
    pub uses_left: u32,
    pub revoked: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssuedZero {
    pub zero: Zero,
    pub certificate_pem: String,
    /// The installation's CA.
    pub authority_pem: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewOperator {
    /// Who gets it; of the form of a name.
    pub owner: String,
    /// PKCS #10 in PEM, Ed25519 or P-256; only its public key is used, and the private key stays with its owner.
    pub signing_request: String,
    /// Seconds, 60 to 31536000; 90 days unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_secs: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Operator {
    pub id: Uuid,
    pub owner: String,
    pub expires_unix_ms: u64,
    pub revoked: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssuedOperator {
    pub operator: Operator,
    pub certificate_pem: String,
    /// The installation's CA.
    pub authority_pem: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewVm {
    pub name: String,
    /// At most 8, of the network's prefixes; if there are none, the registry chooses one of each prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub addresses: Vec<IpAddr>,
    /// Such as `02:00:00:00:00:01`; chosen by the registry if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Vm {
    pub id: Uuid,
    pub name: String,
    pub network: String,
    /// IPv4 first.
    pub addresses: Vec<Address>,
    pub mac: String,
    pub mtu: u32,
    pub placement: Option<Placement>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Address {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: IpAddr,
    /// Length of the network's prefix of that family, in bits.
    pub prefix: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewAddresses {
    /// All that the VM is to have, 1 to 8.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub addresses: Vec<IpAddr>,
    /// How long to wait for the hosts' receipts, at most 300 000; unless given, it answers as soon as the change is
    /// durable.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Readdressed {
    pub vm: Vm,
    /// What was allowed with the addresses before; no directions if they are the same.
    pub ended: Denial,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Placement {
    pub host: String,
    pub generation: u32,
    /// Interface name on that host.
    pub tap: String,
    /// `open`, or `waiting` until the host of the generation before can no longer deliver.
    pub state: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewPlacement {
    pub host: String,
}

/// Allows both directions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewPair {
    pub source: String,
    pub destination: String,
    /// Such as `tcp/443`, `udp/1000-2000`, `sctp/9`, `tcp`, `icmp` (protocols 1 and 58), `proto/47`; at most 16 once
    /// sorted and merged. None, or `all` alone, is everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grant: Vec<String>,
    /// The destination may only answer what the source began.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_way: bool,
    /// How long to wait for the hosts' receipts where another grant ends what was allowed, at most 300 000. Of it, at
    /// most a second also until the VMs' hosts have heard of what is new; that they have not is no failure. Unless
    /// given, it answers as soon as the change is durable.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout_ms: u64,
}

/// What is allowed now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Allowed {
    pub pairs: Vec<Pair>,
    /// What another grant has ended; no directions if nothing was allowed before, or the same.
    pub ended: Denial,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// One direction that is allowed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pair {
    /// Never used twice; may exceed 2^53.
    pub id: u64,
    pub source: String,
    pub destination: String,
    /// What it carries: `all`, entries such as `tcp/443,udp/53`, or `replies`.
    pub grant: String,
    pub since_unix_ms: u64,
}

/// Longest wait for receipts in one request, in seconds. Whoever wants to wait longer asks again.
pub const DENIAL_WAIT_MAX_SECS: u64 = 300;

/// Ends both directions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewDenial {
    pub source: String,
    pub destination: String,
    /// How long to wait for the hosts' receipts, at most 300 000; 0 answers as soon as the
    /// denial is durable.
    pub timeout_ms: u64,
}

/// How long to wait, where there is no body to say it in.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// How long to wait for the hosts' receipts, at most 300 000; unless given, it answers as soon as the change is
    /// durable.
    #[serde(default)]
    pub timeout_ms: u64,
}

/// What has ended: pairs that were denied, or that ended with a grant, an address or a VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Denial {
    /// Whether every direction has ended for certain.
    pub applied: bool,
    /// The goal state that carries the denial.
    pub revision: u64,
    pub directions: Vec<DeniedDirection>,
    /// The sources' hosts: told, but not waited for.
    pub told: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeniedDirection {
    pub pair_id: u64,
    pub source: String,
    pub destination: String,
    /// The host whose word counts: where the destination VM is placed; none if it is placed nowhere.
    pub host: Option<String>,
    /// `applied`, `lease_ended`, `not_placed` or `unanswered`.
    pub state: String,
    /// When the host applied it, Unix milliseconds by registry time.
    pub applied_unix_ms: Option<u64>,
    /// Packets queued to the guest before the denial and not yet read by it.
    pub undrained: u64,
    /// When this host's lease ends, if it has not answered.
    pub lease_ends_unix_ms: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    pub version: String,
    pub installation: Uuid,
    pub revision: u64,
    /// Registry time.
    pub unix_ms: u64,
    /// How far the wall clock of the registry's machine is ahead of registry time; 5 000 or more either way is a
    /// fault of that machine.
    pub wall_clock_ahead_ms: i64,
    /// Whether nothing is written any more but what the disk's reserve is kept for: denials, moves, removals.
    pub disk_is_full: bool,
    pub token_life_secs: u64,
    pub lease_secs: u64,
    pub hosts: Vec<Host>,
    pub networks: u64,
    pub vms: u64,
    /// Directions allowed.
    pub pairs: u64,
}
