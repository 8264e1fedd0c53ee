//! Routes that take something away, or end pairs with it.

use super::{Answer, Asked, Body, IfMatch, Listed, Problem, Service, actor, asked, body, listed, page};
use crate::registry::Registry;
use axum::{
    Extension, Json,
    extract::{Path, State},
};
use http::Uri;
use pairgate_api::rest;
use pairgate_identity::Caller;
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::openapi::Refused;

pub(super) fn documented() -> OpenApiRouter<Arc<Registry>> {
    OpenApiRouter::new()
        .routes(routes!(remove_network))
        .routes(routes!(remove_host))
        .routes(routes!(remove_vm))
        .routes(routes!(set_addresses))
        .routes(routes!(list_pairs_of))
}

#[utoipa::path(
    delete,
    path = "/networks/{network}",
    summary = "Remove a network that has no VMs",
    params(("network" = String, Path)),
    responses((status = 200, description = "what it was", body = rest::Network), Refused)
)]
async fn remove_network(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path(network): Path<String>,
    IfMatch(expected): IfMatch,
) -> Answer<rest::Network> {
    let removed = registry.remove_network(actor(&caller), network, expected).await;
    removed
        .map(Json)
        .map_err(|error| Problem::refused("the network was not removed", &error))
}

#[utoipa::path(
    delete,
    path = "/hosts/{host}",
    summary = "Remove a host on which no VM is placed; its certificate is refused from then on",
    params(("host" = String, Path)),
    responses((status = 200, body = rest::RemovedHost), Refused)
)]
async fn remove_host(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path(host): Path<String>,
    IfMatch(expected): IfMatch,
) -> Answer<rest::RemovedHost> {
    let removed = registry.remove_host(actor(&caller), host, expected).await;
    removed
        .map(Json)
        .map_err(|error| Problem::refused("the host was not removed", &error))
}

#[utoipa::path(
    delete,
    path = "/networks/{network}/vms/{vm}",
    summary = "Remove a VM: all its pairs end, and the receipts are waited for",
    params(("network" = String, Path), ("vm" = String, Path), rest::WaitQuery),
    responses((status = 200, description = "the VM is gone; these pairs went with it", body = rest::Denial), Refused)
)]
async fn remove_vm(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path((network, vm)): Path<(String, String)>,
    IfMatch(expected): IfMatch,
    query: Asked<rest::WaitQuery>,
) -> Answer<rest::Denial> {
    let timeout_ms = asked(query)?.timeout_ms;
    let removed = registry
        .remove_vm(actor(&caller), network, vm, timeout_ms, expected)
        .await;
    removed
        .map(Json)
        .map_err(|error| Problem::refused("the VM was not removed", &error))
}

#[utoipa::path(
    put,
    path = "/networks/{network}/vms/{vm}/addresses",
    summary = "Give a VM other addresses: its pairs get new ids, and a new generation with a new key begins",
    params(("network" = String, Path), ("vm" = String, Path)),
    request_body = rest::NewAddresses,
    responses((status = 200, body = rest::Readdressed), Refused)
)]
async fn set_addresses(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path((network, vm)): Path<(String, String)>,
    IfMatch(expected): IfMatch,
    new: Body<rest::NewAddresses>,
) -> Answer<rest::Readdressed> {
    let set = registry
        .set_addresses(actor(&caller), network, vm, body(new)?, expected)
        .await;
    set.map(Json)
        .map_err(|error| Problem::refused("the VM kept its addresses", &error))
}

#[utoipa::path(
    get,
    path = "/networks/{network}/vms/{vm}/pairs",
    summary = "All directions that are allowed from and to a VM",
    params(("network" = String, Path), ("vm" = String, Path), rest::ListQuery),
    responses((status = 200, body = Vec<rest::Pair>, headers(("Link" = String, description = "the next part of the list, if there is one"))), Refused)
)]
async fn list_pairs_of(
    State(registry): Service,
    Path((network, vm)): Path<(String, String)>,
    uri: Uri,
    query: Asked<rest::ListQuery>,
) -> Listed<rest::Pair> {
    let page = page::<u64>(query)?;
    let pairs = registry.list_pairs_of(network, vm, &page).await;
    let pairs = pairs.map_err(|error| Problem::refused("the pairs were not listed", &error))?;
    Ok(listed(&uri, &page, pairs, |pair: &rest::Pair| {
        pair.id.to_string()
    }))
}
