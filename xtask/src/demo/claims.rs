//! What a real token says: the one that opened web1 → db1, as db1's host remembers it. Its tag is not kept.

use super::Line;
use super::talk::{guest, indented};
use anyhow::{Context, Result};
use pairgate_lab::guard::Lab;
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

#[derive(Deserialize)]
struct Status {
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    way: String,
    claims: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    src_addr: IpAddr,
    dst_addr: IpAddr,
    src_host: IpAddr,
    dst_host: IpAddr,
    not_before: u64,
    expires: u64,
}

pub(super) fn show(lab: &Lab) -> Result<Vec<Line>> {
    let (web, db) = (guest("web1")?, guest("db1")?);
    let status: Status =
        serde_json::from_value(lab.json(&["status", "--host", "h2"])?).context("`status`")?;
    let inward = status
        .pairs
        .into_iter()
        .filter(|pair| pair.way == "in")
        .filter_map(|pair| pair.claims);
    let mut inward =
        inward.filter_map(|raw| Some((serde_json::from_value::<Claims>(raw.clone()).ok()?, raw)));
    let (claims, raw) = inward
        .find(|(claims, _)| claims.src_addr == web.address && claims.dst_addr == db.address)
        .context("h2 knows no open pair from web1 to db1")?;
    println!("   web1 → db1, by the token that opened it (its tag left out):");
    println!("{}", indented(&serde_json::to_string_pretty(&raw)?));
    let hosts: Vec<IpAddr> = lab.plan().hosts().map(|host| host.address().into()).collect();
    let bound = hosts.starts_with(&[claims.src_host, claims.dst_host]);
    let ends = claims.not_before < claims.expires;
    let life = claims.expires.saturating_sub(claims.not_before);
    let name = "its token names both guests, both hosts and an end";
    Ok(vec![Line::new(
        name,
        bound && ends,
        super::number(life),
        "seconds of life",
    )])
}
