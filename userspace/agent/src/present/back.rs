//! The way back, as it comes with an offer.
//!
//! The token of the opposite pair is made under the *offering* host's key, so its tag means nothing to us.
//! What we know instead: the offering host has proven by its certificate to be the one where the way back ends,
//! and the token of the way there, which our own key has verified, is the registry's word on which VM, address,
//! generation and host that is. So the way back is taken only as the exact mirror of the way there, for no
//! longer and for no more, joined with a handle of the same message. A stolen host can thereby open a way to its own
//! VMs that the registry did not allow, as it can by forging under their keys anyway, and to nothing else: it cannot
//! draw to itself what a guest of ours sends to anybody else's address. Answers come in by the way there and by what it
//! carries; of a pair that the registry allowed one way only it can make one on which our guest, too, may begin.

use super::{CarriedPair, SMALLEST_MTU};
use crate::{
    admit::VerifiedPair,
    clock::{BootTime, RegistryClock},
};
use pairgate_abi::Handle;
use pairgate_api::grpc;
use pairgate_token::{Claims, Grant, Refusal, Untimely, UnverifiedToken};

/// Why a way back is not taken. The way there is none the worse for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackError {
    #[error("the token of the way back is not well-made: {0}")]
    Form(#[from] Refusal),
    #[error("the token of the way back does not lead from where the way there ends to where it begins")]
    NotTheMirror,
    #[error("the token of the way back ends later than that of the way there")]
    Longer,
    #[error("the way back carries what the way there does not")]
    Grant,
    #[error("the token of the way back is not good now: {0}")]
    Time(#[from] Untimely),
    #[error("the registry's time is not known yet")]
    NoTime,
    #[error("the handle of the way back is reserved")]
    Handle,
    #[error("the MTU of the way back is {0}")]
    Mtu(u32),
}

impl CarriedPair {
    /// The second maker: a way back from the offer that brought `there`.
    pub fn from_offer(
        there: &VerifiedPair,
        back: &grpc::Back,
        clock: &RegistryClock,
        now: BootTime,
    ) -> Result<Self, BackError> {
        let claims = UnverifiedToken::from_bytes(back.token.as_slice())?.claims_without_proof()?;
        if !is_mirror(there.claims(), &claims) {
            return Err(BackError::NotTheMirror);
        }
        if claims.expires_unix_secs > there.claims().expires_unix_secs {
            return Err(BackError::Longer);
        }
        if !may_carry(there.claims(), &claims) {
            return Err(BackError::Grant);
        }
        claims.judge(clock.unix_secs(now).ok_or(BackError::NoTime)?)?;
        if back.mtu < SMALLEST_MTU {
            return Err(BackError::Mtu(back.mtu));
        }
        let deadline = clock.deadline(claims.expires_unix_secs);
        Ok(Self {
            handle: Handle::new(back.vni, back.group).ok_or(BackError::Handle)?,
            destination_host: there.source_host(),
            mtu: u16::try_from(back.mtu).unwrap_or(u16::MAX),
            deadline: deadline.ok_or(BackError::NoTime)?.min(there.deadline()),
            claims,
            minted: None,
        })
    }
}

/// Whether this may be what the way back carries: no more than the way there. What our guest sends on it
/// is noted as opened, and lets answers in: a wider word than the one that our key has verified would be a way in that
/// the registry did not allow. For the way back of replies, which says nothing about it, our own agent asks.
fn may_carry(there: &Claims, back: &Claims) -> bool {
    let granted = |asked: &Grant| {
        let mut entries = there.grants.entries().iter();
        entries
            .any(|one| one.protocol == asked.protocol && one.first <= asked.first && asked.last <= one.last)
    };
    let in_grants = || !back.grants.is_all() && back.grants.entries().iter().all(granted);
    back.replies_only || (!there.replies_only && (there.grants.is_all() || in_grants()))
}

/// Whether `back` leads from the destination of `there` to its source, in everything that both name. Only the
/// pair id, the port and the times are its own.
pub fn is_mirror(there: &Claims, back: &Claims) -> bool {
    let ends = |claims: &Claims| {
        let source = (
            claims.source_vm,
            claims.source_generation,
            claims.source_address,
            claims.source_host,
        );
        let destination = (
            claims.destination_vm,
            claims.destination_generation,
            claims.destination_address,
            claims.destination_host,
        );
        (source, destination)
    };
    let (source, destination) = ends(there);
    there.network == back.network && there.pair_id != back.pair_id && ends(back) == (destination, source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::tests::{NOW, clock, good};
    use pairgate_token::{Grants, SecretKey};
    use uuid::Uuid;

    fn mirror(there: &Claims) -> Claims {
        Claims {
            pair_id: there.pair_id + 1,
            overlay_port: 4790,
            source_generation: there.destination_generation,
            destination_generation: there.source_generation,
            source_vm: there.destination_vm,
            destination_vm: there.source_vm,
            source_address: there.destination_address,
            destination_address: there.source_address,
            source_host: there.destination_host,
            destination_host: there.source_host,
            ..there.clone()
        }
    }

    fn take(claims: &Claims, vni: u32, mtu: u32) -> Result<CarriedPair, BackError> {
        // The offering host's key, which we do not have: the tag proves nothing here, right or wrong.
        let token = claims.mint(&SecretKey::from_bytes([5; 32])).unwrap();
        let back = grpc::Back {
            token: token.into_bytes(),
            vni,
            group: 1,
            mtu,
        };
        CarriedPair::from_offer(&good().decide().unwrap(), &back, &clock(), NOW)
    }

    #[test]
    fn the_mirror_of_a_verified_pair_is_taken_with_the_handle_beside_it() {
        let case = good();
        let pair = take(&mirror(&case.claims), 7, 1450).unwrap();
        assert_eq!(pair.destination_host(), case.offerer.id);
        assert_eq!(pair.handle(), Handle::new(7, 1).unwrap());
        assert_eq!(pair.claims().overlay_port, 4790);
        assert_eq!(pair.deadline(), case.decide().unwrap().deadline());
    }

    #[test]
    fn a_host_cannot_draw_to_itself_what_is_meant_for_another() {
        type Change = fn(&mut Claims);
        let cases: [(&str, Change); 12] = [
            ("another VM's address", |c| {
                c.destination_address = [10, 77, 0, 12].into()
            }),
            ("another VM", |c| c.destination_vm = Uuid::from_u128(0xc)),
            ("another host's VM", |c| {
                c.destination_host = [192, 0, 2, 3].into()
            }),
            ("a later generation of its own VM", |c| {
                c.destination_generation += 1
            }),
            ("another guest of ours", |c| c.source_vm = Uuid::from_u128(0xc)),
            ("another address of ours", |c| {
                c.source_address = [10, 77, 0, 22].into()
            }),
            ("another generation of our guest", |c| c.source_generation += 1),
            ("from another host than ours", |c| {
                c.source_host = [192, 0, 2, 3].into()
            }),
            ("another network", |c| c.network = Uuid::from_u128(0xf)),
            ("the very pair that leads here", |c| c.pair_id -= 1),
            ("no way back but the way there", |c| *c = good().claims),
            ("another pair whole", |c| {
                c.destination_vm = Uuid::from_u128(0xc);
                c.destination_address = [10, 77, 0, 12].into();
                c.destination_host = [192, 0, 2, 3].into();
            }),
        ];
        for (what, change) in cases {
            let mut claims = mirror(&good().claims);
            change(&mut claims);
            let refused = take(&claims, 7, 1450).map(|_| ());
            assert_eq!(refused, Err(BackError::NotTheMirror), "{what}");
        }
    }

    #[test]
    fn a_way_back_carries_no_more_than_the_way_there() {
        let grants = |port: u16| {
            let one = Grant {
                protocol: 6,
                first: port,
                last: port,
            };
            Grants::new(vec![one]).unwrap()
        };
        let all = || Grants::new(Vec::new()).unwrap();
        let taken = |there: (Grants, bool), back: (Grants, bool)| {
            let mut claims = good().claims;
            (claims.grants, claims.replies_only) = there;
            let mut answer = mirror(&claims);
            (answer.grants, answer.replies_only) = back;
            may_carry(&claims, &answer)
        };
        assert!(taken((all(), false), (all(), false)));
        assert!(taken((grants(443), false), (grants(443), false)), "two ways");
        assert!(taken((grants(443), false), (all(), true)), "one way");
        assert!(
            !taken((grants(443), false), (all(), false)),
            "everything our guest begins would be answered"
        );
        assert!(!taken((grants(443), false), (grants(22), false)));
        assert!(
            !taken((all(), true), (all(), false)),
            "replies say nothing of what they answer"
        );
        let mut case = good();
        case.claims.replies_only = true;
        let mut wider = mirror(&case.claims);
        wider.replies_only = false;
        let token = wider.mint(&SecretKey::from_bytes([5; 32])).unwrap().into_bytes();
        let back = grpc::Back {
            token,
            vni: 7,
            group: 1,
            mtu: 1450,
        };
        let taken = CarriedPair::from_offer(&case.decide().unwrap(), &back, &clock(), NOW);
        assert_eq!(taken.map(|_| ()), Err(BackError::Grant));
    }

    #[test]
    fn a_way_back_is_for_no_longer_and_for_now() {
        let refused = |change: fn(&mut Claims)| {
            let mut claims = mirror(&good().claims);
            change(&mut claims);
            take(&claims, 7, 1450).map(|_| ()).unwrap_err()
        };
        assert_eq!(refused(|c| c.expires_unix_secs += 1), BackError::Longer);
        assert_eq!(
            refused(|c| {
                c.not_before_unix_secs -= 7200;
                c.expires_unix_secs -= 7200;
            }),
            BackError::Time(Untimely::Expired)
        );
        assert_eq!(
            refused(|c| c.not_before_unix_secs += 60),
            BackError::Time(Untimely::Early)
        );
    }

    #[test]
    fn a_way_back_may_carry_less_than_the_way_there() {
        let mut claims = mirror(&good().claims);
        claims.replies_only = true;
        assert!(take(&claims, 7, 1450).unwrap().claims().replies_only);
        claims.replies_only = false;
        let web = Grant {
            protocol: 6,
            first: 443,
            last: 443,
        };
        claims.grants = Grants::new(vec![web]).unwrap();
        assert_eq!(take(&claims, 7, 1450).unwrap().claims().grants, claims.grants);
    }

    #[test]
    fn a_lying_handle_or_mtu_is_refused_and_bytes_that_are_no_token_too() {
        let claims = mirror(&good().claims);
        for vni in [0, 0xff_ffff, 1 << 24] {
            assert_eq!(take(&claims, vni, 1450).map(|_| ()), Err(BackError::Handle));
        }
        assert_eq!(take(&claims, 7, 67).map(|_| ()), Err(BackError::Mtu(67)));
        let back = grpc::Back {
            token: vec![1; 184],
            vni: 7,
            group: 1,
            mtu: 1450,
        };
        let there = good().decide().unwrap();
        assert!(matches!(
            CarriedPair::from_offer(&there, &back, &clock(), NOW),
            Err(BackError::Form(_))
        ));
    }
}
