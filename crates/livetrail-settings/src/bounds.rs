//! The bounds of settings.

use std::time::Duration;

use crate::{ByteSize, Span};

/// A key that is relative to a section, as a key of the whole configuration: `sink` and `[0]` are
/// `sink[0]`, and `sink[0]` and `name` are `sink[0].name`. Either may be empty.
#[must_use]
pub fn key_within(section: &str, key: &str) -> String {
    let dot = if section.is_empty() || key.is_empty() || key.starts_with('[') {
        ""
    } else {
        "."
    };
    format!("{section}{dot}{key}")
}

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
///
/// ```
/// use livetrail_settings::{Bounds, Span};
///
/// let mut bounds = Bounds::default();
/// bounds.section("audit", |bounds| {
///     bounds.span("deadline", Span::secs(90), 1, 60);
/// });
/// let bounds = bounds.into_vec();
/// assert_eq!(bounds[0].key, "audit.deadline");
/// assert_eq!(bounds[0].problem().as_deref(), Some("must be 1ms to 1m"));
/// ```
#[derive(Debug, Default)]
pub struct Bounds {
    list: Vec<Bound>,
    /// The key of the section whose bounds are added. Empty for the whole configuration.
    at: String,
}

impl Bounds {
    /// All bounds.
    #[must_use]
    pub fn into_vec(self) -> Vec<Bound> {
        self.list
    }

    /// Adds the bounds of a section. `at` is its key, relative to the section around it. Within
    /// `add` all keys are relative to this section.
    pub fn section(&mut self, at: &str, add: impl FnOnce(&mut Self)) {
        let inner = key_within(&self.at, at);
        let outer = std::mem::replace(&mut self.at, inner);
        add(self);
        self.at = outer;
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
        self.list.push(Bound {
            key: key_within(&self.at, key),
            value: value.try_into().unwrap_or(u64::MAX).into(),
            least: least.into(),
            most: most.try_into().unwrap_or(u64::MAX).into(),
            unit: Unit::Number,
            cost,
        });
    }

    /// Adds a number of bytes.
    pub fn bytes(&mut self, key: &str, ByteSize(value): ByteSize, least: u64, most: u64) {
        self.list.push(Bound {
            key: key_within(&self.at, key),
            value: value as u128,
            least: least.into(),
            most: most.into(),
            unit: Unit::Bytes,
            cost: "",
        });
    }

    /// Adds a time span. The smallest value is in milliseconds, and the largest one is in seconds.
    pub fn span(&mut self, key: &str, Span(value): Span, least_ms: u64, most_s: u64) {
        self.list.push(Bound {
            key: key_within(&self.at, key),
            value: value.as_nanos(),
            least: Duration::from_millis(least_ms).as_nanos(),
            most: Duration::from_secs(most_s).as_nanos(),
            unit: Unit::Nanoseconds,
            cost: "",
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_relative_to_their_section() {
        let mut bounds = Bounds::default();
        bounds.section("application", |bounds| {
            bounds.number("", 1_u8, 0, 1_u8, "");
            bounds.section("[0]", |bounds| {
                bounds.section("ingress", |bounds| {
                    bounds.span("burst", Span::secs(1), 0, 1);
                });
                bounds.bytes("gop_cache_bytes", ByteSize(1), 0, 1);
            });
        });
        bounds.number("sink", 1_u8, 0, 1_u8, "");
        let keys: Vec<_> = bounds.into_vec().into_iter().map(|b| b.key).collect();
        let wanted = [
            "application",
            "application[0].ingress.burst",
            "application[0].gop_cache_bytes",
            "sink",
        ];
        assert_eq!(keys, wanted);
    }
}
