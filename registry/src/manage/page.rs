//! A part of a list, in the list's own order: what comes after a key, and how much of it.
//!
//! Keys and not positions, so that what is added or removed meanwhile makes nothing else come twice or not at all.

use crate::inventory::Name;
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// Longest part of a list, and the usual one.
pub(super) const LIMIT_MAX: u32 = 1000;

/// The last entry of the part before, and how many entries are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    pub after: Option<K>,
    pub limit: u32,
}

/// Why there is no such part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    #[error("limit must be 1 to {LIMIT_MAX}")]
    Limit,
    #[error("after is what the link to the next part says, and nothing else")]
    After,
}

impl<K: FromStr> Page<K> {
    pub fn new(after: Option<&str>, limit: Option<u32>) -> Result<Self, PageError> {
        let limit = limit.unwrap_or(LIMIT_MAX);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(PageError::Limit);
        }
        let after = after.map(|text| text.parse().map_err(|_| PageError::After));
        Ok(Self {
            after: after.transpose()?,
            limit,
        })
    }
}

impl<K> Page<K> {
    /// One more than is wanted: it tells whether there is a next part.
    pub fn rows(&self) -> u32 {
        self.limit + 1
    }

    /// Takes the extra one away; tells the key of the next part.
    pub fn cut<T>(&self, rows: &mut Vec<T>, key: impl Fn(&T) -> String) -> Option<String> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        if rows.len() <= limit {
            return None;
        }
        rows.truncate(limit);
        rows.last().map(key)
    }
}

impl Page<Name> {
    /// Before every name if nothing came before.
    pub fn after_name(&self) -> &str {
        self.after.as_ref().map_or("", Name::as_str)
    }
}

/// The place of a certificate in a list by owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfOwner {
    pub owner: Name,
    pub id: Uuid,
}

impl fmt::Display for OfOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.owner, self.id)
    }
}

impl FromStr for OfOwner {
    type Err = PageError;

    fn from_str(text: &str) -> Result<Self, PageError> {
        let (owner, id) = text.split_once('.').ok_or(PageError::After)?;
        Ok(Self {
            owner: owner.parse().map_err(|_| PageError::After)?,
            id: id.parse().map_err(|_| PageError::After)?,
        })
    }
}

impl Page<OfOwner> {
    /// Before every certificate if nothing came before.
    pub fn after_owner(&self) -> (&str, Uuid) {
        let after = self.after.as_ref();
        after.map_or(("", Uuid::nil()), |after| (after.owner.as_str(), after.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_where_the_next_one_begins_exactly_if_there_is_one() {
        let page = Page::<u64>::new(None, Some(2)).unwrap();
        let cut = |mut rows: Vec<u64>| (page.cut(&mut rows, ToString::to_string), rows);
        assert_eq!(page.rows(), 3);
        assert_eq!(cut(vec![1, 2]), (None, vec![1, 2]));
        assert_eq!(cut(vec![1, 2, 3]), (Some("2".to_owned()), vec![1, 2]));
    }

    #[test]
    fn what_no_link_ever_said_is_refused() {
        assert_eq!(Page::<u64>::new(None, Some(0)), Err(PageError::Limit));
        assert_eq!(Page::<u64>::new(None, Some(1001)), Err(PageError::Limit));
        for bad in ["", "-1", "1.5", "18446744073709551616", "' OR 1=1"] {
            assert_eq!(Page::<u64>::new(Some(bad), None), Err(PageError::After), "{bad}");
        }
        for bad in ["", "A", "a/b", "a'--", "a\0"] {
            assert_eq!(Page::<Name>::new(Some(bad), None), Err(PageError::After), "{bad}");
        }
        let good = OfOwner {
            owner: "init".parse().unwrap(),
            id: Uuid::from_u128(7),
        };
        assert_eq!(good.to_string().parse(), Ok(good.clone()));
        for bad in ["init", "init.", ".x", "init.7"] {
            assert!(bad.parse::<OfOwner>().is_err(), "{bad}");
        }
    }
}
