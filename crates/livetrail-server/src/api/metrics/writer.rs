//! Writes single metrics. The unit is the last word of a name. OpenMetrics also has a line for it.

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use livetrail_ledger::CommitTimes;

/// The result of each function that writes.
type Written = std::fmt::Result;

pub(super) struct Writer<'a> {
    pub(super) encoder: DescriptorEncoder<'a>,
}

/// The meaning of a metric's numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// The numbers are the values of this moment.
    Gauge,
    /// The numbers grow from the start of the process on.
    Counter,
}

/// A number of a metric. A whole number is written without a point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl Writer<'_> {
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Into<Number>) -> Written {
        self.family(Kind::Gauge, name, help, [], [([], value)])
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Into<Number>) -> Written {
        self.family(Kind::Counter, name, help, [], [([], value)])
    }

    /// A metric with a row for each set of values of its labels. Without labels it has one row.
    pub(super) fn family<'v, const N: usize>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        labels: [&str; N],
        rows: impl IntoIterator<Item = ([&'v str; N], impl Into<Number>)>,
    ) -> Written {
        let mut family = self.describe(name, help, kind)?;
        for (values, number) in rows {
            let pairs: Vec<(&str, &str)> = labels.into_iter().zip(values).collect();
            let number = number.into();
            if pairs.is_empty() {
                return write(kind, number, family);
            }
            write(kind, number, family.encode_family(&pairs)?)?;
        }
        Ok(())
    }

    /// How long commits of the ledger took.
    pub(super) fn commits(&mut self, times: &CommitTimes) -> Written {
        let buckets: Vec<(f64, u64)> = times
            .buckets
            .iter()
            .map(|(bound, count)| (bound.map_or(f64::MAX, |bound| bound.as_secs_f64()), *count))
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut encoder = self.encoder.encode_descriptor(
            "trail_commit",
            "Time that a batch took to be written to the write-ahead log and synced",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        encoder.encode_histogram::<NoLabelSet>(times.sum.as_secs_f64(), count, &buckets, None)
    }

    fn describe<'s>(
        &'s mut self,
        name: &'s str,
        help: &'s str,
        kind: Kind,
    ) -> Result<MetricEncoder<'s>, std::fmt::Error> {
        let units: [(&str, &'static Unit); 2] =
            [("_bytes", &Unit::Bytes), ("_seconds", &Unit::Seconds)];
        let unit = units
            .into_iter()
            .find_map(|(ending, unit)| Some((name.strip_suffix(ending)?, unit)));
        // The encoder appends the unit to the name.
        let (name, unit) = unit.map_or((name, None), |(name, unit)| (name, Some(unit)));
        let of = match kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
        };
        self.encoder.encode_descriptor(name, help, unit, of)
    }
}

fn write(kind: Kind, number: Number, encoder: MetricEncoder<'_>) -> Written {
    match (kind, number) {
        (Kind::Gauge, Number::Whole(number)) => {
            ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX)).encode(encoder)
        }
        (Kind::Gauge, Number::Real(number)) => ConstGauge::new(number).encode(encoder),
        (Kind::Counter, Number::Whole(number)) => ConstCounter::new(number).encode(encoder),
        (Kind::Counter, Number::Real(number)) => ConstCounter::new(number).encode(encoder),
    }
}
