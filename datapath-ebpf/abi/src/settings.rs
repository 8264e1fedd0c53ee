use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Read-only global of the programs, fixed when they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Settings {
    /// Packet mark that says "delivered by our programs"; random, never 0. It is chosen once per pin
    /// directory and kept in the `MARK` map, so a restarted agent's programs agree with those still running.
    pub mark: u32,
    /// Interface index of the uplink.
    pub uplink: u32,
    /// Interface index of the VXLAN device that takes what arrives big.
    pub vxlan: u32,
    /// The host's underlay address; its family is that of the whole underlay as this host sees it.
    pub host: [u8; 16],
    /// UDP port on which this host receives, network order.
    pub port: [u8; 2],
    /// 1 if packets of the other family than the underlay's go by the VXLAN device: kernels before 6.3 cannot take the
    /// header off them. Else 0.
    pub other_family_by_device: u8,
    /// Zero.
    pub reserved: u8,
    /// Where the running kernel keeps what a guest can lie about.
    pub skb: SkbLayout,
}

/// Byte offsets inside the kernel's `struct sk_buff`, from its BTF. The BPF context of a traffic-control
/// program is that structure, but these fields are not offered to programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SkbLayout {
    /// The byte that holds the two bits of `ip_summed`.
    pub ip_summed: u32,
    /// How far those bits are shifted to the left in it.
    pub ip_summed_shift: u32,
    /// `head`, 8 bytes; `csum_start` counts from it.
    pub head: u32,
    /// `data`, 8 bytes; a packet's first byte.
    pub data: u32,
    /// `csum_start`, 2 bytes, followed by `csum_offset`, 2 bytes.
    pub csum_start: u32,
    /// `end`, 4 bytes; counted from `head`, where `struct skb_shared_info` begins.
    pub end: u32,
    /// `gso_type` in `struct skb_shared_info`, 4 bytes.
    pub gso_type: u32,
}

/// Value of `NEXT_HOPS`: how a frame reaches a peer host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct NextHop {
    /// Interface index to send on.
    pub interface: u32,
    /// Address of the neighbour on that link: the peer itself, or the gateway towards it.
    pub neighbour: [u8; 16],
}

const _: () = assert!(size_of::<Settings>() == 60);
const _: () = assert!(size_of::<NextHop>() == 20);
