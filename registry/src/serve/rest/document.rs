//! What is the same for all routes, written into the API's description once all routes are in it: refusals with
//! examples, conditions, keys, and an example of every request.

use super::{once, terms};
use http::Method;
use pairgate_api::rest;
use serde_json::{Value, json};
use utoipa::openapi::{
    Components, Content, ContentBuilder, Header, HeaderBuilder, OpenApi, PathItem, Ref, RefOr, Required,
    Response, ResponseBuilder, Schema, Type,
    path::{Operation, Parameter, ParameterBuilder, ParameterIn},
    schema::ObjectBuilder,
    security::{SecurityRequirement, SecurityScheme},
};

const IF_MATCH: &str = "IfMatch";
const KEY: &str = "IdempotencyKey";
const SCHEME: &str = "operator";

/// A kind of refusal: status, name in the document, and one that could have been.
struct Refusal {
    status: u16,
    name: &'static str,
    kind: &'static str,
    title: &'static str,
    detail: &'static str,
}

const fn refusal(
    status: u16,
    name: &'static str,
    kind: &'static str,
    title: &'static str,
    detail: &'static str,
) -> Refusal {
    Refusal {
        status,
        name,
        kind,
        title,
        detail,
    }
}

const REFUSALS: [Refusal; 12] = [
    refusal(
        400,
        "Invalid",
        "invalid",
        "the network was not created",
        "a name has 1 to 63 characters out of a-z, 0-9 and '-'; choose another name",
    ),
    refusal(
        403,
        "Forbidden",
        "forbidden",
        "not allowed",
        "this operator certificate is revoked, has run out or is not in the registry's store; ask another operator for a new one",
    ),
    refusal(
        404,
        "NotFound",
        "not_found",
        "the VM was not shown",
        "there is no VM of that name in network default: `pairgate vm list` shows all",
    ),
    refusal(
        409,
        "Conflict",
        "exists",
        "the network was not created",
        "there is a network named default already: choose another name",
    ),
    refusal(
        412,
        "Changed",
        "changed",
        "the VM was not placed",
        "it has changed since the state that If-Match names: read it again, and decide anew",
    ),
    refusal(
        413,
        "TooLarge",
        "invalid",
        "the request's body was not understood",
        "it is too large, or did not come whole; send the documented fields",
    ),
    refusal(
        415,
        "NotJson",
        "invalid",
        "the request's body was not understood",
        "Expected request with `Content-Type: application/json`; send the documented fields as application/json",
    ),
    refusal(
        422,
        "KeyReused",
        "key_reused",
        "the request was not carried out",
        "this key was used for another request within 24 hours: choose a new key for each new request",
    ),
    refusal(
        429,
        "TooMany",
        "too_many",
        "the request was not carried out",
        "this certificate has used 10000 keys within 24 hours: send requests without a key, or wait",
    ),
    refusal(
        500,
        "Fault",
        "internal",
        "the networks were not listed",
        "the registry met a fault of its own and changed nothing; its log says more",
    ),
    refusal(
        503,
        "Unavailable",
        "unavailable",
        "the network was not created",
        "the disk that holds the store is full: make room and try again",
    ),
    refusal(
        405,
        "Method",
        "invalid",
        "this path does not take that method",
        "see docs/registry-api.md for what it takes",
    ),
];

/// The statuses that an operation may refuse with.
fn statuses(method: &Method, path: &str, has_body: bool) -> Vec<u16> {
    let mut statuses = vec![403, 500, 503];
    let changes = *method != Method::GET;
    if changes || path.ends_with('s') || path == "/audit" {
        statuses.push(400);
    }
    if path.contains('{') {
        statuses.push(404);
    }
    if changes {
        statuses.push(409);
    }
    if terms::is_conditional(method, path) {
        statuses.push(412);
    }
    if has_body {
        statuses.extend([413, 415]);
    }
    if *method == Method::POST {
        statuses.extend([422, 429]);
    }
    statuses.sort_unstable();
    statuses
}

