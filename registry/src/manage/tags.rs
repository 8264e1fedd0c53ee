//! Which state of a thing somebody has seen, so that a change can say what it relies on.
//!
//! A tag stands for everything that operators decide about the thing and for what follows from it, such as whether a
//! placement has opened. What a host says of itself from moment to moment (connected, receipts, leases) is no part
//! of it.

use super::FindError;
use crate::inventory::Host;
use pairgate_api::rest;
use ring::digest::{SHA256, digest};
use std::fmt::{self, Write};

/// Tags that one request may name.
const TAGS_MAX: usize = 16;
const TAG_BYTES: usize = 16;

/// An entity tag without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// What has a tag.
pub trait Tagged {
    fn tag(&self) -> Tag;
}

fn hashed(kind: &str, value: &impl serde::Serialize) -> Tag {
    // Shapes of the API can all be written as JSON; one that could not would match nothing that was ever seen.
    let text = serde_json::to_vec(&(kind, value)).unwrap_or_default();
    let hash = digest(&SHA256, &text);
    let mut tag = String::new();
    for byte in hash.as_ref().iter().take(TAG_BYTES) {
        // Writing to a String cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    Tag(tag)
}

impl Tagged for rest::Network {
    fn tag(&self) -> Tag {
        hashed("network", self)
    }
}

impl Tagged for rest::Vm {
    fn tag(&self) -> Tag {
        hashed("vm", self)
    }
}

impl Tagged for rest::Host {
    fn tag(&self) -> Tag {
        let ports = (self.agent_port, self.overlay_port);
        let is_enrolled = self.state == rest::Host::ENROLLED;
        hashed("host", &(self.id, &self.name, self.address, ports, is_enrolled))
    }
}

impl Tagged for Host {
    fn tag(&self) -> Tag {
        let ports = (self.agent_port, self.overlay_port);
        let is_enrolled = self.public_key.is_some();
        hashed("host", &(self.id, &self.name, self.address, ports, is_enrolled))
    }
}

/// The states that a change relies on; any one of them is good enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected(Option<Vec<String>>);

/// Not a list of entity tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("If-Match is * or up to {TAGS_MAX} tags as an ETag header gave them, such as \"5f0c…\"")]
pub struct ExpectedError;

impl Expected {
    /// Relies on nothing.
    pub fn anything() -> Self {
        Self(None)
    }

    /// From the texts of `If-Match` headers.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Result<Self, ExpectedError> {
        let mut tags = Vec::new();
        for header in headers {
            for text in header.split(',').map(str::trim) {
                if text == "*" {
                    // The thing must exist, which every change asks anyway.
                    return Ok(Self::anything());
                }
                let tag = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                let is_known = |tag: &&str| {
                    tag.len() <= 2 * TAG_BYTES && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
                };
                tags.push(tag.filter(is_known).ok_or(ExpectedError)?.to_owned());
            }
        }
        if tags.len() > TAGS_MAX {
            return Err(ExpectedError);
        }
        Ok(Self((!tags.is_empty()).then_some(tags)))
    }

    /// To be asked in the transaction of the change.
    pub fn check(&self, now: &impl Tagged) -> Result<(), FindError> {
        match &self.0 {
            Some(tags) if !tags.contains(&now.tag().0) => Err(FindError::Changed),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn network(name: &str) -> rest::Network {
        rest::Network {
            id: Uuid::nil(),
            name: name.to_owned(),
            prefixes: Vec::new(),
            gateway: None,
            dns: Vec::new(),
            domain: None,
            mtu: 1500,
        }
    }

    #[test]
    fn a_change_that_relies_on_what_is_no_longer_so_is_refused() {
        let (now, other) = (network("a"), network("b"));
        let seen = |tags: &str| Expected::parse([tags]).unwrap();
        assert!(seen(&now.tag().to_string()).check(&now).is_ok());
        assert!(
            seen(&format!("{}, {}", other.tag(), now.tag()))
                .check(&now)
                .is_ok()
        );
        assert!(seen("*").check(&now).is_ok());
        assert!(Expected::anything().check(&now).is_ok());
        assert!(matches!(
            seen(&other.tag().to_string()).check(&now),
            Err(FindError::Changed)
        ));
    }

    #[test]
    fn only_lists_of_strong_tags_are_understood() {
        assert_eq!(Expected::parse([]), Ok(Expected::anything()));
        let long = format!("\"{}\"", "a".repeat(33));
        let many = vec!["\"aa\""; TAGS_MAX + 1].join(",");
        for bad in [
            "",
            "aa",
            "\"aa",
            "W/\"aa\"",
            "\"a\u{e9}\"",
            "\"aa\",",
            "\"'; --\"",
            &long,
            &many,
        ] {
            assert_eq!(Expected::parse([bad]), Err(ExpectedError), "{bad:?}");
        }
    }
}
