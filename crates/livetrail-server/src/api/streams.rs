//! `/api/v1/streams`.

use axum::{Extension, Json, extract::State};

use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiState, Problem, query::Asked, query::Nothing, token::Operator, view::StreamView};

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Streams {
    streams: Vec<StreamView>,
}

/// The live streams, sorted by application and name. A viewer sees no names and addresses; a
/// regulator sees one application.
#[utoipa::path(
    get,
    path = "/api/v1/streams",
    operation_id = "list_streams",
    tag = "streams",
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The live streams.", body = Streams),
        (status = 400, description = "A query key.", body = Problem),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Json<Streams> {
    let streams = state.inner.engine.streams();
    let sessions = state.inner.engine.sessions();
    let views = streams
        .iter()
        .filter(|info| operator.sees(&info.publisher.key.app))
        .filter_map(|info| StreamView::of(info, &sessions, operator.sees_persons()));
    Json(Streams {
        streams: views.collect(),
    })
}
