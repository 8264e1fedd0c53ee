//! Bytes to claims and back.
//!
//! ```text
//! offset size                                   offset size
//!      0    4  magic "PGT1"                         56   16  destination VM id
//!      4    1  flags                                72   16  source address
//!      5    1  n, grant entries                     88   16  destination address
//!      6    2  destination overlay UDP port        104   16  source host address
//!      8    8  pair id                             120   16  destination host address
//!     16    4  source generation                   136    8  not before, Unix seconds
//!     20    4  destination generation              144    8  expires, Unix seconds
//!     24   16  network id                          152  6*n  grant entries
//!     40   16  source VM id                       then   32  tag
//! ```
//!
//! Integers are big-endian; addresses are IPv6, or IPv4 as `::ffff:a.b.c.d`. A grant entry is protocol u8,
//! 0 u8, first port u16, last port u16.
//!
//! The reader takes fixed-size pieces off the front and never indexes, so no input can reach past its end.

use crate::{Claims, Grant, Grants, MAX_GRANTS, Refusal};
use std::net::{IpAddr, Ipv6Addr};
use uuid::Uuid;

/// Bytes of claims before the grant entries.
pub const FIXED_LEN: usize = 152;
/// Bytes of the tag.
pub const TAG_LEN: usize = 32;
/// Bytes of a token without grant entries.
pub const MIN_TOKEN_LEN: usize = FIXED_LEN + TAG_LEN;
/// Bytes of the longest token that can be valid.
pub const MAX_TOKEN_LEN: usize = MIN_TOKEN_LEN + MAX_GRANTS * GRANT_LEN;

const GRANT_LEN: usize = 6;
const MAGIC: [u8; 4] = *b"PGT1";
const FLAG_REPLIES_ONLY: u8 = 1;

