//! Personal data in a sink: openings that go out with their entries, and erasures that follow.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use livetrail_record::{
    AuditRecord, Opening, SessionRole, Uuid, Value, digest_from_base64, parse_canonical, session_of,
};

use crate::error::BoxError;

/// The label of the records that name erased openings.
const ERASED: &str = "admin_erased";

/// Bytes that each of these records has. Other entries are not parsed.
const ERASED_MARK: &[u8] = b"\"admin_erased\"";

/// Bytes that each entry with a commitment has.
const PERSONAL_MARK: &[u8] = b"\"personal\":\"";

/// The bytes of an identifier in `sessions`.
const SESSION_BYTES: usize = 16;

/// What a sink has of personal data.
///
/// Entries contain commitments, and no personal data. The personal data are in *openings*, outside
/// the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PersonalMode {
    /// Entries alone.
    #[default]
    None,
    /// Entries, and openings in a separate place, from which the sink erases them again.
    Opening,
    /// Entries, and next to each its opening, in a place from which nobody can erase it.
    Clear,
}

impl PersonalMode {
    /// Its stable name in settings and API answers: `none`, `opening` or `clear`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opening => "opening",
            Self::Clear => "clear",
        }
    }

    /// Whether openings go to the sink.
    #[must_use]
    pub const fn has_openings(self) -> bool {
        !matches!(self, Self::None)
    }
}

impl fmt::Display for PersonalMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Where a replicator finds the openings of entries.
pub trait OpeningSource: Send + Sync + 'static {
    /// The opening under this identifier: a session, or the result of
    /// [`session_of`](livetrail_record::session_of) for an entry that opens no session. `None` if
    /// it is erased, or was never there. May block.
    ///
    /// # Errors
    /// The openings cannot be read now. The replicator tries again later.
    fn opening(&self, session: Uuid) -> Result<Option<Opening>, BoxError>;
}

/// The opening of an entry in a range. The entry commits to it: the replicator has checked that.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryOpening {
    /// The index of the entry.
    pub index: u64,
    /// The opening. Its [`session`](Opening::session) is the identifier by which it is erased.
    pub opening: Opening,
}

impl EntryOpening {
    /// The opening of the entry at this index.
    #[must_use]
    pub const fn new(index: u64, opening: Opening) -> Self {
        Self { index, opening }
    }

    /// The canonical JSON of the opening. It contains personal data.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        self.opening.to_json()
    }

    /// The identifier by which it is erased.
    #[must_use]
    pub fn session(&self) -> [u8; 16] {
        self.opening.session().into_bytes()
    }
}

/// The output contains no personal data.
impl fmt::Debug for EntryOpening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryOpening")
            .field("index", &self.index)
            .field("opening", &self.opening)
            .finish()
    }
}

/// Erasures that the log names in a span of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erasure {
    /// The log's origin.
    pub origin: String,
    /// The span. Its start is at most the sink's erasure cursor, which moves to its end. The sink
    /// holds all entries below its end.
    pub span: Range<u64>,
    /// The identifiers of the openings that these entries name as erased. At most 2,500, usually;
    /// none if only the cursor has to move.
    pub sessions: Vec<[u8; 16]>,
}

impl Erasure {
    /// The erasures in a span of entries of a log.
    #[must_use]
    pub fn new(origin: impl Into<String>, span: Range<u64>, sessions: Vec<[u8; 16]>) -> Self {
        Self {
            origin: origin.into(),
            span,
            sessions,
        }
    }

    /// Whether the opening under this identifier is erased.
    #[must_use]
    pub fn names(&self, session: &[u8; 16]) -> bool {
        self.sessions.contains(session)
    }
}

/// What an entry says about erased openings.
pub(super) struct Erased {
    /// When the entry was recorded, in milliseconds since 1970.
    pub(super) ts_ms: u64,
    pub(super) sessions: Vec<[u8; 16]>,
}

/// Reads an entry that names erased openings; `None` for any other.
pub(super) fn erased_in(entry: &[u8]) -> Option<Erased> {
    if !contains(entry, ERASED_MARK) {
        return None;
    }
    let record = parse_canonical(entry).ok()?;
    if record.action.label() != ERASED {
        return None;
    }
    let sessions = match record.extra.get("sessions") {
        Some(Value::Text(text)) => STANDARD.decode(text.as_bytes()).unwrap_or_default(),
        _ => Vec::new(),
    };
    let (sessions, _) = sessions.as_chunks::<SESSION_BYTES>();
    Some(Erased {
        ts_ms: record.ts_ms,
        sessions: sessions.to_vec(),
    })
}

/// The opening of an entry. `None` if it commits to nothing, or if there is no opening any more.
pub(super) fn opening_of(
    source: &dyn OpeningSource,
    index: u64,
    entry: &Bytes,
) -> Result<Option<EntryOpening>, BoxError> {
    if !contains(entry, PERSONAL_MARK) {
        return Ok(None);
    }
    let Ok(record) = parse_canonical(entry) else {
        return Ok(None);
    };
    let commitment = match record.extra.get("personal") {
        Some(Value::Text(text)) => digest_from_base64(text),
        _ => None,
    };
    let Some(commitment) = commitment else {
        return Ok(None);
    };
    let Some(opening) = source.opening(session_in(&record))? else {
        return Ok(None);
    };
    if opening.commitment() != commitment {
        tracing::error!(
            index,
            "the opening of an entry is not the one that it commits to; it goes to no sink"
        );
        return Ok(None);
    }
    Ok(Some(EntryOpening { index, opening }))
}

/// The identifier of an entry's opening.
fn session_in(record: &AuditRecord) -> Uuid {
    let opens = matches!(
        record.action.role(),
        SessionRole::Opens(_) | SessionRole::Refuses
    );
    record.session.filter(|_| opens).unwrap_or_else(|| {
        session_of(
            record.boot.unwrap_or_default(),
            record.seq.unwrap_or_default(),
        )
    })
}

fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|part| part == mark)
}

#[cfg(test)]
mod tests {
    use livetrail_record::{AuditAction, encode_canonical};

    use super::*;

    fn erased(action: &str, sessions: &str) -> Option<Vec<[u8; 16]>> {
        let record = AuditRecord::new(AuditAction::from_label(action), "")
            .with_ts_ms(7)
            .with_extra("sessions", Value::Text("AAAA".to_owned()))
            .unwrap();
        let entry = String::from_utf8(encode_canonical(&record).unwrap()).unwrap();
        let entry = entry.replace("AAAA", sessions);
        erased_in(entry.as_bytes()).map(|erased| {
            assert_eq!(erased.ts_ms, 7);
            erased.sessions
        })
    }

    #[test]
    fn an_entry_names_erased_sessions_only_if_it_is_a_record_of_an_erasure() {
        let two: Vec<u8> = (0..32).collect();
        let text = STANDARD.encode(&two);
        let wanted = [two[..16].try_into().unwrap(), two[16..].try_into().unwrap()];
        assert_eq!(erased(ERASED, &text), Some(wanted.to_vec()));
        assert_eq!(erased("admin_held", &text), None);
        assert_eq!(erased(ERASED, ""), Some(Vec::new()));
        assert_eq!(erased(ERASED, "not base64!"), Some(Vec::new()));
        // What does not make a whole identifier is not one.
        assert_eq!(
            erased(ERASED, &STANDARD.encode([1; 20])),
            Some(vec![[1; 16]])
        );
        assert!(erased_in(b"\"admin_erased\"").is_none());
    }
}
