//! `/health`.

use axum::{Json, extract::State, http::StatusCode};
use livetrail_audit::Status;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;

/// Whether the server does what it is there for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`; `degraded` when a witness has not cosigned the trail for a while, which keeps nothing from working; `trail_failing` when the
    /// trail cannot record; `stopping`.
    #[schema(example = "ok")]
    status: &'static str,
    /// The server's version.
    version: &'static str,
    /// What is wrong with the trail's ledger, if anything: `disk_full`, `log_stopped` or `sealing_late`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "disk_full")]
    trouble: Option<&'static str>,
    /// Witnesses that have not cosigned the trail for longer than a minute although they were asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["witness.example.com/w1"]))]
    overdue_witnesses: Vec<String>,
    /// Records that wait to be written.
    queue_depth: usize,
    /// Records that were lost since the start because the queue was full.
    dropped: u64,
    /// Since when the trail fails, in milliseconds since 1970 (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since_ms: Option<u64>,
}

/// Whether the server works, its trail included. Needs no token.
#[utoipa::path(
    get,
    path = "/health",
    tag = "server",
    responses(
        (status = 200, description = "It works, if perhaps without a witness.", body = Health),
        (status = 503, description = "The trail cannot record, or the server is stopping.", body = Health),
    )
)]
pub(super) async fn health(State(state): State<ApiState>) -> (StatusCode, Json<Health>) {
    let pipeline = &state.inner.pipeline;
    let trouble = state.inner.trail.watch.trouble().label();
    let overdue_witnesses = overdue_witnesses(&state);
    let failing = (StatusCode::SERVICE_UNAVAILABLE, "trail_failing");
    let ((code, status), failing_since_ms) = match pipeline.status() {
        Status::Healthy if trouble.is_some() => (failing, None),
        Status::Healthy if !overdue_witnesses.is_empty() => ((StatusCode::OK, "degraded"), None),
        Status::Healthy => ((StatusCode::OK, "ok"), None),
        Status::Failing { since_ms, .. } => (failing, Some(since_ms)),
        _ => ((StatusCode::SERVICE_UNAVAILABLE, "stopping"), None),
    };
    let health = Health {
        status,
        trouble,
        overdue_witnesses,
        version: env!("CARGO_PKG_VERSION"),
        queue_depth: pipeline.queue_depth(),
        dropped: pipeline.dropped(),
        failing_since_ms,
    };
    (code, Json(health))
}

fn overdue_witnesses(state: &ApiState) -> Vec<String> {
    let witnesses = state.inner.trail.witnesses.as_ref();
    let status = witnesses.map_or_else(Vec::new, |witnesses| witnesses.status());
    let overdue = status.into_iter().filter(|one| one.overdue);
    overdue.map(|one| one.name).collect()
}
