//! `/api/v1/drain`.

use std::time::Duration;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::HeaderMap,
};
use livetrail_engine::ClientAddress;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem,
    query::{Asked, Nothing},
    token::{Operator, user_agent},
};
use crate::{
    operator::{Caller, Deed},
    serve::MOST_DRAIN,
};

/// How to drain. All of it may be left out, and the body as well.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDrain {
    /// How long present sessions may continue, in seconds: up to 604,800, a week. The default is
    /// `drain_timeout` of the configuration.
    #[schema(example = 600)]
    timeout_seconds: Option<u64>,
}

/// Whether the server drains.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DrainState {
    /// Whether new sessions are refused (`server_draining`).
    draining: bool,
    /// When the server stops at the latest: RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Sessions now. The server stops when the last one has ended.
    sessions: u64,
}

impl DrainState {
    fn of(state: &ApiState) -> Self {
        let drain = &state.inner.drain;
        let deadline = drain.deadline();
        Self {
            draining: deadline.is_some(),
            until: deadline.map(|deadline| crate::time::rfc3339(deadline.unix_ms)),
            sessions: drain.sessions(),
        }
    }
}

/// Whether the server drains, and what it waits for.
#[utoipa::path(
    get,
    path = "/api/v1/drain",
    operation_id = "get_drain",
    tag = "server",
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The state.", body = DrainState),
        (status = 400, description = "A query key.", body = Problem),
    )
)]
pub(super) async fn get(
    State(state): State<ApiState>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Json<DrainState> {
    Json(DrainState::of(&state))
}

/// Starts to drain, on record: new sessions are refused (`server_draining`), and `/readyz` answers
/// 503 at once. Present sessions continue. The server stops when the last one has ended, or at the
/// deadline. Another request sets the deadline again.
#[utoipa::path(
    post,
    path = "/api/v1/drain",
    operation_id = "drain",
    tag = "server",
    security((), ("token" = [])),
    request_body = NewDrain,
    responses(
        (status = 200, description = "The server drains.", body = DrainState),
        (status = 400, description = "Not such a request, or a query key.", body = Problem),
    )
)]
pub(super) async fn start(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Extension(client): Extension<ClientAddress>,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DrainState>, ApiError> {
    let body = body.map_err(|error| ApiError::BadDrain(error.body_text()))?;
    let asked = match body.is_empty() {
        true => NewDrain::default(),
        false => {
            serde_json::from_slice(&body).map_err(|error| ApiError::BadDrain(error.to_string()))?
        }
    };
    let timeout = asked.timeout_seconds.map(Duration::from_secs);
    if timeout.is_some_and(|timeout| timeout > MOST_DRAIN) {
        let problem = format!("timeout_seconds: allowed are 0 to {}", MOST_DRAIN.as_secs());
        return Err(ApiError::BadDrain(problem));
    }
    let deed = deed(&state, operator, client, &headers);
    state.inner.drain.start(timeout, deed);
    Ok(Json(DrainState::of(&state)))
}

/// Gives up the drain, on record: the server takes new sessions again.
#[utoipa::path(
    delete,
    path = "/api/v1/drain",
    operation_id = "cancel_drain",
    tag = "server",
    security((), ("token" = [])),
    responses(
        (status = 200, description = "It takes new sessions again.", body = DrainState),
        (status = 400, description = "A query key.", body = Problem),
        (status = 404, description = "The server does not drain.", body = Problem),
    )
)]
pub(super) async fn cancel(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Extension(client): Extension<ClientAddress>,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
) -> Result<Json<DrainState>, ApiError> {
    let deed = deed(&state, operator, client, &headers);
    if !state.inner.drain.cancel(deed) {
        return Err(ApiError::NotDraining);
    }
    Ok(Json(DrainState::of(&state)))
}

fn deed(state: &ApiState, operator: Operator, client: ClientAddress, headers: &HeaderMap) -> Deed {
    Deed::Api(Caller {
        token: operator.name,
        client: Some(client),
        agent: user_agent(headers, &state.inner.engine),
    })
}
