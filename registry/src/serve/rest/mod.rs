//! The operators' API: shapes in and out, one line per route, nothing decided here.

mod certificates;
mod document;
mod ending;
mod once;
mod openapi;
mod problem;
mod terms;

use crate::{audit::Actor, inventory::Name, registry::Registry};
use axum::{
    Extension, Json, Router,
    extract::{
        DefaultBodyLimit, Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    middleware::{from_fn, from_fn_with_state, map_response},
    routing::any,
};
use http::{StatusCode, Uri};
use openapi::Refused;
use pairgate_api::{audit, rest};
use pairgate_identity::Caller;
use problem::Problem;
use std::sync::Arc;
use terms::{IfMatch, Listed, Shown, listed, page, shown};
use utoipa_axum::{router::OpenApiRouter, routes};

/// The largest request has a handful of short fields.
const BODY_LEN_MAX: usize = 64 * 1024;

type Service = State<Arc<Registry>>;
type Answer<T> = Result<Json<T>, Problem>;
type Created<T> = Result<(StatusCode, Json<T>), Problem>;
type Body<T> = Result<Json<T>, JsonRejection>;
type Asked<T> = Result<Query<T>, QueryRejection>;

pub(super) fn router(registry: Arc<Registry>) -> Router {
    let (routes, mut document) = documented().split_for_parts();
    document::complete(&mut document);
    let routes = routes
        .route(openapi::PATH, openapi::route(&document))
        .fallback(async || Problem::no_route())
        .method_not_allowed_fallback(async || Problem::no_method())
        .layer(from_fn_with_state(registry.clone(), once::once))
        .layer(from_fn(terms::no_idle_conditions))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .layer(from_fn_with_state(
            registry.clone(),
            certificates::only_good_operators,
        ))
        .layer(map_response(Problem::instead_of_text))
        .with_state(registry);
    Router::new()
        .route("/api/v1/", any(async || Problem::no_route()))
        .nest("/api/v1", routes)
}

/// Every route with its description: what is not in the document is not served.
fn documented() -> OpenApiRouter<Arc<Registry>> {
    OpenApiRouter::with_openapi(openapi::heading())
        .routes(routes!(status))
        .routes(routes!(list_audit))
        .routes(routes!(list_networks, create_network))
        .routes(routes!(show_network, configure_network))
        .routes(routes!(list_hosts, create_host))
        .routes(routes!(show_host))
        .routes(routes!(reset_host))
        .routes(routes!(list_vms, create_vm))
        .routes(routes!(show_vm))
        .routes(routes!(place_vm))
        .routes(routes!(list_pairs, allow_pair))
        .routes(routes!(deny_pair))
        .merge(ending::documented())
        .merge(certificates::documented())
}

fn body<T>(body: Body<T>) -> Result<T, Problem> {
    let Json(body) = body.map_err(|rejection| Problem::body(&rejection))?;
    Ok(body)
}

fn asked<T>(query: Asked<T>) -> Result<T, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::query(&rejection))?;
    Ok(query)
}

fn actor(caller: &Caller) -> Actor {
    Actor::from(&caller.identity)
}

#[utoipa::path(
    get,
    path = "/status",
    summary = "One screen: hosts with leases and receipts, counts, life times",
    responses((status = 200, body = rest::Status), Refused)
)]
async fn status(State(registry): Service) -> Answer<rest::Status> {
    let status = registry.status().await;
    status
        .map(Json)
        .map_err(|error| Problem::refused("the status was not read", &error))
}

#[utoipa::path(
    get,
    path = "/audit",
    summary = "What was done, oldest first",
    params(rest::AuditQuery),
    responses((status = 200, body = audit::Page), Refused)
)]
async fn list_audit(State(registry): Service, query: Asked<rest::AuditQuery>) -> Answer<audit::Page> {
    let page = registry.list_audit(asked(query)?).await;
    page.map(Json)
        .map_err(|error| Problem::refused("the audit was not read", &error))
}

#[utoipa::path(
    get,
    path = "/networks",
    summary = "All networks",
    params(rest::ListQuery),
    responses((status = 200, body = Vec<rest::Network>, headers(("Link" = String, description = "the next part of the list, if there is one"))), Refused)
)]
async fn list_networks(
    State(registry): Service,
    uri: Uri,
    query: Asked<rest::ListQuery>,
) -> Listed<rest::Network> {
    let page = page::<Name>(query)?;
    let networks = registry.list_networks(&page).await;
    let networks = networks.map_err(|error| Problem::refused("the networks were not listed", &error))?;
    Ok(listed(&uri, &page, networks, |network: &rest::Network| {
        network.name.clone()
    }))
}

