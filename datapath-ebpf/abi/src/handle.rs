use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The 40 bits that name one accepted pair on the wire: the VXLAN network identifier and the group policy
/// id. The receiver picks them at random among the unused ones.
///
/// Neither part is all zeros or all ones: a kernel VXLAN device sends group 0 without the G flag, and the
/// flag is part of what makes a frame ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct Handle {
    vni: [u8; 3],
    zero: u8,
    group: [u8; 2],
    zero_too: [u8; 2],
}

impl Handle {
    /// A handle from the bytes of the wire, whatever they are; the map decides what they are worth.
    pub const fn from_wire(vni: [u8; 3], group: [u8; 2]) -> Self {
        Self {
            vni,
            zero: 0,
            group,
            zero_too: [0; 2],
        }
    }

    /// A handle that may be given to a peer, or none if a part is reserved or out of range.
    pub const fn new(vni: u32, group: u32) -> Option<Self> {
        if vni == 0 || vni >= 0xff_ffff || group == 0 || group >= 0xffff {
            return None;
        }
        let (v, g) = (vni.to_be_bytes(), group.to_be_bytes());
        Some(Self::from_wire([v[1], v[2], v[3]], [g[2], g[3]]))
    }

    /// VXLAN network identifier, network order.
    pub const fn vni(self) -> [u8; 3] {
        self.vni
    }

    /// Group policy id, network order.
    pub const fn group(self) -> [u8; 2] {
        self.group
    }

    /// VXLAN network identifier as a number below 2^24.
    pub const fn vni_number(self) -> u32 {
        u32::from_be_bytes([0, self.vni[0], self.vni[1], self.vni[2]])
    }

    /// Group policy id as a number.
    pub const fn group_number(self) -> u32 {
        u16::from_be_bytes(self.group) as u32
    }
}

const _: () = assert!(size_of::<Handle>() == 8);
