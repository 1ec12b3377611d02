//! `/health`.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use livetrail_audit::Status;
use livetrail_engine::Clock as _;
use livetrail_replica::{PersonalMode, ReplicaStatus};
use livetrail_tls::CertificateState;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;

/// After a loss of records the health is `degraded` for this long.
const LOSS_SHOWN: Duration = Duration::from_secs(60);

/// Whether the server does what it is there for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`; `degraded` when a person should look although nothing is kept from working: a witness
    /// has not cosigned the trail for a while, a sink of the trail is in trouble, signing waits for
    /// a sink, retention waits, the trail could not be verified, the trail's disk is 90 % full,
    /// an issuer or a service that decides about clients does not answer, personal data has
    /// trouble, an erasure is overdue at a sink, a certificate expires soon or cannot be exchanged,
    /// or records were lost in the last minute; `trail_failing` when the trail cannot record;
    /// `stopping`.
    #[schema(example = "ok")]
    status: &'static str,
    /// The server takes no new sessions, because it is going to stop: see `/api/v1/drain`.
    #[serde(skip_serializing_if = "is_false")]
    draining: bool,
    /// The server's version.
    version: &'static str,
    /// What is wrong with the trail's ledger, if anything: `disk_full`, `log_stopped`,
    /// `log_retrying`, `tile_damaged` or `sealing_late`, or `disk_short` from 90 % on, when records
    /// are already shed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "disk_full")]
    trouble: Option<&'static str>,
    /// Retention removes nothing because the wall clock is far ahead of the trail's time and
    /// nothing agrees with it.
    #[serde(skip_serializing_if = "is_false")]
    retention_waits: bool,
    /// The last verification of the trail by the server itself failed; the log says why.
    #[serde(skip_serializing_if = "is_false")]
    verification_failed: bool,
    /// Witnesses that have not cosigned the trail for longer than `trail.witness_overdue_after`
    /// although they were asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["witness.example.com/w1"]))]
    overdue_witnesses: Vec<String>,
    /// Sinks that have not said what they have seen of the trail since the start: records are kept,
    /// and none is signed until they have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["sink archive"]))]
    signing_waits_for: Vec<String>,
    /// The vault takes no personal data now: no checkpoint covers new entries until it does. The
    /// log says why.
    #[serde(skip_serializing_if = "is_false")]
    vault_failing: bool,
    /// Openings have waited for the vault for more than ten minutes.
    #[serde(skip_serializing_if = "is_false")]
    openings_overdue: bool,
    /// Openings in the write-ahead log could not be read, because keys of the vault were lost.
    #[serde(skip_serializing_if = "is_zero")]
    openings_lost: u64,
    /// Sinks that get names in clear, from which nobody can erase them (`personal = "clear"`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["archive"]))]
    unerasable_sinks: Vec<String>,
    /// Certificates that expire within `tls.expiry_warning`, or have expired, by their first names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["live.example.com"]))]
    certificates_expiring: Vec<String>,
    /// Certificates whose files have changed and are not valid: the one before is still served. The
    /// log says why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["live.example.com"]))]
    certificates_invalid: Vec<String>,
    /// Issuers and services that decide about clients and do not answer. Attempts that need them
    /// are refused (`auth_unavailable`); an issuer's known keys stay in use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["id"]))]
    auth_failing: Vec<String>,
    /// Orders of a certificate (`[tls.acme]`) that have failed since the last one that succeeded.
    /// The log says why.
    #[serde(skip_serializing_if = "is_zero")]
    certificate_orders_failed: u64,
    /// Who follows the trail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sinks: Vec<SinkHealth>,
    /// Streams that are pulled from other nodes and have no origin now. Their viewers wait.
    #[serde(skip_serializing_if = "is_zero")]
    pulls_without_origin: u64,
    /// Records that wait to be written.
    queue_depth: usize,
    /// Records that were lost since the start.
    dropped: u64,
    /// How long ago the last of them was lost, in seconds, if that is less than a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_seconds_ago: Option<u64>,
    /// Since when the trail fails, in milliseconds since 1970 (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since_ms: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// How a sink of the trail is doing. What went wrong is in the log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SinkHealth {
    /// Its name.
    #[schema(example = "archive")]
    name: String,
    /// `starting`, `following`, `retrying`, `blocked` when a person must mend something, `forked`
    /// when it holds another history, `ended`.
    #[schema(example = "following")]
    state: &'static str,
    /// Whether the trail keeps everything that it does not have.
    required: bool,
    /// `once`, or `at_least_once` where the place cannot say what it holds: records may be there
    /// twice after a crash.
    #[schema(example = "once")]
    delivery: &'static str,
    /// Records that it does not have yet.
    lag_records: u64,
    /// How often it was found to have less than it had, since the server's start.
    went_back: u64,
    /// Age of the oldest of them, in seconds.
    lag_seconds: u64,
    /// Records that a web hook gave up since the server's start, because they became too old.
    #[serde(skip_serializing_if = "is_zero")]
    lost_records: u64,
    /// Names of people there: `none`; `opening`, where they can be erased; `clear`, where nobody
    /// can erase them.
    #[schema(example = "none")]
    personal: &'static str,
    /// With `opening`: the erasures that records below this index name are applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    erased_up_to: Option<u64>,
    /// Erasures that it has not applied yet.
    #[serde(skip_serializing_if = "is_zero")]
    erasures_pending: u64,
    /// Age of the oldest of them, in seconds.
    #[serde(skip_serializing_if = "is_zero")]
    erasure_lag_seconds: u64,
    /// Whether that is more than the sink's `erasure_overdue_after`.
    #[serde(skip_serializing_if = "is_false")]
    erasure_overdue: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl From<ReplicaStatus> for SinkHealth {
    fn from(status: ReplicaStatus) -> Self {
        Self {
            name: status.name,
            state: status.state.label(),
            required: status.required,
            delivery: status.delivery.label(),
            lag_records: status.lag_records,
            went_back: status.went_back,
            lag_seconds: status.lag.as_secs(),
            lost_records: status.lost_records,
            personal: status.personal.label(),
            erased_up_to: status.erased_up_to,
            erasures_pending: status.pending_erasures,
            erasure_lag_seconds: status.erasure_lag.as_secs(),
            erasure_overdue: status.erasure_overdue,
        }
    }
}

