use super::address::unicast;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

/// A network's address space, such as `10.77.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Prefix {
    network: Ipv4Addr,
    length: u8,
}

/// Why something is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    #[error("a prefix is written as 10.77.0.0/24")]
    Form,
    #[error("IPv6 prefixes are not carried by this version: give one IPv4 prefix")]
    V6,
    #[error("a prefix has a length from 8 to 30")]
    Length,
    #[error("the prefix has address bits behind its length: did you mean {0}?")]
    HostBits(Ipv4Prefix),
    #[error("the prefix holds addresses in 0/8, 127/8, 224/4 or 240/4, which no guest can have")]
    NotUnicast,
}

/// Why a guest cannot have an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideError {
    #[error("{address} is not in the network's prefix {prefix}")]
    Outside { address: Ipv4Addr, prefix: Ipv4Prefix },
    #[error(
        "{address} is the first or last address of {prefix}, which stand for the network and for all its members"
    )]
    Reserved { address: Ipv4Addr, prefix: Ipv4Prefix },
}

impl Ipv4Prefix {
    pub fn new(network: Ipv4Addr, length: u8) -> Result<Self, PrefixError> {
        if !(8..=30).contains(&length) {
            return Err(PrefixError::Length);
        }
        let truncated = Self {
            network: Ipv4Addr::from(u32::from(network) & mask(length)),
            length,
        };
        if truncated.network != network {
            return Err(PrefixError::HostBits(truncated));
        }
        // A prefix of length 8 or more never crosses the border of a /8, so its first address speaks for all.
        unicast(IpAddr::V4(network)).map_err(|_| PrefixError::NotUnicast)?;
        Ok(truncated)
    }

    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether a guest may have this address.
    pub fn check(self, address: Ipv4Addr) -> Result<(), OutsideError> {
        let prefix = self;
        if u32::from(address) & mask(self.length) != u32::from(self.network) {
            return Err(OutsideError::Outside { address, prefix });
        }
        if address == self.network || address == self.broadcast() {
            return Err(OutsideError::Reserved { address, prefix });
        }
        Ok(())
    }

    /// The lowest address from the second one on that is not in `used`, which is ascending. The first is left
    /// for a gateway.
    pub fn lowest_free(self, used: impl IntoIterator<Item = Ipv4Addr>) -> Option<Ipv4Addr> {
        let mut candidate = u32::from(self.network) + 2;
        for address in used {
            let address = u32::from(address);
            if address > candidate {
                break;
            }
            if address == candidate {
                candidate += 1;
            }
        }
        let address = Ipv4Addr::from(candidate);
        self.check(address).is_ok().then_some(address)
    }

    fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) | !mask(self.length))
    }
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

impl FromStr for Ipv4Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = text.split_once('/').ok_or(PrefixError::Form)?;
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Form)?;
        if length.is_empty() || length.len() > 3 || !length.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(PrefixError::Form);
        }
        let IpAddr::V4(address) = address else {
            return Err(PrefixError::V6);
        };
        Self::new(address, length.parse().map_err(|_| PrefixError::Length)?)
    }
}

impl fmt::Display for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Ipv4Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_must_be_exact_ipv4_unicast_and_of_a_useful_size() {
        assert_eq!(prefix("10.77.0.0/24").to_string(), "10.77.0.0/24");
        assert_eq!(
            "10.77.0.1/24".parse::<Ipv4Prefix>(),
            Err(PrefixError::HostBits(prefix("10.77.0.0/24")))
        );
        assert_eq!("fd77::/64".parse::<Ipv4Prefix>(), Err(PrefixError::V6));
        for (bad, why) in [
            ("10.77.0.0", PrefixError::Form),
            ("10.77.0.0/", PrefixError::Form),
            ("10.77.0.0/+8", PrefixError::Form),
            ("10.0.0.0/7", PrefixError::Length),
            ("10.0.0.0/31", PrefixError::Length),
            ("10.0.0.0/999", PrefixError::Length),
            ("127.0.0.0/8", PrefixError::NotUnicast),
            ("224.0.0.0/24", PrefixError::NotUnicast),
            ("0.0.0.0/8", PrefixError::NotUnicast),
        ] {
            assert_eq!(bad.parse::<Ipv4Prefix>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn the_ends_of_a_prefix_belong_to_no_guest() {
        let small = prefix("10.0.0.4/30");
        assert!(small.check("10.0.0.5".parse().unwrap()).is_ok());
        assert!(small.check("10.0.0.6".parse().unwrap()).is_ok());
        for reserved in ["10.0.0.4", "10.0.0.7"] {
            assert!(matches!(
                small.check(reserved.parse().unwrap()),
                Err(OutsideError::Reserved { .. })
            ));
        }
        assert!(matches!(
            small.check("10.0.0.8".parse().unwrap()),
            Err(OutsideError::Outside { .. })
        ));
    }

    proptest! {
        #[test]
        fn a_chosen_address_is_the_lowest_that_is_allowed_and_free(
            mut used in proptest::collection::vec(0u8..=15, 0..16),
        ) {
            used.sort_unstable();
            used.dedup();
            let prefix = prefix("10.0.0.0/28");
            let address = |last: &u8| Ipv4Addr::new(10, 0, 0, *last);
            let chosen = prefix.lowest_free(used.iter().map(address));
            let expected = (2..=14).find(|last| !used.contains(last)).map(|last| address(&last));
            prop_assert_eq!(chosen, expected);
        }
    }
}
