//! Who has read the trail: reads, exports and reviews, on record.
//!
//! ```text
//!  HTTP: a bundle of entries ─▶ Looks ─── the first at once, others of a minute as one ─▶ pipeline
//!  CLI:  query, export, …  ─▶ notes ─▶ the running server, or the next start ──▶ Looks
//! ```
//!
//! Reads of one *kind* are combined: they have the same action, name, command and filter hash. So
//! nobody can fill the trail by reading it: there are at most 256 kinds, each has at most two
//! records per minute, and one record counts all others.

pub mod notes;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord, Outcome};
use livetrail_clock::{Clock as _, SystemClock};
use livetrail_record::Value;
use serde::{Deserialize, Serialize};

use self::notes::{Done, Note};

/// The protocol in records of what a user of the server's machine did.
pub const LOCAL: &str = "cli";

/// How long the reads of a kind are counted before a record reports the count.
const WINDOW: Duration = Duration::from_secs(60);

/// The maximum number of kinds that are counted separately.
const MOST_KINDS: usize = 256;

/// The maximum number of bytes of a reviewer's note.
pub const MOST_NOTE_BYTES: usize = 1_024;

/// The kind that stands for all kinds beyond [`MOST_KINDS`].
const OTHERS: &str = "others";

/// How the entries of the trail were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Act {
    /// Entries were shown.
    Read,
    /// Entries were copied out.
    Exported,
    /// Personal fields were shown.
    Disclosed,
}

impl Act {
    const fn action(self) -> AuditAction {
        match self {
            Self::Read => AuditAction::AdminRead,
            Self::Exported => AuditAction::AdminExported,
            Self::Disclosed => AuditAction::AdminDisclosed,
        }
    }
}

/// The properties that reads have in common when they are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kind {
    /// What was done with the entries.
    pub act: Act,
    /// The name of the token, or the local user. `None` if no token is needed.
    pub by: Option<String>,
    /// The protocol on record.
    pub protocol: &'static str,
    /// How the entries were read, such as `query`. Of a disclosure: its purpose.
    pub what: String,
    /// The hash of the filter, if there is one.
    pub filter: Option<String>,
}

/// One read, or several that were counted.
#[derive(Debug, Clone, Copy)]
struct Look {
    ts_ms: u64,
    count: u64,
    /// The first and the last entry, if they are known.
    entries: Option<(u64, u64)>,
}

/// The reads since the last record of their kind.
#[derive(Debug, Default)]
struct Tally {
    since: Duration,
    count: u64,
    first_ts_ms: u64,
    last_ts_ms: u64,
    entries: Option<(u64, u64)>,
}

impl Tally {
    fn add(&mut self, look: Look) {
        if self.count == 0 {
            self.first_ts_ms = look.ts_ms;
        }
        self.count = self.count.saturating_add(look.count);
        self.first_ts_ms = self.first_ts_ms.min(look.ts_ms);
        self.last_ts_ms = self.last_ts_ms.max(look.ts_ms);
        self.entries = match (self.entries, look.entries) {
            (Some((first, last)), Some(more)) => Some((first.min(more.0), last.max(more.1))),
            (one, other) => one.or(other),
        };
    }

    fn record(&self, kind: &Kind) -> AuditRecord {
        let record = record(kind, self.entries).with_count(self.count);
        record
            .with_first_ts_ms(self.first_ts_ms)
            .with_last_ts_ms(self.last_ts_ms)
    }
}

/// The reads that are not on record yet.
#[derive(Debug, Default)]
pub struct Looks {
    clock: SystemClock,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    kinds: HashMap<Kind, Tally>,
    /// The reads of all kinds beyond the bound, by what was done.
    others: HashMap<Act, Tally>,
}

impl Looks {
    /// Counts a read that happens now, and records it if it is the first of its kind.
    pub fn now(&self, kind: Kind, entries: Option<(u64, u64)>, pipeline: &AuditPipeline) {
        let look = Look {
            ts_ms: self.clock.unix_ms(),
            count: 1,
            entries,
        };
        write(pipeline, self.look(kind, look, self.clock.monotonic()));
    }

    /// Counts that personal fields of this many sessions are shown now, and records it if it is the
    /// first of its kind. `kind` has [`Act::Disclosed`], and the purpose in `what`, which must name
    /// nobody.
    pub fn disclosed(&self, kind: Kind, sessions: u64, pipeline: &AuditPipeline) {
        let look = Look {
            ts_ms: self.clock.unix_ms(),
            count: sessions,
            entries: None,
        };
        write(pipeline, self.look(kind, look, self.clock.monotonic()));
    }

