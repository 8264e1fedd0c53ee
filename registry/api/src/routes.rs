//! The route × role table. A route that is not here is open to nobody.

/// What a certificate says its holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The control service itself.
    Registry,
    /// A person or program that manages the installation.
    Operator,
    /// Good for enrolling a host that still waits, and for nothing else.
    Zero,
    /// A host's agent.
    Host,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Registry, Self::Operator, Self::Zero, Self::Host];

    /// The word in certificates and audit rows.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Operator => "operator",
            Self::Zero => "zero",
            Self::Host => "host",
        }
    }
}

/// Path prefix of the operators' REST API.
pub const REST_PREFIX: &str = "/api/v1/";

/// gRPC paths, and the only role that may call each.
const GRPC: &[(&str, Role)] = &[
    ("/pairgate.v1.Registry/Enrol", Role::Zero),
    ("/pairgate.v1.Registry/Follow", Role::Host),
    ("/pairgate.v1.Registry/RenewLease", Role::Host),
    ("/pairgate.v1.Registry/RenewCertificate", Role::Host),
    ("/pairgate.v1.Registry/Mint", Role::Host),
    ("/pairgate.v1.Peer/Offer", Role::Host),
    ("/pairgate.v1.Peer/Hint", Role::Host),
];

/// Whether a caller with this role may use this path at all.
pub fn allows(path: &str, role: Role) -> bool {
    if path.starts_with(REST_PREFIX) {
        return role == Role::Operator;
    }
    GRPC.iter().any(|(route, only)| *route == path && *only == role)
}

/// Whether requests on this path go on for as long as both sides like. All others must be said in time.
pub fn is_stream(path: &str) -> bool {
    path == "/pairgate.v1.Registry/Follow"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_certificate_enrols_and_does_nothing_else() {
        for (path, _) in GRPC {
            assert_eq!(allows(path, Role::Zero), path.ends_with("/Enrol"), "{path}");
        }
        assert!(!allows("/api/v1/hosts", Role::Zero));
    }

    #[test]
    fn hosts_and_operators_stay_on_their_own_side() {
        for (path, _) in GRPC {
            assert!(!allows(path, Role::Operator), "{path}");
        }
        assert!(!allows("/api/v1/networks/default/pairs", Role::Host));
        assert!(allows("/api/v1/networks/default/pairs", Role::Operator));
    }

    #[test]
    fn only_following_goes_on_without_end() {
        let streams: Vec<_> = GRPC.iter().filter(|(path, _)| is_stream(path)).collect();
        assert_eq!(streams, [&("/pairgate.v1.Registry/Follow", Role::Host)]);
        assert!(!is_stream("/api/v1/networks/default/denials"));
    }

    #[test]
    fn an_unknown_route_is_open_to_nobody() {
        for role in Role::ALL {
            assert!(!allows("/", role));
            assert!(!allows("/pairgate.v1.Registry/Unknown", role));
            assert!(!allows("/api/v2/hosts", role));
        }
    }
}
