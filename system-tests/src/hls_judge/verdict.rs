//! What the judge has found: each violation with rule, place, time and fact; and what it has seen.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::rules::Rule;

/// This many violations of one rule are kept; the rest is counted.
const MAX_KEPT: u64 = 20;

/// One violation of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// Milliseconds since the judge began.
    pub at_ms: u64,
    /// The address of the playlist or of the media.
    pub place: String,
    /// The fact, with the values.
    pub fact: String,
}

/// What was seen. A verdict without violations means nothing if nothing was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Media playlists, delta updates included.
    pub playlists: u64,
    /// Reloads that the server has held.
    pub blocked: u64,
    /// Delta updates that were compared with the whole playlist.
    pub deltas: u64,
    /// Complete segments whose content was read.
    pub segments: u64,
    /// Parts whose content was read.
    pub parts: u64,
    /// Parts that came in answer to a hint.
    pub hints: u64,
    /// Segments and parts that were fetched after the playlist had dropped them.
    pub unlisted: u64,
    /// Discontinuities.
    pub discontinuities: u64,
    /// Requests of all kinds.
    pub requests: u64,
}

/// The result of a run.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    violations: Vec<Violation>,
    counts: BTreeMap<Rule, u64>,
    /// What was seen.
    pub seen: Seen,
    /// Addresses of the media playlists.
    pub renditions: Vec<String>,
    /// How long the judge watched, in milliseconds.
    pub watched_ms: u64,
}

impl Verdict {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// The violations, the earliest first: up to 20 of each rule.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The rules that were broken, each with the number of its violations.
    #[must_use]
    pub fn broken(&self) -> &BTreeMap<Rule, u64> {
        &self.counts
    }

    /// The verdict as JSON, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let violations: Vec<Value> = self.violations.iter().map(Violation::json).collect();
        let counts = self.counts.iter();
        let counts: serde_json::Map<String, Value> = counts
            .map(|(rule, count)| (rule.name().to_owned(), json!(count)))
            .collect();
        let seen = self.seen;
        json!({
            "clean": self.is_clean(),
            "watched_ms": self.watched_ms,
            "renditions": self.renditions,
            "seen": {
                "playlists": seen.playlists, "blocked": seen.blocked, "deltas": seen.deltas,
                "segments": seen.segments, "parts": seen.parts, "hints": seen.hints,
                "unlisted": seen.unlisted, "discontinuities": seen.discontinuities,
                "requests": seen.requests,
            },
            "broken": counts,
            "violations": violations,
        })
    }

    pub(super) fn add(&mut self, violation: Violation) {
        let count = self.counts.entry(violation.rule).or_default();
        *count += 1;
        if *count <= MAX_KEPT {
            self.violations.push(violation);
        }
    }
}

impl Violation {
    fn json(&self) -> Value {
        json!({
            "rule": self.rule.name(), "section": self.rule.section(), "at_ms": self.at_ms,
            "place": self.place, "fact": self.fact, "demands": self.rule.demands(),
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.at_ms / 1_000, self.at_ms % 1_000);
        let (rule, place, fact) = (self.rule, &self.place, &self.fact);
        write!(
            f,
            "{seconds:>4}.{ms:03} s  {rule}  {place}\n            {fact}"
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = &self.seen;
        writeln!(
            f,
            "watched {}.{:03} s",
            self.watched_ms / 1_000,
            self.watched_ms % 1_000
        )?;
        for rendition in &self.renditions {
            writeln!(f, "  {rendition}")?;
        }
        writeln!(
            f,
            "saw {} playlists ({} blocked, {} delta updates), {} segments, {} parts ({} by hint), \
             {} discontinuities, {} after they were dropped; {} requests",
            seen.playlists,
            seen.blocked,
            seen.deltas,
            seen.segments,
            seen.parts,
            seen.hints,
            seen.discontinuities,
            seen.unlisted,
            seen.requests
        )?;
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        if self.is_clean() {
            return write!(f, "no rule is broken");
        }
        writeln!(f, "{} rules are broken:", self.counts.len())?;
        for (rule, count) in &self.counts {
            writeln!(f, "  {count:>5} x {rule}: {}", rule.demands())?;
        }
        Ok(())
    }
}
