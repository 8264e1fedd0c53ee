use super::address::{AddressError, Family, unicast};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    str::FromStr,
};

/// A network's address space in one family, such as `10.77.0.0/24` or `fd77::/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    network: IpAddr,
    length: u8,
}

/// Why something is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    #[error("a prefix is written as 10.77.0.0/24 or fd77::/64")]
    Form,
    #[error("an IPv4 prefix has a length from {} to {}, an IPv6 prefix from {} to {}",
        LENGTHS_V4.start(), LENGTHS_V4.end(), LENGTHS_V6.start(), LENGTHS_V6.end())]
    Length,
    #[error("the prefix has address bits behind its length: did you mean {0}?")]
    HostBits(Prefix),
    #[error("no guest can have an address of this prefix: {0}")]
    Address(AddressError),
}

/// Why a guest cannot have an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideError {
    #[error("{address} is not in the network's prefix {prefix}")]
    Outside { address: IpAddr, prefix: Prefix },
    #[error("{address} is one of the addresses of {prefix} that stand for the network and not for a guest")]
    Reserved { address: IpAddr, prefix: Prefix },
}

/// Such a prefix never crosses the border of a /8, and has room for two guests at least.
const LENGTHS_V4: RangeInclusive<u8> = 8..=30;
/// Such a prefix never reaches over the border of a block with a meaning of its own.
const LENGTHS_V6: RangeInclusive<u8> = 48..=126;

impl Prefix {
    /// An IPv4-mapped network is none: it would be one prefix with two spellings.
    pub fn new(network: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let lengths = match network {
            IpAddr::V4(_) => LENGTHS_V4,
            IpAddr::V6(_) => LENGTHS_V6,
        };
        if !lengths.contains(&length) {
            return Err(PrefixError::Length);
        }
        let unbound = Self { network, length };
        let truncated = Self {
            network: unbound.at(bits(network) & unbound.mask()),
            length,
        };
        if truncated.network != network {
            return Err(PrefixError::HostBits(truncated));
        }
        let sound = unicast(network).map_err(PrefixError::Address)?;
        if sound != network {
            return Err(PrefixError::Address(AddressError::NotUnicast(network)));
        }
        Ok(truncated)
    }

    pub fn network(self) -> IpAddr {
        self.network
    }

    /// In bits of the family.
    pub fn length(self) -> u8 {
        self.length
    }

    pub fn family(self) -> Family {
        Family::of(self.network)
    }

    /// Whether a guest may have this address. The first address stands for the network (IPv4) or for any of its
    /// routers (IPv6), the last IPv4 address for all its members.
    pub fn check(self, address: IpAddr) -> Result<(), OutsideError> {
        let prefix = self;
        if Family::of(address) != self.family() || bits(address) & self.mask() != bits(self.network) {
            return Err(OutsideError::Outside { address, prefix });
        }
        let is_last = bits(address) == bits(self.network) | (self.family_mask() & !self.mask());
        if address == self.network || (is_last && self.family() == Family::V4) {
            return Err(OutsideError::Reserved { address, prefix });
        }
        Ok(())
    }

    /// The lowest address from the second one on that is not in `used`, which is ascending within the family;
    /// addresses of the other one do not count. The first is left for a gateway.
    pub fn lowest_free(self, used: impl IntoIterator<Item = IpAddr>) -> Option<IpAddr> {
        let mut candidate = bits(self.network) + 2;
        for address in used {
            if Family::of(address) != self.family() {
                continue;
            }
            let address = bits(address);
            if address > candidate {
                break;
            }
            if address == candidate {
                candidate += 1;
            }
        }
        let address = self.at(candidate);
        self.check(address).is_ok().then_some(address)
    }

    /// An address of this family.
    fn at(self, bits: u128) -> IpAddr {
        match self.network {
            // Masked and added to within the family: the upper bits are clear.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(bits).unwrap_or(u32::MAX))),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(bits)),
        }
    }

    fn family_mask(self) -> u128 {
        match self.network {
            IpAddr::V4(_) => u128::from(u32::MAX),
            IpAddr::V6(_) => u128::MAX,
        }
    }

