//! `/metrics`, for Prometheus and other programs that read its text formats.
//!
//! Nothing is counted twice. The counts of the engine, the pipeline and the gateways are read for
//! each request.

mod followers;
mod hls;
mod outside;
mod personal;
mod relay;
mod tls;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use livetrail_engine::{
    Clock, Gate, Observer, Reason, SessionContext, StreamEvent, StreamEventKind,
};
use livetrail_trail::Trouble;
use livetrail_vault::Status as VaultStatus;
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{ApiState, exposition, process::Process};
use writer::{Kind, Writer};

/// Counts refusals and ends by their reason. The engine does not count these.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes {
    denied: Family<RoleAndReason, Counter>,
    ended: Family<RoleAndReason, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleAndReason {
    role: &'static str,
    reason: &'static str,
}

impl Observer for Outcomes {
    fn on_event(&self, event: &StreamEvent) {
        let (family, reason): (_, &Reason) = match &event.kind {
            StreamEventKind::PublishDenied { reason, .. }
            | StreamEventKind::PlayDenied { reason, .. } => (&self.denied, reason),
            StreamEventKind::PublishEnded { reason, .. }
            | StreamEventKind::PlayEnded { reason, .. } => (&self.ended, reason),
            _ => return,
        };
        // All others are in the table.
        let own = livetrail_relay::REASONS;
        let known = Reason::labels()
            .chain(own)
            .find(|label| *label == reason.label());
        family
            .get_or_create(&RoleAndReason {
                role: event.context.role.label(),
                reason: known.unwrap_or("other"),
            })
            .inc();
    }

    fn wants_frames(&self) -> bool {
        false
    }
}

/// Upper bounds of the time that an admission takes, in seconds.
const ADMISSION_SECONDS: [f64; 11] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRole {
    role: &'static str,
}

/// Counts how long sessions waited for the gates. A strict session waits for its first record.
#[derive(Debug, Clone)]
pub(crate) struct Admissions(Family<OfRole, Histogram, fn() -> Histogram>);

impl Default for Admissions {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| {
            Histogram::new(ADMISSION_SECONDS)
        }))
    }
}

/// A gate whose time is counted.
pub(crate) struct TimedGate<G> {
    gate: G,
    clock: Arc<dyn Clock>,
    admissions: Admissions,
}

impl<G> TimedGate<G> {
    pub(crate) fn new(gate: G, clock: Arc<dyn Clock>, admissions: Admissions) -> Self {
        Self {
            gate,
            clock,
            admissions,
        }
    }
}

#[async_trait]
impl<G: Gate> Gate for TimedGate<G> {
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
        let began = self.clock.monotonic();
        let confirmed = self.gate.confirm(session).await;
        let took = self.clock.monotonic().saturating_sub(began);
        let role = session.role.label();
        let times = self.admissions.0.get_or_create(&OfRole { role });
        times.observe(took.as_secs_f64());
        confirmed
    }

    fn overdue(&self) -> Reason {
        self.gate.overdue()
    }
}

/// Counts the API's answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Requests {
    answers: Family<OfCode, Counter>,
    wrong_tokens: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCode {
    code: u16,
}

impl Requests {
    pub(super) fn answered(&self, status: StatusCode) {
        let code = status.as_u16();
        self.answers.get_or_create(&OfCode { code }).inc();
    }

    pub(super) fn wrong_token(&self) {
        self.wrong_tokens.inc();
    }
}