pub(super) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_with(Components::new);
    for refusal in &REFUSALS {
        let name = refusal.name.to_owned();
        components.responses.insert(name, RefOr::T(response(refusal)));
    }
    components
        .parameters
        .insert(IF_MATCH.to_owned(), RefOr::T(if_match()));
    components.parameters.insert(KEY.to_owned(), RefOr::T(key()));
    for (name, example) in examples() {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(name) {
            object.examples = vec![example];
        }
    }
    let scheme = SecurityScheme::MutualTls {
        description: Some("the certificate of an operator of this installation".to_owned()),
        deprecated: None,
        extensions: None,
    };
    components
        .security_schemes
        .insert(SCHEME.to_owned(), scheme.into());
    document.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete_operation(&method, path, operation);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all = [
        (Method::GET, item.get.as_mut()),
        (Method::PUT, item.put.as_mut()),
        (Method::PATCH, item.patch.as_mut()),
        (Method::POST, item.post.as_mut()),
        (Method::DELETE, item.delete.as_mut()),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation?)))
}

fn complete_operation(method: &Method, path: &str, operation: &mut Operation) {
    let has_body = operation.request_body.is_some();
    for status in statuses(method, path, has_body) {
        if let Some(refusal) = REFUSALS.iter().find(|refusal| refusal.status == status) {
            let response = RefOr::Ref(Ref::from_response_name(refusal.name));
            operation.responses.responses.insert(status.to_string(), response);
        }
    }
    // The standard asks for one, and what the operation does is what its answer says was done.
    let summary = operation.summary.clone().unwrap_or_default();
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description.clone_from(&summary);
        }
    }
    let mut headers = Vec::new();
    if terms::is_conditional(method, path) {
        headers.push(IF_MATCH);
    }
    if *method == Method::POST {
        headers.push(KEY);
        for status in ["200", "201"] {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) {
                let replayed =
                    header("true if this answer was given before, to the same request under the same key");
                response
                    .headers
                    .insert(once::REPLAYED.to_owned(), RefOr::T(replayed));
            }
        }
    }
    let parameters = operation.parameters.get_or_insert_default();
    for name in headers {
        let place = format!("#/components/parameters/{name}");
        parameters.push(RefOr::Ref(Ref::new(place)));
    }
    if parameters.is_empty() {
        operation.parameters = None;
    }
}

fn text() -> Schema {
    Schema::Object(ObjectBuilder::new().schema_type(Type::String).build())
}

fn header(description: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(text()))
        .description(Some(description))
        .build()
}

fn header_parameter(name: &str, description: &str, example: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .schema(Some(text()))
        .description(Some(description))
        .example(Some(json!(example)))
        .build()
}

fn if_match() -> Parameter {
    header_parameter(
        "If-Match",
        "Change it only if it still is as an ETag header has shown it; several tags, or *, are taken too.",
        "\"5f0c7b1e9d3a4c2f8e6b5a4d3c2b1a09\"",
    )
}

fn key() -> Parameter {
    header_parameter(
        "Idempotency-Key",
        "The same request under the same key is carried out once within 24 hours, and answered the same again. 1 to \
         64 letters, digits and any of - _ . :",
        "8f0e2b1c-52a1-4a0e-9c1d-7b1f3c5d9e21",
    )
}

fn response(refusal: &Refusal) -> Response {
    let example = rest::Problem {
        kind: refusal.kind.to_owned(),
        status: refusal.status,
        title: refusal.title.to_owned(),
        detail: refusal.detail.to_owned(),
    };
    let content: Content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .example(serde_json::to_value(example).ok())
        .build();
    ResponseBuilder::new()
        .description(format!("`{}`, for example", refusal.kind))
        .content("application/problem+json", content)
        .build()
}

