use std::net::{IpAddr, Ipv6Addr};

/// Why an address is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error(
        "{0} is not a unicast address: addresses in 0/8, 127/8, 224/4 and 240/4, ::/64 and ff00::/8 cannot be used"
    )]
    NotUnicast(IpAddr),
    #[error("{0} means something on its own link only: give an address outside fe80::/10")]
    LinkLocal(IpAddr),
}

/// The two families, which never meet: neither in a token nor on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// 4 or 6.
    pub fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }
}

/// An address that a host or a guest can have, in its one spelling; the token refuses all others. A guest's
/// link-local address never leaves its link, so nobody gets one here.
pub fn unicast(address: IpAddr) -> Result<IpAddr, AddressError> {
    let address = address.to_canonical();
    match address {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            if first == 0 || first == 127 || first >= 224 {
                return Err(AddressError::NotUnicast(address));
            }
        }
        IpAddr::V6(v6) => {
            if v6.is_multicast() || is_special(v6) {
                return Err(AddressError::NotUnicast(address));
            }
            if v6.is_unicast_link_local() {
                return Err(AddressError::LinkLocal(address));
            }
        }
    }
    Ok(address)
}

/// Unspecified, loopback, IPv4-compatible and their neighbourhood: nothing in ::/64 is anybody's address.
fn is_special(address: Ipv6Addr) -> bool {
    u128::from(address) >> 64 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unicast_is_taken_and_mapped_addresses_are_ipv4() {
        for good in [
            "10.0.0.1",
            "192.0.2.1",
            "223.255.255.255",
            "2001:db8::1",
            "fd77::11",
            "64:ff9b::1",
            "febf::1",
        ] {
            let address: IpAddr = good.parse().unwrap();
            let expected = if good == "febf::1" {
                Err(AddressError::LinkLocal(address))
            } else {
                Ok(address)
            };
            assert_eq!(unicast(address), expected, "{good}");
        }
        assert_eq!(
            unicast("::ffff:192.0.2.1".parse().unwrap()),
            Ok("192.0.2.1".parse().unwrap())
        );
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::192.0.2.1",
            "::ffff:127.0.0.1",
            "::1:0:0:1",
            "ff02::1",
            "ffff::1",
        ] {
            let refusal = unicast(bad.parse().unwrap());
            assert!(
                matches!(refusal, Err(AddressError::NotUnicast(_))),
                "{bad}: {refusal:?}"
            );
        }
        let refusal = unicast("fe80::1".parse().unwrap());
        assert!(matches!(refusal, Err(AddressError::LinkLocal(_))), "{refusal:?}");
    }
}
