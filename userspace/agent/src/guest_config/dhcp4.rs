//! DHCPv4 (RFC 2131): the guest's facts for its questions. Pure: nothing is remembered, because an address is a
//! guest's by the registry and not by a lease.
//!
//! A guest with several IPv4 addresses is lent the one that it asks for, or the lowest; the protocol lends one at a time.

use super::{
    answer::{Answer, Kind, Silence},
    facts::{Facts, LEASE_SECS, REBIND_SECS, RENEW_SECS},
    frame, sift,
};
use dhcproto::{
    Decodable, Decoder, Encodable,
    v4::{DhcpOption, Flags, HType, Message, MessageType, Opcode, OptionCode},
};
use pairgate_abi::SERVER_V4;
use std::net::Ipv4Addr;

/// A message is no shorter (RFC 1542, section 2.1): old clients drop others.
const LEAST: usize = 300;
/// Where hardware type and length stand in a message.
const ETHERNET: [u8; 2] = [1, 6];

/// Answers a message of the guest.
pub(super) fn answer(message: &[u8], facts: &Facts) -> Result<Answer, Silence> {
    let asked = read(message, facts)?;
    let first = facts.v4.first().ok_or(Silence::NoAddress)?.0;
    let own = |address: Ipv4Addr| facts.v4.iter().any(|(own, _)| *own == address);
    let (kind, lent) = match asked.opts().msg_type().ok_or(Silence::Unreadable)? {
        MessageType::Discover => (
            Kind::Offer,
            requested(&asked).filter(|address| own(*address)).unwrap_or(first),
        ),
        MessageType::Request => {
            if server(&asked).is_some_and(|server| server != Ipv4Addr::from(SERVER_V4)) {
                return Err(Silence::OtherServer);
            }
            let in_use = Some(asked.ciaddr()).filter(|address| !address.is_unspecified());
            let wanted = requested(&asked).or(in_use).ok_or(Silence::Unreadable)?;
            if own(wanted) {
                (Kind::Ack, wanted)
            } else {
                (Kind::Nak, wanted)
            }
        }
        // It has its address from elsewhere and asks for the rest (section 4.3.5).
        MessageType::Inform if own(asked.ciaddr()) => return reply(&asked, facts, Kind::Ack, None),
        MessageType::Inform => return Err(Silence::Unreadable),
        MessageType::Decline => {
            // Not louder: a guest says it as often as it likes.
            tracing::debug!(
                vm = facts.name,
                "the guest says that somebody else has its IPv4 address"
            );
            return Err(Silence::Noted);
        }
        MessageType::Release => return Err(Silence::Noted),
        _ => return Err(Silence::Unreadable),
    };
    if kind == Kind::Nak {
        return refuse(&asked, facts);
    }
    reply(&asked, facts, kind, Some(lent))
}

fn read(message: &[u8], facts: &Facts) -> Result<Message, Silence> {
    // Before it is decoded: another length would be believed.
    if message.get(1..3) != Some(&ETHERNET[..]) {
        return Err(Silence::Unreadable);
    }
    let message = sift::dhcp4(message)?;
    let asked = Message::decode(&mut Decoder::new(&message)).map_err(|_| Silence::Unreadable)?;
    let of_guest = asked.opcode() == Opcode::BootRequest
        && asked.chaddr() == facts.mac
        && asked.giaddr().is_unspecified();
    if of_guest {
        Ok(asked)
    } else {
        Err(Silence::Unreadable)
    }
}

fn requested(asked: &Message) -> Option<Ipv4Addr> {
    match asked.opts().get(OptionCode::RequestedIpAddress) {
        Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
        _ => None,
    }
}

fn server(asked: &Message) -> Option<Ipv4Addr> {
    match asked.opts().get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(address)) => Some(*address),
        _ => None,
    }
}

/// The head of every answer (section 4.3.1, table 3).
fn begin(asked: &Message, facts: &Facts, kind: MessageType) -> Message {
    let nobody = Ipv4Addr::UNSPECIFIED;
    let mut answer = Message::new_with_id(asked.xid(), nobody, nobody, nobody, nobody, &facts.mac);
    let flags = if asked.flags().broadcast() {
        Flags::default().set_broadcast()
    } else {
        Flags::default()
    };
    answer
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_flags(flags);
    let options = answer.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(SERVER_V4.into()));
    // RFC 6842: it goes back as it came.
    if let Some(client) = asked.opts().get(OptionCode::ClientIdentifier) {
        options.insert(client.clone());
    }
    answer
}

fn refuse(asked: &Message, facts: &Facts) -> Result<Answer, Silence> {
    let answer = begin(asked, facts, MessageType::Nak);
    // The guest cannot be reached at an address that is not its own.
    finish(&answer, facts, Kind::Nak, Ipv4Addr::BROADCAST)
}

fn reply(asked: &Message, facts: &Facts, kind: Kind, lent: Option<Ipv4Addr>) -> Result<Answer, Silence> {
    let word = if kind == Kind::Offer {
        MessageType::Offer
    } else {
        MessageType::Ack
    };
    let mut answer = begin(asked, facts, word);
    let address = lent.unwrap_or(asked.ciaddr());
    if let Some(lent) = lent {
        answer.set_yiaddr(lent);
        let options = answer.opts_mut();
        options.insert(DhcpOption::AddressLeaseTime(LEASE_SECS));
        options.insert(DhcpOption::Renewal(RENEW_SECS));
        options.insert(DhcpOption::Rebinding(REBIND_SECS));
    }
    if kind == Kind::Ack {
        answer.set_ciaddr(asked.ciaddr());
    }
    tell(&mut answer, facts, address);
    let to = if !asked.ciaddr().is_unspecified() {
        asked.ciaddr()
    } else if asked.flags().broadcast() {
        Ipv4Addr::BROADCAST
    } else {
        address
    };
    finish(&answer, facts, kind, to)
}

/// Everything but the lease (RFC 2132).
fn tell(answer: &mut Message, facts: &Facts, address: Ipv4Addr) {
    let prefix = facts.v4.iter().find(|(own, _)| *own == address);
    let prefix = prefix.map_or(32, |(_, prefix)| *prefix);
    let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let options = answer.opts_mut();
    options.insert(DhcpOption::SubnetMask(Ipv4Addr::from(!hosts)));
    if prefix <= 30 {
        options.insert(DhcpOption::BroadcastAddr(Ipv4Addr::from(
            u32::from(address) | hosts,
        )));
    }
    if let Some(gateway) = facts.gateway {
        options.insert(DhcpOption::Router(vec![gateway]));
    }
    let dns = facts.dns_v4();
    if !dns.is_empty() {
        options.insert(DhcpOption::DomainNameServer(dns));
    }
    if let Some(domain) = &facts.domain {
        options.insert(DhcpOption::DomainName(domain.clone()));
    }
    options.insert(DhcpOption::Hostname(facts.name.clone()));
    options.insert(DhcpOption::InterfaceMtu(facts.mtu));
}

fn finish(answer: &Message, facts: &Facts, kind: Kind, to: Ipv4Addr) -> Result<Answer, Silence> {
    let mut bytes = answer.to_vec().map_err(|_| Silence::Unsent)?;
    if bytes.len() < LEAST {
        bytes.resize(LEAST, 0);
    }
    Ok(Answer {
        kind,
        frame: frame::dhcp4(facts.mac, to, &bytes)?,
    })
}
