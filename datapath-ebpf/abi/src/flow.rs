use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Key of the inner maps of `FLOWS`: one conversation that the guest behind a tap has opened, as the guest
/// sees it. Ports are 0 for protocols without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(8))]
pub struct FlowKey {
    /// The guest's own address.
    pub own: [u8; 16],
    /// The peer's address.
    pub peer: [u8; 16],
    /// The guest's port, network order.
    pub own_port: [u8; 2],
    /// The peer's port, network order.
    pub peer_port: [u8; 2],
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<FlowKey>() == 40);
