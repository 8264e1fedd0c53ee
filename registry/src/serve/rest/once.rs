//! `Idempotency-Key`: a POST that is sent again is answered and not done again.

use super::{BODY_LEN_MAX, Problem, Service};
use crate::{
    manage::{
        OnceError,
        once::{First, is_key},
    },
    registry::Registry,
    store::{OnceAnswer, OnceKey},
};
use axum::{
    Extension,
    body::{Body, to_bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use pairgate_identity::Caller;
use ring::digest::{Context, SHA256};
use std::sync::Arc;

pub(super) const KEY: &str = "idempotency-key";
/// In an answer that was given before.
pub(super) const REPLAYED: &str = "idempotency-replayed";
/// No route answers a POST with more.
const ANSWER_LEN_MAX: usize = 256 * 1024;
const WHAT: &str = "the request was not carried out";

pub(super) async fn once(
    State(registry): Service,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let key = match key(request.headers()) {
        Ok(None) => return next.run(request).await,
        Ok(Some(_)) if request.method() != Method::POST => return next.run(request).await,
        Ok(Some(key)) => OnceKey {
            operator: caller.identity.id,
            key,
        },
        Err(error) => return Problem::refused(WHAT, &error).into_response(),
    };
    // Carried out to its end also if the sender goes away: it will ask what has become of it.
    let carried = tokio::spawn(async move { carry_out(registry, key, request, next).await });
    carried
        .await
        .unwrap_or_else(|_| Problem::refused(WHAT, &OnceError::Unknown).into_response())
}

fn key(headers: &HeaderMap) -> Result<Option<String>, OnceError> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(first) = keys.next() else {
        return Ok(None);
    };
    let text = first.to_str().map_err(|_| OnceError::Form)?;
    if keys.next().is_some() || !is_key(text) {
        return Err(OnceError::Form);
    }
    Ok(Some(text.to_owned()))
}

async fn carry_out(registry: Arc<Registry>, key: OnceKey, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LEN_MAX).await else {
        return Problem::too_large().into_response();
    };
    let turn = match registry.begin_once(key, digest(&parts, &body)).await {
        Ok(First::Yes(turn)) => turn,
        Ok(First::Answered(answer)) => return replayed(answer),
        Err(error) => return Problem::refused(WHAT, &error).into_response(),
    };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, ANSWER_LEN_MAX).await else {
        // The key stays begun: half an answer, or none, must not be taken for the whole of it, now or later.
        tracing::error!("an answer was too large to be remembered");
        return Problem::refused(WHAT, &OnceError::Unknown).into_response();
    };
    let answer = parts.status.is_success().then(|| OnceAnswer {
        status: parts.status.as_u16(),
        body: body.to_vec(),
    });
    if let Err(error) = turn.end(answer).await {
        // The key stays begun, so whoever asks again is told that nobody knows.
        tracing::error!(%error, "an answer could not be remembered");
    }
    Response::from_parts(parts, Body::from(body))
}

fn digest(parts: &Parts, body: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    for part in [parts.method.as_str().as_bytes(), path.as_bytes(), body] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

fn replayed(answer: OnceAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
