//! ICMP and ICMPv6 echo (RFC 792, RFC 4443) over a raw socket.

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echoes {
    pub sent: u32,
    pub received: u32,
    /// Shortest round trip, if there was any.
    pub fastest: Option<Duration>,
}

impl Echoes {
    /// Whether every request was answered.
    pub fn all(&self) -> bool {
        self.received == self.sent
    }
}

const HEADER_LEN: usize = 8;

/// What differs between the families.
#[derive(Clone, Copy, Debug)]
struct Kind {
    request: u8,
    reply: u8,
    /// A raw IPv4 socket hands over the IP header too.
    behind_ip: bool,
}

const ICMP: Kind = Kind {
    request: 8,
    reply: 0,
    behind_ip: true,
};
const ICMP_6: Kind = Kind {
    request: 128,
    reply: 129,
    behind_ip: false,
};

/// Sends `count` echo requests with `payload` bytes one after the other, each as soon as the one before is
/// answered or `patience` is over.
pub fn ping(to: impl Into<IpAddr>, count: u32, payload: usize, patience: Duration) -> io::Result<Echoes> {
    let to = to.into();
    let (kind, domain, protocol) = match to {
        IpAddr::V4(_) => (ICMP, Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (ICMP_6, Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    // Raw sockets hear every reply of the namespace; the identifier tells ours apart.
    let identifier = (std::process::id() as u16) ^ (Instant::now().elapsed().subsec_nanos() as u16);
    let mut echoes = Echoes {
        sent: 0,
        received: 0,
        fastest: None,
    };
    for number in 0..count {
        let request = request(kind, identifier, number as u16, payload);
        let start = Instant::now();
        socket.send_to(&request, &SocketAddr::new(to, 0).into())?;
        echoes.sent += 1;
        if answered(&socket, (to, kind), &request, start + patience)? {
            echoes.received += 1;
            let took = start.elapsed();
            echoes.fastest = Some(echoes.fastest.map_or(took, |best| best.min(took)));
        }
    }
    Ok(echoes)
}

/// The checksum of an ICMPv6 message is the kernel's to write.
fn request(kind: Kind, identifier: u16, number: u16, payload: usize) -> Vec<u8> {
    let mut bytes = vec![kind.request, 0, 0, 0];
    bytes.extend(identifier.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes.extend((0..payload).map(|i| i as u8));
    let sum = checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn answered(
    socket: &Socket,
    (from, kind): (IpAddr, Kind),
    request: &[u8],
    until: Instant,
) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); 2048];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let (len, sender) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(e) => return Err(e),
        };
        // SAFETY: `recv_from` says that it has initialised the first `len` bytes.
        let packet = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), len) };
        if sender.as_socket().map(|s| s.ip()) == Some(from) && is_answer(kind, packet, request) {
            return Ok(true);
        }
    }
}

/// The whole payload must come back as it went.
fn is_answer(kind: Kind, packet: &[u8], request: &[u8]) -> bool {
    let Some(first) = packet.first() else { return false };
    let start = if kind.behind_ip {
        usize::from(first & 0x0f) * 4
    } else {
        0
    };
    let icmp = packet.get(start..).unwrap_or_default();
    icmp.len() == request.len()
        && icmp.len() >= HEADER_LEN
        && icmp[0] == kind.reply
        && icmp[4..] == request[4..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_message_with_its_checksum_is_zero() {
        for payload in [0, 1, 31, 56] {
            assert_eq!(checksum(&request(ICMP, 0x1234, 7, payload)), 0);
        }
    }

    #[test]
    fn only_the_whole_payload_counts_as_an_answer() {
        let request = request(ICMP, 1, 2, 16);
        let mut packet = vec![0x45; 20];
        packet.extend(&request);
        assert!(!is_answer(ICMP, &packet, &request), "a request is no answer");
        packet[20] = ICMP.reply;
        assert!(is_answer(ICMP, &packet, &request));
        packet[40] ^= 1;
        assert!(!is_answer(ICMP, &packet, &request));
    }
}
