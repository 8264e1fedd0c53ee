use pairgate_token as token;

/// Why an offer is not accepted. The word is what the offering agent is told, the metric label, and what tests
/// assert; words are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("this host has not applied a goal state since its agent started")]
    NotReady,
    #[error("the caller's certificate is not that of a host with one address")]
    Role,
    #[error("the token's source host is not the caller")]
    SourceHost,
    #[error("the token's destination host or port is not ours")]
    DestinationHost,
    #[error("the token joins two VMs of one host")]
    SameHost,
    #[error("the calling host has been removed")]
    DeadHost,
    #[error("the destination VM or address is not on this host")]
    NotHere,
    #[error("the token is for another generation of the destination VM")]
    Generation,
    #[error("the token is not valid: {0}")]
    Token(token::Refusal),
    #[error("the registry's time is not known yet")]
    NoTime,
    #[error("{0}")]
    Untimely(token::Untimely),
    #[error("the pair has been denied")]
    DeadPair,
    #[error("the generation of a VM is over")]
    DeadGeneration,
    #[error("this host's lease has ended")]
    Lease,
    #[error("the calling host holds as many pairs here as it may")]
    Quota,
    #[error("this host holds as many pairs as it can")]
    Full,
    #[error("the kernel did not take the entry")]
    Internal,
}

impl Refusal {
    /// The fixed word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Role => "role",
            Self::SourceHost => "source_host",
            Self::DestinationHost => "destination_host",
            Self::SameHost => "same_host",
            Self::DeadHost => "dead_host",
            Self::NotHere => "not_here",
            Self::Generation => "generation",
            Self::Token(refusal) => refusal.word(),
            Self::NoTime => "no_time",
            Self::Untimely(untimely) => untimely.word(),
            Self::DeadPair => "dead_pair",
            Self::DeadGeneration => "dead_generation",
            Self::Lease => "lease",
            Self::Quota => "quota",
            Self::Full => "full",
            Self::Internal => "internal",
        }
    }

    /// Every word there is, for counters that exist before anything is counted.
    pub fn words() -> impl Iterator<Item = &'static str> {
        let own = [
            Self::NotReady,
            Self::Role,
            Self::SourceHost,
            Self::DestinationHost,
            Self::SameHost,
            Self::DeadHost,
            Self::NotHere,
            Self::Generation,
            Self::NoTime,
            Self::DeadPair,
            Self::DeadGeneration,
            Self::Lease,
            Self::Quota,
            Self::Full,
            Self::Internal,
        ];
        let token = token::Refusal::ALL.map(Self::Token);
        let untimely = [token::Untimely::Early, token::Untimely::Expired].map(Self::Untimely);
        own.into_iter().chain(token).chain(untimely).map(Self::word)
    }
}
