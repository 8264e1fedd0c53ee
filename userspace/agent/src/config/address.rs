//! Where the registry is: `HOST[:PORT]`, as the operators' program takes it too.
//!
//! What cannot be an address is refused before anything starts: it would only be tried again for ever.

use serde::{Deserialize, Deserializer, de::Error};
use std::net::Ipv6Addr;

/// Where a registry listens when nobody says.
const PORT: u16 = 7443;
/// The longest name of DNS.
const LONGEST_NAME: usize = 253;

/// `text` with its port; an IPv6 address in brackets.
pub(crate) fn registry(text: &str) -> Result<String, String> {
    with_port(text).ok_or_else(|| format!("{text:?} is not HOST[:PORT], such as registry.example:{PORT}"))
}

/// For serde, so that the error has the line.
pub(crate) fn in_file<'de, D: Deserializer<'de>>(file: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(file)?;
    registry(&text).map(Some).map_err(D::Error::custom)
}

fn with_port(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(format!("[{address}]:{PORT}"));
    }
    if let Some((inside, after)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let address = inside.parse::<Ipv6Addr>().ok()?;
        let port = match after {
            "" => PORT,
            _ => port(after.strip_prefix(':')?)?,
        };
        return Some(format!("[{address}]:{port}"));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, digits)) => (host, port(digits)?),
        None => (text, PORT),
    };
    is_host(host).then(|| format!("{host}:{port}"))
}

fn port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| plain && *port != 0)
}

fn is_host(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::registry;

    #[test]
    fn an_address_without_a_port_means_the_registrys_own() {
        for (given, meant) in [
            ("192.0.2.254", "192.0.2.254:7443"),
            ("192.0.2.254:8443", "192.0.2.254:8443"),
            ("registry.example", "registry.example:7443"),
            ("registry.example:1", "registry.example:1"),
            ("2001:db8::1", "[2001:db8::1]:7443"),
            ("[2001:db8::1]", "[2001:db8::1]:7443"),
            ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
        ] {
            assert_eq!(registry(given).as_deref(), Ok(meant), "{given}");
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        for given in [
            "",
            ":7443",
            "registry:",
            "registry:0",
            "registry:+1",
            "registry:65536",
            "https://registry",
            "[2001:db8::1",
            "[2001:db8::1]7443",
            "[registry]:7443",
            "a:b:c",
            "two words",
        ] {
            let error = registry(given).unwrap_err();
            assert!(error.contains("HOST[:PORT]"), "{given}: {error}");
        }
    }
}
