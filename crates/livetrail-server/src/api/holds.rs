//! `/api/v1/holds`: legal holds on openings, and on the entries from the first of them on.

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::JsonRejection},
};
use livetrail_ledger::Cursor;
use livetrail_trail::personal::{HoldOn, HoldReport, hold, lift};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem,
    erasures::{ErasureAnswer, sessions_of},
    query::{Asked, Nothing},
    token::Operator,
    trail::blocking,
};

/// A legal hold. It names exactly one of `stream`, `sessions`, `principal` and `from_ms` with
/// `until_ms`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewHold {
    /// The hold's name: 1 to 64 letters, digits, `-` and `_`. It goes on record, so it must not
    /// name a person.
    #[schema(example = "case-2026-17")]
    hold: String,
    /// Sessions of this stream, now and later.
    stream: Option<String>,
    /// With `stream`: its application.
    application: Option<String>,
    /// These sessions, at most 10,000.
    sessions: Option<Vec<String>>,
    /// Sessions of this principal, now and later.
    principal: Option<String>,
    /// Sessions that begin at this time or later, in milliseconds since 1970 (UTC).
    from_ms: Option<u64>,
    /// With `from_ms`: and before this time.
    until_ms: Option<u64>,
}

impl NewHold {
    fn on(self) -> Result<(String, HoldOn), ApiError> {
        let on = match (
            self.application.zip(self.stream),
            self.sessions,
            self.principal,
            self.from_ms.zip(self.until_ms),
        ) {
            (Some((app, name)), None, None, None) => HoldOn::Stream { app, name },
            (None, Some(sessions), None, None) => HoldOn::Sessions(sessions_of(&sessions)?),
            (None, None, Some(principal), None) => HoldOn::Principal(principal),
            (None, None, None, Some((from_ms, until_ms))) => HoldOn::Times { from_ms, until_ms },
            _ => {
                let problem = "allowed is exactly one of `application` with `stream`, `sessions`, \
                               `principal`, and `from_ms` with `until_ms`";
                return Err(ApiError::BadHold(problem.to_owned()));
            }
        };
        Ok((self.hold, on))
    }
}

/// A hold that was set.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HoldAnswer {
    hold: String,
    /// The first entry that it keeps, together with all later ones.
    from_index: u64,
    /// The sessions that it covers now.
    sessions: u64,
}

impl From<HoldReport> for HoldAnswer {
    fn from(report: HoldReport) -> Self {
        Self {
            hold: report.hold,
            from_index: report.from,
            sessions: report.sessions,
        }
    }
}

/// The holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Holds {
    holds: Vec<HoldView>,
}

/// A hold.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HoldView {
    hold: String,
    /// The first entry that it keeps, together with all later ones.
    from_index: u64,
    /// Whether it also keeps openings. If not, `livetrail trail hold --from` has set it.
    openings: bool,
}

/// What lifting a hold has done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Lifted {
    /// The requests to erase that waited for it.
    erasures: Vec<ErasureAnswer>,
}

/// The legal holds that are in force. The trail says on record what each covers.
#[utoipa::path(
    get,
    path = "/api/v1/holds",
    operation_id = "list_holds",
    tag = "personal",
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The holds.", body = Holds),
        (status = 400, description = "A query key.", body = Problem),
        (status = 500, description = "The trail cannot be read; the server's log says why.", body = Problem),
        (status = 503, description = "The trail or the vault cannot be read now.", body = Problem),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Json<Holds>, ApiError> {
    let personal = state.inner.trail.personal().clone();
    let (cursors, of_openings) = blocking(&state, move |reader| {
        let names = personal.with(|vault| {
            let names = vault.holds().into_iter();
            Ok(names.map(str::to_owned).collect::<Vec<_>>())
        });
        Ok((reader.cursors()?, names))
    })
    .await?;
    let of_openings = of_openings.map_err(|error| ApiError::of_operation(&error))?;
    let holds = cursors.into_iter().filter_map(|(name, cursor)| {
        let Cursor::Hold(from_index) = cursor else {
            return None;
        };
        Some(HoldView {
            openings: of_openings.contains(&name),
            hold: name,
            from_index,
        })
    });
    Ok(Json(Holds {
        holds: holds.collect(),
    }))
}

/// Sets a legal hold, on record. What it covers is neither erased nor pruned until it is lifted.
#[utoipa::path(
    post,
    path = "/api/v1/holds",
    operation_id = "hold",
    tag = "personal",
    security((), ("token" = [])),
    request_body = NewHold,
    responses(
        (status = 200, description = "It is in force and on record.", body = HoldAnswer),
        (status = 400, description = "Not such a hold, or a query key.", body = Problem),
        (status = 503, description = "It cannot be set now: the detail says why.", body = Problem),
    )
)]
pub(super) async fn set(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Asked(Nothing {}): Asked<Nothing>,
    body: Result<Json<NewHold>, JsonRejection>,
) -> Result<Json<HoldAnswer>, ApiError> {
    let Json(asked) = body.map_err(|error| ApiError::BadHold(error.body_text()))?;
    let (name, on) = asked.on()?;
    let by = operator.name.unwrap_or_default();
    let (pipeline, trail) = (state.inner.pipeline.clone(), state.inner.trail.clone());
    // It goes on when the caller does not wait for it.
    let running = tokio::spawn(async move { hold(&pipeline, &trail, &name, &on, &by).await });
    match running.await {
        Ok(Ok(report)) => Ok(Json(report.into())),
        Ok(Err(error)) => Err(ApiError::of_operation(&error)),
        Err(_) => Err(ApiError::NotDone("it was not set".to_owned())),
    }
}

/// Lifts a legal hold, on record, and runs the erasures that wait for it.
#[utoipa::path(
    delete,
    path = "/api/v1/holds/{hold}",
    operation_id = "lift_hold",
    tag = "personal",
    security((), ("token" = [])),
    params(("hold" = String, Path, description = "The hold's name.")),
    responses(
        (status = 200, description = "It is lifted.", body = Lifted),
        (status = 400, description = "A query key.", body = Problem),
        (status = 404, description = "There is no such hold.", body = Problem),
        (status = 503, description = "It cannot be lifted now: the detail says why.", body = Problem),
    )
)]
pub(super) async fn release(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Path(name): Path<String>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Json<Lifted>, ApiError> {
    let wanted = name.clone();
    let cursors = blocking(&state, |reader| Ok(reader.cursors()?)).await?;
    let is_it =
        |(known, cursor): &(String, Cursor)| *known == wanted && matches!(cursor, Cursor::Hold(_));
    if !cursors.iter().any(is_it) {
        return Err(ApiError::NoSuchHold);
    }
    let by = operator.name.unwrap_or_default();
    let (pipeline, trail) = (state.inner.pipeline.clone(), state.inner.trail.clone());
    let running = tokio::spawn(async move { lift(&pipeline, &trail, &name, &by).await });
    match running.await {
        Ok(Ok(reports)) => Ok(Json(Lifted {
            erasures: reports.into_iter().map(ErasureAnswer::from).collect(),
        })),
        Ok(Err(error)) => Err(ApiError::of_operation(&error)),
        Err(_) => Err(ApiError::NotDone("it was not lifted".to_owned())),
    }
}
