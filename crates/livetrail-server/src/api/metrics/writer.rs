//! Writes single metrics. The unit is the last word of a name, and is named as such where the format has units.

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use livetrail_ledger::CommitTimes;

/// What a value is written by.
type Written = std::fmt::Result;

pub(super) struct Writer<'a> {
    pub(super) encoder: DescriptorEncoder<'a>,
}

impl Writer<'_> {
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> Written {
        let gauge = gauge(value);
        gauge.encode(self.describe(name, help, &gauge)?)
    }

    pub(super) fn gauge_f64(&mut self, name: &str, help: &str, value: f64) -> Written {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.describe(name, help, &gauge)?)
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> Written {
        let counter = ConstCounter::new(value);
        counter.encode(self.describe(name, help, &counter)?)
    }

    pub(super) fn counter_f64(&mut self, name: &str, help: &str, value: f64) -> Written {
        let counter = ConstCounter::new(value);
        counter.encode(self.describe(name, help, &counter)?)
    }

    /// A gauge for each value of a label.
    pub(super) fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> Written {
        let mut family = self.describe(name, help, &gauge(0))?;
        for (value, number) in values {
            gauge(number).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    /// A counter for each value of a label.
    pub(super) fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> Written {
        let mut family = self.describe(name, help, &ConstCounter::new(0_u64))?;
        for (value, number) in values {
            ConstCounter::new(number).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    /// A counter for each pair of values of two labels.
    pub(super) fn counters_by_two<'v>(
        &mut self,
        name: &str,
        help: &str,
        labels: [&str; 2],
        values: impl IntoIterator<Item = ([&'v str; 2], u64)>,
    ) -> Written {
        let mut family = self.describe(name, help, &ConstCounter::new(0_u64))?;
        let [first, second] = labels;
        for ([one, other], number) in values {
            let labels = [(first, one), (second, other)];
            ConstCounter::new(number).encode(family.encode_family(&labels)?)?;
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
        metric: &impl EncodeMetric,
    ) -> Result<MetricEncoder<'s>, std::fmt::Error> {
        let units: [(&str, &'static Unit); 2] =
            [("_bytes", &Unit::Bytes), ("_seconds", &Unit::Seconds)];
        let unit = units
            .into_iter()
            .find_map(|(ending, unit)| Some((name.strip_suffix(ending)?, unit)));
        // The encoder puts the unit behind the name again.
        let (name, unit) = unit.map_or((name, None), |(name, unit)| (name, Some(unit)));
        self.encoder
            .encode_descriptor(name, help, unit, metric.metric_type())
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
