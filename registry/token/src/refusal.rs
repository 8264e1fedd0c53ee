//! The closed lists of why a token is not taken.

/// Why a token's form or tag is refused, in the order in which it is checked.
///
/// The words are a contract: tests, peers and operators read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    #[error("the text is not canonical base64url without padding")]
    Text,
    #[error("the length is not that of a token with the number of grant entries it names")]
    Length,
    #[error("the tag was not made with this key over these claims")]
    Tag,
    #[error("the first four bytes are not those of a version 1 token")]
    Magic,
    #[error("a flag is set that has no meaning")]
    Flags,
    #[error(
        "the grant entries are not canonical: too many, out of order, overlapping, or ports where there are none"
    )]
    Grants,
    #[error("the pair id is 0")]
    Pair,
    #[error("a generation is 0")]
    Generations,
    #[error("an id is nil, or source and destination are the same VM")]
    Vms,
    #[error("the guest addresses are not two different unicast addresses of one family")]
    Addresses,
    #[error("the host addresses are not unicast addresses of one family, or the overlay port is 0")]
    Hosts,
    #[error("the token does not expire after it begins, or lives for more than a day")]
    Times,
}

impl Refusal {
    /// Every refusal, in the order of the checks.
    pub const ALL: [Self; 12] = [
        Self::Text,
        Self::Length,
        Self::Tag,
        Self::Magic,
        Self::Flags,
        Self::Grants,
        Self::Pair,
        Self::Generations,
        Self::Vms,
        Self::Addresses,
        Self::Hosts,
        Self::Times,
    ];

    /// The fixed word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Length => "length",
            Self::Tag => "tag",
            Self::Magic => "magic",
            Self::Flags => "flags",
            Self::Grants => "grants",
            Self::Pair => "pair",
            Self::Generations => "generations",
            Self::Vms => "vms",
            Self::Addresses => "addresses",
            Self::Hosts => "hosts",
            Self::Times => "times",
        }
    }
}

/// Why a well-made token is not good at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Untimely {
    #[error("the token is not good yet")]
    Early,
    #[error("the token has expired")]
    Expired,
}

impl Untimely {
    /// The fixed word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Expired => "expired",
        }
    }
}
