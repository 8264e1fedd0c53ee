//! The API's description of itself, OpenAPI 3.1.
//!
//! It is made from the very routes that are served, so a route cannot be missing from it. A copy is in
//! `docs/openapi.json`; a test fails when the two differ, so that a change of the contract is seen in review.

use axum::routing::{MethodRouter, get};
use http::header;
use pairgate_api::rest;
use utoipa::{
    IntoResponses,
    openapi::{ComponentsBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, Server},
};

pub(super) const PATH: &str = "/openapi.json";

/// Every refusal, whatever its status; `type` in it says which.
#[derive(IntoResponses)]
#[response(
    status = "default",
    description = "refused; `type` says why",
    content_type = "application/problem+json"
)]
pub(super) struct Refused(
    #[expect(dead_code, reason = "it describes answers and is never made")] rest::Problem,
);

pub(super) fn heading() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Pairgate registry")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "For operators and programs, over TLS 1.3 with an operator's certificate. What the words mean is in \
             docs/registry-api.md.",
        ))
        .license(Some(License::new("Apache-2.0 OR MIT")));
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([Server::new("/api/v1")]))
        // The routes bring their own shapes; this one comes with none of them.
        .components(Some(
            ComponentsBuilder::new().schema_from::<rest::Problem>().build(),
        ))
        .build()
}

/// The document as it was when the service started; it does not change.
pub(super) fn route<S: Clone + Send + Sync + 'static>(document: &OpenApi) -> MethodRouter<S> {
    let text = text(document);
    get(async move || ([(header::CONTENT_TYPE, "application/json")], text))
}

/// Empty only if the document could not be written, which a test excludes.
fn text(document: &OpenApi) -> String {
    document.to_pretty_json().unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    fn complete() -> OpenApi {
        let mut document = super::super::documented().into_openapi();
        super::super::document::complete(&mut document);
        document
    }

    /// Set to anything to write the copy anew.
    const WRITE: &str = "PAIRGATE_WRITE_OPENAPI";

    #[test]
    fn the_committed_document_is_the_one_that_is_served() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let served = text(&complete());
        if std::env::var_os(WRITE).is_some() {
            fs::write(&path, &served).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == served,
            "docs/openapi.json is not what is served: look at what changed with {WRITE}=1 and git diff"
        );
    }

    #[test]
    fn the_document_is_openapi_3_1_and_every_operation_says_how_it_refuses() {
        let document: serde_json::Value = serde_json::from_str(&text(&complete())).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut operations = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let refusal = &operation["responses"]["default"]["content"]["application/problem+json"];
                assert!(refusal.is_object(), "{method} {path}");
                operations += 1;
            }
        }
        assert!(operations >= 22, "{operations}");
        let whole = document.to_string();
        for reference in whole.split("\"$ref\":\"#").skip(1) {
            let place = reference.split('"').next().unwrap();
            assert!(
                document.pointer(place).is_some(),
                "{place} is spoken of and not there"
            );
        }
    }
}