/// All metrics as text: OpenMetrics where `Accept` asks for it, Prometheus' own format otherwise.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "server",
    security((), ("token" = [])),
    responses(
        (status = 200, description = "All metrics.", content(
            (String = "text/plain"),
            (String = "application/openmetrics-text"),
        )),
    )
)]
pub(super) async fn metrics(
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> ([(HeaderName, &'static str); 1], String) {
    let accept = headers.get_all(header::ACCEPT).into_iter();
    let open = accept
        .filter_map(|value| value.to_str().ok())
        .any(exposition::wants_open_metrics);
    let mut text = String::new();
    let personal = state.inner.trail.personal().clone();
    let vault = tokio::task::spawn_blocking(move || personal.with(|vault| Ok(vault.status())));
    let vault = vault.await.ok().and_then(Result::ok);
    if let Err(error) = write(&mut text, state, vault) {
        tracing::error!(%error, "metrics cannot be written");
    }
    if open {
        ([(header::CONTENT_TYPE, exposition::OPEN_METRICS)], text)
    } else {
        let text = exposition::plain(&text);
        ([(header::CONTENT_TYPE, exposition::PLAIN)], text)
    }
}

fn write(text: &mut String, state: ApiState, vault: Option<VaultStatus>) -> std::fmt::Result {
    let mut registry = Registry::with_prefix("livetrail");
    let counted = &state.inner;
    registry.register(
        "sessions_denied",
        "Attempts refused, by role and reason",
        counted.outcomes.denied.clone(),
    );
    registry.register(
        "sessions_ended",
        "Sessions ended, by role and reason",
        counted.outcomes.ended.clone(),
    );
    registry.register_with_unit(
        "admission_wait",
        "Time that admitted sessions waited for their gates, a strict one for its first record",
        Unit::Seconds,
        counted.admissions.0.clone(),
    );
    registry.register(
        "api_requests",
        "Requests to the API, health, metrics and the trail's site, by status code",
        counted.requests.answers.clone(),
    );
    registry.register(
        "api_wrong_tokens",
        "Requests to the API with a wrong token",
        counted.requests.wrong_tokens.clone(),
    );
    registry.register_collector(Box::new(Now(state, vault)));
    encode_registry(text, &registry)?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ThisProcess(Process::now())));
    encode_registry(text, &registry)?;
    encode_eof(text)
}

/// The system's figures of this process.
#[derive(Debug)]
struct ThisProcess(Process);

impl Collector for ThisProcess {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut w = Writer { encoder };
        let process = &self.0;
        if let Some(seconds) = process.cpu_seconds {
            let help = "Total user and system CPU time spent in seconds";
            w.counter("process_cpu_seconds", help, seconds)?;
        }
        if let Some(seconds) = process.start_time_seconds {
            let help = "Start time of the process since unix epoch in seconds";
            w.gauge("process_start_time_seconds", help, seconds)?;
        }
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Resident memory size in bytes",
                process.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes",
                process.virtual_bytes,
            ),
            (
                "process_threads",
                "Number of threads in the process",
                process.threads,
            ),
            (
                "process_open_fds",
                "Number of open file descriptors",
                process.open_fds,
            ),
            (
                "process_max_fds",
                "Maximum number of open file descriptors",
                process.max_fds,
            ),
        ] {
            if let Some(value) = value {
                w.gauge(name, help, value)?;
            }
        }
        Ok(())
    }
}

/// A figure of one role.
type OfRoleCounts = fn(&livetrail_engine::RoleCounts) -> u64;

/// The counts of the other parts, read at the time of the request.
struct Now(ApiState, Option<VaultStatus>);

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut writer = Writer { encoder };
        let help = "This program; always 1";
        let version = [([env!("CARGO_PKG_VERSION")], 1_u64)];
        writer.family(Kind::Gauge, "build_info", help, ["version"], version)?;
        self.engine(&mut writer)?;
        self.trail(&mut writer)?;
        self.personal(&mut writer)?;
        self.sinks(&mut writer)?;
        self.relays(&mut writer)?;
        self.hls(&mut writer)?;
        self.tls(&mut writer)?;
        self.outside(&mut writer)?;
        self.connections(&mut writer)
    }
}

impl Now {
    fn engine(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let engine = &self.0.inner.engine;
        let totals = engine.totals();
        let roles = [("publish", &totals.publish), ("play", &totals.play)];
        w.family(
            Kind::Gauge,
            "sessions",
            "Live sessions",
            ["role"],
            roles.map(|(role, counts)| ([role], counts.live)),
        )?;
        w.gauge(
            "draining",
            "1 while new sessions are refused because the server is going to stop",
            u64::from(engine.is_draining()),
        )?;
        let counters: [(&str, &str, OfRoleCounts); 4] = [
            ("sessions_started", "Sessions admitted", |c| c.started),
            ("frames", "Frames carried", |c| c.frames),
            ("payload_bytes", "Payload bytes carried", |c| c.bytes),
            (
                "dropped_frames",
                "Frames not carried: over a limit, or skipped for lag",
                |c| c.dropped_frames,
            ),
        ];
        for (name, help, figure) in counters {
            let rows = roles.map(|(role, counts)| ([role], figure(counts)));
            w.family(Kind::Counter, name, help, ["role"], rows)?;
        }
        let worst_lag = engine.sessions().iter().map(|session| session.lag).max();
        w.gauge("streams", "Live streams", engine.streams().len() as u64)?;
        w.gauge(
            "buffered_bytes",
            "Payload bytes that all streams keep for their viewers, of limits.stream_memory",
            totals.buffered_bytes,
        )?;
        w.gauge(
            "viewer_lag_frames_max",
            "Frames between the viewer that is furthest behind and its stream's newest",
            worst_lag.unwrap_or(0),
        )?;
        w.counter(
            "lag_skips",
            "Viewers moved forward because they were behind",
            totals.lag_skips,
        )?;
        w.counter(
            "evictions",
            "Viewers cut off for chronic lag",
            totals.evictions,
        )?;
        w.counter("streams_reaped", "Streams ended for silence", totals.reaped)?;
        w.counter(
            "rate_limited",
            "Rate-limit events of publishers",
            totals.rate_limited,
        )?;
        w.counter(
            "observer_panics",
            "Panics of observers",
            totals.observer_panics,
        )
    }

