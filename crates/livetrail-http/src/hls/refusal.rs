//! Why a request of HLS is not answered as asked.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse as _,
};
use livetrail_engine::{CodecId, Reason};
use livetrail_hls::BadReload;

use crate::{error::Error, problem::Problem};

/// The sections are those of RFC 8216bis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// As for any viewer.
    #[error(transparent)]
    Error(#[from] Error),
    /// The delivery directives are invalid (section 6.2.5.2).
    #[error(transparent)]
    BadReload(#[from] BadReload),
    /// A segment or part too far in the future (section 6.2.5.2).
    #[error("the segment or part is too far in the future")]
    TooFar,
    /// The token is forged, expired, or of another stream.
    #[error("the token is not valid: {0}")]
    Token(&'static str),
    /// The session was ended for good.
    #[error("the session has ended: {0}")]
    Over(Reason),
    /// There is no such segment, part or playlist.
    #[error("not there")]
    Missing,
    /// The container has no form for the stream's only codec.
    #[error("the stream has {} alone, which HLS does not have in {}", .0.label(), .1)]
    Codec(CodecId, &'static str),
    /// Held for as long as possible, and nothing came (section 6.2.5.2).
    #[error("nothing came in time")]
    InVain(Duration),
    /// A bound of this gateway, by its name.
    #[error("limit reached: {0}")]
    Limit(&'static str),
    /// The range is not one of the content, which has this many bytes.
    #[error("the range is outside of the content")]
    Range(u64),
}

impl From<Refusal> for Response<Body> {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        let (status, label) = match refusal {
            Refusal::Error(error) => return error.into_response(),
            Refusal::BadReload(_) => (StatusCode::BAD_REQUEST, "bad_reload"),
            Refusal::TooFar => (StatusCode::BAD_REQUEST, "too_far"),
            Refusal::Token(_) => (StatusCode::FORBIDDEN, "bad_token"),
            Refusal::Over(ref reason) => (StatusCode::FORBIDDEN, reason.label()),
            Refusal::Missing => (StatusCode::NOT_FOUND, "not_found"),
            Refusal::Codec(..) => (StatusCode::NOT_FOUND, "unsupported_codec"),
            Refusal::InVain(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_yet"),
            Refusal::Limit(_) => (StatusCode::SERVICE_UNAVAILABLE, "limit_reached"),
            Refusal::Range(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "bad_range"),
        };
        let mut response = Problem::new(status, label.to_owned())
            .detail(text)
            .into_response();
        let headers = response.headers_mut();
        match refusal {
            Refusal::Range(bytes) => {
                // Visible ASCII.
                if let Ok(range) = format!("bytes */{bytes}").parse() {
                    headers.insert(header::CONTENT_RANGE, range);
                }
            }
            Refusal::InVain(after) => {
                let seconds = after.as_secs().max(1);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Refusal::Limit(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(2));
            }
            _ => {}
        }
        response
    }
}
