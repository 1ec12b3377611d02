//! `/api/v1/sessions`.

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
};
use livetrail_engine::{ClientAddress, SessionId, log};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem,
    query::Asked,
    query::Nothing,
    selection::{RoleName, Selection, page_size},
    token::{Operator, user_agent},
    view::SessionView,
};
use crate::operator::{Caller, session_kicked};

/// Selects sessions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    role: Option<RoleName>,
    app: Option<String>,
    stream: Option<String>,
    protocol: Option<String>,
    address: Option<String>,
    key: Option<String>,
    cursor: Option<u64>,
    limit: Option<usize>,
}

impl Which {
    fn selection(&self) -> Result<Selection, ApiError> {
        Ok(Selection {
            app: self.app.clone(),
            stream: self.stream.clone(),
            role: self.role.map(Into::into),
            protocol: self.protocol.clone(),
            address: Selection::network(self.address.as_deref())?,
            key: self.key.clone(),
        })
    }
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Sessions {
    sessions: Vec<SessionView>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// The live sessions, oldest first: those with all of the given properties. A viewer sees no names
/// and addresses, and cannot ask for them; a regulator sees one application.
///
/// Without `limit` and `cursor` the answer has all of them. A session that lives while all pages
/// are read is on exactly one of them.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    operation_id = "list_sessions",
    tag = "sessions",
    security((), ("token" = [])),
    params(
        ("role" = inline(Option<RoleName>), Query, description = "Of this role alone."),
        ("app" = Option<String>, Query, description = "Of this application alone."),
        ("stream" = Option<String>, Query, description = "Of this stream alone."),
        ("protocol" = Option<String>, Query, description = "Of this protocol alone, such as `rtmp`."),
        ("address" = Option<String>, Query, description = "From this address or network alone."),
        ("key" = Option<String>, Query, description = "Of this key, or of this subject of a token."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000. The default is all, and with `cursor` 100."),
        ("cursor" = Option<u64>, Query, description = "`next` of the page before."),
    ),
    responses(
        (status = 200, description = "The live sessions.", body = Sessions),
        (status = 400, description = "Not such a selection, or an unknown key.", body = Problem),
        (status = 403, description = "`address` or `key`, of a caller who sees no persons.", body = Problem),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Asked(which): Asked<Which>,
) -> Result<Json<Sessions>, ApiError> {
    let selection = which.selection()?;
    selection.check(&operator)?;
    let most = page_size(which.limit, which.cursor.is_some())?;
    let engine = &state.inner.engine;
    let page = engine.sessions_after(which.cursor, most, |session| {
        operator.sees(&session.key.app) && selection.fits(session)
    });
    let view = |info| SessionView::of(info, operator.sees_persons());
    Ok(Json(Sessions {
        sessions: page.sessions.iter().map(view).collect(),
        next: page.next,
    }))
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
    Extension(client): Extension<ClientAddress>,
    id: Result<Path<String>, PathRejection>,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::NotASessionId)?;
    let id: SessionId = id.parse().map_err(|_| ApiError::NotASessionId)?;
    let engine = &state.inner.engine;
    let ended = engine.kick(id).map_err(|_| ApiError::NoSuchSession)?;
    tracing::info!(session = %id, peer = log::personal(client.peer), via = client.via.map(tracing::field::display), operator = operator.name.as_deref(), "session kicked");
    let caller = Caller {
        token: operator.name,
        client: Some(client),
        agent: user_agent(&headers, engine),
    };
    let record = session_kicked(&ended, caller);
    if let Err(error) = state.inner.pipeline.record(record) {
        tracing::error!(session = %id, %error, "who kicked the session is not on record");
    }
    Ok(StatusCode::NO_CONTENT)
}