/// Whether the server works, its trail included. Needs no token.
#[utoipa::path(
    get,
    path = "/health",
    tag = "server",
    responses(
        (status = 200, description = "It works; `degraded` says that a person should look.", body = Health),
        (status = 503, description = "The trail cannot record, or the server is stopping.", body = Health),
    )
)]
pub(super) async fn health(State(state): State<ApiState>) -> (StatusCode, Json<Health>) {
    let pipeline = &state.inner.pipeline;
    let trail: livetrail_trail::Health = state.inner.trail.health();
    let trouble = trail.trouble.label();
    let now_ms = state.inner.engine.clock().unix_ms();
    let lost_ago = pipeline
        .counters()
        .last_loss_ms
        .map(|lost_ms| Duration::from_millis(now_ms.saturating_sub(lost_ms)))
        .filter(|ago| *ago < LOSS_SHOWN);
    let certificates = Certificates::of(&state, now_ms / 1_000);
    let outside = &state.inner.outside;
    let issuers = outside.issuers().into_iter().filter(|one| one.is_failing);
    let services = outside.services().into_iter().filter(|one| one.is_failing);
    let auth_failing: Vec<_> = issuers
        .map(|issuer| issuer.name.to_string())
        .chain(services.map(|service| service.place))
        .collect();
    let acme = state.inner.acme.as_ref();
    let orders_failed = acme.map_or(0, |acme| u64::from(acme.schedule().failures));
    let degraded = lost_ago.is_some()
        || trail.needs_attention()
        || certificates.need_attention()
        || !auth_failing.is_empty()
        || orders_failed > 0;
    let failing = (StatusCode::SERVICE_UNAVAILABLE, "trail_failing");
    let ((code, status), failing_since_ms) = match pipeline.status() {
        Status::Healthy if trouble.is_some() => (failing, None),
        Status::Healthy if degraded => ((StatusCode::OK, "degraded"), None),
        Status::Healthy => ((StatusCode::OK, "ok"), None),
        Status::Failing { since_ms, .. } => (failing, Some(since_ms)),
        _ => ((StatusCode::SERVICE_UNAVAILABLE, "stopping"), None),
    };
    let personal = trail.personal;
    let pulls = state.inner.relays.pulls.counts();
    let clear = trail.sinks.iter();
    let clear = clear.filter(|sink| sink.personal == PersonalMode::Clear);
    let health = Health {
        status,
        draining: state.inner.engine.is_draining(),
        vault_failing: personal.failing.is_some(),
        openings_overdue: personal.overdue,
        openings_lost: personal.lost,
        unerasable_sinks: clear.map(|sink| sink.name.clone()).collect(),
        retention_waits: trail.retention_waits,
        verification_failed: trail.verification_failed,
        trouble: trouble.or(trail.disk_is_short.then_some("disk_short")),
        certificates_expiring: certificates.expiring,
        certificates_invalid: certificates.invalid,
        certificate_orders_failed: orders_failed,
        overdue_witnesses: trail.overdue_witnesses,
        signing_waits_for: trail.signing_waits_for,
        auth_failing,
        sinks: trail.sinks.into_iter().map(SinkHealth::from).collect(),
        version: env!("CARGO_PKG_VERSION"),
        pulls_without_origin: pulls.open.saturating_sub(pulls.carrying),
        queue_depth: pipeline.queue_depth(),
        dropped: pipeline.dropped(),
        dropped_seconds_ago: lost_ago.map(|ago| ago.as_secs()),
        failing_since_ms,
    };
    (code, Json(health))
}

