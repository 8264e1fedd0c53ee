//! Sending a held packet as the programs would have sent it.
//!
//! To another host: by an ordinary UDP socket of the host's own address, with the same VXLAN and inner Ethernet
//! header, without a UDP checksum and with "do not fragment", so that for the receiver it is a frame like any other.
//! To a guest of this host: by a packet socket into its tap, under the mark that its guard lets through.
//!
//! Neither socket receives.

use super::HeldFrame;
use crate::tap_socket::TapSocket;
use nix::errno::Errno;
use pairgate_abi::{DropReason, GATEWAY_MAC, OutEntry};
use pairgate_packet::{ethernet::Ethernet, ip::Family, outer};
use pairgate_token::address_from_bytes;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

/// See the module.
#[derive(Debug)]
pub struct Sender {
    underlay: Socket,
    taps: TapSocket,
}

impl Sender {
    /// `mark` says "delivered by our programs".
    pub fn open(host: IpAddr, mark: u32) -> io::Result<Self> {
        let domain = Domain::for_address(SocketAddr::new(host, 0));
        let underlay = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        // "Probe": never cut, and what strangers say of the way's MTU by ICMP is not believed.
        match host {
            IpAddr::V4(_) => {
                set(&underlay, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)?;
                set(
                    &underlay,
                    libc::IPPROTO_IP,
                    libc::IP_MTU_DISCOVER,
                    libc::IP_PMTUDISC_PROBE,
                )?;
            }
            IpAddr::V6(_) => {
                set(&underlay, libc::IPPROTO_UDP, UDP_NO_CHECK6_TX, 1)?;
                set(
                    &underlay,
                    libc::IPPROTO_IPV6,
                    libc::IPV6_MTU_DISCOVER,
                    libc::IPV6_PMTUDISC_PROBE,
                )?;
            }
        }
        underlay.bind(&SocketAddr::new(host, 0).into())?;
        let taps = TapSocket::open(mark)?;
        Ok(Self { underlay, taps })
    }

    /// Sends a packet on its pair. The entry and the packet have been judged.
    pub fn send(&self, entry: &OutEntry, held: &HeldFrame) -> Result<(), DropReason> {
        if entry.local_tap == 0 {
            self.to_host(entry, held)
        } else {
            self.to_tap(entry, held)
        }
    }

    fn to_host(&self, entry: &OutEntry, held: &HeldFrame) -> Result<(), DropReason> {
        // The kernel writes the outer IP and UDP headers.
        let (mut v4, mut v6) = ([0; outer::LENGTH_V4], [0; outer::LENGTH_V6]);
        let family = Family::of(&entry.src_host);
        let header = match family {
            Family::V4 => {
                outer::header_v4(&held.packet, entry, &mut v4)?;
                &v4[..]
            }
            Family::V6 => {
                outer::header_v6(&held.packet, entry, &mut v6)?;
                &v6[..]
            }
        };
        let header = header.get(family.header() + UDP_HEADER..).unwrap_or_default();
        let datagram = [header, held.packet_bytes()].concat();
        let port = u16::from_be_bytes(entry.port);
        let to = SocketAddr::new(address_from_bytes(entry.dst_host), port);
        sent(self.underlay.send_to(&datagram, &to.into()))
    }

    fn to_tap(&self, entry: &OutEntry, held: &HeldFrame) -> Result<(), DropReason> {
        let header = Ethernet {
            destination: entry.local_mac,
            source: GATEWAY_MAC,
            ethertype: held.packet.family.ethertype(),
        };
        let frame = [&header.bytes()[..], held.packet_bytes()].concat();
        sent(self.taps.send(entry.local_tap, &frame))
    }
}

/// `linux/udp.h`.
const UDP_NO_CHECK6_TX: libc::c_int = 101;
const UDP_HEADER: usize = 8;

fn sent<T>(result: io::Result<T>) -> Result<(), DropReason> {
    let Err(error) = result else {
        return Ok(());
    };
    let code = error.raw_os_error().map(Errno::from_raw);
    Err(match code {
        Some(Errno::EMSGSIZE) => DropReason::TooBig,
        Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN | Errno::ENODEV | Errno::ENXIO) => {
            DropReason::NextHop
        }
        Some(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) => DropReason::Room,
        _ => DropReason::Internal,
    })
}

/// The library has no word for these options.
fn set(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the option's value is the one integer that the pointer and the size name, and outlives the call.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
