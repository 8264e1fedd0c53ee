//! What a pair may carry.

use crate::Refusal;

/// Most entries that a token holds.
pub const MAX_GRANTS: usize = 16;

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// One protocol, and the destination ports of it that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// IP protocol number.
    pub protocol: u8,
    /// First destination port; 0 for protocols without ports.
    pub first: u16,
    /// Last destination port; 0 for protocols without ports.
    pub last: u16,
}

/// A list of grants in the one order that the encoding allows; the empty list is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// Everything.
    pub const fn all() -> Self {
        Self(Vec::new())
    }

    /// Takes the entries as they are and refuses an order that is not canonical: to sort or merge them here
    /// would hide from the caller that what was asked for is not what was granted.
    pub fn new(entries: Vec<Grant>) -> Result<Self, Refusal> {
        if entries.len() > MAX_GRANTS {
            return Err(Refusal::Grants);
        }
        let mut before: Option<Grant> = None;
        for entry in &entries {
            if !has_sound_ports(entry) || before.is_some_and(|before| !follows(&before, entry)) {
                return Err(Refusal::Grants);
            }
            before = Some(*entry);
        }
        Ok(Self(entries))
    }

    pub fn entries(&self) -> &[Grant] {
        &self.0
    }

    /// Whether the list stands for everything.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }
}

fn has_sound_ports(entry: &Grant) -> bool {
    match entry.protocol {
        TCP | UDP | SCTP => entry.first <= entry.last,
        _ => entry.first == 0 && entry.last == 0,
    }
}

/// Strictly ascending by (protocol, first port), without overlap inside a protocol.
fn follows(before: &Grant, after: &Grant) -> bool {
    after.protocol > before.protocol || (after.protocol == before.protocol && after.first > before.last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(protocol: u8, first: u16, last: u16) -> Grant {
        Grant {
            protocol,
            first,
            last,
        }
    }

    #[test]
    fn only_one_order_of_the_same_entries_is_taken() {
        let (tcp, udp) = (grant(6, 80, 80), grant(17, 53, 53));
        assert!(Grants::new(vec![tcp, udp]).is_ok());
        assert_eq!(Grants::new(vec![udp, tcp]), Err(Refusal::Grants));
    }

    #[test]
    fn adjacent_ranges_are_taken_and_touching_ones_refused() {
        assert!(Grants::new(vec![grant(6, 1, 9), grant(6, 10, 20)]).is_ok());
        assert_eq!(
            Grants::new(vec![grant(6, 1, 10), grant(6, 10, 20)]),
            Err(Refusal::Grants)
        );
        assert_eq!(
            Grants::new(vec![grant(1, 0, 0), grant(1, 0, 0)]),
            Err(Refusal::Grants)
        );
    }

    #[test]
    fn ports_belong_to_tcp_udp_and_sctp_only() {
        for protocol in 0..=u8::MAX {
            let with_ports = Grants::new(vec![grant(protocol, 1, 2)]);
            assert_eq!(with_ports.is_ok(), [6, 17, 132].contains(&protocol), "{protocol}");
            assert!(Grants::new(vec![grant(protocol, 0, 0)]).is_ok(), "{protocol}");
        }
        assert_eq!(Grants::new(vec![grant(6, 2, 1)]), Err(Refusal::Grants));
    }

    #[test]
    fn sixteen_entries_are_taken_and_seventeen_refused() {
        let entries = |n: u8| {
            (1..=n)
                .map(|protocol| grant(100 + protocol, 0, 0))
                .collect::<Vec<_>>()
        };
        assert!(Grants::new(entries(16)).is_ok());
        assert_eq!(Grants::new(entries(17)), Err(Refusal::Grants));
    }
}
