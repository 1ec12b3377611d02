//! The OpenAPI document: its head, and the parts that all paths share.

use serde_json::{Value, json};
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::access::roles_of;

/// The document's head; the paths come from the handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Livetrail",
        description = "Streams, sessions and health of a Livetrail server. Where a token is configured, all but /health and the hashes of /trail want it as `Authorization: Bearer`. `x-roles` names the roles whose tokens may use an operation. Every refusal is a problem (RFC 9457) with a stable `reason`; a method that a path does not have is answered 405, a query key that it does not have 400."
    ),
    tags((name = "streams"), (name = "sessions"), (name = "personal"), (name = "server")),
    components(schemas(Problem)),
    modifiers(&Bearer)
)]
pub(super) struct Document;

/// Describes how a client shows its token.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", scheme);
    }
}

/// A refusal's body, as [`livetrail_http::Problem`] writes it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what another type writes")]
pub(super) struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    #[schema(example = "about:blank")]
    r#type: String,
    /// The status code's usual words.
    #[schema(example = "Not Found")]
    title: String,
    #[schema(minimum = 400, maximum = 599, example = 404)]
    status: u16,
    /// A stable label.
    #[schema(example = "session_not_found")]
    reason: String,
    /// For people.
    #[schema(example = "no live session has this id")]
    detail: Option<String>,
    /// The session under which a refused attempt is on record.
    #[schema(format = "uuid")]
    session: Option<String>,
}

/// Bytes that are not text.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Bytes(#[expect(dead_code, reason = "it describes a body")] Vec<u8>);

/// The media type of a problem.
const PROBLEM: &str = livetrail_http::PROBLEM_JSON;

/// Adds the parts that all paths share: refusals are problems, the answers of the guard, and HEAD
/// for each GET.
pub(super) fn finished(document: utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let paths = document["paths"].as_object_mut();
    for (path, methods) in paths.into_iter().flatten() {
        let Some(methods) = methods.as_object_mut() else {
            continue;
        };
        for (method, operation) in methods.iter_mut() {
            complete(path, method, operation);
        }
        if let Some(get) = methods.get("get") {
            let head = head_of(get);
            methods.insert("head".to_owned(), head);
        }
    }
    document
}

fn complete(path: &str, method: &str, operation: &mut Value) {
    let mut common = vec![("default", "Any other refusal.")];
    let roles = roles_of(method, path);
    if !roles.is_empty() {
        operation["x-roles"] = json!(roles);
        common.extend([
            ("401", "No token was shown, or one that is not known."),
            (
                "403",
                if method == "get" {
                    "The role of the token does not allow it, or no token is needed and the request's Host is no local name."
                } else {
                    "The role of the token does not allow it, the request comes from a page of another origin, or no token is needed and its Host is no local name."
                },
            ),
            (
                "429",
                "A wrong token was shown, and too many before it came from this address; `Retry-After` says when to try again.",
            ),
        ]);
    }
    if path.starts_with("/trail/") && path != "/trail/trail.vkey" {
        common.extend([
            (
                "500",
                "The trail cannot be read; the server's log says why.",
            ),
            (
                "503",
                "Too many requests read the trail; `Retry-After` says when to ask again.",
            ),
        ]);
    }
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, description) in common {
        let body = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        let response = json!({ "description": description, "content": { PROBLEM: body } });
        responses.entry(status).or_insert(response);
    }
    let is_refusal = |status: &str| status.starts_with(['4', '5']);
    let refusals = responses
        .iter_mut()
        .filter(|(status, _)| is_refusal(status));
    for content in refusals.filter_map(|(_, response)| response["content"].as_object_mut()) {
        let is_problem = content
            .get("application/json")
            .is_some_and(|body| body["schema"]["$ref"] == "#/components/schemas/Problem");
        if is_problem && let Some(body) = content.remove("application/json") {
            content.insert(PROBLEM.to_owned(), body);
        }
    }
}

/// The same operation without a body.
fn head_of(get: &Value) -> Value {
    let mut head = get.clone();
    let id = get["operationId"].as_str().unwrap_or_default();
    head["operationId"] = format!("{id}_head").into();
    for (_, response) in head["responses"].as_object_mut().into_iter().flatten() {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
    head
}
