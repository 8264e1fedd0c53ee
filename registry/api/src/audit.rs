//! The audit as it is read, and how each row vouches for the one before it.
//!
//! ```text
//!   row 1: previous = 0…0        row 2: previous = H(row 1)        row 3: previous = H(row 2)     head = H(row 3)
//! ```
//!
//! `H(row) = SHA-256("pairgate/audit/v1" ‖ 0x00 ‖ previous (32 bytes) ‖ number u64 ‖ unix_ms u64 ‖ actor ‖ event ‖
//! detail)`, each text as u64 length and UTF-8 bytes, integers big-endian. So a hash that was noted once vouches for
//! every row up to it: whoever changes, cuts out or adds a row afterwards must change every later hash too, and
//! the head with them, and cannot change what was noted elsewhere.
//!
//! The registry writes with [`hash`]; a reader checks with [`Chain`] and believes nothing that the registry
//! says of its own rows.

use crate::hexadecimal::{decode, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub const HASH_LEN: usize = 32;
pub type Hash = [u8; HASH_LEN];
/// What the first row says of the row before it.
pub const BEGINNING: Hash = [0; HASH_LEN];

const DOMAIN: &[u8] = b"pairgate/audit/v1\0";

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AuditRow))]
pub struct Row {
    /// Counts from 1 without a gap.
    pub number: u64,
    /// Registry time.
    pub unix_ms: u64,
    /// `registry`, or a role and the id of a certificate, such as `operator:8f0e…`.
    pub actor: String,
    /// What was done; a word that is never renamed.
    pub event: String,
    /// A JSON object as the very text that the hash covers.
    pub detail: String,
    /// Hash of the row before, 64 hexadecimal digits.
    pub previous: String,
}

/// The newest row and its hash: worth noting somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AuditHead))]
pub struct Head {
    /// 0 if there is no row.
    pub number: u64,
    /// 64 hexadecimal digits.
    pub hash: String,
}

/// A part of the audit, in the order of the numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AuditPage))]
pub struct Page {
    pub rows: Vec<Row>,
    pub head: Head,
}

/// The hash that the next row carries.
pub fn hash(previous: &Hash, number: u64, unix_ms: u64, actor: &str, event: &str, detail: &str) -> Hash {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(previous);
    hash.update(number.to_be_bytes());
    hash.update(unix_ms.to_be_bytes());
    for text in [actor, event, detail] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

/// Why the rows are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("rows {first} to {last} are missing")]
    Missing { first: u64, last: u64 },
    #[error("row {number} is not the one that row {next} was written after: one of the two was changed")]
    Changed { number: u64, next: u64 },
    #[error("row {number} is not the one that the head speaks of: it, or the head, was changed")]
    LastChanged { number: u64 },
    #[error("row {number} does not have the hash that was noted for it: the audit up to it was rewritten")]
    Rewritten { number: u64 },
    #[error("row {number} comes after row {after}, out of its order")]
    Order { number: u64, after: u64 },
}

/// The rows up to a number, checked one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    number: u64,
    hash: Hash,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            number: 0,
            hash: BEGINNING,
        }
    }
}

impl Chain {
    /// The last row taken; 0 at the beginning.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The hash of the last row, as text.
    pub fn hash(&self) -> String {
        encode(&self.hash)
    }

    /// Takes the next row if it continues the chain.
    pub fn take(&mut self, row: &Row) -> Result<(), Broken> {
        if row.number <= self.number {
            let (number, after) = (row.number, self.number);
            return Err(Broken::Order { number, after });
        }
        if row.number > self.number + 1 {
            let (first, last) = (self.number + 1, row.number - 1);
            return Err(Broken::Missing { first, last });
        }
        let previous = decode(&row.previous);
        if previous != Some(self.hash) {
            let (number, next) = (self.number, row.number);
            return Err(Broken::Changed { number, next });
        }
        self.hash = hash(
            &self.hash,
            row.number,
            row.unix_ms,
            &row.actor,
            &row.event,
            &row.detail,
        );
        self.number = row.number;
        Ok(())
    }

