//! The operators' API: shapes in and out, one line per route, nothing decided here.

mod problem;

use crate::{audit::Actor, registry::Registry};
use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, Path, State, rejection::JsonRejection},
    middleware::map_response,
    routing::{any, get, post},
};
use http::StatusCode;
use pairgate_api::rest;
use pairgate_identity::Caller;
use problem::Problem;
use std::sync::Arc;

/// The largest request has a handful of short fields.
const BODY_LEN_MAX: usize = 64 * 1024;

type Service = State<Arc<Registry>>;
type Answer<T> = Result<Json<T>, Problem>;
type Created<T> = Result<(StatusCode, Json<T>), Problem>;
type Body<T> = Result<Json<T>, JsonRejection>;

pub(super) fn router(registry: Arc<Registry>) -> Router {
    let routes = Router::new()
        .route("/status", get(status))
        .route("/networks", get(list_networks).post(create_network))
        .route("/networks/{network}", get(show_network))
        .route("/hosts", get(list_hosts).post(create_host))
        .route("/hosts/{host}", get(show_host))
        .route("/networks/{network}/vms", get(list_vms).post(create_vm))
        .route("/networks/{network}/vms/{vm}", get(show_vm))
        .route("/networks/{network}/vms/{vm}/placement", post(place_vm))
        .route("/networks/{network}/pairs", get(list_pairs).post(allow_pair))
        .route("/networks/{network}/denials", post(deny_pair))
        .fallback(async || Problem::no_route())
        .method_not_allowed_fallback(async || Problem::no_method())
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .layer(map_response(Problem::instead_of_text))
        .with_state(registry);
    Router::new()
        .route("/api/v1/", any(async || Problem::no_route()))
        .nest("/api/v1", routes)
}

fn body<T>(body: Body<T>) -> Result<T, Problem> {
    let Json(body) = body.map_err(|rejection| Problem::body(&rejection))?;
    Ok(body)
}

fn actor(caller: &Caller) -> Actor {
    Actor::from(&caller.identity)
}

async fn status(State(registry): Service) -> Answer<rest::Status> {
    let status = registry.status().await;
    status
        .map(Json)
        .map_err(|error| Problem::refused("the status was not read", &error))
}

async fn list_networks(State(registry): Service) -> Answer<Vec<rest::Network>> {
    let networks = registry.list_networks().await;
    networks
        .map(Json)
        .map_err(|error| Problem::refused("the networks were not listed", &error))
}

async fn show_network(State(registry): Service, Path(network): Path<String>) -> Answer<rest::Network> {
    let network = registry.show_network(network).await;
    network
        .map(Json)
        .map_err(|error| Problem::refused("the network was not shown", &error))
}

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

async fn list_hosts(State(registry): Service) -> Answer<Vec<rest::Host>> {
    let hosts = registry.list_hosts().await;
    hosts
        .map(Json)
        .map_err(|error| Problem::refused("the hosts were not listed", &error))
}

async fn show_host(State(registry): Service, Path(host): Path<String>) -> Answer<rest::Host> {
    let host = registry.show_host(host).await;
    host.map(Json)
        .map_err(|error| Problem::refused("the host was not shown", &error))
}

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

async fn list_vms(State(registry): Service, Path(network): Path<String>) -> Answer<Vec<rest::Vm>> {
    let vms = registry.list_vms(network).await;
    vms.map(Json)
        .map_err(|error| Problem::refused("the VMs were not listed", &error))
}

async fn show_vm(State(registry): Service, Path((network, vm)): Path<(String, String)>) -> Answer<rest::Vm> {
    let vm = registry.show_vm(network, vm).await;
    vm.map(Json)
        .map_err(|error| Problem::refused("the VM was not shown", &error))
}

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

async fn place_vm(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path((network, vm)): Path<(String, String)>,
    new: Body<rest::NewPlacement>,
) -> Answer<rest::Vm> {
    let placed = registry.place_vm(actor(&caller), network, vm, body(new)?).await;
    placed
        .map(Json)
        .map_err(|error| Problem::refused("the VM was not placed", &error))
}

async fn list_pairs(State(registry): Service, Path(network): Path<String>) -> Answer<Vec<rest::Pair>> {
    let pairs = registry.list_pairs(network).await;
    pairs
        .map(Json)
        .map_err(|error| Problem::refused("the pairs were not listed", &error))
}

async fn allow_pair(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path(network): Path<String>,
    new: Body<rest::NewPair>,
) -> Answer<Vec<rest::Pair>> {
    let pairs = registry.allow_pair(actor(&caller), network, body(new)?).await;
    pairs
        .map(Json)
        .map_err(|error| Problem::refused("the pair was not allowed", &error))
}

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
