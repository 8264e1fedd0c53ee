//! Between our types and SQLite's.

use rusqlite::{Row, types::Type};
use std::{
    error::Error,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};
use uuid::Uuid;

/// SQLite's numbers are signed; times and counts never get near the end, and if one did, the largest number
/// is the safe side for every time we keep (something is remembered longer).
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn address(address: IpAddr) -> [u8; 16] {
    pairgate_token::address_bytes(address)
}

/// Reads columns as our types; what does not fit is an error, never a default.
pub(super) trait Columns {
    fn uuid(&self, column: usize) -> rusqlite::Result<Uuid>;
    fn maybe_uuid(&self, column: usize) -> rusqlite::Result<Option<Uuid>>;
    fn unsigned(&self, column: usize) -> rusqlite::Result<u64>;
    fn small<T: TryFrom<i64>>(&self, column: usize) -> rusqlite::Result<T>;
    fn ip(&self, column: usize) -> rusqlite::Result<IpAddr>;
    fn parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(&self, column: usize) -> rusqlite::Result<T>;
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

    fn parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(&self, column: usize) -> rusqlite::Result<T> {
        let text: String = self.get(column)?;
        let wrong = |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error));
        text.parse().map_err(wrong)
    }
}
