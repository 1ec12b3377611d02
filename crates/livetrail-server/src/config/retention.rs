//! The table `[trail.retention]`: how long entries and personal data are kept.

use std::fmt;

use livetrail_settings::{Bounds, Span};
use serde::{Deserialize, Deserializer, de::value::MapAccessDeserializer};

use super::section::{DAY_S, Section, Wrong};

/// The shortest time that something is kept.
const LEAST_MS: u64 = 10_000;

/// How long entries and openings are kept. Without a value they are kept for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Retention {
    /// Openings of applications without a value of their own.
    pub(crate) openings: Option<Span>,
    /// Entries, of all applications: they are removed from the oldest on.
    pub(crate) entries: Option<Span>,
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TableOrSpan)
    }
}

/// The table, or a span alone, which was the form before there were openings.
struct TableOrSpan;

impl<'de> serde::de::Visitor<'de> for TableOrSpan {
    type Value = Retention;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table [trail.retention] with openings and entries, each such as \"400d\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Retention, E> {
        let entries: Span = text.parse().map_err(E::custom)?;
        Ok(Retention {
            entries: Some(entries),
            openings: None,
        })
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Retention, A::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Table {
            openings: Option<Span>,
            entries: Option<Span>,
        }
        let Table { openings, entries } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Retention { openings, entries })
    }
}

impl Retention {
    /// How long openings are kept that have this value of their own. They never stay longer than
    /// their entries.
    pub(super) fn of_openings(&self, own: Option<Span>) -> Option<Span> {
        own.or(self.openings).or(self.entries)
    }

    /// Checks openings with this value of their own.
    ///
    /// # Errors
    /// They would outlive their entries.
    pub(super) fn check_openings(&self, own: Option<Span>) -> Result<(), String> {
        match (own, self.entries) {
            (Some(Span(own)), Some(Span(entries))) if own > entries => Err(
                "is longer than trail.retention.entries: an opening proves nothing without its entry"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

impl Section for Retention {
    fn bounds(&self, list: &mut Bounds) {
        for (key, value) in [("openings", self.openings), ("entries", self.entries)] {
            if let Some(span) = value {
                list.span(key, span, LEAST_MS, 36_500 * DAY_S);
            }
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        let checked = self.check_openings(self.openings);
        checked.map_err(|problem| Wrong::new("openings", problem))
    }
}