/// The 16 bytes that stand for an address: IPv6, or IPv4 as `::ffff:a.b.c.d`.
pub fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address that 16 bytes stand for.
pub fn address_from_bytes(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// The bytes that the tag covers. The claims obey [`Claims::check`].
pub(crate) fn encode(claims: &Claims) -> Vec<u8> {
    let entries = claims.grants.entries();
    // `Grants` holds at most 16 entries, so the count fits.
    let count = u8::try_from(entries.len()).unwrap_or(u8::MAX);
    let mut bytes = Vec::with_capacity(MIN_TOKEN_LEN + entries.len() * GRANT_LEN);
    bytes.extend(MAGIC);
    bytes.push(if claims.replies_only { FLAG_REPLIES_ONLY } else { 0 });
    bytes.push(count);
    bytes.extend(claims.overlay_port.to_be_bytes());
    bytes.extend(claims.pair_id.to_be_bytes());
    bytes.extend(claims.source_generation.to_be_bytes());
    bytes.extend(claims.destination_generation.to_be_bytes());
    for id in [claims.network, claims.source_vm, claims.destination_vm] {
        bytes.extend(id.into_bytes());
    }
    let guests = [claims.source_address, claims.destination_address];
    let hosts = [claims.source_host, claims.destination_host];
    for address in guests.into_iter().chain(hosts) {
        bytes.extend(address_bytes(address));
    }
    bytes.extend(claims.not_before_unix_secs.to_be_bytes());
    bytes.extend(claims.expires_unix_secs.to_be_bytes());
    for entry in entries {
        bytes.extend([entry.protocol, 0]);
        bytes.extend(entry.first.to_be_bytes());
        bytes.extend(entry.last.to_be_bytes());
    }
    bytes
}

/// Reads claims that have the right length, and refuses everything that [`encode`] would not have written.
pub(crate) fn decode(raw: &RawClaims) -> Result<Claims, Refusal> {
    if raw.magic != MAGIC {
        return Err(Refusal::Magic);
    }
    if raw.flags & !FLAG_REPLIES_ONLY != 0 {
        return Err(Refusal::Flags);
    }
    let claims = Claims {
        replies_only: raw.flags & FLAG_REPLIES_ONLY != 0,
        grants: decode_grants(&raw.entries)?,
        overlay_port: raw.overlay_port,
        pair_id: raw.pair_id,
        source_generation: raw.source_generation,
        destination_generation: raw.destination_generation,
        network: raw.network,
        source_vm: raw.source_vm,
        destination_vm: raw.destination_vm,
        source_address: address_from_bytes(raw.source_address),
        destination_address: address_from_bytes(raw.destination_address),
        source_host: address_from_bytes(raw.source_host),
        destination_host: address_from_bytes(raw.destination_host),
        not_before_unix_secs: raw.not_before_unix_secs,
        expires_unix_secs: raw.expires_unix_secs,
    };
    claims.check()?;
    Ok(claims)
}

fn decode_grants(entries: &[[u8; GRANT_LEN]]) -> Result<Grants, Refusal> {
    // Before the entries are copied: the count byte allows 255.
    if entries.len() > MAX_GRANTS || entries.iter().any(|[_, reserved, ..]| *reserved != 0) {
        return Err(Refusal::Grants);
    }
    let read = |[protocol, _, first_high, first_low, last_high, last_low]: &[u8; GRANT_LEN]| Grant {
        protocol: *protocol,
        first: u16::from_be_bytes([*first_high, *first_low]),
        last: u16::from_be_bytes([*last_high, *last_low]),
    };
    Grants::new(entries.iter().map(read).collect())
}

/// A token taken apart by length alone; nothing in it is believed yet.
#[derive(Clone)]
pub(crate) struct RawClaims {
    magic: [u8; 4],
    flags: u8,
    overlay_port: u16,
    pair_id: u64,
    source_generation: u32,
    pub(crate) destination_generation: u32,
    pub(crate) network: Uuid,
    source_vm: Uuid,
    pub(crate) destination_vm: Uuid,
    source_address: [u8; 16],
    destination_address: [u8; 16],
    source_host: [u8; 16],
    destination_host: [u8; 16],
    not_before_unix_secs: u64,
    expires_unix_secs: u64,
    entries: Vec<[u8; GRANT_LEN]>,
}

/// Takes a token apart, if its length is the one that its count byte demands, whatever that count is.
pub(crate) fn take_apart(token: &[u8]) -> Result<RawClaims, Refusal> {
    let (signed, _) = split_tag(token)?;
    let mut rest = Reader(signed);
    let magic = rest.take()?;
    let [flags, count] = rest.take()?;
    Ok(RawClaims {
        magic,
        flags,
        overlay_port: u16::from_be_bytes(rest.take()?),
        pair_id: u64::from_be_bytes(rest.take()?),
        source_generation: u32::from_be_bytes(rest.take()?),
        destination_generation: u32::from_be_bytes(rest.take()?),
        network: Uuid::from_bytes(rest.take()?),
        source_vm: Uuid::from_bytes(rest.take()?),
        destination_vm: Uuid::from_bytes(rest.take()?),
        source_address: rest.take()?,
        destination_address: rest.take()?,
        source_host: rest.take()?,
        destination_host: rest.take()?,
        not_before_unix_secs: u64::from_be_bytes(rest.take()?),
        expires_unix_secs: u64::from_be_bytes(rest.take()?),
        entries: rest.entries(count)?,
    })
}

/// What the tag covers, and the tag.
pub(crate) fn split_tag(token: &[u8]) -> Result<(&[u8], &[u8; TAG_LEN]), Refusal> {
    token.split_last_chunk().ok_or(Refusal::Length)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (piece, rest) = self.0.split_first_chunk::<N>().ok_or(Refusal::Length)?;
        self.0 = rest;
        Ok(*piece)
    }

    /// The rest, if it is exactly `count` entries.
    fn entries(self, count: u8) -> Result<Vec<[u8; GRANT_LEN]>, Refusal> {
        let (entries, more) = self.0.as_chunks::<GRANT_LEN>();
        if entries.len() != usize::from(count) || !more.is_empty() {
            return Err(Refusal::Length);
        }
        Ok(entries.to_vec())
    }
}
