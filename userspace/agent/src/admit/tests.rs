//! Every refusal, each by a case that differs in one thing from an offer that is accepted.

use super::*;
use crate::{
    goal::{Guest, OwnAddress},
    tap_name::TapName,
};
use pairgate_token::{Grant, Grants, SecretKey};
use std::collections::HashSet;

/// This host's id.
pub(crate) const OWN: Uuid = Uuid::from_u128(0x2);
pub(crate) const NOW: BootTime = BootTime::from_nanos(1_000_000_000_000);
const UNIX_SECS: u64 = 1_800_000_000;

/// A host with one guest, and an offer to it that is accepted.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) claims: Claims,
    pub(crate) key: SecretKey,
    pub(crate) offerer: Offerer,
    pub(crate) guest: Guest,
    /// A second guest of the host.
    pub(crate) neighbour: Option<Guest>,
    pub(crate) tombstones: Tombstones,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) ready: bool,
    pub(crate) clock_known: bool,
    /// Changes the token's bytes after minting.
    pub(crate) spoil: fn(&mut Vec<u8>),
}

pub(crate) fn own(address: &str, prefix: u8) -> OwnAddress {
    OwnAddress {
        address: address.parse().unwrap(),
        prefix,
    }
}

pub(crate) fn good() -> Case {
    let guest = Guest {
        id: Uuid::from_u128(0xb),
        name: "db1".to_owned(),
        network: Uuid::from_u128(0xe),
        network_name: "default".to_owned(),
        mac: [2, 0, 0, 0, 0, 0xb],
        addresses: vec![own("10.77.0.21", 24), own("fd77::21", 64)],
        mtu: 1500,
        generation: 3,
        key: SecretKey::from_bytes([7; 32]),
        tap: TapName::new("tap-db1").unwrap(),
        told: Default::default(),
    };
    let claims = Claims {
        replies_only: false,
        grants: Grants::all(),
        overlay_port: 4789,
        pair_id: 9,
        source_generation: 2,
        destination_generation: guest.generation,
        network: guest.network,
        source_vm: Uuid::from_u128(0xa),
        destination_vm: guest.id,
        source_address: [10, 77, 0, 11].into(),
        destination_address: guest.addresses[0].address,
        source_host: [192, 0, 2, 1].into(),
        destination_host: [192, 0, 2, 2].into(),
        not_before_unix_secs: UNIX_SECS - 30,
        expires_unix_secs: UNIX_SECS + 3600,
    };
    Case {
        offerer: Offerer {
            role: Role::Host,
            id: Uuid::from_u128(0x1),
            address: Some(claims.source_host),
        },
        address: claims.destination_host,
        port: claims.overlay_port,
        key: guest.key.clone(),
        claims,
        guest,
        neighbour: None,
        tombstones: Tombstones::default(),
        ready: true,
        clock_known: true,
        spoil: |_| {},
    }
}

pub(crate) fn clock() -> RegistryClock {
    let clock = RegistryClock::default();
    // Cut to milliseconds and counted up again: exactly UNIX_SECS at NOW.
    clock.learn(NOW, UNIX_SECS * 1000 - 1);
    clock
}

impl Case {
    pub(crate) fn goal(&self, revision: u64) -> Goal {
        Goal {
            revision,
            guests: [Some(&self.guest), self.neighbour.as_ref()]
                .into_iter()
                .flatten()
                .map(|guest| (guest.id, guest.clone()))
                .collect(),
            tombstones: self.tombstones.clone(),
            left_out: Vec::new(),
        }
    }

    pub(crate) fn decide(&self) -> Result<VerifiedPair, Refusal> {
        let mut token = self.claims.mint(&self.key).unwrap().into_bytes();
        (self.spoil)(&mut token);
        let goal = self.goal(1);
        let clock = if self.clock_known {
            clock()
        } else {
            RegistryClock::default()
        };
        let facts = Facts {
            address: self.address,
            overlay_port: self.port,
            goal: Some(&goal).filter(|_| self.ready),
            clock: &clock,
        };
        verify(&token, self.offerer, facts, NOW)
    }
}

fn refused(why: &str, change: impl FnOnce(&mut Case)) -> &'static str {
    let mut case = good();
    change(&mut case);
    match case.decide() {
        Ok(_) => panic!("accepted although {why}"),
        Err(refusal) => refusal.word(),
    }
}

#[test]
fn the_offer_that_all_cases_start_from_is_accepted() {
    let case = good();
    let pair = case.decide().unwrap();
    assert_eq!(pair.claims(), &case.claims);
    assert_eq!(pair.source_host(), case.offerer.id);
    // An hour of registry time from now is an hour of boot time from now.
    assert_eq!(NOW.until(pair.deadline()).as_secs(), 3600);
}