#[utoipa::path(
    get,
    path = "/networks/{network}",
    summary = "One network",
    params(("network" = String, Path)),
    responses((status = 200, body = rest::Network, headers(("ETag" = String, description = "for If-Match"))), Refused)
)]
async fn show_network(State(registry): Service, Path(network): Path<String>) -> Shown<rest::Network> {
    let network = registry.show_network(network).await;
    network
        .map(shown)
        .map_err(|error| Problem::refused("the network was not shown", &error))
}

#[utoipa::path(
    post,
    path = "/networks",
    summary = "Make a network",
    request_body = rest::NewNetwork,
    responses((status = 201, body = rest::Network), Refused)
)]
async fn create_network(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    new: Body<rest::NewNetwork>,
) -> Created<rest::Network> {
    let created = registry.create_network(actor(&caller), body(new)?).await;
    created
        .map(|network| (StatusCode::CREATED, Json(network)))
        .map_err(|error| Problem::refused("the network was not created", &error))
}

#[utoipa::path(
    patch,
    path = "/networks/{network}",
    summary = "Tell the guests of a network something else; what is left out stays",
    params(("network" = String, Path)),
    request_body = rest::NetworkChange,
    responses((status = 200, body = rest::Network), Refused)
)]
async fn configure_network(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path(network): Path<String>,
    IfMatch(expected): IfMatch,
    wishes: Body<rest::NetworkChange>,
) -> Answer<rest::Network> {
    let network = registry
        .configure_network(actor(&caller), network, body(wishes)?, expected)
        .await;
    network
        .map(Json)
        .map_err(|error| Problem::refused("the network's guests are told nothing else", &error))
}

#[utoipa::path(
    get,
    path = "/hosts",
    summary = "All hosts",
    params(rest::ListQuery),
    responses((status = 200, body = Vec<rest::Host>, headers(("Link" = String, description = "the next part of the list, if there is one"))), Refused)
)]
async fn list_hosts(State(registry): Service, uri: Uri, query: Asked<rest::ListQuery>) -> Listed<rest::Host> {
    let page = page::<Name>(query)?;
    let hosts = registry.list_hosts(&page).await;
    let hosts = hosts.map_err(|error| Problem::refused("the hosts were not listed", &error))?;
    Ok(listed(&uri, &page, hosts, |host: &rest::Host| host.name.clone()))
}

#[utoipa::path(
    get,
    path = "/hosts/{host}",
    summary = "One host",
    params(("host" = String, Path)),
    responses((status = 200, body = rest::Host, headers(("ETag" = String, description = "for If-Match"))), Refused)
)]
async fn show_host(State(registry): Service, Path(host): Path<String>) -> Shown<rest::Host> {
    let host = registry.show_host(host).await;
    host.map(shown)
        .map_err(|error| Problem::refused("the host was not shown", &error))
}

#[utoipa::path(
    post,
    path = "/hosts",
    summary = "Make a host record, which waits for its host to enrol",
    request_body = rest::NewHost,
    responses((status = 201, body = rest::Host), Refused)
)]
async fn create_host(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    new: Body<rest::NewHost>,
) -> Created<rest::Host> {
    let created = registry.create_host(actor(&caller), body(new)?).await;
    created
        .map(|host| (StatusCode::CREATED, Json(host)))
        .map_err(|error| Problem::refused("the host record was not made", &error))
}

#[utoipa::path(
    post,
    path = "/hosts/{host}/reset",
    summary = "Let a host record wait for another key",
    params(("host" = String, Path)),
    responses((status = 200, body = rest::Host), Refused)
)]
async fn reset_host(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path(host): Path<String>,
    IfMatch(expected): IfMatch,
) -> Answer<rest::Host> {
    let host = registry.reset_host(actor(&caller), host, expected).await;
    host.map(Json)
        .map_err(|error| Problem::refused("the host record was not reset", &error))
}