    fn trail(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let pipeline = &self.0.inner.pipeline;
        w.gauge(
            "trail_healthy",
            "1 while records reach the trail",
            u64::from(pipeline.status().is_healthy()),
        )?;
        w.gauge(
            "trail_queue_depth",
            "Records that wait to be written",
            pipeline.queue_depth() as u64,
        )?;
        w.gauge(
            "trail_queue_capacity",
            "Records that can wait",
            pipeline.queue_capacity() as u64,
        )?;
        w.counter("trail_offered", "Records offered", pipeline.offered())?;
        w.counter("trail_accepted", "Records accepted", pipeline.accepted())?;
        w.counter(
            "trail_dropped",
            "Records lost because there was no room",
            pipeline.dropped(),
        )?;
        w.counter("trail_written", "Records written", pipeline.written())?;
        let counters = pipeline.counters();
        for (name, help, value) in [
            (
                "trail_refused_attempts",
                "Refused attempts that were heard of",
                counters.refused_attempts,
            ),
            (
                "trail_refused_attempts_aggregated",
                "Of these, those that only a record of their kind counts",
                counters.aggregated_attempts,
            ),
            (
                "trail_refused_attempts_suppressed",
                "Of these, those that only a record of all others counts",
                counters.suppressed_attempts,
            ),
            (
                "trail_refused_attempts_lost",
                "Of these, those whose record was lost",
                counters.lost_attempts,
            ),
            (
                "trail_refusal_records",
                "Records of refused attempts that were written",
                counters.refusal_records,
            ),
        ] {
            w.counter(name, help, value)?;
        }
        w.gauge(
            "trail_waiting_ends",
            "Last records of sessions that wait for a slot in the queue",
            counters.waiting_ends as u64,
        )?;
        w.gauge(
            "trail_held_records",
            "Records that wait for room on the disk",
            counters.held_records as u64,
        )?;
        w.counter(
            "trail_durable",
            "Records written and synced",
            pipeline.durable(),
        )?;
        w.counter(
            "trail_sink_errors",
            "Writes and syncs of the trail that failed",
            pipeline.sink_panics().max(pipeline.sync_errors()),
        )?;
        self.ledger(w)
    }

