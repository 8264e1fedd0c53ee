//! What the agent reads from other hosts' agents, from the registry and from people.

use crate::token;
use arbitrary::{Result, Unstructured};
use clap::Parser;
use pairgate_agent::{
    admit::{Facts, Offerer, VerifiedPair, verify, verify_local},
    adopt::TapPattern,
    args::Arguments,
    clock::{BootTime, RegistryClock},
    config::File,
    enrol::HostRecord,
    goal::{Goal, Guest, OwnAddress, Tombstones},
    present::CarriedPair,
    request::mint::{OwnHost, Question, examine},
    tap_name::TapName,
};
use pairgate_api::{grpc, routes::Role};
use pairgate_token::{Claims, SecretKey};
use prost::Message;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};
use uuid::Uuid;

const NOW: BootTime = BootTime::from_nanos(1_000_000_000_000);
const UNIX_SECS: u64 = 1_800_000_000;
const PORT: u16 = 4789;
const NETWORK: Uuid = Uuid::from_u128(0xe);
const GUEST: Uuid = Uuid::from_u128(0xb);
const PEER: Uuid = Uuid::from_u128(0xa);
const PEER_HOST: Uuid = Uuid::from_u128(0x22);
const OWN_HOST: Uuid = Uuid::from_u128(0x11);

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, last])
}