#[utoipa::path(
    get,
    path = "/networks/{network}/vms",
    summary = "All VMs of a network",
    params(("network" = String, Path), rest::ListQuery),
    responses((status = 200, body = Vec<rest::Vm>, headers(("Link" = String, description = "the next part of the list, if there is one"))), Refused)
)]
async fn list_vms(
    State(registry): Service,
    Path(network): Path<String>,
    uri: Uri,
    query: Asked<rest::ListQuery>,
) -> Listed<rest::Vm> {
    let page = page::<Name>(query)?;
    let vms = registry.list_vms(network, &page).await;
    let vms = vms.map_err(|error| Problem::refused("the VMs were not listed", &error))?;
    Ok(listed(&uri, &page, vms, |vm: &rest::Vm| vm.name.clone()))
}

#[utoipa::path(
    get,
    path = "/networks/{network}/vms/{vm}",
    summary = "One VM",
    params(("network" = String, Path), ("vm" = String, Path)),
    responses((status = 200, body = rest::Vm, headers(("ETag" = String, description = "for If-Match"))), Refused)
)]
async fn show_vm(State(registry): Service, Path((network, vm)): Path<(String, String)>) -> Shown<rest::Vm> {
    let vm = registry.show_vm(network, vm).await;
    vm.map(shown)
        .map_err(|error| Problem::refused("the VM was not shown", &error))
}

#[utoipa::path(
    post,
    path = "/networks/{network}/vms",
    summary = "Make a VM",
    params(("network" = String, Path)),
    request_body = rest::NewVm,
    responses((status = 201, body = rest::Vm), Refused)
)]
async fn create_vm(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path(network): Path<String>,
    new: Body<rest::NewVm>,
) -> Created<rest::Vm> {
    let created = registry.create_vm(actor(&caller), network, body(new)?).await;
    created
        .map(|vm| (StatusCode::CREATED, Json(vm)))
        .map_err(|error| Problem::refused("the VM was not created", &error))
}

#[utoipa::path(
    post,
    path = "/networks/{network}/vms/{vm}/placement",
    summary = "Place a VM: a new generation with a new key begins",
    params(("network" = String, Path), ("vm" = String, Path)),
    request_body = rest::NewPlacement,
    responses((status = 200, body = rest::Vm), Refused)
)]
async fn place_vm(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path((network, vm)): Path<(String, String)>,
    IfMatch(expected): IfMatch,
    new: Body<rest::NewPlacement>,
) -> Answer<rest::Vm> {
    let placed = registry
        .place_vm(actor(&caller), network, vm, body(new)?, expected)
        .await;
    placed
        .map(Json)
        .map_err(|error| Problem::refused("the VM was not placed", &error))
}

#[utoipa::path(
    get,
    path = "/networks/{network}/pairs",
    summary = "All directions that are allowed in a network",
    params(("network" = String, Path), rest::ListQuery),
    responses((status = 200, body = Vec<rest::Pair>, headers(("Link" = String, description = "the next part of the list, if there is one"))), Refused)
)]
async fn list_pairs(
    State(registry): Service,
    Path(network): Path<String>,
    uri: Uri,
    query: Asked<rest::ListQuery>,
) -> Listed<rest::Pair> {
    let page = page::<u64>(query)?;
    let pairs = registry.list_pairs(network, &page).await;
    let pairs = pairs.map_err(|error| Problem::refused("the pairs were not listed", &error))?;
    Ok(listed(&uri, &page, pairs, |pair: &rest::Pair| {
        pair.id.to_string()
    }))
}

#[utoipa::path(
    post,
    path = "/networks/{network}/pairs",
    summary = "Allow two VMs to talk",
    params(("network" = String, Path)),
    request_body = rest::NewPair,
    responses((status = 200, body = rest::Allowed), Refused)
)]
async fn allow_pair(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path(network): Path<String>,
    new: Body<rest::NewPair>,
) -> Answer<rest::Allowed> {
    let allowed = registry.allow_pair(actor(&caller), network, body(new)?).await;
    allowed
        .map(Json)
        .map_err(|error| Problem::refused("the pair was not allowed", &error))
}

#[utoipa::path(
    post,
    path = "/networks/{network}/denials",
    summary = "End both directions, and wait for the receipts",
    params(("network" = String, Path)),
    request_body = rest::NewDenial,
    responses((status = 200, body = rest::Denial), Refused)
)]
async fn deny_pair(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path(network): Path<String>,
    new: Body<rest::NewDenial>,
) -> Answer<rest::Denial> {
    let denial = registry.deny_pair(actor(&caller), network, body(new)?).await;
    denial
        .map(Json)
        .map_err(|error| Problem::refused("the pair was not denied", &error))
}