    fn mask(self) -> u128 {
        let width: u32 = match self.network {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        let host_bits = width.saturating_sub(u32::from(self.length));
        self.family_mask() & u128::MAX.checked_shl(host_bits).unwrap_or(0)
    }
}

/// As a number of its family.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = text.split_once('/').ok_or(PrefixError::Form)?;
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Form)?;
        if length.is_empty() || length.len() > 3 || !length.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(PrefixError::Form);
        }
        Self::new(address, length.parse().map_err(|_| PrefixError::Length)?)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_must_be_exact_unicast_and_of_a_useful_size() {
        for good in [
            "10.77.0.0/24",
            "10.0.0.0/8",
            "10.0.0.4/30",
            "fd77::/64",
            "2001:db8:1::/48",
            "fd77::4/126",
        ] {
            assert_eq!(prefix(good).to_string(), good);
        }
        assert_eq!(prefix("FD77:0:0:0::/64").to_string(), "fd77::/64", "one spelling");
        for (bad, meant) in [("10.77.0.1/24", "10.77.0.0/24"), ("fd77::1/64", "fd77::/64")] {
            assert_eq!(
                bad.parse::<Prefix>(),
                Err(PrefixError::HostBits(prefix(meant))),
                "{bad}"
            );
        }
        for (bad, why) in [
            ("10.77.0.0", PrefixError::Form),
            ("10.77.0.0/", PrefixError::Form),
            ("10.77.0.0/+8", PrefixError::Form),
            ("fd77::%1/64", PrefixError::Form),
            ("10.0.0.0/7", PrefixError::Length),
            ("10.0.0.0/31", PrefixError::Length),
            ("10.0.0.0/999", PrefixError::Length),
            ("fd77::/47", PrefixError::Length),
            ("fd77::/127", PrefixError::Length),
        ] {
            assert_eq!(bad.parse::<Prefix>(), Err(why), "{bad}");
        }
        for bad in [
            "127.0.0.0/8",
            "224.0.0.0/24",
            "0.0.0.0/8",
            "::/48",
            "::/64",
            "::ffff:10.0.0.0/120",
            "::1:0:0:0/96",
            "fe80::/64",
            "ff02::/64",
        ] {
            assert!(
                matches!(bad.parse::<Prefix>(), Err(PrefixError::Address(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_ends_of_a_prefix_belong_to_no_guest() {
        for (text, inside, reserved, outside) in [
            (
                "10.0.0.4/30",
                &["10.0.0.5", "10.0.0.6"][..],
                &["10.0.0.4", "10.0.0.7"][..],
                "10.0.0.8",
            ),
            (
                "fd77::4/126",
                &["fd77::5", "fd77::6", "fd77::7"],
                &["fd77::4"],
                "fd77::8",
            ),
            (
                "fd77::/64",
                &["fd77::1", "fd77::ffff:ffff:ffff:ffff"],
                &["fd77::"],
                "10.0.0.5",
            ),
            ("10.0.0.0/8", &["10.0.0.1"], &["10.255.255.255"], "fd77::1"),
        ] {
            let prefix = prefix(text);
            for address in inside {
                assert_eq!(
                    prefix.check(address.parse().unwrap()),
                    Ok(()),
                    "{address} in {text}"
                );
            }
            for address in reserved {
                let refusal = prefix.check(address.parse().unwrap());
                assert!(
                    matches!(refusal, Err(OutsideError::Reserved { .. })),
                    "{address} in {text}"
                );
            }
            let refusal = prefix.check(outside.parse().unwrap());
            assert!(
                matches!(refusal, Err(OutsideError::Outside { .. })),
                "{outside} in {text}"
            );
        }
    }

    proptest! {
        /// Wrong if false: a prefix would have two spellings, or hold an address that a token refuses.
        #[test]
        fn whatever_is_taken_reads_back_and_holds_only_unicast_of_its_family(
            number: u128,
            v6: bool,
            length in 0u8..=129,
            within: u128,
            text in "[0-9a-f.:/%]{0,24}",
        ) {
            let _ = text.parse::<Prefix>();
            let network: IpAddr = if v6 { Ipv6Addr::from(number).into() } else { Ipv4Addr::from(number as u32).into() };
            let taken = match Prefix::new(network, length) {
                Err(PrefixError::HostBits(meant)) => Prefix::new(meant.network(), length),
                other => other,
            };
            if let Ok(prefix) = taken {
                prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
                let inside = prefix.at(bits(prefix.network) | (within & prefix.family_mask() & !prefix.mask()));
                prop_assert_eq!(unicast(inside), Ok(inside));
                let outside = matches!(prefix.check(inside), Err(OutsideError::Outside { .. }));
                prop_assert!(!outside, "{inside} in {prefix}");
            }
        }

        #[test]
        fn a_chosen_address_is_the_lowest_that_is_allowed_and_free(
            mut used in proptest::collection::vec(0u8..=15, 0..16),
            v6: bool,
        ) {
            used.sort_unstable();
            used.dedup();
            let (prefix, last) = if v6 { (prefix("fd77::/124"), 15) } else { (prefix("10.0.0.0/28"), 14) };
            let address = |number: u8| -> IpAddr {
                if v6 {
                    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number.into()).into()
                } else {
                    Ipv4Addr::new(10, 0, 0, number).into()
                }
            };
            // Addresses of the other family lie anywhere among them.
            let other: IpAddr = if v6 { "10.0.0.2" } else { "fd77::2" }.parse().unwrap();
            let list = used.iter().flat_map(|number| [other, address(*number)]);
            let chosen = prefix.lowest_free(list);
            let expected = (2..=last).find(|number| !used.contains(number)).map(address);
            prop_assert_eq!(chosen, expected);
        }
    }
}