/// Whether the server lives, or is ready.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Of `/livez`: `live`. Of `/readyz`: `ready`, `draining`, `stopping`, or `trail_failing` if
    /// new sessions are refused because the trail cannot record them.
    #[schema(example = "ready")]
    status: &'static str,
}

/// Whether the process answers. Nothing else is checked: restart it if it does not answer. Needs no
/// token.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "server",
    responses((status = 200, description = "It answers.", body = Readiness))
)]
pub(super) async fn live() -> Json<Readiness> {
    Json(Readiness { status: "live" })
}

/// Whether the server takes new sessions: send it none while it does not. Present sessions are not
/// affected. Needs no token.
///
/// A trail that fails makes a server unready only if sessions wait for their first record
/// (`audit.publish` or `audit.play` is `strict`, of any application).
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "server",
    responses(
        (status = 200, description = "It takes new sessions.", body = Readiness),
        (status = 503, description = "It does not: it drains, it stops, or its trail cannot record them.", body = Readiness),
    )
)]
pub(super) async fn ready(State(state): State<ApiState>) -> (StatusCode, Json<Readiness>) {
    let inner = &state.inner;
    let has_trouble = || inner.trail.health().trouble.label().is_some();
    let status = match inner.pipeline.status() {
        Status::Healthy | Status::Failing { .. } if inner.engine.is_draining() => "draining",
        Status::Failing { .. } if inner.gate.is_strict() => "trail_failing",
        Status::Healthy if inner.gate.is_strict() && has_trouble() => "trail_failing",
        Status::Healthy | Status::Failing { .. } => "ready",
        _ => "stopping",
    };
    let code = match status {
        "ready" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(Readiness { status }))
}

/// Certificates that need a person, by the first name of each.
struct Certificates {
    expiring: Vec<String>,
    invalid: Vec<String>,
}

impl Certificates {
    /// Those at this time, in seconds since 1970.
    fn of(state: &ApiState, now: u64) -> Self {
        let states = state.inner.certificates.states();
        let warning = state.inner.expiry_warning.as_secs();
        let name = |certificate: &CertificateState| {
            let first = certificate.names.first();
            first.map_or_else(|| "a certificate without a name".to_owned(), Clone::clone)
        };
        let is_expiring =
            |certificate: &&CertificateState| certificate.expires_at.saturating_sub(warning) <= now;
        let invalid = states.iter().filter(|one| one.invalid.is_some());
        Self {
            expiring: states.iter().filter(is_expiring).map(name).collect(),
            invalid: invalid.map(name).collect(),
        }
    }

    fn need_attention(&self) -> bool {
        !self.expiring.is_empty() || !self.invalid.is_empty()
    }
}
