//! `/api/v1/kicks`: ends many sessions at once.

use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    http::HeaderMap,
};
use livetrail_engine::{ClientAddress, log};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem,
    query::{Asked, Nothing},
    selection::{RoleName, Selection},
    token::{Operator, user_agent},
};
use crate::operator::{Caller, sessions_kicked};

/// The sessions that one request ends if it does not say how many.
const SESSIONS: usize = 1_000;

/// The most sessions that one request ends.
const MOST_SESSIONS: usize = 10_000;

/// The sessions to end: those with all of these properties. At least one of `app`, `stream`,
/// `address` and `key` is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKick {
    /// Of this application.
    #[schema(example = "live")]
    app: Option<String>,
    /// Of this stream.
    stream: Option<String>,
    /// Of this role.
    #[schema(inline)]
    role: Option<RoleName>,
    /// Of this protocol, such as `rtmp`.
    protocol: Option<String>,
    /// From this address, or from this network.
    #[schema(example = "203.0.113.0/24")]
    address: Option<String>,
    /// Of this key, or of this subject of a token.
    key: Option<String>,
    /// End at most this many, the oldest first: 1 to 10,000. The default is 1,000.
    limit: Option<usize>,
}

/// What a kick has done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Kicked {
    /// The sessions that it has ended.
    ended: u64,
    /// Whether there are more such sessions: the same request again ends the next ones.
    more: bool,
}

/// Ends all sessions with the given properties (`kicked`), at most as many as the request says. Who
/// did it, and to which sessions, is on record (`admin_sessions_kicked`). Clients may come back: to
/// keep them out, remove their key or deny their address.
#[utoipa::path(
    post,
    path = "/api/v1/kicks",
    operation_id = "kick_sessions",
    tag = "sessions",
    security((), ("token" = [])),
    request_body = NewKick,
    responses(
        (status = 200, description = "They have ended.", body = Kicked),
        (status = 400, description = "Not such a selection, or a query key.", body = Problem),
    )
)]
pub(super) async fn kick(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Extension(client): Extension<ClientAddress>,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
    body: Result<Json<NewKick>, JsonRejection>,
) -> Result<Json<Kicked>, ApiError> {
    let Json(asked) = body.map_err(|error| ApiError::BadKick(error.body_text()))?;
    let limit = asked.limit.unwrap_or(SESSIONS);
    if !(1..=MOST_SESSIONS).contains(&limit) {
        let problem = format!("limit: {limit} is not allowed; allowed are 1 to {MOST_SESSIONS}");
        return Err(ApiError::BadKick(problem));
    }
    let address = Selection::network(asked.address.as_deref());
    let selection = Selection {
        address: address.map_err(ApiError::into_bad_kick)?,
        app: asked.app,
        stream: asked.stream,
        role: asked.role.map(Into::into),
        protocol: asked.protocol,
        key: asked.key,
    };
    if !selection.is_specific() {
        let problem = "one of `app`, `stream`, `address` and `key` is required";
        return Err(ApiError::BadKick(problem.to_owned()));
    }
    let engine = &state.inner.engine;
    let ended = engine.kick_all(|session| selection.fits(session), limit);
    let more = engine.sessions_after(None, 1, |session| selection.fits(session));
    tracing::info!(
        sessions = ended.len(),
        peer = log::personal(client.peer),
        via = client.via.map(tracing::field::display),
        operator = operator.name.as_deref(),
        "sessions kicked"
    );
    let caller = Caller {
        token: operator.name,
        client: Some(client),
        agent: user_agent(&headers, engine),
    };
    for record in sessions_kicked(&ended, &selection.to_string(), &caller) {
        if let Err(error) = state.inner.pipeline.record(record) {
            tracing::error!(%error, "who kicked sessions is not on record");
        }
    }
    Ok(Json(Kicked {
        ended: u64::try_from(ended.len()).unwrap_or(u64::MAX),
        more: !more.sessions.is_empty(),
    }))
}
