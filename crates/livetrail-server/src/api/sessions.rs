//! `/api/v1/sessions`.

use std::net::SocketAddr;

use axum::{
    Extension, Json,
    extract::{ConnectInfo, Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
};
use livetrail_engine::{Role, SessionId, log};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem,
    query::Asked,
    query::Nothing,
    token::{Operator, user_agent},
    view::SessionView,
};
use crate::operator::{Caller, session_kicked};

/// Selects sessions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only sessions with this role.
    role: Option<RoleName>,
}

/// What a session does.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RoleName {
    Publish,
    Play,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sessions {
    sessions: Vec<SessionView>,
}

/// The live sessions, oldest first. A viewer sees no names and addresses; a regulator sees one
/// application.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    operation_id = "list_sessions",
    tag = "sessions",
    security((), ("token" = [])),
    params(("role" = inline(Option<RoleName>), Query, description = "Of this role alone.")),
    responses(
        (status = 200, description = "The live sessions.", body = Sessions),
        (status = 400, description = "Not a role, or an unknown key.", body = Problem),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Asked(which): Asked<Which>,
) -> Json<Sessions> {
    let role = which.role.map(|role| match role {
        RoleName::Publish => Role::Publish,
        RoleName::Play => Role::Play,
    });
    let sessions = state.inner.engine.sessions();
    let fitting = sessions
        .iter()
        .filter(|info| SessionView::is_of(info, role) && operator.sees(&info.context.key.app));
    let view = |info| SessionView::of(info, operator.sees_persons());
    Json(Sessions {
        sessions: fitting.map(view).collect(),
    })
}

/// Ends a session (`kicked`). Who did it is on record.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/{id}",
    operation_id = "kick_session",
    tag = "sessions",
    security((), ("token" = [])),
    params(("id" = String, Path, format = "uuid", description = "The session's id.")),
    responses(
        (status = 204, description = "It has ended."),
        (status = 400, description = "Not an id, or a query key.", body = Problem),
        (status = 404, description = "No live session has this id.", body = Problem),
    )
)]
pub(super) async fn kick(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    id: Result<Path<String>, PathRejection>,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::NotASessionId)?;
    let id: SessionId = id.parse().map_err(|_| ApiError::NotASessionId)?;
    let engine = &state.inner.engine;
    let ended = engine.kick(id).map_err(|_| ApiError::NoSuchSession)?;
    tracing::info!(session = %id, peer = log::personal(peer), operator = operator.name.as_deref(), "session kicked");
    let caller = Caller {
        token: operator.name,
        peer: Some(peer),
        agent: user_agent(&headers, engine),
    };
    let record = session_kicked(&ended, caller);
    if let Err(error) = state.inner.pipeline.record(record) {
        tracing::error!(session = %id, %error, "who kicked the session is not on record");
    }
    Ok(StatusCode::NO_CONTENT)
}
