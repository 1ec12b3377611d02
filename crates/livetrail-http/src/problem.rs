//! The one format of error answers: `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not answered as asked.
///
/// ```text
/// {"type":"about:blank","title":"Forbidden","status":403,"reason":"unauthorized",
///  "detail":"wrong or missing key","session":"01890a5d-…"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `about:blank`: the status code gives the kind of problem, and `reason` the exact one.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The standard phrase of the status code.
    title: &'static str,
    status: u16,
    reason: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

impl Problem {
    /// A problem with a stable label that programs compare, such as `not_found`.
    #[must_use]
    pub fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            reason: reason.into(),
            detail: None,
            session: None,
        }
    }

    /// Sets what exactly is wrong, and what to do about it: for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Sets the session under which the attempt is on record.
    #[must_use]
    pub fn session(mut self, session: impl ToString) -> Self {
        self.session = Some(session.to_string());
        self
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The stable label.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        // Texts and numbers can always be serialised.
        let mut body = serde_json::to_vec(&self).unwrap_or_default();
        body.push(b'\n');
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_one_shape_and_leaves_out_what_it_does_not_know() {
        let problem = Problem::new(StatusCode::NOT_FOUND, "not_found");
        assert_eq!(
            serde_json::to_value(&problem).unwrap(),
            serde_json::json!({"type": "about:blank", "title": "Not Found", "status": 404, "reason": "not_found"})
        );
        let problem = problem.detail("there is nothing here").session("id");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["detail"], "there is nothing here");
        assert_eq!(json["session"], "id");
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()["content-type"], PROBLEM_JSON);
    }
}
