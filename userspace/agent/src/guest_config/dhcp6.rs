//! DHCPv6 (RFC 8415): all IPv6 addresses of a guest in one identity association, that with the lowest number. Pure: nothing is remembered.

use super::{
    answer::{Answer, Kind, Silence},
    facts::{Facts, LEASE_SECS, REBIND_SECS, RENEW_SECS},
    frame, sift,
};
use dhcproto::{
    Decodable, Decoder, Encodable, Name,
    v6::{
        DhcpOption, DhcpOptions, IAAddr, IANA, IAPD, IATA, Message, MessageType, OptionCode, Status,
        StatusCode,
    },
};
use pairgate_abi::GATEWAY_MAC;
use std::net::Ipv6Addr;

/// Who answers, on every tap of every host: a DUID of the link-layer kind (section 11.4), so that a guest that
/// moves to another host finds its server there.
pub(super) fn server_id() -> Vec<u8> {
    const KIND_AND_ETHERNET: [u8; 4] = [0, 3, 0, 1];
    [&KIND_AND_ETHERNET[..], &GATEWAY_MAC].concat()
}

/// Answers a message of the guest, sent from this address of the link.
pub(super) fn answer(message: &[u8], from: Ipv6Addr, facts: &Facts) -> Result<Answer, Silence> {
    let message = sift::dhcp6(message)?;
    let asked = Message::decode(&mut Decoder::new(&message)).map_err(|_| Silence::Unreadable)?;
    let kind = asked.msg_type();
    check_ids(&asked)?;
    if facts.v6.is_empty() {
        return Err(Silence::NoAddress);
    }
    let mut told = DhcpOptions::new();
    let mut answered = Kind::Reply;
    match kind {
        MessageType::Solicit => {
            if asked.opts().get(OptionCode::RapidCommit).is_some() {
                told.insert(DhcpOption::RapidCommit);
            } else {
                answered = Kind::Advertise;
            }
            lend(&asked, facts, &mut told);
            tell(facts, &mut told);
        }
        MessageType::Request | MessageType::Renew | MessageType::Rebind => {
            lend(&asked, facts, &mut told);
            tell(facts, &mut told);
        }
        MessageType::Confirm => told.insert(confirm(&asked, facts)?),
        MessageType::InformationRequest => tell(facts, &mut told),
        MessageType::Release | MessageType::Decline => {
            if kind == MessageType::Decline {
                // Not louder: a guest says it as often as it likes.
                tracing::debug!(
                    vm = facts.name,
                    "the guest says that somebody else has its IPv6 address"
                );
            }
            told.insert(status(Status::Success, ""));
        }
        _ => return Err(Silence::Unreadable),
    }
    told.insert(DhcpOption::ServerId(server_id()));
    if let Some(client) = asked.opts().get(OptionCode::ClientId) {
        told.insert(client.clone());
    }
    let word = if answered == Kind::Advertise {
        MessageType::Advertise
    } else {
        MessageType::Reply
    };
    let mut answer = Message::new_with_id(word, asked.xid());
    answer.set_opts(told);
    let bytes = answer.to_vec().map_err(|_| Silence::Unsent)?;
    Ok(Answer {
        kind: answered,
        frame: frame::dhcp6(facts.mac, from, &bytes)?,
    })
}

/// Which messages name client and server (section 16), and that who only asks for information names no association
/// (section 16.12): others are to be ignored.
fn check_ids(asked: &Message) -> Result<(), Silence> {
    let client = asked.opts().get(OptionCode::ClientId).is_some();
    let server = match asked.opts().get(OptionCode::ServerId) {
        Some(DhcpOption::ServerId(id)) => Some(*id == server_id()),
        _ => None,
    };
    let needs_server = match asked.msg_type() {
        MessageType::Solicit | MessageType::Confirm | MessageType::Rebind => Some(false),
        MessageType::Request | MessageType::Renew | MessageType::Release | MessageType::Decline => Some(true),
        MessageType::InformationRequest => None,
        _ => return Err(Silence::Unreadable),
    };
    match (needs_server, server) {
        (_, Some(false)) => Err(Silence::OtherServer),
        (Some(true), None) | (Some(false), Some(true)) => Err(Silence::Unreadable),
        (None, None | Some(true)) if has_association(asked) => Err(Silence::Unreadable),
        (None, None | Some(true)) => Ok(()), // who only asks for information may be nobody
        (Some(_), _) if client => Ok(()),
        (Some(_), _) => Err(Silence::Unreadable),
    }
}

