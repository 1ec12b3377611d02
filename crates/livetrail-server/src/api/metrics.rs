//! `/metrics`, in the OpenMetrics text format that Prometheus reads.
//!
//! Nothing is counted twice: what the engine, the pipeline and the gateways count already is read when somebody asks.

use axum::{
    extract::State,
    http::{HeaderName, header},
};
use livetrail_audit::replica::{ReplicaState, ReplicaStatus};
use livetrail_engine::{
    Clock, Observer, Reason, RoleCounts, StreamEvent, StreamEventKind, SystemClock,
};
use livetrail_ledger::WitnessStatus;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, text::encode},
    metrics::{counter::ConstCounter, counter::Counter, family::Family, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::{ApiState, Problem};
use crate::serve::Trouble;

/// Counts refusals and ends by their reason, which the engine does not.
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
        let (family, reason): (_, Reason) = match event.kind {
            StreamEventKind::PublishDenied { reason, .. }
            | StreamEventKind::PlayDenied { reason, .. } => (&self.denied, reason),
            StreamEventKind::PublishEnded { reason, .. }
            | StreamEventKind::PlayEnded { reason, .. } => (&self.ended, reason),
            _ => return,
        };
        family
            .get_or_create(&RoleAndReason {
                role: event.context.role.label(),
                reason: reason.label(),
            })
            .inc();
    }

    fn wants_frames(&self) -> bool {
        false
    }
}

/// All metrics as text.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "server",
    security((), ("token" = [])),
    responses(
        (status = 200, description = "All metrics.", body = String, content_type = "application/openmetrics-text"),
        (status = 401, description = "No token was shown, or one that is not known.", body = Problem),
        (status = 403, description = "No token is needed, but the request's Host is no local name.", body = Problem),
    )
)]
pub(super) async fn metrics(
    State(state): State<ApiState>,
) -> ([(HeaderName, &'static str); 1], String) {
    let mut registry = Registry::with_prefix("livetrail");
    registry.register(
        "sessions_denied",
        "Attempts refused, by role and reason",
        state.inner.outcomes.denied.clone(),
    );
    registry.register(
        "sessions_ended",
        "Sessions ended, by role and reason",
        state.inner.outcomes.ended.clone(),
    );
    registry.register_collector(Box::new(Now(state)));
    let mut text = String::new();
    if let Err(error) = encode(&mut text, &registry) {
        tracing::error!(%error, "metrics cannot be written");
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text)
}

/// What others count, as of the moment that it is asked for.
struct Now(ApiState);

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut writer = Writer { encoder };
        self.engine(&mut writer)?;
        self.trail(&mut writer)?;
        self.sinks(&mut writer)?;
        self.connections(&mut writer)
    }
}

impl Now {
    fn engine(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let engine = &self.0.inner.engine;
        let totals = engine.totals();
        let roles = [("publish", totals.publish), ("play", totals.play)];
        w.gauges("sessions", "Live sessions", &roles, |c| c.live)?;
        w.counters("sessions_started", "Sessions admitted", &roles, |c| {
            c.started
        })?;
        w.counters("frames", "Frames carried", &roles, |c| c.frames)?;
        w.counters("payload_bytes", "Payload bytes carried", &roles, |c| {
            c.bytes
        })?;
        w.counters(
            "dropped_frames",
            "Frames not carried: over a limit, or skipped for lag",
            &roles,
            |c| c.dropped_frames,
        )?;
        let worst_lag = engine.sessions().iter().map(|session| session.lag).max();
        w.gauge("streams", "Live streams", engine.streams().len() as u64)?;
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
        let now_s = SystemClock::new().unix_ms() / 1_000;
        let gauges = [
            (
                "trail_entries_appended",
                "Entries that the ledger has taken",
                status.appended,
            ),
            (
                "trail_entries_durable",
                "Entries that are on the disk, synced",
                status.durable,
            ),
            (
                "trail_entries_sealed",
                "Entries that a published checkpoint covers",
                status.sealed.size,
            ),
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
                "trail_stopped",
                "1 when the log stopped: nothing more is recorded until a restart",
                u64::from(status.stopped.is_some()),
            ),
            (
                "trail_sealing_late",
                "1 when durable entries wait too long for a checkpoint",
                u64::from(trail.watch.trouble() == Trouble::SealingLate),
            ),
        ];
        for (name, help, value) in gauges {
            w.gauge(name, help, value)?;
        }
        self.witnesses(w)
    }

    fn witnesses(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let Some(witnesses) = &self.0.inner.trail.witnesses else {
            return Ok(());
        };
        let status = witnesses.status();
        w.of_witnesses(
            "trail_witness_cosigned_entries",
            "Size of the checkpoint that a witness has cosigned last, since the start",
            &status,
            |one| one.cosigned_size.unwrap_or(0),
        )?;
        w.of_witnesses(
            "trail_witness_failing_seconds",
            "How long a witness has not cosigned although it was asked",
            &status,
            |one| one.failing_for.map_or(0, |time| time.as_secs()),
        )?;
        w.of_witnesses(
            "trail_witness_overdue",
            "1 when that is longer than trail.witness_overdue_after",
            &status,
            |one| u64::from(one.overdue),
        )?;
        w.answers_of_witnesses(&status)
    }

    fn sinks(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let sinks = self.0.inner.trail.sinks.statuses();
        if sinks.is_empty() {
            return Ok(());
        }
        let gauges: [(&str, &str, OfSink); 6] = [
            (
                "sink_lag_records",
                "Sealed records that the sink does not have",
                |sink| sink.lag_records,
            ),
            (
                "sink_lag_seconds",
                "Age of the oldest record that the sink does not have",
                |sink| sink.lag.as_secs(),
            ),
            (
                "sink_failing_seconds",
                "How long the sink has failed without a success in between",
                |sink| sink.failing.as_secs(),
            ),
            (
                "sink_blocked",
                "1 while a person must mend something at the sink",
                |sink| u64::from(sink.state == ReplicaState::Blocked),
            ),
            (
                "sink_forked",
                "1 when the sink holds another history than the trail",
                |sink| u64::from(sink.state == ReplicaState::Forked),
            ),
            (
                "sink_left_behind",
                "1 while the trail does not wait for the sink any longer",
                |sink| u64::from(sink.left_behind),
            ),
        ];
        for (name, help, of) in gauges {
            w.of_sinks(name, help, &ConstGauge::new(0i64), &sinks, |sink| {
                ConstGauge::new(i64::try_from(of(sink)).unwrap_or(i64::MAX))
            })?;
        }
        let counters: [(&str, &str, OfSink); 4] = [
            (
                "sink_records",
                "Records that the sink has committed since the start",
                |sink| sink.records,
            ),
            ("sink_bytes", "Bytes of those records", |sink| sink.bytes),
            (
                "sink_errors",
                "Attempts that failed since the start",
                |sink| sink.errors,
            ),
            (
                "sink_skipped_records",
                "Records that were pruned before the sink had them",
                |sink| sink.skipped_records,
            ),
        ];
        for (name, help, of) in counters {
            w.of_sinks(name, help, &ConstCounter::new(0u64), &sinks, |sink| {
                ConstCounter::new(of(sink))
            })?;
        }
        Ok(())
    }

    fn connections(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let http = self.0.http_stats();
        let (open, refused, cut) = http.iter().fold((0, 0, 0), |(open, refused, cut), stats| {
            (
                open + stats.connections,
                refused + stats.refused,
                cut + stats.cut,
            )
        });
        w.gauge("http_connections", "HTTP connections", open)?;
        w.counter(
            "http_connections_refused",
            "HTTP connections over the limit",
            refused,
        )?;
        w.counter(
            "http_connections_cut",
            "HTTP connections of viewers that would not read",
            cut,
        )?;
        let Some(rtmp) = self.0.inner.rtmp.get() else {
            return Ok(());
        };
        w.gauge(
            "rtmp_connections",
            "RTMP connections",
            rtmp.open_connections() as u64,
        )?;
        w.counter(
            "rtmp_connections_refused",
            "RTMP connections over the limit",
            rtmp.turned_away(),
        )
    }
}