    fn ledger(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let trail = &self.0.inner.trail;
        let status = trail.handle.status();
        let checkpoint = trail.handle.checkpoint();
        let signed_s = checkpoint
            .log_cosignatures()
            .iter()
            .filter_map(|line| line.timestamp_s)
            .max()
            .unwrap_or(0);
        let now_s = self.0.inner.pipeline.clock().unix_s();
        for (name, help, value) in [
            (
                "trail_entries_appended",
                "Entries of the trail, from its beginning",
                status.appended,
            ),
            (
                "trail_entries_durable",
                "Entries of the trail that are on the disk, synced",
                status.durable,
            ),
            (
                "trail_entries_sealed",
                "Entries of the trail that a published checkpoint covers",
                status.sealed.size,
            ),
        ] {
            w.counter(name, help, value)?;
        }
        for (name, help, value) in [
            (
                "trail_checkpoint_age_seconds",
                "Time since the published checkpoint was signed",
                now_s.saturating_sub(signed_s),
            ),
            (
                "trail_ledger_queue_bytes",
                "Bytes that wait to be synced",
                status.queue_bytes as u64,
            ),
            (
                "trail_ledger_backlog_bytes",
                "Bytes that are synced and not in the tree yet",
                status.backlog_bytes as u64,
            ),
            (
                "trail_disk_pressure",
                "0 normal, 1 from 80 % on, 2 from 90 % on, 3 from 95 % on, 4 full: strict sessions are refused",
                status.pressure as u64,
            ),
            (
                "trail_retrying",
                "1 while the log waits for what the system refuses for now, such as open files",
                u64::from(status.retrying.is_some()),
            ),
            (
                "trail_stopped",
                "1 when the log stopped: nothing more is recorded until a restart",
                u64::from(status.stopped.is_some()),
            ),
            (
                "trail_sealing_late",
                "1 when durable entries wait too long for a checkpoint",
                u64::from(trail.trouble() == Trouble::SealingLate),
            ),
            (
                "trail_signing_held",
                "Sinks that have not said what they have seen: records are kept and not signed until they have",
                status.held.len() as u64,
            ),
        ] {
            w.gauge(name, help, value)?;
        }
        if let Ok(space) = trail.handle.space() {
            let used = space.total_bytes.saturating_sub(space.available_bytes);
            let help = "Bytes of the trail's volume that this process cannot write to";
            w.gauge("trail_disk_used_bytes", help, used)?;
            let help = "Bytes of the trail's volume";
            w.gauge("trail_disk_total_bytes", help, space.total_bytes)?;
        }
        let help = "When the server last verified its own trail with success, in seconds since 1970; 0 if not since the start";
        let verified_s = trail.verified_s();
        w.gauge(
            "trail_verify_last_success_timestamp_seconds",
            help,
            verified_s,
        )?;
        if let Some(clock) = livetrail_trail::clock_state() {
            let help = "1 while the kernel says that the wall clock is synchronised";
            w.gauge("clock_synced", help, u64::from(clock.is_synced))?;
            let help = "The most that the wall clock may be wrong, as the kernel says";
            w.gauge("clock_error_seconds", help, clock.error_us as f64 / 1e6)?;
        }
        w.commits(&trail.handle.commit_times())?;
        self.witnesses(w)
    }

    /// Writes the same metrics for each gateway, whatever its protocol is.
    fn connections(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        w.counter(
            "connections_denied",
            "Connections of networks in auth.deny_ips, closed as they came",
            self.0.inner.denied.denied(),
        )?;
        w.family(
            Kind::Counter,
            "frames_not_carried",
            "Frames that a gateway's wire format cannot carry: viewers go without them",
            ["gateway"],
            [
                (["rtmp"], livetrail_rtmp::RtmpWire::uncarried_frames()),
                (["http"], livetrail_http::FlvWire::uncarried_frames()),
            ],
        )?;
        let gateways = self.0.gateway_counts();
        w.family(
            Kind::Gauge,
            "io_uring_threads",
            "Threads that write to many viewers with one system call",
            ["gateway"],
            gateways
                .iter()
                .map(|(name, counts)| ([*name], counts.io_uring_threads as u64)),
        )?;
        w.family(
            Kind::Counter,
            "forwarded_headers_ignored",
            "Requests whose Forwarded or X-Forwarded-For was ignored, because their peer is not a \
             trusted proxy",
            ["gateway"],
            gateways
                .iter()
                .map(|(name, counts)| ([*name], counts.forwarded_ignored)),
        )?;
        for (name, counts) in gateways {
            let protocol = name.to_uppercase();
            w.gauge(
                &format!("{name}_connections"),
                &format!("{protocol} connections"),
                counts.open,
            )?;
            if let Some(reserved) = counts.reserved {
                w.gauge(
                    &format!("{name}_connections_reserved"),
                    &format!(
                        "{protocol} connections in the slots that are kept for everything but streams"
                    ),
                    reserved,
                )?;
            }
            for (what, help, count) in [
                ("accepted", "that were served", counts.accepted),
                ("refused", "turned away over a limit", counts.refused),
                ("cut", "closed before their client had read why", counts.cut),
                (
                    "proxied",
                    "whose client a trusted proxy named in a PROXY header",
                    counts.proxied,
                ),
                (
                    "of_proxies",
                    "of a trusted proxy itself, such as health checks",
                    counts.proxy_own,
                ),
                (
                    "proxy_refused",
                    "closed for a PROXY header that was forged, invalid, late or missing, and \
                     requests of a trusted proxy that do not name their client",
                    counts.proxy_refused,
                ),
            ] {
                w.counter(
                    &format!("{name}_connections_{what}"),
                    &format!("{protocol} connections {help}"),
                    count,
                )?;
            }
        }
        Ok(())
    }
}
