//! The API's refusals. All have one shape: `application/problem+json`.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use livetrail_http::Problem;

/// The reason for which a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiError {
    NoSuchPath,
    MethodNotAllowed,
    NoSuchSession,
    NotASessionId,
    /// The error in the query.
    BadQuery(String),
    TokenMissing,
    TokenWrong,
    /// Too many wrong tokens came from this address. The next one is checked after this time.
    TooManyWrong(Duration),
    HostNotLocal,
    ForeignOrigin,
    /// The token's roles do not allow it.
    RoleNotAllowed,
    /// The error in a review.
    BadReview(String),
    /// The trail does not take the record.
    NotRecorded,
    NotATile,
    NotPublished,
    NotThere,
    NoHandOver,
    TrailBusy,
    TrailUnreadable,
}

/// How long a client should wait before it asks the trail again.
const BUSY_SECONDS: u64 = 5;

impl ApiError {
    fn parts(&self) -> (StatusCode, &'static str, &str) {
        match self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "not_found", "there is nothing here"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path has other methods; the header Allow names them",
            ),
            Self::NoSuchSession => (
                StatusCode::NOT_FOUND,
                "session_not_found",
                "no live session has this id",
            ),
            Self::NotASessionId => (
                StatusCode::BAD_REQUEST,
                "not_a_session_id",
                "a session's id is a UUID",
            ),
            Self::BadQuery(problem) => (StatusCode::BAD_REQUEST, "bad_query", problem),
            Self::TokenMissing => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "show a token as `Authorization: Bearer`",
            ),
            Self::TokenWrong => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "this token is not known here",
            ),
            Self::TooManyWrong(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_wrong_tokens",
                "too many wrong tokens came from this address; a right one is still taken",
            ),
            Self::HostNotLocal => (
                StatusCode::FORBIDDEN,
                "host_not_local",
                "without a token the API answers to local names alone: localhost or an IP address",
            ),
            Self::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "a page of another origin may not change anything here",
            ),
            Self::BadReview(problem) => (StatusCode::BAD_REQUEST, "bad_review", problem),
            Self::NotRecorded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not_recorded",
                "the trail cannot record it now",
            ),
            Self::RoleNotAllowed => (
                StatusCode::FORBIDDEN,
                "role_not_allowed",
                "the role of this token does not allow it",
            ),
            Self::NotATile => (
                StatusCode::BAD_REQUEST,
                "not_a_tile",
                "not a path of a tile or bundle: tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>], as C2SP tlog-tiles has them",
            ),
            Self::NotPublished => (
                StatusCode::NOT_FOUND,
                "not_published",
                "the published checkpoint does not cover it",
            ),
            Self::NotThere => (
                StatusCode::NOT_FOUND,
                "not_there",
                "it is no longer here: removed by retention, or lost",
            ),
            Self::NoHandOver => (
                StatusCode::NOT_FOUND,
                "no_hand_over",
                "no key of this id was given up",
            ),
            Self::TrailBusy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "trail_busy",
                "too many requests read the trail: ask again later",
            ),
            Self::TrailUnreadable => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "trail_unreadable",
                "the trail cannot be read; the server's log says why",
            ),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyWrong(wait) => Some(wait.as_secs().saturating_add(1)),
            Self::TrailBusy => Some(BUSY_SECONDS),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, reason, detail) = self.parts();
        let problem = Problem::new(status, reason).detail(detail.to_owned());
        let mut response = problem.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
