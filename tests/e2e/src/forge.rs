//! Frames that no honest guest sends. Each carries a mark by which it is known wherever it turns up.

use anyhow::Result;
use etherparse::PacketBuilder;
use pairgate_lab::{
    plan::GATEWAY_MAC,
    probe::forge::{self, Ends},
};
use std::net::Ipv4Addr;

/// The payload of every forged frame.
pub const MARK: &[u8] = b"pairgate-forged-frame";

/// What a forger claims to be, and whom he writes to.
#[derive(Clone, Copy, Debug)]
pub struct Forge {
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
    pub to_mac: [u8; 6],
    pub to: Ipv4Addr,
}

impl Forge {
    /// An honest guest; tests spoil one field at a time.
    pub fn honest(mac: [u8; 6], address: Ipv4Addr, to: Ipv4Addr) -> Self {
        Self {
            mac,
            address,
            to_mac: GATEWAY_MAC,
            to,
        }
    }

    /// A UDP datagram.
    pub fn udp(&self) -> Result<Vec<u8>> {
        forge::udp(self.ends(), (4000, 4000), MARK)
    }

    /// The same behind a VLAN tag in the bytes.
    pub fn tagged(&self) -> Result<Vec<u8>> {
        let mut frame = self.udp()?;
        frame.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
        Ok(frame)
    }

    /// The first part of a fragmented datagram.
    pub fn fragment(&self) -> Result<Vec<u8>> {
        let mut frame = self.udp()?;
        frame[20] = 0x20;
        seal_ipv4(&mut frame);
        Ok(frame)
    }

    /// An IPv6 datagram between made-up addresses.
    pub fn ipv6(&self) -> Result<Vec<u8>> {
        let builder = PacketBuilder::ethernet2(self.mac, self.to_mac)
            .ipv6([0xfd; 16], [0xfc; 16], 64)
            .udp(4000, 4000);
        let mut frame = Vec::new();
        builder.write(&mut frame, MARK)?;
        Ok(frame)
    }

    /// An ARP reply that says `address` lives at `mac`, with the mark in the padding.
    pub fn arp_reply(&self) -> Result<Vec<u8>> {
        let mut frame = forge::arp_claim(self.ends(), self.address)?;
        frame.extend(MARK);
        Ok(frame)
    }

    /// A frame of a protocol that pairs do not carry.
    pub fn lldp(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend([0x01, 0x80, 0xc2, 0, 0, 0x0e]);
        frame.extend(self.mac);
        frame.extend([0x88, 0xcc]);
        frame.extend(MARK);
        frame.resize(60, 0);
        frame
    }

    fn ends(&self) -> Ends {
        Ends {
            source_mac: self.mac,
            destination_mac: self.to_mac,
            source: self.address,
            destination: self.to,
        }
    }
}

/// Writes the checksum of the IPv4 header right behind the Ethernet header anew (RFC 791): the one's complement
/// of the sum of its words.
pub fn seal_ipv4(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let words = frame[14..34]
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = !(((sum >> 16) + (sum & 0xffff)) as u16);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}