#[test]
fn every_thing_that_can_be_wrong_has_its_word() {
    type Change = Box<dyn FnOnce(&mut Case)>;
    let cases: Vec<(&str, &str, Change)> = vec![
        (
            "not_ready",
            "no goal state was applied",
            Box::new(|c| c.ready = false),
        ),
        (
            "role",
            "the caller is an operator",
            Box::new(|c| c.offerer.role = Role::Operator),
        ),
        (
            "role",
            "the caller is a zero certificate",
            Box::new(|c| c.offerer.role = Role::Zero),
        ),
        (
            "role",
            "the certificate names no address",
            Box::new(|c| c.offerer.address = None),
        ),
        (
            "source_host",
            "another host shows it",
            Box::new(|c| c.offerer.address = Some([192, 0, 2, 3].into())),
        ),
        (
            "destination_host",
            "it is for another host",
            Box::new(|c| c.address = [192, 0, 2, 3].into()),
        ),
        (
            "destination_host",
            "it is for another port",
            Box::new(|c| c.port = 8472),
        ),
        (
            "same_host",
            "it joins two VMs of this host",
            Box::new(|c| {
                c.claims.source_host = c.address;
                c.offerer.address = Some(c.address);
            }),
        ),
        (
            "dead_host",
            "the caller was removed",
            Box::new(|c| {
                c.tombstones.hosts.insert(c.offerer.id);
            }),
        ),
        (
            "not_here",
            "the VM is elsewhere",
            Box::new(|c| c.guest.id = Uuid::from_u128(0xc)),
        ),
        (
            "not_here",
            "the VM is of another network",
            Box::new(|c| c.guest.network = Uuid::from_u128(0xf)),
        ),
        (
            "not_here",
            "the VM has another address",
            Box::new(|c| c.guest.addresses = vec![own("10.77.0.22", 24)]),
        ),
        (
            "generation",
            "the placement is newer",
            Box::new(|c| c.guest.generation = 4),
        ),
        (
            "generation",
            "the placement is older",
            Box::new(|c| c.guest.generation = 2),
        ),
        (
            "tag",
            "it was made with another key",
            Box::new(|c| c.key = SecretKey::from_bytes([8; 32])),
        ),
        (
            "tag",
            "a bit of the pair id was flipped",
            Box::new(|c| c.spoil = |t| t[15] ^= 1),
        ),
        (
            "tag",
            "a bit of the tag was flipped",
            Box::new(|c| c.spoil = |t| *t.last_mut().unwrap() ^= 1),
        ),
        (
            "tag",
            "the magic was changed",
            Box::new(|c| c.spoil = |t| t[0] = b'Q'),
        ),
        (
            "length",
            "a byte is missing",
            Box::new(|c| c.spoil = |t| t.truncate(t.len() - 1)),
        ),
        ("length", "nothing was sent", Box::new(|c| c.spoil = Vec::clear)),
        (
            "no_time",
            "the registry's time is unknown",
            Box::new(|c| c.clock_known = false),
        ),
        (
            "early",
            "it begins in a second",
            Box::new(|c| c.claims.not_before_unix_secs = UNIX_SECS + 1),
        ),
        (
            "expired",
            "it ends now",
            Box::new(|c| c.claims.expires_unix_secs = UNIX_SECS),
        ),
        (
            "not_here",
            "the destination address is not the VM's",
            Box::new(|c| c.claims.destination_address = [10, 77, 0, 99].into()),
        ),
        (
            "dead_pair",
            "the pair was denied",
            Box::new(|c| {
                c.tombstones.pairs.insert(9);
            }),
        ),
        (
            "dead_generation",
            "the source VM has moved",
            Box::new(|c| {
                c.tombstones.floors.insert(c.claims.source_vm, 3);
            }),
        ),
        (
            "dead_generation",
            "the destination VM's generation is over",
            Box::new(|c| {
                c.tombstones.floors.insert(c.claims.destination_vm, 4);
            }),
        ),
    ];
    let known: HashSet<_> = Refusal::words().collect();
    for (word, why, change) in cases {
        assert!(known.contains(word), "{word} is no refusal");
        assert_eq!(refused(why, change), word, "{why}");
    }
}

#[test]
fn a_token_for_the_way_back_opens_nothing_here() {
    // A→B, shown to A's own host by B's host as if it were B→A.
    let word = refused("it leads the other way", |case| {
        std::mem::swap(&mut case.claims.source_host, &mut case.claims.destination_host);
        std::mem::swap(&mut case.claims.source_vm, &mut case.claims.destination_vm);
    });
    assert_eq!(word, "source_host");
}

#[test]
fn a_token_is_taken_for_any_address_of_the_guest_and_whatever_it_grants() {
    let mut case = good();
    case.claims.source_address = "fd77::11".parse().unwrap();
    case.claims.destination_address = "fd77::21".parse().unwrap();
    assert!(case.decide().is_ok(), "the guest's second address");
    case.claims.replies_only = true;
    assert!(case.decide().is_ok(), "replies only");
    case.claims.replies_only = false;
    let ssh = Grant {
        protocol: 6,
        first: 22,
        last: 22,
    };
    case.claims.grants = Grants::new(vec![ssh]).unwrap();
    assert_eq!(case.decide().unwrap().claims().grants, case.claims.grants);
}