fn has_association(asked: &Message) -> bool {
    asked.opts().iter().any(|option| {
        matches!(
            option,
            DhcpOption::IANA(_) | DhcpOption::IATA(_) | DhcpOption::IAPD(_)
        )
    })
}

/// An answer for each association. One gets all addresses; what the guest named there and has not is taken back with
/// lifetimes of 0 (section 18.3.4).
fn lend(asked: &Message, facts: &Facts, told: &mut DhcpOptions) {
    let ids = asked.opts().iter().filter_map(|option| match option {
        DhcpOption::IANA(association) => Some(association.id),
        _ => None,
    });
    let chosen = ids.min();
    for option in asked.opts().iter() {
        match option {
            DhcpOption::IANA(association) => {
                let mut inside = DhcpOptions::new();
                if chosen == Some(association.id) {
                    for (address, _) in &facts.v6 {
                        inside.insert(lease(*address, LEASE_SECS));
                    }
                } else {
                    inside.insert(status(
                        Status::NoAddrsAvail,
                        "all addresses are in another association",
                    ));
                }
                let foreign = named(&association.opts).filter(|address| !owns(facts, *address));
                if asked.msg_type() != MessageType::Solicit {
                    for address in foreign {
                        inside.insert(lease(address, 0));
                    }
                }
                told.insert(DhcpOption::IANA(IANA {
                    id: association.id,
                    t1: RENEW_SECS,
                    t2: REBIND_SECS,
                    opts: inside,
                }));
            }
            DhcpOption::IATA(association) => told.insert(DhcpOption::IATA(IATA {
                id: association.id,
                opts: only(status(Status::NoAddrsAvail, "there are no temporary addresses")),
            })),
            DhcpOption::IAPD(association) => told.insert(DhcpOption::IAPD(IAPD {
                id: association.id,
                t1: 0,
                t2: 0,
                opts: only(status(Status::NoPrefixAvail, "no prefixes are delegated")),
            })),
            _ => {}
        }
    }
}

/// Whether the addresses that the guest remembers are still those of its link (section 18.3.3): here, its own.
fn confirm(asked: &Message, facts: &Facts) -> Result<DhcpOption, Silence> {
    let remembered = asked.opts().iter().flat_map(|option| match option {
        DhcpOption::IANA(association) => named(&association.opts).collect::<Vec<_>>(),
        DhcpOption::IATA(association) => named(&association.opts).collect(),
        _ => Vec::new(),
    });
    let remembered: Vec<_> = remembered.collect();
    if remembered.is_empty() {
        return Err(Silence::Unreadable);
    }
    Ok(if remembered.into_iter().all(|address| owns(facts, address)) {
        status(Status::Success, "")
    } else {
        status(Status::NotOnLink, "these are not the guest's addresses any more")
    })
}

/// Everything but addresses.
fn tell(facts: &Facts, told: &mut DhcpOptions) {
    let dns = facts.dns_v6();
    if !dns.is_empty() {
        told.insert(DhcpOption::DomainNameServers(dns));
    }
    let domain = facts
        .domain
        .as_deref()
        .and_then(|domain| Name::from_ascii(domain).ok());
    if let Some(domain) = domain {
        told.insert(DhcpOption::DomainSearchList(vec![domain]));
    }
}

fn named(options: &DhcpOptions) -> impl Iterator<Item = Ipv6Addr> + '_ {
    options.iter().filter_map(|option| match option {
        DhcpOption::IAAddr(named) => Some(named.addr),
        _ => None,
    })
}

fn owns(facts: &Facts, address: Ipv6Addr) -> bool {
    facts.v6.iter().any(|(own, _)| *own == address)
}

fn lease(addr: Ipv6Addr, secs: u32) -> DhcpOption {
    DhcpOption::IAAddr(IAAddr {
        addr,
        preferred_life: secs,
        valid_life: secs,
        opts: DhcpOptions::new(),
    })
}

fn status(status: Status, msg: &str) -> DhcpOption {
    DhcpOption::StatusCode(StatusCode {
        status,
        msg: msg.to_owned(),
    })
}

fn only(option: DhcpOption) -> DhcpOptions {
    let mut options = DhcpOptions::new();
    options.insert(option);
    options
}