/// A figure of one sink.
type OfSink = fn(&ReplicaStatus) -> u64;

/// Writes single metrics.
struct Writer<'a> {
    encoder: DescriptorEncoder<'a>,
}

type Roles = [(&'static str, RoleCounts); 2];

impl Writer<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let encoder = self.describe(name, help, &gauge)?;
        gauge.encode(encoder)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        let counter = ConstCounter::new(value);
        let encoder = self.describe(name, help, &counter)?;
        counter.encode(encoder)
    }

    fn of_witnesses(
        &mut self,
        name: &str,
        help: &str,
        status: &[WitnessStatus],
        of: impl Fn(&WitnessStatus) -> u64,
    ) -> std::fmt::Result {
        let mut family = self.describe(name, help, &ConstGauge::new(0i64))?;
        for one in status {
            let gauge = ConstGauge::new(i64::try_from(of(one)).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("witness", one.name.as_str())])?)?;
        }
        Ok(())
    }

    fn answers_of_witnesses(&mut self, status: &[WitnessStatus]) -> std::fmt::Result {
        let help = "Requests to a witness, by what came of them";
        let none = ConstCounter::new(0u64);
        let mut family = self.describe("trail_witness_requests", help, &none)?;
        for one in status {
            for (outcome, count) in [
                ("cosigned", one.cosignatures),
                ("conflict", one.conflicts),
                ("failed", one.failures),
            ] {
                let labels = [("witness", one.name.as_str()), ("outcome", outcome)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        roles: &Roles,
        of: impl Fn(&RoleCounts) -> u64,
    ) -> std::fmt::Result {
        let mut family = self.describe(name, help, &ConstGauge::new(0i64))?;
        for (role, counts) in roles {
            let gauge = ConstGauge::new(i64::try_from(of(counts)).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("role", *role)])?)?;
        }
        Ok(())
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        roles: &Roles,
        of: impl Fn(&RoleCounts) -> u64,
    ) -> std::fmt::Result {
        let mut family = self.describe(name, help, &ConstCounter::new(0u64))?;
        for (role, counts) in roles {
            let counter = ConstCounter::new(of(counts));
            counter.encode(family.encode_family(&[("role", *role)])?)?;
        }
        Ok(())
    }

    fn of_sinks<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: &M,
        sinks: &[ReplicaStatus],
        of: impl Fn(&ReplicaStatus) -> M,
    ) -> std::fmt::Result {
        let mut family = self.describe(name, help, kind)?;
        for sink in sinks {
            let labels = [("sink", sink.name.as_str())];
            of(sink).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn describe<'s>(
        &'s mut self,
        name: &'s str,
        help: &'s str,
        metric: &impl EncodeMetric,
    ) -> Result<MetricEncoder<'s>, std::fmt::Error> {
        let no_unit: Option<&Unit> = None;
        self.encoder
            .encode_descriptor(name, help, no_unit, metric.metric_type())
    }
}
