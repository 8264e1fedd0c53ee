//! What comes of a question.

use std::fmt;

/// The protocol of a question; the word in metrics and CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Dhcp4,
    Dhcp6,
    Router,
}

impl Protocol {
    pub const ALL: [Self; 3] = [Self::Dhcp4, Self::Dhcp6, Self::Router];

    pub fn word(self) -> &'static str {
        match self {
            Self::Dhcp4 => "dhcpv4",
            Self::Dhcp6 => "dhcpv6",
            Self::Router => "router",
        }
    }
}

/// The kind of an answer; the word in metrics and CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// DHCPv4: this could be yours.
    Offer,
    /// DHCPv4: this is yours.
    Ack,
    /// DHCPv4: that is not yours.
    Nak,
    /// DHCPv6: this could be yours.
    Advertise,
    /// DHCPv6: this is yours, or is not.
    Reply,
    /// Router advertisement.
    Advertisement,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::Offer,
        Self::Ack,
        Self::Nak,
        Self::Advertise,
        Self::Reply,
        Self::Advertisement,
    ];

    pub fn protocol(self) -> Protocol {
        match self {
            Self::Offer | Self::Ack | Self::Nak => Protocol::Dhcp4,
            Self::Advertise | Self::Reply => Protocol::Dhcp6,
            Self::Advertisement => Protocol::Router,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Ack => "ack",
            Self::Nak => "nak",
            Self::Advertise => "advertise",
            Self::Reply => "reply",
            Self::Advertisement => "advertisement",
        }
    }
}

/// A message for the guest that asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub kind: Kind,
    /// The whole frame.
    pub frame: Vec<u8>,
}

/// Why a question gets no answer; the word in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// It cannot be read, or is none that a client asks.
    Unreadable,
    /// It lay in the ring for too long: its guest has asked again.
    Late,
    /// No guest is known behind this tap, or not this one.
    NoGuest,
    /// The guest has no address of that family.
    NoAddress,
    /// It is for another server.
    OtherServer,
    /// A message that wants no answer: a release, or a word that the address is in use.
    Noted,
    /// The answer could not be sent.
    Unsent,
}

impl Silence {
    pub const ALL: [Self; 7] = [
        Self::Unreadable,
        Self::Late,
        Self::NoGuest,
        Self::NoAddress,
        Self::OtherServer,
        Self::Noted,
        Self::Unsent,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Late => "late",
            Self::NoGuest => "no_guest",
            Self::NoAddress => "no_address",
            Self::OtherServer => "other_server",
            Self::Noted => "noted",
            Self::Unsent => "unsent",
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
