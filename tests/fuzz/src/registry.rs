//! What the registry reads from agents and operators.

use pairgate_api::{grpc, rest};
use pairgate_identity::Identity;
use pairgate_registry::{
    authority::ServerAddress,
    inventory::{Carries, Mac, Name, Prefix, address::unicast},
    issue::judge::Ask,
    manage::{Expected, OfOwner, Page},
};
use pairgate_token::Grants;
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};
use std::{net::IpAddr, str::FromStr};
use uuid::Uuid;

pub(crate) fn mint_request(data: &[u8]) {
    if let Ok(request) = grpc::MintRequest::decode(data)
        && let Ok(ask) = Ask::read(Uuid::from_u128(1), &request)
    {
        let question = &ask.question;
        assert_eq!(question.network.as_bytes(), request.network_id.as_slice());
        assert_eq!(question.nonce, request.nonce.as_slice());
        assert!(ask.proof.verify(&crate::token::key(), question).is_err());
    }
    // What else an agent may say.
    let _ = grpc::EnrolRequest::decode(data).map(|request| request.host.parse::<Name>());
    let _ = grpc::Report::decode(data);
    let _ = grpc::RenewRequest::decode(data);
}

/// A body of this type reads back from what it is written as.
fn body<T: DeserializeOwned + Serialize>(data: &[u8]) -> Option<T> {
    let body: T = serde_json::from_slice(data).ok()?;
    let written = serde_json::to_value(&body).unwrap();
    let again: T = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), written);
    Some(body)
}

pub(crate) fn rest_bodies(data: &[u8]) {
    if let Some(new) = body::<rest::NewNetwork>(data) {
        same_text::<Name>(&new.name);
        new.prefixes.iter().for_each(|text| prefix(text));
    }
    if let Some(new) = body::<rest::NewVm>(data) {
        new.addresses.iter().for_each(|address| one_address(*address));
        new.mac.iter().for_each(|text| mac(text));
    }
    if let Some(new) = body::<rest::NewHost>(data) {
        one_address(new.address);
    }
    if let Some(new) = body::<rest::NewPair>(data) {
        let _ = Grants::from_texts(&new.grant);
    }
    if let Some(new) = body::<rest::NewAddresses>(data) {
        new.addresses.iter().for_each(|address| one_address(*address));
    }
    let _ = body::<rest::NewDenial>(data);
    let _ = body::<rest::NewPlacement>(data);
    let _ = body::<rest::NewZero>(data);
    let _ = body::<rest::NewOperator>(data);
}

fn one_address(address: IpAddr) {
    if let Ok(taken) = unicast(address) {
        assert_eq!(unicast(taken), Ok(taken), "one address with two spellings");
        assert!(!taken.is_multicast() && !taken.is_loopback() && !taken.is_unspecified());
    }
}

fn mac(text: &str) {
    if let Ok(mac) = text.parse::<Mac>() {
        assert_eq!(mac.to_string(), text.to_ascii_lowercase());
        assert_eq!(mac.bytes()[0] & 3, 2);
    }
}

/// Who reads `text` as a thing must write the thing as `text`.
fn same_text<T: FromStr + ToString>(text: &str) {
    if let Ok(thing) = text.parse::<T>() {
        assert_eq!(thing.to_string(), text);
    }
}

fn prefix(text: &str) {
    let Ok(prefix) = text.parse::<Prefix>() else {
        return;
    };
    assert_eq!(prefix.to_string().parse(), Ok(prefix));
    assert!(
        prefix.check(prefix.network()).is_err(),
        "the network's own address is a guest's"
    );
    let first = prefix.lowest_free([]).unwrap();
    assert!(prefix.check(first).is_ok());
    assert_ne!(
        prefix.lowest_free([first]),
        Some(first),
        "an address is given twice"
    );
}

pub(crate) fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    same_text::<Name>(text);
    same_text::<Identity>(text);
    if text.parse::<Name>().is_ok() {
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        );
    }
    prefix(text);
    mac(text);
    if let Ok(address) = text.parse::<IpAddr>() {
        one_address(address);
    }
    if let Ok(carries) = text.parse::<Carries>() {
        assert_eq!(carries.to_string().parse(), Ok(carries));
    }
    if let Ok(position) = text.parse::<OfOwner>() {
        assert_eq!(position.to_string().parse(), Ok(position));
    }
    let _ = Page::<Name>::new(Some(text), None);
    let _ = Page::<u64>::new(Some(text), Some(1));
    let lines = text.lines();
    let _ = Expected::parse(lines);
    let _ = text.parse::<ServerAddress>();
}
