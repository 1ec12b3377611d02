//! `/api/v1/streams`.

use axum::{Json, extract::State};

use super::{ApiState, Problem, view::StreamView};

/// The live streams, sorted by application and name.
#[utoipa::path(
    get,
    path = "/api/v1/streams",
    operation_id = "list_streams",
    tag = "streams",
    responses(
        (status = 200, description = "The live streams.", body = Vec<StreamView>),
        (status = 401, description = "No token was shown.", body = Problem),
        (status = 403, description = "The token is not known.", body = Problem),
    )
)]
pub(super) async fn list(State(state): State<ApiState>) -> Json<Vec<StreamView>> {
    let streams = state.inner.engine.streams();
    let sessions = state.inner.engine.sessions();
    let views = streams
        .iter()
        .filter_map(|info| StreamView::of(info, &sessions));
    Json(views.collect())
}
