//! Certificates of operators and installers, and the gate that keeps revoked operators out.

use super::{Answer, Asked, Body, Created, Listed, Problem, Refused, Service, actor, body, listed, page};
use crate::{manage::OfOwner, registry::Registry};
use axum::{
    Extension, Json,
    extract::{Path, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, Uri};
use pairgate_api::rest;
use pairgate_identity::Caller;
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

pub(super) fn documented() -> OpenApiRouter<Arc<Registry>> {
    OpenApiRouter::new()
        .routes(routes!(list_zeros, create_zero))
        .routes(routes!(revoke_zero))
        .routes(routes!(list_operators, create_operator))
        .routes(routes!(revoke_operator))
}

/// Looks at every request, also at later ones of a connection that was good when it began.
///
/// Reading takes its turn: the one reader of the store also answers the agents' questions for leases, and a
/// program that lists everything at once must not stand in front of them. What changes something does not queue
/// behind its sender's own reading.
pub(super) async fn only_good_operators(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let _turn = match *request.method() {
        Method::GET | Method::HEAD => Some(registry.lanes.turn(caller.identity.id).await),
        _ => None,
    };
    match registry.is_good_operator(caller.identity.id).await {
        Ok(true) => next.run(request).await,
        Ok(false) => {
            tracing::warn!(caller = %caller.identity, "request refused: not a good operator certificate");
            Problem::revoked().into_response()
        }
        Err(error) => Problem::refused("the operator was not looked up", &error).into_response(),
    }
}

#[utoipa::path(
    get,
    path = "/zero-certificates",
    summary = "All zero certificates",
    params(rest::ListQuery),
    responses((status = 200, body = Vec<rest::Zero>, headers(("Link" = String, description = "the next part of the list, if there is one"))), Refused)
)]
async fn list_zeros(State(registry): Service, uri: Uri, query: Asked<rest::ListQuery>) -> Listed<rest::Zero> {
    let page = page::<OfOwner>(query)?;
    let zeros = registry.list_zeros(&page).await;
    let zeros = zeros.map_err(|error| Problem::refused("the zero certificates were not listed", &error))?;
    Ok(listed(&uri, &page, zeros, |zero: &rest::Zero| {
        format!("{}.{}", zero.owner, zero.id)
    }))
}

#[utoipa::path(
    post,
    path = "/zero-certificates",
    summary = "Make a zero certificate",
    request_body = rest::NewZero,
    responses((status = 201, body = rest::IssuedZero), Refused)
)]
async fn create_zero(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    new: Body<rest::NewZero>,
) -> Created<rest::IssuedZero> {
    let made = registry.create_zero(actor(&caller), body(new)?).await;
    made.map(|made| (StatusCode::CREATED, Json(made)))
        .map_err(|error| Problem::refused("the zero certificate was not made", &error))
}

#[utoipa::path(
    post,
    path = "/zero-certificates/{id}/revocation",
    summary = "Revoke a zero certificate",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = rest::Zero), Refused)
)]
async fn revoke_zero(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path(id): Path<Uuid>,
) -> Answer<rest::Zero> {
    let revoked = registry.revoke_zero(actor(&caller), id).await;
    revoked
        .map(Json)
        .map_err(|error| Problem::refused("the zero certificate was not revoked", &error))
}

#[utoipa::path(
    get,
    path = "/operators",
    summary = "All operator certificates",
    params(rest::ListQuery),
    responses((status = 200, body = Vec<rest::Operator>, headers(("Link" = String, description = "the next part of the list, if there is one"))), Refused)
)]
async fn list_operators(
    State(registry): Service,
    uri: Uri,
    query: Asked<rest::ListQuery>,
) -> Listed<rest::Operator> {
    let page = page::<OfOwner>(query)?;
    let operators = registry.list_operators(&page).await;
    let operators = operators.map_err(|error| Problem::refused("the operators were not listed", &error))?;
    Ok(listed(&uri, &page, operators, |operator: &rest::Operator| {
        format!("{}.{}", operator.owner, operator.id)
    }))
}

#[utoipa::path(
    post,
    path = "/operators",
    summary = "Make an operator certificate",
    request_body = rest::NewOperator,
    responses((status = 201, body = rest::IssuedOperator), Refused)
)]
async fn create_operator(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    new: Body<rest::NewOperator>,
) -> Created<rest::IssuedOperator> {
    let made = registry.create_operator(actor(&caller), body(new)?).await;
    made.map(|made| (StatusCode::CREATED, Json(made)))
        .map_err(|error| Problem::refused("the operator certificate was not made", &error))
}

#[utoipa::path(
    post,
    path = "/operators/{id}/revocation",
    summary = "Revoke an operator certificate",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = rest::Operator), Refused)
)]
async fn revoke_operator(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    Path(id): Path<Uuid>,
) -> Answer<rest::Operator> {
    let revoked = registry.revoke_operator(actor(&caller), id).await;
    revoked
        .map(Json)
        .map_err(|error| Problem::refused("the operator certificate was not revoked", &error))
}

#[cfg(test)]
mod tests {
    use crate::{authority::ServerAddress, init::init, registry::Registry, settings::Settings};
    use axum::{Extension, Router, body::Body};
    use http::{Method, Request, StatusCode};
    use pairgate_identity::{Caller, Credentials};
    use std::time::Duration;
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;
    use tower::ServiceExt;

    const SOON: Duration = Duration::from_millis(100);
    const PATIENCE: Duration = Duration::from_secs(10);

    async fn ask(router: &Router, method: Method) -> StatusCode {
        let request = Request::builder().method(method).uri("/api/v1/networks");
        let request = request.body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    }

    /// Wrong if it fails: a program that lists everything at once stands in front of every agent's lease.
    #[tokio::test]
    async fn one_operator_reads_a_bounded_number_of_things_at_once_and_may_change_something_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        init(&state, &["127.0.0.1".parse::<ServerAddress>().unwrap()]).unwrap();
        let settings = Settings::new(60, 60).unwrap();
        let opening = Registry::open(&state, None, settings, CancellationToken::new());
        let registry = opening.await.unwrap();
        let file = |name| state.join(name);
        let credentials =
            Credentials::load(&file("ca.pem"), &file("operator.pem"), &file("operator.key")).unwrap();
        let identity = *credentials.identity();
        let router = super::super::router(registry.clone()).layer(Extension(Caller {
            identity,
            address: None,
            remote: "127.0.0.1:1".parse().unwrap(),
            public_key: Vec::new(),
            serial: Vec::new(),
        }));
        assert_eq!(ask(&router, Method::GET).await, StatusCode::OK);

        let mut reading = Vec::new();
        while let Ok(turn) = timeout(SOON, registry.lanes.turn(identity.id)).await {
            reading.push(turn);
        }
        assert!(timeout(SOON, ask(&router, Method::GET)).await.is_err());
        let changing = timeout(PATIENCE, ask(&router, Method::POST)).await;
        assert!(changing.unwrap().is_client_error(), "it has no body");
        reading.pop();
        let read = timeout(PATIENCE, ask(&router, Method::GET)).await;
        assert_eq!(read, Ok(StatusCode::OK));
    }
}
