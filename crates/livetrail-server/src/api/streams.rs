//! `/api/v1/streams`.

use axum::{Json, extract::State};

use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiState, Problem, view::StreamView};

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Streams {
    streams: Vec<StreamView>,
}

/// The live streams, sorted by application and name.
#[utoipa::path(
    get,
    path = "/api/v1/streams",
    operation_id = "list_streams",
    tag = "streams",
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The live streams.", body = Streams),
        (status = 401, description = "No token was shown, or one that is not known.", body = Problem),
        (status = 403, description = "No token is needed, but the request's Host is no local name.", body = Problem),
    )
)]
pub(super) async fn list(State(state): State<ApiState>) -> Json<Streams> {
    let streams = state.inner.engine.streams();
    let sessions = state.inner.engine.sessions();
    let views = streams
        .iter()
        .filter_map(|info| StreamView::of(info, &sessions));
    Json(Streams {
        streams: views.collect(),
    })
}
