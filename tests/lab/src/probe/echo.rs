//! ICMP echo (RFC 792) over a raw socket.

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
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
const REQUEST: u8 = 8;
const REPLY: u8 = 0;

/// Sends `count` echo requests with `payload` bytes one after the other, each as soon as the one before is
/// answered or `patience` is over.
pub fn ping(to: Ipv4Addr, count: u32, payload: usize, patience: Duration) -> io::Result<Echoes> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    // Raw sockets hear every reply of the namespace; the identifier tells ours apart.
    let identifier = (std::process::id() as u16) ^ (Instant::now().elapsed().subsec_nanos() as u16);
    let mut echoes = Echoes {
        sent: 0,
        received: 0,
        fastest: None,
    };
    for number in 0..count {
        let request = request(identifier, number as u16, payload);
        let start = Instant::now();
        socket.send_to(&request, &SocketAddrV4::new(to, 0).into())?;
        echoes.sent += 1;
        if answered(&socket, to, &request, start + patience)? {
            echoes.received += 1;
            let took = start.elapsed();
            echoes.fastest = Some(echoes.fastest.map_or(took, |best| best.min(took)));
        }
    }
    Ok(echoes)
}

fn request(identifier: u16, number: u16, payload: usize) -> Vec<u8> {
    let mut bytes = vec![REQUEST, 0, 0, 0];
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

fn answered(socket: &Socket, from: Ipv4Addr, request: &[u8], until: Instant) -> io::Result<bool> {
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
        if sender.as_socket_ipv4().map(|s| *s.ip()) == Some(from) && is_answer(packet, request) {
            return Ok(true);
        }
    }
}

/// A raw IPv4 socket hands over the IP header too. The whole payload must come back as it went.
fn is_answer(packet: &[u8], request: &[u8]) -> bool {
    let Some(first) = packet.first() else { return false };
    let icmp = packet.get(usize::from(first & 0x0f) * 4..).unwrap_or_default();
    icmp.len() == request.len() && icmp.len() >= HEADER_LEN && icmp[0] == REPLY && icmp[4..] == request[4..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_message_with_its_checksum_is_zero() {
        for payload in [0, 1, 31, 56] {
            assert_eq!(checksum(&request(0x1234, 7, payload)), 0);
        }
    }

    #[test]
    fn only_the_whole_payload_counts_as_an_answer() {
        let request = request(1, 2, 16);
        let mut packet = vec![0x45; 20];
        packet.extend(&request);
        assert!(!is_answer(&packet, &request), "a request is no answer");
        packet[20] = REPLY;
        assert!(is_answer(&packet, &request));
        packet[40] ^= 1;
        assert!(!is_answer(&packet, &request));
    }
}
