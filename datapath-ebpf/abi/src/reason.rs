//! Why a packet died: the one closed list. The word is the metric label, the CLI's word and what tests
//! assert; the number is the counter's index. Words are never renamed, new ones go to the end.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $word:literal;)+) => {
        /// Why a packet died.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant = $number,)+ }

        /// Every reason, in the order of its number.
        pub const DROP_REASONS: &[DropReason] = &[$(DropReason::$variant,)+];

        impl DropReason {
            /// The word for metrics, CLI and tests.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// One sentence for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

drop_reasons! {
    /// The programs know nothing of this interface, a setting they need is missing, or a program was taken off it.
    NoState = 0, "no_state";
    /// The frame ends before the headers that its own bytes announce.
    TooShort = 1, "too_short";
    /// A header contradicts itself or the frame: version, header length, total length, options, destination MAC.
    BadHeader = 2, "bad_header";
    /// An ethertype that pairs do not carry.
    Ethertype = 3, "ethertype";
    /// A VLAN tag, in the bytes or in the metadata.
    Vlan = 4, "vlan";
    /// Segmentation or checksum offload that does not fit the packet, or that lies about where the checksum goes.
    Offload = 5, "offload";
    /// The source MAC address is not the one registered for this tap.
    SpoofedMac = 6, "spoofed_mac";
    /// The source IP address is not registered for this tap.
    SpoofedAddress = 7, "spoofed_address";
    /// An ARP packet that claims an address or MAC that is not the guest's own.
    SpoofedArp = 8, "spoofed_arp";
    /// Neighbour discovery that is not answered here: it claims what is not the guest's own, or is for nobody here.
    SpoofedNd = 9, "spoofed_nd";
    /// A fragment.
    Fragment = 10, "fragment";
    /// An IPv6 extension header that is not carried.
    ExtensionHeader = 11, "extension_header";
    /// Multicast or broadcast: nothing is ever flooded.
    Multicast = 12, "multicast";
    /// No pair from this guest to this address is known here yet.
    NoPair = 13, "no_pair";
    /// The registry has refused this pair a moment ago.
    Denied = 14, "denied";
    /// The pair's grant does not include this protocol or port.
    Grant = 15, "grant";
    /// The pair's deadline has passed.
    Expired = 16, "expired";
    /// The host's lease has ended: the registry has not answered this host for too long.
    Lease = 17, "lease";
    /// No pair is received under this handle.
    Handle = 18, "handle";
    /// The outer header is not the one that this handle is bound to.
    Outer = 19, "outer";
    /// The inner packet is not the one that this handle is bound to, or an ICMP error is about a packet of another pair.
    Inner = 20, "inner";
    /// Towards a guest, but not delivered by one of our programs.
    NotDelivered = 21, "not_delivered";
    /// Larger than the pair carries or the receiving guest takes.
    TooBig = 22, "too_big";
    /// The next hop to the peer host is not known.
    NextHop = 23, "next_hop";
    /// The tap already holds as many first packets as it may.
    HoldFull = 24, "hold_full";
    /// The kernel had no room to add or remove a header.
    Room = 25, "room";
    /// A helper failed in a way that no packet can cause.
    Internal = 26, "internal";
}

impl DropReason {
    /// How many reasons there are; one more than the highest number.
    pub const COUNT: u32 = DROP_REASONS.len() as u32;
}

/// Which way a packet was going when it was counted, named from the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Direction {
    /// A guest sent it.
    FromTap = 0,
    /// It came in on the uplink.
    FromUplink = 1,
    /// It was about to be queued to a guest.
    ToTap = 2,
    /// It came out of the VXLAN device, which takes what arrives big.
    FromVxlan = 3,
    /// It came in on the uplink, and died in the driver: what `FromUplink` would have dropped.
    XdpUplink = 4,
}

impl Direction {
    /// How many directions there are.
    pub const COUNT: u32 = 5;
    /// Every direction, in the order of its number.
    pub const ALL: [Self; 5] = [
        Self::FromTap,
        Self::FromUplink,
        Self::ToTap,
        Self::FromVxlan,
        Self::XdpUplink,
    ];

    /// The word for metrics, CLI and tests.
    pub const fn word(self) -> &'static str {
        match self {
            Self::FromTap => "from_tap",
            Self::FromUplink => "from_uplink",
            Self::ToTap => "to_tap",
            Self::FromVxlan => "from_vxlan",
            Self::XdpUplink => "xdp_uplink",
        }
    }
}