/// Of every shape that is sent to us; each is made from the very type, so it cannot be wrong in form.
fn examples() -> Vec<(&'static str, Value)> {
    let request = "-----BEGIN CERTIFICATE REQUEST-----\n…\n-----END CERTIFICATE REQUEST-----\n";
    let example = |name, value: Result<Value, serde_json::Error>| value.ok().map(|value| (name, value));
    let text = str::to_owned;
    let all = [
        example(
            "NewNetwork",
            serde_json::to_value(rest::NewNetwork {
                name: text("default"),
                prefixes: vec![text("10.77.0.0/24"), text("fd77::/64")],
                ..rest::NewNetwork::default()
            }),
        ),
        example(
            "NetworkChange",
            serde_json::to_value(rest::NetworkChange {
                dns: Some(vec![[192, 0, 2, 53].into()]),
                domain: Some(text("corp.example")),
                ..rest::NetworkChange::default()
            }),
        ),
        example(
            "NewHost",
            serde_json::to_value(rest::NewHost {
                name: text("h1"),
                address: [192, 0, 2, 1].into(),
                agent_port: None,
                overlay_port: None,
            }),
        ),
        example(
            "NewVm",
            serde_json::to_value(rest::NewVm {
                name: text("web1"),
                addresses: vec![[10, 77, 0, 11].into()],
                mac: None,
            }),
        ),
        example(
            "NewAddresses",
            serde_json::to_value(rest::NewAddresses {
                addresses: vec![[10, 77, 0, 12].into()],
                timeout_ms: 10_000,
            }),
        ),
        example(
            "NewPlacement",
            serde_json::to_value(rest::NewPlacement { host: text("h1") }),
        ),
        example(
            "NewPair",
            serde_json::to_value(rest::NewPair {
                source: text("web1"),
                destination: text("db1"),
                grant: vec![text("tcp/5432"), text("icmp")],
                one_way: true,
                timeout_ms: 10_000,
            }),
        ),
        example(
            "NewDenial",
            serde_json::to_value(rest::NewDenial {
                source: text("web1"),
                destination: text("db1"),
                timeout_ms: 10_000,
            }),
        ),
        example(
            "NewZero",
            serde_json::to_value(rest::NewZero {
                owner: text("rack-7"),
                signing_request: text(request),
                uses: Some(12),
                life_secs: Some(3600),
            }),
        ),
        example(
            "NewOperator",
            serde_json::to_value(rest::NewOperator {
                owner: text("alice"),
                signing_request: text(request),
                life_secs: None,
            }),
        ),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::Kind;

    fn document() -> Value {
        let mut document = super::super::documented().into_openapi();
        complete(&mut document);
        serde_json::to_value(document).unwrap()
    }

    /// The place of every operation in the document.
    fn all(document: &Value) -> Vec<(String, String, Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().iter();
                methods.map(move |(method, operation)| (method.clone(), path.clone(), operation.clone()))
            })
            .collect()
    }

    #[test]
    fn every_word_of_a_refusal_has_an_example_with_its_own_status() {
        let kinds = [
            Kind::NotFound,
            Kind::Exists,
            Kind::Invalid,
            Kind::Changed,
            Kind::Reused,
            Kind::TooMany,
            Kind::Unavailable,
            Kind::Internal,
        ];
        for kind in kinds {
            let (word, status) = super::super::Problem::words(kind);
            let is_it = |refusal: &&Refusal| refusal.kind == word && refusal.status == status.as_u16();
            assert!(REFUSALS.iter().any(|refusal| is_it(&refusal)), "{word}");
        }
    }

    #[test]
    fn every_shape_that_is_sent_has_an_example() {
        let document = document();
        let mut bodies = 0;
        for (method, path, operation) in all(&document) {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let Some(place) = body.as_str() else { continue };
            let schema = document.pointer(place.trim_start_matches('#')).unwrap();
            assert!(schema["examples"][0].is_object(), "{method} {path}");
            bodies += 1;
        }
        assert!(bodies >= 9, "{bodies}");
    }

    #[test]
    fn conditions_and_keys_are_described_where_they_are_asked_for() {
        let document = document();
        let mut conditional = 0;
        for (method, path, operation) in all(&document) {
            let parameters = operation["parameters"].to_string();
            let by_name = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            assert_eq!(
                parameters.contains(KEY),
                by_name == Method::POST,
                "{method} {path}"
            );
            assert_eq!(
                parameters.contains(IF_MATCH),
                terms::is_conditional(&by_name, &path),
                "{method} {path}"
            );
            conditional += usize::from(parameters.contains(IF_MATCH));
            for (status, response) in operation["responses"].as_object().unwrap() {
                let described = response["$ref"].is_string() || !response["description"].is_null();
                assert!(described, "{method} {path} {status}");
            }
            if method == "get" && operation["responses"]["200"].to_string().contains("\"array\"") {
                assert!(parameters.contains("\"limit\""), "{path} is a list without parts");
                assert!(
                    operation["responses"]["200"]["headers"]["Link"].is_object(),
                    "{path}"
                );
            }
        }
        assert_eq!(
            conditional,
            terms::CONDITIONAL.len(),
            "every conditional route is there"
        );
    }
}