    /// No row is left: is this all that the head speaks of?
    pub fn end(&self, head: &Head) -> Result<(), Broken> {
        if head.number > self.number {
            let (first, last) = (self.number + 1, head.number);
            return Err(Broken::Missing { first, last });
        }
        if head.number < self.number || decode(&head.hash) != Some(self.hash) {
            return Err(Broken::LastChanged { number: self.number });
        }
        Ok(())
    }

    /// Whether the last row has the hash that somebody noted for it.
    pub fn is_as_noted(&self, noted: &Head) -> Result<(), Broken> {
        if noted.number == self.number && decode(&noted.hash) != Some(self.hash) {
            return Err(Broken::Rewritten { number: self.number });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: u64) -> (Vec<Row>, Head) {
        let mut previous = BEGINNING;
        let rows = (1..=count)
            .map(|number| {
                let row = Row {
                    number,
                    unix_ms: 1_000 + number,
                    actor: "registry".to_owned(),
                    event: "pair_denied".to_owned(),
                    detail: format!("{{\"pair\":{number}}}"),
                    previous: encode(&previous),
                };
                previous = hash(
                    &previous,
                    number,
                    row.unix_ms,
                    &row.actor,
                    &row.event,
                    &row.detail,
                );
                row
            })
            .collect();
        let head = Head {
            number: count,
            hash: encode(&previous),
        };
        (rows, head)
    }

    fn check(rows: &[Row], head: &Head) -> Result<(), Broken> {
        let mut chain = Chain::default();
        rows.iter().try_for_each(|row| chain.take(row))?;
        chain.end(head)
    }

    #[test]
    fn an_untouched_audit_is_sound_also_when_it_is_empty() {
        for count in [0, 1, 5] {
            let (rows, head) = rows(count);
            assert_eq!(check(&rows, &head), Ok(()));
        }
    }

    #[test]
    fn a_row_that_was_cut_out_is_named_wherever_it_was() {
        for cut in 1..=5 {
            let (mut rows, head) = rows(5);
            rows.remove(cut - 1);
            let number = cut as u64;
            assert_eq!(
                check(&rows, &head),
                Err(Broken::Missing {
                    first: number,
                    last: number
                })
            );
        }
    }

    #[test]
    fn a_row_that_was_changed_is_named_whatever_was_changed() {
        let changes: [fn(&mut Row); 4] = [
            |row| row.unix_ms += 1,
            |row| row.actor.push('x'),
            |row| row.event = "pair_allowed".to_owned(),
            |row| row.detail = "{}".to_owned(),
        ];
        for change in changes {
            for number in 1..=5 {
                let (mut rows, head) = rows(5);
                change(&mut rows[number as usize - 1]);
                let expected = match number {
                    5 => Broken::LastChanged { number },
                    _ => Broken::Changed {
                        number,
                        next: number + 1,
                    },
                };
                assert_eq!(check(&rows, &head), Err(expected));
            }
        }
    }

    #[test]
    fn a_chain_that_was_written_anew_is_found_by_a_hash_that_was_noted_before() {
        let (mut old, noted) = rows(3);
        old.truncate(1);
        let mut previous = decode(&rows(1).1.hash).unwrap();
        for number in 2..=3 {
            let mut row = Row {
                number,
                previous: encode(&previous),
                ..old[0].clone()
            };
            row.detail = "{\"forged\":true}".to_owned();
            previous = hash(
                &previous,
                number,
                row.unix_ms,
                &row.actor,
                &row.event,
                &row.detail,
            );
            old.push(row);
        }
        let head = Head {
            number: 3,
            hash: encode(&previous),
        };
        assert_eq!(check(&old, &head), Ok(()), "by itself it looks sound");
        let mut chain = Chain::default();
        old.iter().for_each(|row| chain.take(row).unwrap());
        assert_eq!(chain.is_as_noted(&noted), Err(Broken::Rewritten { number: 3 }));
    }

    #[test]
    fn the_hash_is_the_documented_one() {
        let hash = hash(&BEGINNING, 1, 2, "registry", "e", "{}");
        assert_eq!(encode(&hash), DOCUMENTED);
    }

    /// Computed with another implementation of SHA-256 over the documented bytes.
    const DOCUMENTED: &str = "094cde4105a93597f79666dc07914aab92502fc2a768df74899021d655d7eee8";
}