#[test]
fn a_forger_is_told_nothing_that_the_claims_alone_do_not_say() {
    // A wrong form behind a wrong tag is a wrong tag.
    assert_eq!(
        refused("its flags are unknown", |case| case.spoil = |t| t[4] = 0x80),
        "tag"
    );
}

/// Two guests of one host, and a token for them.
pub(crate) fn good_local() -> Case {
    let mut case = good();
    let mut source = case.guest.clone();
    source.id = case.claims.source_vm;
    source.name = "db2".to_owned();
    source.mac = [2, 0, 0, 0, 0, 0xa];
    source.addresses = vec![own("10.77.0.11", 24), own("fd77::11", 64)];
    source.generation = case.claims.source_generation;
    source.key = SecretKey::from_bytes([6; 32]);
    source.tap = TapName::new("tap-db2").unwrap();
    case.claims.source_host = case.address;
    case.neighbour = Some(source);
    case
}

impl Case {
    pub(crate) fn decide_local(&self) -> Result<LocalPair, Refusal> {
        let token = self.claims.mint(&self.key).unwrap().into_bytes();
        let (goal, clock) = (self.goal(1), clock());
        let facts = Facts {
            address: self.address,
            overlay_port: self.port,
            goal: Some(&goal).filter(|_| self.ready),
            clock: &clock,
        };
        verify_local(&token, OWN, facts, NOW)
    }
}

#[test]
fn a_token_for_two_guests_of_this_host_passes_the_same_checks_as_an_offer() {
    assert_eq!(good_local().decide_local().unwrap().host(), OWN);
    type Change = fn(&mut Case);
    let cases: [(&str, &str, Change); 12] = [
        ("not_ready", "no goal state was applied", |c| c.ready = false),
        ("source_host", "it comes from another host", |c| {
            c.claims.source_host = [192, 0, 2, 1].into()
        }),
        ("source_host", "it leads to another host", |c| {
            c.claims.destination_host = [192, 0, 2, 1].into();
            c.claims.source_host = c.claims.destination_host;
        }),
        ("destination_host", "it is for another port", |c| c.port = 8472),
        ("tag", "it was made under the sender's key", |c| {
            c.key = SecretKey::from_bytes([6; 32])
        }),
        ("not_here", "the receiver is elsewhere", |c| {
            c.guest.id = Uuid::from_u128(0xc)
        }),
        ("not_here", "the sender is elsewhere", |c| c.neighbour = None),
        ("generation", "the sender's placement is newer", |c| {
            c.neighbour.as_mut().unwrap().generation += 1
        }),
        ("not_here", "the source address is not the sender's", |c| {
            c.claims.source_address = [10, 77, 0, 12].into()
        }),
        ("not_here", "the sender is of another network", |c| {
            c.neighbour.as_mut().unwrap().network = Uuid::from_u128(0xf)
        }),
        ("expired", "it ends now", |c| {
            c.claims.expires_unix_secs = UNIX_SECS
        }),
        ("dead_pair", "it was denied", |c| {
            c.tombstones.pairs.insert(9);
        }),
    ];
    for (word, why, change) in cases {
        let mut case = good_local();
        change(&mut case);
        let refusal = case.decide_local().map(|_| ()).unwrap_err();
        assert_eq!(refusal.word(), word, "{why}");
    }
}

#[test]
fn words_are_unique() {
    let all: Vec<_> = Refusal::words().collect();
    let unique: HashSet<_> = all.iter().collect();
    assert_eq!(all.len(), unique.len());
}

proptest::proptest! {
    /// Wrong if false: bytes that our key did not sign would open a way to a guest.
    #[test]
    fn no_flipped_bit_is_accepted(byte in 0usize..184, bit in 0u8..8) {
        let case = good();
        let mut token = case.claims.mint(&case.key).unwrap().into_bytes();
        token[byte] ^= 1 << bit;
        let (goal, clock) = (case.goal(1), clock());
        let facts = Facts { address: case.address, overlay_port: case.port, goal: Some(&goal), clock: &clock };
        proptest::prop_assert!(verify(&token, case.offerer, facts, NOW).is_err());
    }

    /// Wrong if false: a peer could stop the agent with bytes.
    #[test]
    fn no_input_panics_or_is_accepted(token in proptest::collection::vec(0u8.., 0..400)) {
        let case = good();
        let (goal, clock) = (case.goal(1), clock());
        let facts = Facts { address: case.address, overlay_port: case.port, goal: Some(&goal), clock: &clock };
        proptest::prop_assert!(verify(&token, case.offerer, facts, NOW).is_err());
    }
}
