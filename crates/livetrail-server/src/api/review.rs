//! `/api/v1/trail/reviews`.

use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
};
use livetrail_engine::ClientAddress;
use livetrail_trail::looked::MOST_NOTE_BYTES;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem,
    query::{Asked, Nothing},
    token::{Operator, user_agent},
};
use crate::operator::{Caller, Reviewer, reviewed};

/// A statement that entries were reviewed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Review {
    /// The first entry that was reviewed.
    first_index: u64,
    /// The last entry that was reviewed.
    last_index: u64,
    /// What was found, in 1 to 1,024 bytes.
    #[schema(example = "week 48: nothing unusual")]
    note: String,
}

/// States, on record, that a person reviewed entries of the trail (`admin_reviewed`).
#[utoipa::path(
    post,
    path = "/api/v1/trail/reviews",
    operation_id = "review_trail",
    tag = "trail",
    security((), ("token" = [])),
    request_body = Review,
    responses(
        (status = 204, description = "It is on record."),
        (status = 400, description = "Not such a statement, entries that are not published, or a query key.", body = Problem),
        (status = 503, description = "The trail cannot record it now.", body = Problem),
    )
)]
pub(super) async fn review(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Extension(client): Extension<ClientAddress>,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
    body: Result<Json<Review>, JsonRejection>,
) -> Result<StatusCode, ApiError> {
    let Json(review) = body.map_err(|error| ApiError::BadReview(error.body_text()))?;
    let Review {
        first_index: first,
        last_index: last,
        note,
    } = review;
    let published = state.inner.trail.handle.checkpoint().head().size;
    if first > last || last >= published {
        let problem = format!("entries {first} to {last} are not published: there are {published}");
        return Err(ApiError::BadReview(problem));
    }
    if note.is_empty() || note.len() > MOST_NOTE_BYTES {
        let problem = format!(
            "the note has {} bytes; allowed are 1 to {MOST_NOTE_BYTES}",
            note.len()
        );
        return Err(ApiError::BadReview(problem));
    }
    let engine = &state.inner.engine;
    let caller = Caller {
        token: operator.name,
        client: Some(client),
        agent: user_agent(&headers, engine),
    };
    let record = reviewed(
        Reviewer::Api(caller),
        (first, last),
        engine.scrub(&note).into_owned(),
    );
    if let Err(error) = state.inner.pipeline.record(record) {
        tracing::error!(%error, "a review is not on record");
        return Err(ApiError::NotRecorded);
    }
    Ok(StatusCode::NO_CONTENT)
}
