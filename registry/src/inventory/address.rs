use std::net::{IpAddr, Ipv4Addr};

/// Why an address is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{0} is an IPv6 address, and this version only carries IPv4: give an IPv4 address")]
    V6(IpAddr),
    #[error("{0} is not a unicast address: addresses in 0/8, 127/8, 224/4 and 240/4 cannot be used")]
    NotUnicast(Ipv4Addr),
}

/// An IPv4 address that a host or a guest can have; the token refuses all others.
pub fn unicast(address: IpAddr) -> Result<Ipv4Addr, AddressError> {
    let IpAddr::V4(address) = address.to_canonical() else {
        return Err(AddressError::V6(address));
    };
    let [first, ..] = address.octets();
    if first == 0 || first == 127 || first >= 224 {
        return Err(AddressError::NotUnicast(address));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipv4_unicast_is_taken() {
        for good in ["10.0.0.1", "192.0.2.1", "223.255.255.255", "::ffff:192.0.2.1"] {
            assert!(unicast(good.parse().unwrap()).is_ok(), "{good}");
        }
        for bad in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
            assert!(
                matches!(unicast(bad.parse().unwrap()), Err(AddressError::NotUnicast(_))),
                "{bad}"
            );
        }
        assert!(matches!(
            unicast("2001:db8::1".parse().unwrap()),
            Err(AddressError::V6(_))
        ));
    }
}
