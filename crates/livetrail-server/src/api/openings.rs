//! `/api/v1/sessions/{id}/opening`: personal data of a session, disclosed for a purpose and on
//! record.

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
};
use livetrail_audit::Status;
use livetrail_engine::SessionId;
use livetrail_record::Opening;
use livetrail_trail::looked::{Act, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{ApiError, ApiState, Problem, query::Asked, token::Operator};
use crate::operator::HTTP_API;

/// A purpose has at most this many bytes.
const MOST_PURPOSE_BYTES: usize = 256;

/// What to disclose, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    purpose: Option<String>,
    field: Option<String>,
}

/// What was disclosed. Anyone can check it with `livetrail-verify --opening`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Disclosed {
    /// The session.
    #[schema(format = "uuid")]
    session: String,
    /// The opening, with all fields and the salt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    opening: Option<Value>,
    /// The one field that was asked for, with its proof and without the values of the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    disclosure: Option<Value>,
}

/// The personal data of a session that is on record, or of an attempt that was refused. That it was
/// disclosed goes on record first (`admin_disclosed`), with the purpose.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}/opening",
    operation_id = "disclose",
    tag = "personal",
    security((), ("token" = [])),
    params(
        ("id" = String, Path, format = "uuid", description = "The session's id."),
        ("purpose" = String, Query, description = "Why: 1 to 256 bytes. It goes on record, so it must not name a person."),
        ("field" = Option<String>, Query, description = "Only this field, such as `principal`, with its proof."),
    ),
    responses(
        (status = 200, description = "The opening, or one field of it.", body = Disclosed),
        (status = 400, description = "Not an id, no purpose, no such field, or an unknown key.", body = Problem),
        (status = 404, description = "The vault has no opening of it: no such session, or its first record is not sealed yet.", body = Problem),
        (status = 410, description = "Its opening was erased, or has expired.", body = Problem),
        (status = 503, description = "The trail or the vault cannot do it now.", body = Problem),
    )
)]
pub(super) async fn disclose(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    id: Result<Path<String>, PathRejection>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Disclosed>, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::NotASessionId)?;
    let id: SessionId = id.parse().map_err(|_| ApiError::NotASessionId)?;
    let purpose = purpose_of(wanted.purpose.as_deref())?;
    let personal = state.inner.trail.personal().clone();
    let session = id.as_uuid().into_bytes();
    let read = tokio::task::spawn_blocking(move || {
        personal.with(|vault| Ok((vault.get(&session)?, vault.is_erased(&session)?)))
    });
    let (found, is_erased) = match read.await {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => return Err(ApiError::of_operation(&error)),
        Err(_) => return Err(ApiError::NotDone("it was not read".to_owned())),
    };
    let opening = found.and_then(|found| Opening::parse(&found.opening).ok());
    let opening = match opening {
        Some(opening) => opening,
        None if is_erased => return Err(ApiError::OpeningErased),
        None => return Err(ApiError::NoOpening),
    };
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_default();
    let shown = match &wanted.field {
        None => Disclosed {
            session: id.to_string(),
            opening: Some(json(&opening.to_json())),
            disclosure: None,
        },
        Some(field) => {
            let disclosure = opening.disclose(field);
            let disclosure = disclosure.ok_or_else(|| {
                ApiError::BadQuery("field: the opening has no such field".to_owned())
            })?;
            Disclosed {
                session: id.to_string(),
                opening: None,
                disclosure: Some(json(&disclosure.to_json())),
            }
        }
    };
    on_record(&state, operator.name, purpose, None, 1)?;
    Ok(Json(shown))
}

/// The purpose of a disclosure, if it is one.
pub(super) fn purpose_of(text: Option<&str>) -> Result<&str, ApiError> {
    let text = text.unwrap_or_default();
    if (1..=MOST_PURPOSE_BYTES).contains(&text.len()) {
        return Ok(text);
    }
    let problem = format!(
        "purpose: it has {} bytes; allowed are 1 to {MOST_PURPOSE_BYTES}: why is it disclosed?",
        text.len()
    );
    Err(ApiError::BadQuery(problem))
}

/// Puts on record that personal fields of sessions are shown now. Many alike become few records.
///
/// # Errors
/// The trail does not take records now. Then they must not be shown.
pub(super) fn on_record(
    state: &ApiState,
    by: Option<String>,
    purpose: &str,
    filter: Option<String>,
    sessions: u64,
) -> Result<(), ApiError> {
    let pipeline = &state.inner.pipeline;
    if !matches!(pipeline.status(), Status::Healthy) {
        return Err(ApiError::NotRecorded);
    }
    let kind = Kind {
        act: Act::Disclosed,
        by,
        protocol: HTTP_API,
        what: state.inner.engine.scrub(purpose).into_owned(),
        filter,
    };
    let looks = state.inner.trail.looks();
    looks.disclosed(kind, sessions, pipeline);
    Ok(())
}
