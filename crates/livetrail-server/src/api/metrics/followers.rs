//! Metrics of witnesses and sinks, which follow the trail.

use livetrail_replica::{PersonalMode, ReplicaState, ReplicaStatus};

use super::{
    Now,
    writer::{Kind, Writer},
};

/// A figure of one sink.
type OfSink = fn(&ReplicaStatus) -> u64;

impl Now {
    pub(super) fn witnesses(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let Some(witnesses) = &self.0.inner.trail.witnesses else {
            return Ok(());
        };
        let status = witnesses.status();
        let of = |figure: fn(&livetrail_ledger::WitnessStatus) -> u64| {
            status
                .iter()
                .map(move |one| ([one.name.as_str()], figure(one)))
        };
        w.family(
            Kind::Gauge,
            "trail_witness_cosigned_entries",
            "Size of the checkpoint that a witness has cosigned last, since the start",
            ["witness"],
            of(|one| one.cosigned_size.unwrap_or(0)),
        )?;
        w.family(
            Kind::Gauge,
            "trail_witness_failing_seconds",
            "How long a witness has not cosigned although it was asked",
            ["witness"],
            of(|one| one.failing_for.map_or(0, |time| time.as_secs())),
        )?;
        w.family(
            Kind::Gauge,
            "trail_witness_overdue",
            "1 when that is longer than trail.witness_overdue_after",
            ["witness"],
            of(|one| u64::from(one.overdue)),
        )?;
        let answers = status.iter().flat_map(|one| {
            let name = one.name.as_str();
            [
                ([name, "cosigned"], one.cosignatures),
                ([name, "conflict"], one.conflicts),
                ([name, "failed"], one.failures),
            ]
        });
        w.family(
            Kind::Counter,
            "trail_witness_requests",
            "Requests to a witness, by outcome",
            ["witness", "outcome"],
            answers,
        )
    }

    pub(super) fn sinks(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let sinks = self.0.inner.trail.sinks();
        if sinks.is_empty() {
            return Ok(());
        }
        let gauges: [(&str, &str, OfSink); 11] = [
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
            (
                "sink_unerasable",
                "1 when the sink gets names in clear that nobody can erase there",
                |sink| u64::from(sink.personal == PersonalMode::Clear),
            ),
            (
                "sink_erased_up_to",
                "The sink has applied the erasures that records below this index name",
                |sink| sink.erased_up_to.unwrap_or(0),
            ),
            (
                "sink_erasures_pending",
                "Erasures that the sink has not applied",
                |sink| sink.pending_erasures,
            ),
            (
                "sink_erasure_lag_seconds",
                "Age of the oldest erasure that the sink has not applied",
                |sink| sink.erasure_lag.as_secs(),
            ),
            (
                "sink_erasure_overdue",
                "1 when that is more than the sink's erasure_overdue_after",
                |sink| u64::from(sink.erasure_overdue),
            ),
        ];
        for (name, help, figure) in gauges {
            let rows = sinks
                .iter()
                .map(|sink| ([sink.name.as_str()], figure(sink)));
            w.family(Kind::Gauge, name, help, ["sink"], rows)?;
        }
        let counters: [(&str, &str, OfSink); 6] = [
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
            (
                "sink_lost_records",
                "Records that a web hook gave up since the start, because they became too old",
                |sink| sink.lost_records,
            ),
            (
                "sink_went_back",
                "How often the sink was found to have less than it had, since the start",
                |sink| sink.went_back,
            ),
        ];
        for (name, help, figure) in counters {
            let rows = sinks
                .iter()
                .map(|sink| ([sink.name.as_str()], figure(sink)));
            w.family(Kind::Counter, name, help, ["sink"], rows)?;
        }
        Ok(())
    }
}
