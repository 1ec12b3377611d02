//! Who may use which path: one table, from which the router's checks and the documents come.

use axum::http::Method;

use crate::config::{ApiRole, ApiRoles};

/// Who may use a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everyone, without a token.
    Open,
    /// Callers with one of these roles.
    Roles(ApiRoles),
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Row {
    /// GET includes HEAD.
    pub(super) method: &'static str,
    /// The path in the router's form.
    pub(super) path: &'static str,
    pub(super) access: Access,
}

const fn open(path: &'static str) -> Row {
    Row {
        method: "GET",
        path,
        access: Access::Open,
    }
}

const fn to(method: &'static str, path: &'static str, roles: &[ApiRole]) -> Row {
    Row {
        method,
        path,
        access: Access::Roles(ApiRoles::of(roles)),
    }
}

/// Every path of the API and of the trail's site. A request for any other path is refused.
pub(super) const TABLE: &[Row] = {
    use ApiRole::{Auditor, Eraser, Operator, Regulator, Viewer};
    &[
        open("/health"),
        open("/livez"),
        open("/readyz"),
        to("GET", "/metrics", &[Viewer, Operator, Auditor]),
        to("GET", "/api/v1/openapi.json", &ApiRole::ALL),
        to(
            "GET",
            "/api/v1/streams",
            &[Viewer, Operator, Auditor, Regulator],
        ),
        to(
            "GET",
            "/api/v1/sessions",
            &[Viewer, Operator, Auditor, Regulator],
        ),
        to("GET", "/api/v1/pulls", &[Viewer, Operator, Auditor]),
        to("GET", "/api/v1/pushes", &[Viewer, Operator, Auditor]),
        to("DELETE", "/api/v1/sessions/{id}", &[Operator]),
        to("PUT", "/api/v1/sessions/{id}/expiry", &[Operator]),
        to("POST", "/api/v1/kicks", &[Operator]),
        to("GET", "/api/v1/drain", &[Viewer, Operator, Auditor]),
        to("POST", "/api/v1/drain", &[Operator]),
        to("DELETE", "/api/v1/drain", &[Operator]),
        to("GET", "/api/v1/sessions/{id}/opening", &[Auditor]),
        to("GET", "/api/v1/erasures", &[Auditor, Eraser]),
        to("POST", "/api/v1/erasures", &[Eraser]),
        to("POST", "/api/v1/erasures/{request}/approvals", &[Eraser]),
        to("GET", "/api/v1/holds", &[Auditor, Eraser]),
        to("POST", "/api/v1/holds", &[Auditor]),
        to("DELETE", "/api/v1/holds/{hold}", &[Auditor]),
        to("GET", "/api/v1/trail/entries", &[Auditor, Regulator]),
        to("POST", "/api/v1/trail/reviews", &[Auditor]),
        open("/trail/checkpoint"),
        to("GET", "/trail/tile/entries/{*index}", &[Auditor]),
        open("/trail/tile/{level}/{*index}"),
        open("/trail/proof"),
        open("/trail/trail.vkey"),
        open("/trail/trail.retired"),
        open("/trail/handover/{key}"),
        open("/trail/cosigned/{witnesses}"),
    ]
};

/// Who may use this method of this path. `None` if the table does not have it.
pub(super) fn access(method: &Method, path: &str) -> Option<Access> {
    let method = if *method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let row = TABLE
        .iter()
        .find(|row| row.method == method && row.path == path);
    row.map(|row| row.access)
}

/// Whether everyone may use all methods of this path.
pub(super) fn is_open(path: &str) -> bool {
    let row = TABLE.iter().find(|row| row.path == path);
    row.is_some_and(|row| row.access == Access::Open)
}

/// The methods of a path, as the header `Allow` names them. Empty if the table does not have it.
pub(super) fn methods(path: &str) -> String {
    let rows = TABLE.iter().filter(|row| row.path == path);
    let methods = rows.map(|row| match row.method {
        "GET" => "GET,HEAD",
        other => other,
    });
    methods.collect::<Vec<_>>().join(",")
}

/// The roles that may use an operation of the API's document. Empty if everyone may.
pub(super) fn roles_of(method: &str, path: &str) -> Vec<&'static str> {
    // The router marks a parameter that takes the rest of the path.
    let same =
        |row: &&Row| row.method.eq_ignore_ascii_case(method) && row.path.replace("{*", "{") == path;
    match TABLE.iter().find(same).map(|row| row.access) {
        Some(Access::Roles(roles)) => roles.names(),
        Some(Access::Open) | None => Vec::new(),
    }
}

/// The methods and paths of the table.
#[cfg(test)]
pub(crate) fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().map(|row| (row.method, row.path))
}

/// Whether the table lets a role use a path.
#[cfg(test)]
pub(crate) fn is_allowed(method: &str, path: &str, role: ApiRole) -> bool {
    let row = TABLE
        .iter()
        .find(|row| row.method == method && row.path == path);
    row.is_some_and(|row| match row.access {
        Access::Open => true,
        Access::Roles(roles) => roles.has(role),
    })
}
