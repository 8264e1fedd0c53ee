//! Refusals, as RFC 9457 wants them.

use crate::manage::{Kind, Refusal};
use axum::{
    Json,
    extract::rejection::{JsonRejection, QueryRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use pairgate_api::rest;

const PROBLEM: &str = "application/problem+json";

/// An HTTP answer that says no.
#[derive(Debug)]
pub(super) struct Problem(rest::Problem);

impl Problem {
    /// The word for programs, and the status.
    pub(super) fn words(kind: Kind) -> (&'static str, StatusCode) {
        match kind {
            Kind::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Kind::Exists => ("exists", StatusCode::CONFLICT),
            Kind::Invalid => ("invalid", StatusCode::BAD_REQUEST),
            Kind::Conflict => ("conflict", StatusCode::CONFLICT),
            Kind::Changed => ("changed", StatusCode::PRECONDITION_FAILED),
            Kind::Reused => ("key_reused", StatusCode::UNPROCESSABLE_ENTITY),
            Kind::TooMany => ("too_many", StatusCode::TOO_MANY_REQUESTS),
            Kind::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
            Kind::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    pub(super) fn new(kind: Kind, title: &str, detail: String) -> Self {
        let (word, status) = Self::words(kind);
        Self::with_status(word, status, title, detail)
    }

    fn with_status(word: &str, status: StatusCode, title: &str, detail: String) -> Self {
        Self(rest::Problem {
            kind: word.to_owned(),
            status: status.as_u16(),
            title: title.to_owned(),
            detail,
        })
    }

    /// `what` was not done, because of `error`. A fault of our own is logged whole and told in one sentence.
    pub(super) fn refused(what: &str, error: &dyn Refusal) -> Self {
        let kind = error.kind();
        match kind {
            Kind::Internal => {
                tracing::error!(what, %error, "request failed");
                let detail = "the registry met a fault of its own and changed nothing; its log says more";
                Self::new(kind, what, detail.to_owned())
            }
            Kind::Unavailable => {
                tracing::error!(what, %error, "request failed");
                Self::new(kind, what, error.to_string())
            }
            Kind::NotFound
            | Kind::Exists
            | Kind::Invalid
            | Kind::Conflict
            | Kind::Changed
            | Kind::Reused
            | Kind::TooMany => {
                tracing::info!(what, why = %error, "request refused");
                Self::new(kind, what, error.to_string())
            }
        }
    }

    pub(super) fn body(rejection: &JsonRejection) -> Self {
        let detail = format!(
            "{}; send the documented fields as application/json",
            rejection.body_text()
        );
        // Too large and of another type keep their own status; whatever does not read is 400.
        let status = match rejection.status() {
            kept @ (StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE) => kept,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::with_status("invalid", status, "the request's body was not understood", detail)
    }

    pub(super) fn query(rejection: &QueryRejection) -> Self {
        let detail = format!("{}; see docs/registry-api.md", rejection.body_text());
        Self::new(Kind::Invalid, "the request's query was not understood", detail)
    }

    pub(super) fn not_understood(title: &str, detail: String) -> Self {
        Self::new(Kind::Invalid, title, detail)
    }

    pub(super) fn too_large() -> Self {
        Self::with_status(
            "invalid",
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request's body was not understood",
            "it is too large, or did not come whole; send the documented fields".to_owned(),
        )
    }

    pub(super) fn revoked() -> Self {
        let detail = "this operator certificate is revoked, has run out or is not in the registry's store; \
                      ask another operator for a new one";
        Self::with_status(
            "forbidden",
            StatusCode::FORBIDDEN,
            "not allowed",
            detail.to_owned(),
        )
    }

    pub(super) fn no_route() -> Self {
        Self::new(
            Kind::NotFound,
            "there is nothing at this path",
            "the API's paths all begin with /api/v1; see docs/registry-api.md".to_owned(),
        )
    }

    /// What axum refuses by itself, such as a path that is not UTF-8, it refuses as plain text.
    pub(super) async fn instead_of_text(response: Response) -> Response {
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE);
        let is_problem = kind.is_some_and(|kind| kind.as_bytes() == PROBLEM.as_bytes());
        if is_problem || !(status.is_client_error() || status.is_server_error()) {
            return response;
        }
        let word = if status.is_client_error() {
            "invalid"
        } else {
            "internal"
        };
        let detail = "the request was not understood; see docs/registry-api.md";
        Self::with_status(word, status, "the request was refused", detail.to_owned()).into_response()
    }

    pub(super) fn no_method() -> Self {
        Self::with_status(
            "invalid",
            StatusCode::METHOD_NOT_ALLOWED,
            "this path does not take that method",
            "see docs/registry-api.md for what it takes".to_owned(),
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        response
    }
}
