//! What a pair carries: from a token's claims to the form that the kernel's entries have. Pure. What a grant means
//! for a packet is decided in one place, for the programs and the agent alike: `pairgate_packet::grant`.

use pairgate_abi::{CARRIES_ALL, CARRIES_ALL_NOTED, CARRIES_GRANTS, CARRIES_REPLIES, Carries, GRANTS, Grant};
use pairgate_token::Claims;

/// What is known of the pair in the opposite direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opposite {
    /// It carries everything too, so no answer needs to find its question.
    CarriesAll,
    /// It does not, or is not known.
    Other,
}

impl Opposite {
    pub fn of(claims: Option<&Claims>) -> Self {
        match claims {
            Some(claims) if is_all(claims) => Self::CarriesAll,
            Some(_) | None => Self::Other,
        }
    }
}

/// Whether a pair carries everything, asked for or not.
pub fn is_all(claims: &Claims) -> bool {
    !claims.replies_only && claims.grants.is_all()
}

/// What the claims let through, for the entries of their pair.
///
/// A list that does not fit carries nothing: no token has one, and a shorter list than the registry's would be
/// another grant.
pub fn carries(claims: &Claims, opposite: Opposite) -> Carries {
    let entries = claims.grants.entries();
    let mut carries = Carries {
        kind: 0,
        count: 0,
        reserved: [0; 2],
        grants: [Grant::default(); GRANTS],
    };
    if claims.replies_only {
        carries.kind = CARRIES_REPLIES;
    } else if entries.is_empty() {
        carries.kind = match opposite {
            Opposite::CarriesAll => CARRIES_ALL,
            Opposite::Other => CARRIES_ALL_NOTED,
        };
    } else if let (Some(places), Ok(count)) = (
        carries.grants.get_mut(..entries.len()),
        u8::try_from(entries.len()),
    ) {
        for (place, entry) in places.iter_mut().zip(entries) {
            *place = Grant {
                protocol: entry.protocol,
                reserved: 0,
                first: entry.first,
                last: entry.last,
            };
        }
        carries.kind = CARRIES_GRANTS;
        carries.count = count;
    }
    carries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::tests::good;
    use pairgate_token::Grants;

    const TCP: u8 = 6;

    fn claims(entries: &[(u8, u16, u16)]) -> Claims {
        let mut claims = good().claims;
        let entries = entries
            .iter()
            .map(|(protocol, first, last)| pairgate_token::Grant {
                protocol: *protocol,
                first: *first,
                last: *last,
            });
        claims.grants = Grants::new(entries.collect()).unwrap();
        claims
    }

    #[test]
    fn the_kernels_form_says_what_the_token_says() {
        let web = claims(&[(TCP, 80, 80), (TCP, 443, 445), (17, 53, 53)]);
        let form = carries(&web, Opposite::Other);
        assert_eq!((form.kind, form.count), (CARRIES_GRANTS, 3));
        assert_eq!((form.grants[1].first, form.grants[1].last), (443, 445));
        assert_eq!(form.grants[3], Grant::default());
        let full: Vec<_> = (0..16).map(|entry| (TCP, entry * 2 + 1, entry * 2 + 1)).collect();
        assert_eq!(carries(&claims(&full), Opposite::Other).count, 16);
        let mut replies = claims(&[]);
        replies.replies_only = true;
        assert_eq!(carries(&replies, Opposite::CarriesAll).kind, CARRIES_REPLIES);
    }

    #[test]
    fn what_a_guest_opens_is_noted_unless_answers_come_through_anyway() {
        let all = claims(&[]);
        let kind = |opposite| carries(&all, Opposite::of(opposite)).kind;
        assert_eq!(kind(Some(&all)), CARRIES_ALL);
        assert_eq!(kind(None), CARRIES_ALL_NOTED, "not known");
        let mut replies = all.clone();
        replies.replies_only = true;
        assert_eq!(kind(Some(&replies)), CARRIES_ALL_NOTED);
        assert_eq!(kind(Some(&claims(&[(TCP, 443, 443)]))), CARRIES_ALL_NOTED);
    }
}
