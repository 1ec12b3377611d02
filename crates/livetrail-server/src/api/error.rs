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
    /// The error in a request to end sessions.
    BadKick(String),
    /// The error in a request to renew a session.
    BadExpiry(String),
    /// The error in a request to drain.
    BadDrain(String),
    NotDraining,
    /// The error in a review.
    BadReview(String),
    /// The error in a request to erase.
    BadErasure(String),
    /// A request to erase with this number waits for approval.
    ErasureWaits,
    TooManyErasures,
    NoSuchErasure,
    /// The token has agreed with the request already.
    SameToken,
    /// The error in a hold.
    BadHold(String),
    NoSuchHold,
    NoOpening,
    OpeningErased,
    /// The error of an operation on personal data.
    NotDone(String),
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
            Self::BadKick(problem) => (StatusCode::BAD_REQUEST, "bad_kick", problem),
            Self::BadExpiry(problem) => (StatusCode::BAD_REQUEST, "bad_expiry", problem),
            Self::BadDrain(problem) => (StatusCode::BAD_REQUEST, "bad_drain", problem),
            Self::NotDraining => (
                StatusCode::NOT_FOUND,
                "not_draining",
                "the server does not drain",
            ),
            Self::BadReview(problem) => (StatusCode::BAD_REQUEST, "bad_review", problem),
            Self::BadErasure(problem) => (StatusCode::BAD_REQUEST, "bad_erasure", problem),
            Self::ErasureWaits => (
                StatusCode::CONFLICT,
                "erasure_waits",
                "a request with this number waits for approval",
            ),
            Self::TooManyErasures => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_erasures",
                "too many requests wait for approval: each waits for a day at most",
            ),
            Self::NoSuchErasure => (
                StatusCode::NOT_FOUND,
                "erasure_not_found",
                "no request with this number waits for approval: a request is forgotten after a day; ask again",
            ),
            Self::SameToken => (
                StatusCode::CONFLICT,
                "same_token",
                "this token has agreed already: another one must approve it",
            ),
            Self::BadHold(problem) => (StatusCode::BAD_REQUEST, "bad_hold", problem),
            Self::NoSuchHold => (
                StatusCode::NOT_FOUND,
                "hold_not_found",
                "there is no hold of this name",
            ),
            Self::NoOpening => (
                StatusCode::NOT_FOUND,
                "no_opening",
                "the vault has no opening of this session: there is no such session, or no checkpoint covers it yet",
            ),
            Self::OpeningErased => (
                StatusCode::GONE,
                "opening_erased",
                "the opening of this session was erased, or has expired",
            ),
            Self::NotDone(problem) => (StatusCode::SERVICE_UNAVAILABLE, "not_done", problem),
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

    /// The error of an operation on personal data. The log has it, too; it names nobody.
    pub(super) fn of_operation(error: &(dyn std::error::Error + 'static)) -> Self {
        let problem = livetrail_trail::chain(error);
        tracing::error!("an operation on personal data failed: {problem}");
        Self::NotDone(problem)
    }

    /// The same error in a body instead of a query.
    pub(super) fn into_bad_kick(self) -> Self {
        match self {
            Self::BadQuery(problem) => Self::BadKick(problem),
            other => other,
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