fn host(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn guest() -> Guest {
    let own = OwnAddress {
        address: address(21),
        prefix: 24,
    };
    Guest {
        id: GUEST,
        name: "db1".to_owned(),
        network: NETWORK,
        network_name: "default".to_owned(),
        mac: [2, 0, 0, 0, 0, 0xb],
        addresses: vec![own],
        mtu: 1500,
        generation: 3,
        key: token::key(),
        tap: TapName::new("tap-db1").unwrap(),
        told: Default::default(),
    }
}

fn goal() -> Goal {
    Goal {
        revision: 1,
        guests: HashMap::from([(GUEST, guest())]),
        tombstones: Tombstones {
            pairs: HashSet::from([13]),
            floors: HashMap::from([(PEER, 2)]),
            hosts: HashSet::from([Uuid::from_u128(0xdead)]),
        },
        left_out: Vec::new(),
    }
}

fn clock() -> RegistryClock {
    let clock = RegistryClock::default();
    clock.learn(NOW, UNIX_SECS * 1000);
    clock
}

const OFFERER: fn() -> Offerer = || Offerer {
    role: Role::Host,
    id: PEER_HOST,
    address: Some(host(2)),
};

fn decide(bytes: &[u8]) -> Option<VerifiedPair> {
    let (goal, clock) = (goal(), clock());
    let facts = Facts {
        address: host(1),
        overlay_port: PORT,
        goal: Some(&goal),
        clock: &clock,
    };
    assert!(
        verify_local(bytes, OWN_HOST, facts, NOW).is_err(),
        "the only guest here talks to itself"
    );
    let pair = verify(bytes, OFFERER(), facts, NOW).ok()?;
    let claims = pair.claims();
    assert_eq!((claims.destination_vm, claims.destination_generation), (GUEST, 3));
    assert_eq!(
        (claims.network, claims.destination_address),
        (NETWORK, address(21))
    );
    assert_eq!((claims.source_host, claims.destination_host), (host(2), host(1)));
    assert!(claims.pair_id != 13 && (claims.source_vm != PEER || claims.source_generation >= 2));
    let clock_secs = clock.unix_secs(NOW).unwrap();
    assert!(claims.not_before_unix_secs <= clock_secs && clock_secs < claims.expires_unix_secs);
    assert!(pair.deadline() > NOW);
    Some(pair)
}

pub(crate) fn offer(data: &[u8]) {
    if let Ok(request) = grpc::OfferRequest::decode(data) {
        let pair = decide(&request.token);
        assert!(pair.is_none(), "a token of nobody's making is taken");
    }
    let _ = decide(data);
}

pub(crate) fn offer_built(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((there, back, handle)) = offered(&mut u) else {
        return;
    };
    let Ok(token) = there.mint(&token::key()) else {
        return;
    };
    let Some(pair) = decide(token.as_bytes()) else {
        return;
    };
    // Under the offering host's key, which nobody here has.
    let Ok(token) = back.mint(&SecretKey::from_bytes([5; 32])) else {
        return;
    };
    let (vni, group, mtu) = handle;
    let message = grpc::Back {
        token: token.into_bytes(),
        vni,
        group,
        mtu,
    };
    let Ok(carried) = CarriedPair::from_offer(&pair, &message, &clock(), NOW) else {
        return;
    };
    let claims = carried.claims();
    assert_eq!((claims.source_vm, claims.source_address), (GUEST, address(21)));
    assert_eq!(claims.destination_vm, there.source_vm);
    assert_eq!(claims.destination_address, there.source_address.to_canonical());
    assert_eq!(
        (claims.destination_host, carried.destination_host()),
        (host(2), PEER_HOST)
    );
    assert!(carried.deadline() <= pair.deadline(), "the way back lives longer");
    assert_eq!(
        (carried.handle().vni_number(), carried.handle().group_number()),
        (vni, group)
    );
    assert!(
        claims.replies_only || there.grants.covers(&claims.grants),
        "the way back carries more"
    );
}

/// A sound offer with a few claims changed, the way back that goes with it, likewise, and a handle and an MTU.
fn offered(u: &mut Unstructured<'_>) -> Result<(Claims, Claims, (u32, u32, u32))> {
    let any = token::claims(u)?;
    let there = changed(u, good(), &any)?;
    let mirror = Claims {
        pair_id: there.pair_id.wrapping_add(1),
        source_generation: there.destination_generation,
        destination_generation: there.source_generation,
        source_vm: there.destination_vm,
        destination_vm: there.source_vm,
        source_address: there.destination_address,
        destination_address: there.source_address,
        source_host: there.destination_host,
        destination_host: there.source_host,
        ..there.clone()
    };
    let back = changed(u, mirror, &any)?;
    let handle = (
        u.arbitrary::<u32>()? >> 8,
        u.arbitrary::<u32>()? >> 16,
        u.arbitrary::<u32>()? >> 16,
    );
    Ok((there, back, handle))
}

fn good() -> Claims {
    Claims {
        replies_only: false,
        grants: "tcp/443,udp/1000-2000".parse().unwrap(),
        overlay_port: PORT,
        pair_id: 12,
        source_generation: 2,
        destination_generation: 3,
        network: NETWORK,
        source_vm: PEER,
        destination_vm: GUEST,
        source_address: address(11),
        destination_address: address(21),
        source_host: host(2),
        destination_host: host(1),
        not_before_unix_secs: UNIX_SECS - 30,
        expires_unix_secs: UNIX_SECS + 3600,
    }
}

/// Up to two claims taken from `any`.
fn changed(u: &mut Unstructured<'_>, mut claims: Claims, any: &Claims) -> Result<Claims> {
    for _ in 0..u.int_in_range(0..=2_u8)? {
        match u.int_in_range(0..=11_u8)? {
            0 => claims.replies_only = any.replies_only,
            1 => claims.grants = any.grants.clone(),
            2 => claims.overlay_port = any.overlay_port,
            3 => claims.pair_id = u64::from(u.arbitrary::<u8>()?),
            4 => claims.source_generation = u32::from(u.arbitrary::<u8>()?),
            5 => claims.destination_generation = u32::from(u.arbitrary::<u8>()?),
            6 => claims.network = any.network,
            7 => (claims.source_vm, claims.destination_vm) = (any.source_vm, any.destination_vm),
            8 => claims.source_address = any.source_address,
            9 => claims.destination_address = any.destination_address,
            10 => (claims.source_host, claims.destination_host) = (any.source_host, any.destination_host),
            _ => {
                (claims.not_before_unix_secs, claims.expires_unix_secs) =
                    (any.not_before_unix_secs, any.expires_unix_secs);
            }
        }
    }
    Ok(claims)
}

pub(crate) fn goal_state(data: &[u8]) {
    let Ok(message) = grpc::GoalState::decode(data) else {
        return;
    };
    let told = message.vms.len();
    let Ok(goal) = Goal::read(message) else {
        return;
    };
    assert_eq!(goal.guests.len() + goal.left_out.len(), told, "a guest was lost");
    let taps: HashSet<_> = goal.guests.values().map(|guest| guest.tap.as_str()).collect();
    assert_eq!(taps.len(), goal.guests.len(), "two guests at one tap");
    for guest in goal.guests.values() {
        assert!((1..=8).contains(&guest.addresses.len()) && guest.generation != 0 && guest.mtu >= 68);
        assert_eq!(guest.mac[0] & 1, 0, "a group is somebody's address");
        assert!(
            guest
                .tap
                .as_str()
                .bytes()
                .all(|byte| byte != b'/' && byte != b'.')
        );
        for own in &guest.addresses {
            assert!(own.prefix <= if own.address.is_ipv4() { 32 } else { 128 });
            assert!(!own.address.is_multicast() && !own.address.is_unspecified());
        }
    }
    let _ = goal.tombstones.len();
}

pub(crate) fn mint_answer(data: &[u8]) {
    let Ok(answer) = grpc::MintResponse::decode(data) else {
        return;
    };
    let Some(grpc::mint_response::Answer::Minted(minted)) = answer.answer else {
        return;
    };
    let guest = guest();
    let question = Question {
        guest: &guest,
        source: address(21),
        destination: address(11),
        with_back: true,
    };
    let ours = OwnHost {
        id: OWN_HOST,
        address: host(1),
    };
    let back = minted.back_token.clone();
    if let Ok(minted) = examine(minted, question, ours, &clock(), NOW) {
        let claims = minted.claims();
        assert_eq!((claims.source_vm, claims.source_address), (GUEST, address(21)));
        assert_eq!(
            (claims.source_host, claims.destination_address),
            (host(1), address(11))
        );
        assert_eq!(minted.is_local(), minted.destination_host() == OWN_HOST);
        assert!(minted.agent_port() != 0 && minted.deadline() > NOW);
    }
    let _ = decide(&back);
}

pub(crate) fn agent_settings(data: &[u8]) {
    let _ = serde_json::from_slice::<HostRecord>(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(file) = File::parse(text) {
        assert!(file.idle.is_none_or(|idle| (1..=86_400).contains(&idle.0)));
    }
    if let Some(name) = TapName::new(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(pattern) = text.parse::<TapPattern>() {
        assert_eq!(pattern.to_string(), text);
    }
    let words = std::iter::once("pairgate-agent").chain(text.split_whitespace());
    if let Err(error) = Arguments::try_parse_from(words) {
        let _ = error.exit_code();
    }
}
