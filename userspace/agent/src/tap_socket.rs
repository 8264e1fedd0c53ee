//! Sending a frame to a guest of this host: by a packet socket, under the mark that the guard of its tap lets through.
//!
//! The socket does not receive: it is bound to no protocol.

use socket2::{Domain, SockAddr, Socket, Type};
use std::io;

/// See the module.
#[derive(Debug)]
pub struct TapSocket {
    socket: Socket,
}

impl TapSocket {
    /// `mark` says "delivered by our programs".
    pub fn open(mark: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
        socket.set_mark(mark)?;
        Ok(Self { socket })
    }

    /// Queues a whole frame to the tap with this interface index. The guard drops it if it is not for the guest that
    /// is there now.
    pub fn send(&self, tap: u32, frame: &[u8]) -> io::Result<()> {
        self.socket.send_to(frame, &link_address(tap)?).map(drop)
    }
}

/// The address of an interface for a packet socket.
fn link_address(interface: u32) -> io::Result<SockAddr> {
    // SAFETY: the initialiser writes a whole `sockaddr_ll` into storage that is larger and says how long it is.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = libc::sockaddr_ll {
                sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
                sll_protocol: 0,
                sll_ifindex: i32::try_from(interface).map_err(io::Error::other)?,
                sll_hatype: 0,
                sll_pkttype: 0,
                sll_halen: 6,
                sll_addr: [0; 8],
            };
            storage.cast::<libc::sockaddr_ll>().write(address);
            *length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
            Ok(())
        })
    }?;
    Ok(address)
}
