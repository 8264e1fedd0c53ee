//! A guest's questions for its own configuration: DHCPv4 (RFC 2131), DHCPv6 (RFC 8415) and router solicitations
//! (RFC 4861, section 6.3.7). They go to the agent, which answers on the same tap; nothing of them is ever sent on,
//! and they open nothing.
//!
//! What is recognised here is only what a client says to the server of its own tap. Everything else of these
//! protocols goes the way of other packets: a server's message, an advertisement or a relay's message to a group dies
//! as such, and no pair carries what a server says to a client.
//!
//! ```text
//! DHCPv4  42   43      44     45     46    50    52      54       58       62       66       70       (from the frame's start)
//!         | op | htype | hlen | hops | xid | secs | flags | ciaddr | yiaddr | siaddr | giaddr | chaddr ...
//! ```
use crate::{
    Frame, Metadata,
    address::{self, Address},
    ethernet::{self, Ethernet},
    ip::{Family, Ip, piece},
    nd,
    transport::{ICMPV6, UDP},
};
use pairgate_abi::{DropReason, QUESTION_BYTES, SERVER_V4, TapEntry};

const IP_AT: usize = ethernet::LENGTH;
const UDP_V4_AT: usize = IP_AT + 20;
const BODY_V6_AT: usize = IP_AT + 40;
/// From client (68) to server (67).
const DHCPV4: [u8; 4] = [0, 68, 0, 67];
/// From client (546) to server (547).
const DHCPV6: [u8; 4] = [0x02, 0x22, 0x02, 0x23];
/// The fixed part of a message, and the cookie that says that options follow (RFC 2131, section 3).
const LEAST_DHCPV4: u32 = 8 + 236 + 4;
/// Message type and transaction id (RFC 8415, section 8).
const LEAST_DHCPV6: u32 = 8 + 4;
const SOLICITATION: u8 = 133;
const LEAST_SOLICITATION: u32 = 8;
/// `All_DHCP_Relay_Agents_and_Servers` (RFC 8415, section 7.1).
const ALL_SERVERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2];
/// All routers of the link.
const ALL_ROUTERS: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// True for a whole IPv4 packet from the port of a DHCP client to that of a server, to everybody or to the server that
/// every tap has.
#[inline(always)]
pub fn is_dhcpv4(frame: &impl Frame) -> bool {
    let Some(h) = frame.read::<24>(IP_AT) else {
        return false;
    };
    let to: [u8; 4] = piece(&h, 16);
    h[0] == 0x45
        && u16::from_be_bytes([h[6], h[7]]) & 0x3fff == 0
        && h[9] == UDP
        && piece::<24, 4>(&h, 20) == DHCPV4
        && (to == [0xff; 4] || to == SERVER_V4)
}

/// True for an IPv6 packet from the port of a DHCP client to all servers.
#[inline(always)]
pub fn is_dhcpv6(frame: &impl Frame) -> bool {
    let Some(h) = frame.read::<44>(IP_AT) else {
        return false;
    };
    h[6] == UDP
        && piece::<44, 4>(&h, 40) == DHCPV6
        && Address::of(&piece(&h, 24)) == Address::of(&ALL_SERVERS)
}

/// True for a question for all routers.
#[inline(always)]
pub fn is_solicitation(frame: &impl Frame) -> bool {
    match frame.read::<41>(IP_AT) {
        Some(h) => {
            h[6] == ICMPV6
                && h[40] == SOLICITATION
                && Address::of(&piece(&h, 24)) == Address::of(&ALL_ROUTERS)
        }
        None => false,
    }
}

/// Judges what [`is_dhcpv4`] has recognised. Returns the bytes of the IP packet.
///
/// Refused: another source than 0.0.0.0 or the guest's own (`spoofed_address`), another hardware address than the
/// guest's (`spoofed_mac`), a server's or a relay's message and lengths that lie (`bad_header`), one without the fixed
/// part (`too_short`), one larger than any client sends (`too_big`).
#[inline(always)]
pub fn dhcpv4(
    frame: &impl Frame,
    metadata: &Metadata,
    ethernet: &Ethernet,
    tap: &TapEntry,
) -> Result<u32, DropReason> {
    if ethernet.destination != ethernet::BROADCAST {
        ethernet.to_gateway()?;
    }
    let ip = Ip::at(frame, IP_AT, Family::V4)?;
    if ip.source != Address::of_ipv4([0; 4]) && !address::is_own(tap, ip.source) {
        return Err(DropReason::SpoofedAddress);
    }
    if ip.payload() < LEAST_DHCPV4 {
        return Err(DropReason::TooShort);
    }
    let Some(h) = frame.read::<42>(UDP_V4_AT) else {
        return Err(DropReason::TooShort);
    };
    is_datagram(metadata, UDP_V4_AT, [h[4], h[5]], ip.payload())?;
    // A request, from Ethernet, by nobody's hands, for no relay.
    if piece::<42, 4>(&h, 8) != [1, 1, 6, 0] || piece::<42, 4>(&h, 32) != [0; 4] {
        return Err(DropReason::BadHeader);
    }
    if piece::<42, 6>(&h, 36) != tap.mac {
        return Err(DropReason::SpoofedMac);
    }
    fits(ip.length)
}

