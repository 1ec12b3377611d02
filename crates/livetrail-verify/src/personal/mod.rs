//! Personal fields: the openings that somebody shows, and what the trail says about them.
//!
//! | what | where |
//! |---|---|
//! | the openings and questions of the user, and their files | `openings.rs` |
//! | comparing one of them with one entry | `compare.rs` |
//! | commitments, erasures and disclosures on record, during the scan | `check.rs` |
//! | holds on record, and the sessions that they cover | `holds.rs` |
//! | the answers | `report.rs` |

mod check;
mod compare;
mod holds;
mod openings;
mod report;

pub(crate) use check::PersonalCheck;
use compare::{Comparison, compare};
pub(crate) use holds::Holds;
use openings::Subject;
pub use openings::{MAX_OPENING_FILE_BYTES, MAX_OPENINGS, Openings};
pub(crate) use report::write_answers;
pub use report::{Answer, ErasedBy, PersonalAnswer, PersonalReport};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livetrail_record::{AuditRecord, Uuid, Value};

/// The sessions in a record's `sessions`: 16 bytes each. `None` if the field is missing or
/// malformed.
fn sessions_of(record: &AuditRecord) -> Option<Vec<Uuid>> {
    let Some(Value::Text(text)) = record.extra.get("sessions") else {
        return None;
    };
    let bytes = STANDARD.decode(text).ok()?;
    let (ids, rest) = bytes.as_chunks::<16>();
    let sessions = || ids.iter().map(|id| Uuid::from_bytes(*id)).collect();
    rest.is_empty().then(sessions)
}

/// A text of a record, cut to a length that can be kept for many records.
fn short_text(record: &AuditRecord, name: &str) -> Option<String> {
    match record.extra.get(name) {
        Some(Value::Text(text)) => Some(text.chars().take(MAX_TEXT_CHARS).collect()),
        _ => None,
    }
}

/// The maximum number of characters of a kept text.
const MAX_TEXT_CHARS: usize = 64;
