//! What all routes have in common: parts of lists, and the states that changes rely on.

use super::{Asked, Problem, asked};
use crate::manage::{Expected, Page, Tagged};
use axum::{
    Json,
    extract::{FromRequestParts, MatchedPath, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, request::Parts};
use pairgate_api::{rest, routes::REST_PREFIX};
use std::str::FromStr;

/// A part of a list, with the address of the next part in its `Link` header (RFC 8288).
pub(super) type Listed<T> = Result<(HeaderMap, Json<Vec<T>>), Problem>;
/// One thing, with its tag in the `ETag` header.
pub(super) type Shown<T> = Result<(HeaderMap, Json<T>), Problem>;

pub(super) fn page<K: FromStr>(query: Asked<rest::ListQuery>) -> Result<Page<K>, Problem> {
    let query = asked(query)?;
    Page::new(query.after.as_deref(), query.limit)
        .map_err(|error| Problem::not_understood("the request's query was not understood", error.to_string()))
}

/// `path` is the list's, as the client asked for it, without the query.
pub(super) fn listed<K, T>(
    uri: &Uri,
    page: &Page<K>,
    mut rows: Vec<T>,
    key: impl Fn(&T) -> String,
) -> (HeaderMap, Json<Vec<T>>) {
    let mut headers = HeaderMap::new();
    if let Some(after) = page.cut(&mut rows, key) {
        let path = uri.path().trim_start_matches('/');
        let link = format!(
            "<{REST_PREFIX}{path}?limit={}&after={after}>; rel=\"next\"",
            page.limit
        );
        // Paths that matched a route of plain segments and keys of plain characters make a plain header.
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.insert(header::LINK, link);
        }
    }
    (headers, Json(rows))
}

pub(super) fn shown<T: Tagged>(thing: T) -> (HeaderMap, Json<T>) {
    let mut headers = HeaderMap::new();
    if let Ok(tag) = HeaderValue::try_from(thing.tag().to_string()) {
        headers.insert(header::ETAG, tag);
    }
    (headers, Json(thing))
}

/// The `If-Match` of a change to one thing.
pub(super) struct IfMatch(pub(super) Expected);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let not_understood =
            |detail: String| Problem::not_understood("the request's If-Match was not understood", detail);
        let mut texts = Vec::new();
        for value in parts.headers.get_all(header::IF_MATCH) {
            texts.push(
                value
                    .to_str()
                    .map_err(|error| not_understood(error.to_string()))?,
            );
        }
        Expected::parse(texts)
            .map(Self)
            .map_err(|error| not_understood(error.to_string()))
    }
}

/// Routes that ask `If-Match` for the state of one thing.
pub(super) const CONDITIONAL: &[(Method, &str)] = &[
    (Method::POST, "/hosts/{host}/reset"),
    (Method::DELETE, "/hosts/{host}"),
    (Method::PATCH, "/networks/{network}"),
    (Method::DELETE, "/networks/{network}"),
    (Method::DELETE, "/networks/{network}/vms/{vm}"),
    (Method::PUT, "/networks/{network}/vms/{vm}/addresses"),
    (Method::POST, "/networks/{network}/vms/{vm}/placement"),
];

const CONDITIONS: [HeaderName; 4] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// Whether a change to this path looks at `If-Match`.
pub(super) fn is_conditional(method: &Method, path: &str) -> bool {
    CONDITIONAL
        .iter()
        .any(|(known, route)| known == method && *route == path)
}

/// A change's condition that nobody looks at would be taken for one that held; a reader's does no harm.
pub(super) async fn no_idle_conditions(request: Request, next: Next) -> Response {
    let Some(idle) = idle_condition(&request) else {
        return next.run(request).await;
    };
    let detail = format!("this request takes no {idle}: leave it out; see docs/registry-api.md");
    Problem::not_understood("the request was not carried out", detail).into_response()
}

fn idle_condition(request: &Request) -> Option<HeaderName> {
    if request.method().is_safe() {
        return None;
    }
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = route.unwrap_or_default();
    let route = route
        .strip_prefix(REST_PREFIX.trim_end_matches('/'))
        .unwrap_or(route);
    let takes_if_match = is_conditional(request.method(), route);
    CONDITIONS
        .into_iter()
        .find(|name| request.headers().contains_key(name) && !(takes_if_match && name == header::IF_MATCH))
}
