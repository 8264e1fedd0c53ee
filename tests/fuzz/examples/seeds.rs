//! Writes a first corpus of what cannot be typed: messages, certificates and signing requests.
//!
//! `cargo run -p pairgate-fuzz --example seeds`, once; `cargo xtask fuzz --keep` goes on from there.

#![expect(
    clippy::unwrap_used,
    reason = "an example that cannot go on says so by a panic"
)]

use pairgate_abi::GATEWAY_MAC;
use pairgate_api::grpc::{self, mint_response, tombstone};
use pairgate_token::{Claims, SecretKey};
use prost::Message;
use std::{fs, path::Path};
use uuid::Uuid;

fn main() {
    let token = claims().mint(&SecretKey::from_bytes([7; 32])).unwrap();
    write("token_bytes", "minted", token.as_bytes());
    write("token_text", "minted", token.to_text().as_bytes());
    let forged = claims().mint(&SecretKey::from_bytes([8; 32])).unwrap();
    write("token_bytes", "other-key", forged.as_bytes());
    let offer = grpc::OfferRequest {
        token: forged.as_bytes().to_vec(),
        boot_id: vec![1; 16],
        agent_port: 7444,
        back: None,
    };
    write("offer", "other-key", &offer.encode_to_vec());
    write("goal_state", "one-vm", &goal().encode_to_vec());
    let minted = grpc::Minted {
        token: Claims {
            source_address: claims().destination_address,
            destination_address: claims().source_address,
            source_host: [192, 0, 2, 1].into(),
            destination_host: [192, 0, 2, 2].into(),
            source_vm: claims().destination_vm,
            destination_vm: claims().source_vm,
            source_generation: 3,
            destination_generation: 2,
            ..claims()
        }
        .mint(&SecretKey::from_bytes([8; 32]))
        .unwrap()
        .into_bytes(),
        dst_host_id: vec![2; 16],
        dst_agent_port: 7444,
        registry_unix_ms: 1_800_000_000_000,
        back_token: forged.into_bytes(),
    };
    let answer = grpc::MintResponse {
        answer: Some(mint_response::Answer::Minted(minted)),
    };
    write("mint_answer", "minted", &answer.encode_to_vec());
    let request = grpc::MintRequest {
        network_id: vec![1; 16],
        src_vm: vec![2; 16],
        src_addr: wide(11).to_vec(),
        dst_addr: wide(21).to_vec(),
        nonce: vec![3; 16],
        unix_secs: 1_800_000_000,
        proof: vec![4; 32],
        with_back: true,
    };
    write("mint_request", "sound", &request.encode_to_vec());
    certificates();
    frames();
}

fn wide(last: u8) -> [u8; 16] {
    pairgate_token::address_bytes([10, 77, 0, last].into())
}

fn claims() -> Claims {
    Claims {
        replies_only: false,
        grants: "tcp/443,udp/1000-2000".parse().unwrap(),
        overlay_port: 4789,
        pair_id: 12,
        source_generation: 2,
        destination_generation: 3,
        network: Uuid::from_u128(0xe),
        source_vm: Uuid::from_u128(0xa),
        destination_vm: Uuid::from_u128(0xb),
        source_address: [10, 77, 0, 11].into(),
        destination_address: [10, 77, 0, 21].into(),
        source_host: [192, 0, 2, 2].into(),
        destination_host: [192, 0, 2, 1].into(),
        not_before_unix_secs: 1_799_999_970,
        expires_unix_secs: 1_800_003_600,
    }
}

fn goal() -> grpc::GoalState {
    let dead = [
        tombstone::Dead::PairId(13),
        tombstone::Dead::HostId(vec![9; 16]),
        tombstone::Dead::VmFloor(grpc::VmFloor {
            vm_id: vec![8; 16],
            generation: 2,
        }),
    ];
    grpc::GoalState {
        revision: 7,
        vms: vec![grpc::Vm {
            id: vec![1; 16],
            name: "web1".to_owned(),
            network_id: vec![2; 16],
            network: "default".to_owned(),
            mac: vec![2, 0, 0, 0, 0, 1],
            addresses: vec![grpc::Address {
                address: wide(11).to_vec(),
                prefix: 24,
            }],
            mtu: 1500,
            generation: 1,
            secret_key: vec![7; 32],
            tap: "tap-web1".to_owned(),
            ..grpc::Vm::default()
        }],
        tombstones: dead.map(|dead| grpc::Tombstone { dead: Some(dead) }).to_vec(),
    }
}

fn certificates() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["192.0.2.1".to_owned()]).unwrap();
    let identity = format!("pairgate://{}/host/{}", Uuid::from_u128(1), Uuid::from_u128(2));
    params
        .subject_alt_names
        .push(rcgen::SanType::URI(identity.try_into().unwrap()));
    let request = params.serialize_request(&key).unwrap();
    write("signing_request", "host", request.der());
    let certificate = params.self_signed(&key).unwrap();
    write("certificate", "host-der", certificate.der());
    write("certificate", "host-pem", certificate.pem().as_bytes());
}

/// Raw frames behind the three bytes that say that there is nothing outside of them.
fn frames() {
    let guest = [2, 0, 0, 0, 0, 0x11];
    let mut arp = [
        &[0xff; 6][..],
        &guest,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &guest,
        &[10, 77, 0, 11],
    ]
    .concat();
    arp.extend([0, 0, 0, 0, 0, 0, 10, 77, 0, 21]);
    write("from_tap", "arp", &[&[0; 3][..], &arp].concat());
    let udp = [
        &GATEWAY_MAC[..],
        &guest,
        &[
            8, 0, 0x45, 0, 0, 29, 0, 1, 0x40, 0, 64, 17, 0, 0, 10, 77, 0, 11, 10, 77, 0, 21,
        ],
        &[0, 53, 0, 54, 0, 9, 0, 0, b'x'],
    ]
    .concat();
    write("from_tap", "udp", &[&[0; 3][..], &udp].concat());
    let mut record = vec![1, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 43, 0, 0, 0];
    record.extend([wide(11), wide(21)].concat());
    record.extend([5, 0, 0, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
    record.extend(udp);
    write("ring_records", "udp-partial", &record);
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}
