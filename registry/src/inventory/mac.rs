use std::{fmt, str::FromStr};

/// Every guest sees this address as the gateway to all its peers; no guest may have it.
const GATEWAY: [u8; 6] = [0x02, 0x50, 0x47, 0x00, 0x00, 0x01];

/// A guest's hardware address: unicast and locally administered, so that it can collide with no real card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac([u8; 6]);

/// Why something is no guest's hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    #[error("a MAC address is written as 02:00:00:00:00:01")]
    Form,
    #[error("the MAC address must be unicast and locally administered: its second digit is 2, 6, a or e")]
    NotLocalUnicast,
    #[error("02:50:47:00:00:01 is the gateway's MAC address: choose another")]
    Gateway,
}

impl Mac {
    pub fn new(bytes: [u8; 6]) -> Result<Self, MacError> {
        let [first, ..] = bytes;
        if first & 0b11 != 0b10 {
            return Err(MacError::NotLocalUnicast);
        }
        if bytes == GATEWAY {
            return Err(MacError::Gateway);
        }
        Ok(Self(bytes))
    }

    /// The address that these random bytes stand for; none if it would be the gateway's.
    pub fn from_random(mut bytes: [u8; 6]) -> Option<Self> {
        bytes[0] = (bytes[0] & !0b11) | 0b10;
        Self::new(bytes).ok()
    }

    pub fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(MacError::Form)?;
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(MacError::Form);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacError::Form)?;
        }
        if parts.next().is_some() {
            return Err(MacError::Form);
        }
        Self::new(bytes)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn multicast_factory_made_and_gateway_addresses_are_refused() {
        assert_eq!("01:00:5e:00:00:01".parse::<Mac>(), Err(MacError::NotLocalUnicast));
        assert_eq!(
            "52:54:00:00:00:01".parse::<Mac>().map(|mac| mac.to_string()),
            Ok("52:54:00:00:00:01".into())
        );
        assert_eq!("00:1b:21:00:00:01".parse::<Mac>(), Err(MacError::NotLocalUnicast));
        assert_eq!("ff:ff:ff:ff:ff:ff".parse::<Mac>(), Err(MacError::NotLocalUnicast));
        assert_eq!("02:50:47:00:00:01".parse::<Mac>(), Err(MacError::Gateway));
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "02-00-00-00-00-01",
            "+2:00:00:00:00:01",
            "020000000001",
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(MacError::Form), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_random_address_is_one_that_would_be_taken_and_survives_its_text(bytes: [u8; 6]) {
            if let Some(mac) = Mac::from_random(bytes) {
                prop_assert_eq!(mac.to_string().parse(), Ok(mac));
                prop_assert_eq!(Mac::new(mac.bytes()), Ok(mac));
            }
        }
    }
}