    /// Records the notes of local commands, and the counts that are due. At the end of a boot, all
    /// counts are due.
    pub(crate) fn keep(&self, trail: &Path, pipeline: &AuditPipeline, is_last: bool) {
        let now = self.clock.monotonic();
        notes::take(trail, |waiting| {
            for note in waiting.notes {
                write(pipeline, self.noted(note, now));
            }
            if waiting.more > 0 {
                let kind = local(Act::Read, None, OTHERS.to_owned(), None);
                let look = Look {
                    ts_ms: self.clock.unix_ms(),
                    count: waiting.more,
                    entries: None,
                };
                write(pipeline, self.look(kind, look, now));
            }
        });
        write(pipeline, if is_last { self.flush() } else { self.due(now) });
    }

    fn noted(&self, note: Note, now: Duration) -> Option<AuditRecord> {
        match note.done {
            Done::Looked { act, what, filter } => {
                let look = Look {
                    ts_ms: note.ts_ms,
                    count: 1,
                    entries: None,
                };
                self.look(local(act, Some(note.by), what, filter), look, now)
            }
            Done::Disclosed {
                purpose,
                filter,
                count,
            } => {
                let look = Look {
                    ts_ms: note.ts_ms,
                    count,
                    entries: None,
                };
                let kind = local(Act::Disclosed, Some(note.by), purpose, Some(filter));
                self.look(kind, look, now)
            }
            Done::Reviewed {
                first,
                last,
                note: words,
            } => {
                let record = reviewed((first, last), words);
                let record = record.with_protocol(LOCAL).with_by(note.by);
                Some(record.with_ts_ms(note.ts_ms))
            }
        }
    }

    /// Counts a read. Returns the record to write now, if it is the first of its kind.
    fn look(&self, kind: Kind, look: Look, now: Duration) -> Option<AuditRecord> {
        let mut table = self.table();
        if let Some(tally) = table.kinds.get_mut(&kind) {
            tally.add(look);
            return None;
        }
        if table.kinds.len() >= MOST_KINDS {
            let others = table.others.entry(kind.act).or_default();
            if others.count == 0 {
                others.since = now;
            }
            others.add(look);
            return None;
        }
        let mut record = record(&kind, look.entries).with_ts_ms(look.ts_ms);
        // Of a disclosure the count is that of sessions, and always stated.
        if look.count > 1 || kind.act == Act::Disclosed {
            record = record.with_count(look.count);
        }
        let tally = Tally {
            since: now,
            ..Tally::default()
        };
        table.kinds.insert(kind, tally);
        Some(record)
    }

    /// The records whose minute is over. A kind without reads in that minute is forgotten.
    fn due(&self, now: Duration) -> Vec<AuditRecord> {
        self.records(|tally| now >= tally.since.saturating_add(WINDOW), now)
    }

    /// The records of all counts.
    fn flush(&self) -> Vec<AuditRecord> {
        self.records(|_| true, Duration::ZERO)
    }

    fn records(&self, is_due: impl Fn(&Tally) -> bool, now: Duration) -> Vec<AuditRecord> {
        let mut found = Vec::new();
        let mut table = self.table();
        let Table { kinds, others } = &mut *table;
        kinds.retain(|kind, tally| {
            if !is_due(tally) {
                return true;
            }
            if tally.count == 0 {
                return false;
            }
            found.push(tally.record(kind));
            *tally = Tally {
                since: now,
                ..Tally::default()
            };
            true
        });
        others.retain(|act, tally| {
            if !is_due(tally) {
                return true;
            }
            let kind = Kind {
                act: *act,
                by: None,
                protocol: "",
                what: OTHERS.to_owned(),
                filter: None,
            };
            found.push(tally.record(&kind));
            false
        });
        // A map has a different order each time.
        found.sort_by_key(|record| (record.first_ts_ms, record.by.clone()));
        found
    }