/// Judges what [`is_dhcpv6`] has recognised. Returns the bytes of the IP packet.
///
/// The source may be any address of the link, as in neighbour discovery: guests choose theirs by rules of their own,
/// and none means anything beyond the tap. Another source is `spoofed_address`; a server's or a relay's message is
/// `bad_header`.
#[inline(always)]
pub fn dhcpv6(frame: &impl Frame, metadata: &Metadata, ethernet: &Ethernet) -> Result<u32, DropReason> {
    ethernet.to_group_or_gateway()?;
    let ip = Ip::at(frame, IP_AT, Family::V6)?;
    if !ip.source.is_link_local() {
        return Err(DropReason::SpoofedAddress);
    }
    if ip.payload() < LEAST_DHCPV6 {
        return Err(DropReason::TooShort);
    }
    let Some(h) = frame.read::<12>(BODY_V6_AT) else {
        return Err(DropReason::TooShort);
    };
    is_datagram(metadata, BODY_V6_AT, [h[4], h[5]], ip.payload())?;
    match h[8] {
        // Solicit, request, confirm, renew, rebind, release, decline, information request (RFC 8415, section 7.3).
        1 | 3 | 4 | 5 | 6 | 8 | 9 | 11 => fits(ip.length),
        _ => Err(DropReason::BadHeader),
    }
}

/// Judges what [`is_solicitation`] has recognised. Returns the bytes of the IP packet.
///
/// Refused (RFC 4861, section 6.1.1): a message that was forwarded or whose lengths lie (`bad_header`), one that
/// ends early (`too_short`), one that comes neither from an address of the link nor from none, has an option without
/// length, or another MAC address than the guest's (`spoofed_nd`).
#[inline(always)]
pub fn solicitation(
    frame: &impl Frame,
    metadata: &Metadata,
    ethernet: &Ethernet,
    tap: &TapEntry,
) -> Result<u32, DropReason> {
    metadata.is_final()?;
    ethernet.to_group_or_gateway()?;
    let Some(h) = frame.read::<48>(IP_AT) else {
        return Err(DropReason::TooShort);
    };
    let payload = u16::from_be_bytes([h[4], h[5]]) as u32;
    if h[0] >> 4 != 6 || h[7] != nd::HOP_LIMIT || BODY_V6_AT as u32 + payload > frame.length() {
        return Err(DropReason::BadHeader);
    }
    if payload < LEAST_SOLICITATION {
        return Err(DropReason::TooShort);
    }
    let from = Address::of(&piece(&h, 8));
    let spoofed = Err(DropReason::SpoofedNd);
    if h[41] != 0 || !(from.is_link_local() || from == Address::NONE) {
        return spoofed;
    }
    if payload > LEAST_SOLICITATION {
        let Some(option) = frame.read::<8>(BODY_V6_AT + 8) else {
            return Err(DropReason::TooShort);
        };
        let names_mac = option[0] == nd::SOURCE_MAC;
        if option[1] == 0 || names_mac && (option[1] != 1 || piece::<8, 6>(&option, 2) != tap.mac) {
            return spoofed;
        }
    }
    fits(40 + payload)
}

/// A datagram is as long as its packet says, is not to be cut, and nothing but its own checksum is still to be
/// written.
#[inline(always)]
fn is_datagram(metadata: &Metadata, at: usize, length: [u8; 2], payload: u32) -> Result<(), DropReason> {
    if metadata.gso.is_some() {
        return Err(DropReason::Offload);
    }
    metadata.checksum.check(at as u32, UDP)?;
    if u16::from_be_bytes(length) as u32 == payload {
        Ok(())
    } else {
        Err(DropReason::BadHeader)
    }
}

#[inline(always)]
fn fits(length: u32) -> Result<u32, DropReason> {
    if (ethernet::LENGTH as u32 + length) as usize <= QUESTION_BYTES {
        Ok(length)
    } else {
        Err(DropReason::TooBig)
    }
}
