//! A host as the proof knows it: which kinds there are, and its interfaces.

pub mod content;
pub mod own;

use pairgate_packet::ip::Family;
use std::{fmt, net::IpAddr, str::FromStr};

/// What the host's VXLAN device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// There is none: nothing big is taken.
    None,
    /// It takes what is big.
    Idle,
    /// Every flow had a big packet a moment ago: it takes everything.
    Busy,
}

/// One kind of host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Family of its underlay.
    pub underlay: Family,
    /// Its VXLAN device.
    pub device: Device,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::of(Family::V4, Device::None),
        Self::of(Family::V6, Device::None),
        Self::of(Family::V4, Device::Idle),
        Self::of(Family::V6, Device::Idle),
        Self::of(Family::V4, Device::Busy),
        Self::of(Family::V6, Device::Busy),
    ];

    const fn of(underlay: Family, device: Device) -> Self {
        Self { underlay, device }
    }

    /// Its name in replay files.
    pub const fn name(self) -> &'static str {
        match (self.underlay, self.device) {
            (Family::V4, Device::None) => "v4",
            (Family::V6, Device::None) => "v6",
            (Family::V4, Device::Idle) => "v4-device",
            (Family::V6, Device::Idle) => "v6-device",
            (Family::V4, Device::Busy) => "v4-busy",
            (Family::V6, Device::Busy) => "v6-busy",
        }
    }

    /// Its underlay address.
    pub fn host(self) -> IpAddr {
        match self.underlay {
            Family::V4 => content::HOST.into(),
            Family::V6 => content::HOST6.into(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| anyhow::anyhow!("there is no kind of host {name:?}"))
    }
}

/// The host's interfaces, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// Tap of the guest that most frames are from.
    Guest,
    /// Tap of another guest of this host.
    Door,
    /// Tap of a guest with every address that it can have.
    Many,
    /// Tap whose entry has a slot beyond the table.
    Beyond,
    /// Tap of nobody.
    Nobody,
    /// The uplink.
    Uplink,
}

impl Link {
    /// Every interface.
    pub const ALL: [Self; 6] = [
        Self::Guest,
        Self::Door,
        Self::Many,
        Self::Beyond,
        Self::Nobody,
        Self::Uplink,
    ];
    /// Those with a guest.
    pub const TAPS: [Self; 4] = [Self::Guest, Self::Door, Self::Many, Self::Beyond];

    /// Its name on the host.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Door => "door",
            Self::Many => "many",
            Self::Beyond => "beyond",
            Self::Nobody => "nobody",
            Self::Uplink => "uplink",
        }
    }
}

/// Where the interfaces are.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    indices: [u32; Link::ALL.len()],
    /// MAC address of the uplink.
    pub uplink_mac: [u8; 6],
}

impl Links {
    /// With the indices in the order of [`Link::ALL`].
    pub const fn new(indices: [u32; Link::ALL.len()], uplink_mac: [u8; 6]) -> Self {
        Self { indices, uplink_mac }
    }

    /// Index of an interface.
    pub const fn index(&self, link: Link) -> u32 {
        self.indices[link as usize]
    }

    /// The interface with this index.
    pub fn link(&self, index: u32) -> Option<Link> {
        Link::ALL.into_iter().find(|link| self.index(*link) == index)
    }
}