    /// Code that holds this lock cannot panic.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a local user did.
fn local(act: Act, by: Option<String>, what: String, filter: Option<String>) -> Kind {
    Kind {
        act,
        by,
        protocol: LOCAL,
        what,
        filter,
    }
}

fn write(pipeline: &AuditPipeline, records: impl IntoIterator<Item = AuditRecord>) {
    for record in records {
        if let Err(error) = pipeline.record(record) {
            // The pipeline counts the records that it cannot take.
            tracing::warn!(%error, "a read of the trail has no record of its own");
        }
    }
}

fn record(kind: &Kind, entries: Option<(u64, u64)>) -> AuditRecord {
    let mut record = AuditRecord::new(kind.act.action(), "").with_outcome(Outcome::Success);
    if !kind.protocol.is_empty() {
        record = record.with_protocol(kind.protocol);
    }
    record.by.clone_from(&kind.by);
    let what = match kind.act {
        Act::Disclosed => "purpose",
        Act::Read | Act::Exported => "what",
    };
    set(&mut record, what, Value::Text(kind.what.clone()));
    if let Some(filter) = &kind.filter {
        set(&mut record, "filter", Value::Text(filter.clone()));
    }
    if let Some(range) = entries {
        set_range(&mut record, range);
    }
    record
}

/// A person states that they reviewed these entries, both included. The record does not name the
/// person yet.
#[must_use]
pub fn reviewed(entries: (u64, u64), note: String) -> AuditRecord {
    let mut record = AuditRecord::new(AuditAction::AdminReviewed, "")
        .with_outcome(Outcome::Success)
        .with_detail(note);
    set_range(&mut record, entries);
    record
}

/// Sets the range of entries that a record is about.
fn set_range(record: &mut AuditRecord, (first, last): (u64, u64)) {
    for (name, index) in [("first_index", first), ("last_index", last)] {
        if let Ok(index) = i64::try_from(index) {
            set(record, name, Value::Integer(index));
        }
    }
}

fn set(record: &mut AuditRecord, name: &str, value: Value) {
    // This fails only for the name of a field of the table, or for a number of 2^53 or more.
    if let Err(error) = record.extra.insert(name, value) {
        tracing::warn!(%error, "a field is missing from the record");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn kind(by: &str, what: &str) -> Kind {
        Kind {
            act: Act::Read,
            by: Some(by.to_owned()),
            protocol: "http-api",
            what: what.to_owned(),
            filter: None,
        }
    }

    fn at(ts_ms: u64, entry: u64) -> Look {
        Look {
            ts_ms,
            count: 1,
            entries: Some((entry, entry + 255)),
        }
    }

    #[test]
    fn the_first_read_is_on_record_at_once_and_the_others_of_a_minute_as_one() {
        let looks = Looks::default();
        let first = looks.look(kind("ops", "entries"), at(1_000, 512), S(1));
        let first = first.expect("a record");
        assert_eq!(first.action, AuditAction::AdminRead);
        assert_eq!((first.by.as_deref(), first.ts_ms), (Some("ops"), 1_000));
        assert_eq!(first.extra.get("first_index"), Some(&Value::Integer(512)));
        for i in 0..10_000 {
            let again = looks.look(kind("ops", "entries"), at(2_000 + i, i), S(2));
            assert!(again.is_none());
        }
        assert!(looks.due(S(60)).is_empty());
        let due = looks.due(S(61));
        let [record] = due.as_slice() else {
            panic!("{due:?}");
        };
        assert_eq!(record.count, Some(10_000));
        assert_eq!(
            (record.first_ts_ms, record.last_ts_ms),
            (Some(2_000), Some(11_999))
        );
        assert_eq!(
            record.extra.get("last_index"),
            Some(&Value::Integer(10_254))
        );
        // A minute without reads makes no record. After it, the kind counts as new.
        assert!(looks.due(S(121)).is_empty());
        assert!(
            looks
                .look(kind("ops", "entries"), at(1, 1), S(122))
                .is_some()
        );
    }

    #[test]
    fn a_disclosure_is_on_record_with_the_number_of_sessions_and_its_purpose() {
        let looks = Looks::default();
        let note = |count| Note {
            ts_ms: 5,
            by: "local:0".to_owned(),
            done: Done::Disclosed {
                purpose: "case 17".to_owned(),
                filter: livetrail_record::digest_to_base64(&[7; 32]),
                count,
            },
        };
        let first = looks.noted(note(1), S(1)).expect("a record");
        assert_eq!(first.action, AuditAction::AdminDisclosed);
        assert_eq!(
            (first.count, first.by.as_deref()),
            (Some(1), Some("local:0"))
        );
        let purpose = Value::Text("case 17".to_owned());
        assert_eq!(first.extra.get("purpose"), Some(&purpose));
        assert_eq!(first.extra.get("what"), None);
        assert!(looks.noted(note(40), S(2)).is_none());
        assert!(looks.noted(note(2), S(3)).is_none());
        assert_eq!(looks.flush()[0].count, Some(42));
    }

    #[test]
    fn kinds_beyond_the_bound_are_counted_in_one_record() {
        let looks = Looks::default();
        let written = (0..10_000).filter_map(|i| {
            let kind = kind("ops", &format!("q{i}"));
            looks.look(kind, at(5, 0), S(0))
        });
        assert_eq!(written.count(), MOST_KINDS);
        let due = looks.flush();
        let [record] = due.as_slice() else {
            panic!("{due:?}");
        };
        assert_eq!(record.count, Some(10_000 - MOST_KINDS as u64));
        assert_eq!(
            record.extra.get("what"),
            Some(&Value::Text("others".to_owned()))
        );
        assert!(looks.flush().is_empty());
    }
}
