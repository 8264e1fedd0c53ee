//! Between our types and SQLite's.

use rusqlite::{Row, types::Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use uuid::Uuid;

/// SQLite's numbers are signed; times and counts never get near the end, and if one did, the largest number
/// is the safe side for every time we keep (something is remembered longer).
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn address(address: IpAddr) -> [u8; 16] {
    pairgate_token::address_bytes(address)
}

pub(super) fn v4(address: Ipv4Addr) -> [u8; 16] {
    self::address(IpAddr::V4(address))
}

/// Reads columns as our types; what does not fit is an error, never a default.
pub(super) trait Columns {
    fn uuid(&self, column: usize) -> rusqlite::Result<Uuid>;
    fn maybe_uuid(&self, column: usize) -> rusqlite::Result<Option<Uuid>>;
    fn unsigned(&self, column: usize) -> rusqlite::Result<u64>;
    fn small<T: TryFrom<i64>>(&self, column: usize) -> rusqlite::Result<T>;
    fn ip(&self, column: usize) -> rusqlite::Result<IpAddr>;
    fn ipv4(&self, column: usize) -> rusqlite::Result<Ipv4Addr>;
}

impl Columns for Row<'_> {
    fn uuid(&self, column: usize) -> rusqlite::Result<Uuid> {
        self.get(column).map(Uuid::from_bytes)
    }

    fn maybe_uuid(&self, column: usize) -> rusqlite::Result<Option<Uuid>> {
        self.get::<_, Option<[u8; 16]>>(column)
            .map(|bytes| bytes.map(Uuid::from_bytes))
    }

    fn unsigned(&self, column: usize) -> rusqlite::Result<u64> {
        self.small(column)
    }

    fn small<T: TryFrom<i64>>(&self, column: usize) -> rusqlite::Result<T> {
        let value: i64 = self.get(column)?;
        T::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
    }

    fn ip(&self, column: usize) -> rusqlite::Result<IpAddr> {
        let bytes: [u8; 16] = self.get(column)?;
        Ok(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
    }

    fn ipv4(&self, column: usize) -> rusqlite::Result<Ipv4Addr> {
        match self.ip(column)? {
            IpAddr::V4(address) => Ok(address),
            IpAddr::V6(_) => Err(rusqlite::Error::InvalidColumnType(
                column,
                "an IPv4 address".to_owned(),
                Type::Blob,
            )),
        }
    }
}
