//! `/api/v1/sessions/{id}/expiry`: renews what a session was granted.

use axum::{
    Extension, Json,
    extract::{
        Path, State,
        rejection::{JsonRejection, PathRejection},
    },
    http::HeaderMap,
};
use livetrail_engine::{ClientAddress, Clock as _, SessionId, log};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem,
    query::{Asked, Nothing},
    token::{Operator, user_agent},
};
use crate::operator::{Caller, session_renewed};

/// The longest time to an expiry, in seconds: ten years.
const MOST_SECONDS: u64 = 10 * 366 * 86_400;

/// When a session's grant expires: one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewExpiry {
    /// In this many seconds: up to ten years.
    #[schema(example = 3600)]
    expires_in: Option<u64>,
    /// At this time: seconds since 1970 (UTC), as in the claim `exp` of a token.
    expires_at: Option<u64>,
}

impl NewExpiry {
    /// The time of expiry in milliseconds since 1970 (UTC).
    fn unix_ms(&self, now_s: u64) -> Result<u64, String> {
        let at = match (self.expires_in, self.expires_at) {
            (Some(seconds), None) => now_s.saturating_add(seconds),
            (None, Some(at)) => at,
            _ => return Err("one of `expires_in` and `expires_at` is required".to_owned()),
        };
        if at.saturating_sub(now_s) > MOST_SECONDS {
            return Err(format!("allowed are up to {MOST_SECONDS} seconds from now"));
        }
        Ok(at.saturating_mul(1_000))
    }
}

/// When the session's grant expires now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Expiry {
    /// RFC 3339, UTC. The session ends then (`token_expired`), unless this is set again.
    expires: String,
}

/// Sets when a session ends because its grant expires (`token_expired`), on record
/// (`admin_session_renewed`): later than its token or its service said, or earlier; also for a
/// session that would not end by itself. A service that issues tokens renews a session with this
/// when its client has a new token.
#[utoipa::path(
    put,
    path = "/api/v1/sessions/{id}/expiry",
    operation_id = "renew_session",
    tag = "sessions",
    security((), ("token" = [])),
    params(("id" = String, Path, format = "uuid", description = "The session's id.")),
    request_body = NewExpiry,
    responses(
        (status = 200, description = "It expires then.", body = Expiry),
        (status = 400, description = "Not an id, not such a time, or a query key.", body = Problem),
        (status = 404, description = "There is no such session.", body = Problem),
    )
)]
pub(super) async fn renew(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Extension(client): Extension<ClientAddress>,
    id: Result<Path<String>, PathRejection>,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
    body: Result<Json<NewExpiry>, JsonRejection>,
) -> Result<Json<Expiry>, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::NotASessionId)?;
    let id: SessionId = id.parse().map_err(|_| ApiError::NotASessionId)?;
    let Json(asked) = body.map_err(|error| ApiError::BadExpiry(error.body_text()))?;
    let engine = &state.inner.engine;
    let until_ms = asked.unix_ms(engine.clock().unix_ms() / 1_000);
    let until_ms = until_ms.map_err(ApiError::BadExpiry)?;
    let renewed = engine.renew(id, Some(until_ms));
    let renewed = renewed.map_err(|_| ApiError::NoSuchSession)?;
    tracing::info!(session = %id, peer = log::personal(client.peer), via = client.via.map(tracing::field::display), operator = operator.name.as_deref(), "session renewed");
    let caller = Caller {
        token: operator.name,
        client: Some(client),
        agent: user_agent(&headers, engine),
    };
    let record = session_renewed(&renewed, until_ms, caller);
    if let Err(error) = state.inner.pipeline.record(record) {
        tracing::error!(session = %id, %error, "who renewed the session is not on record");
    }
    Ok(Json(Expiry {
        expires: crate::time::rfc3339(until_ms),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_span_or_a_time_within_ten_years() {
        let read = |text: &str| {
            let asked: NewExpiry = serde_json::from_str(text).unwrap();
            asked.unix_ms(1_000_000)
        };
        assert_eq!(read("{\"expires_in\":60}"), Ok(1_000_060_000));
        assert_eq!(read("{\"expires_at\":1000060}"), Ok(1_000_060_000));
        // What is over ends at once.
        assert_eq!(read("{\"expires_at\":7}"), Ok(7_000));
        for wrong in [
            "{}",
            "{\"expires_in\":60,\"expires_at\":1000060}",
            "{\"expires_in\":316224001}",
            "{\"expires_at\":18446744073709551615}",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
