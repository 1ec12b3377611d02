//! The bounds of settings.

use std::time::Duration;

use crate::{ByteSize, Span};

/// A setting's value and bounds. No later check would refuse a value beyond its bounds. It would
/// take all memory, overflow a timer or wait for ever.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The key of the setting, such as `application[0].gop_cache_bytes`.
    pub key: String,
    value: u128,
    least: u128,
    most: u128,
    unit: Unit,
    /// The cost of the largest value, in words.
    cost: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Number,
    Bytes,
    Nanoseconds,
}

impl Unit {
    fn shown(self, value: u128) -> String {
        match self {
            Self::Number => value.to_string(),
            Self::Bytes => ByteSize(usize::try_from(value).unwrap_or(usize::MAX)).to_string(),
            Self::Nanoseconds => Span(Duration::from_nanos(
                u64::try_from(value).unwrap_or(u64::MAX),
            ))
            .to_string(),
        }
    }
}

impl Bound {
    /// What is wrong with the value. `None` if it is within the bounds.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let Self {
            value, least, most, ..
        } = self;
        (value < least || value > most).then(|| format!("must be {}", self.allowed()))
    }

    /// The range, and the cost of its largest value: `1 to 16777216, which take 1.7 GB`.
    #[must_use]
    pub fn allowed(&self) -> String {
        let [least, most] = [self.least, self.most].map(|bound| self.unit.shown(bound));
        let cost = self.cost;
        format!("{least} to {most}{cost}")
    }
}

/// The bounds of several settings, each with the setting's value.
#[derive(Debug, Default)]
pub struct Bounds(Vec<Bound>);

impl Bounds {
    /// All bounds.
    #[must_use]
    pub fn into_vec(self) -> Vec<Bound> {
        self.0
    }

    /// Adds a number. `cost` ends the sentence "must be 1 to 10…" and says what the largest value
    /// costs.
    pub fn number<N: TryInto<u64>>(
        &mut self,
        key: &str,
        value: N,
        least: u64,
        most: impl TryInto<u64>,
        cost: &'static str,
    ) {
        self.0.push(Bound {
            key: key.to_owned(),
            value: value.try_into().unwrap_or(u64::MAX).into(),
            least: least.into(),
            most: most.try_into().unwrap_or(u64::MAX).into(),
            unit: Unit::Number,
            cost,
        });
    }

    /// Adds a number of bytes.
    pub fn bytes(&mut self, key: &str, ByteSize(value): ByteSize, least: u64, most: u64) {
        self.0.push(Bound {
            key: key.to_owned(),
            value: value as u128,
            least: least.into(),
            most: most.into(),
            unit: Unit::Bytes,
            cost: "",
        });
    }

    /// Adds a time span. The smallest value is in milliseconds, and the largest one is in seconds.
    pub fn span(&mut self, key: &str, Span(value): Span, least_ms: u64, most_s: u64) {
        self.0.push(Bound {
            key: key.to_owned(),
            value: value.as_nanos(),
            least: Duration::from_millis(least_ms).as_nanos(),
            most: Duration::from_secs(most_s).as_nanos(),
            unit: Unit::Nanoseconds,
            cost: "",
        });
    }
}
