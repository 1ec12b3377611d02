//! The vault of a server: the names that its trail commits to.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use livetrail_clock::SystemClock;
use livetrail_record::{
    AuditRecord, Opening, Personal, SessionRole, Uuid, Value, digest_to_base64, session_of,
};
use livetrail_vault::{Options, Query, Subject, Vault, VaultError};

/// The openings that a vault has at one moment, by their session.
pub(crate) struct Openings(HashMap<Uuid, Opening>);

/// What a vault has for a record.
pub(crate) enum Opened {
    /// The record commits to nothing.
    Nothing,
    /// It commits to these fields.
    Fields,
    /// The vault has no opening: it was erased, or refused as one of too many.
    Missing,
}

impl Openings {
    /// All openings in a data folder, also while a server has it open. None if it has no vault.
    pub(crate) fn read(data: &Path) -> Result<Self, VaultError> {
        let folder = data.join("personal");
        let mut openings = HashMap::new();
        if !folder.join("vault").exists() {
            return Ok(Self(openings));
        }
        let clock = Arc::new(SystemClock::new());
        let vault = Vault::open_read_only(&Options::new(folder), clock)?;
        let mut from = None;
        loop {
            let page = vault.find(&Query::of(Subject::Anyone), from, usize::MAX)?;
            for row in &page.rows {
                let opening = Opening::parse(&row.opening).expect("an opening in canonical JSON");
                let session = Uuid::from_bytes(row.session);
                assert_eq!(opening.session(), session, "a row of another session");
                openings.insert(session, opening);
            }
            from = page.next;
            if from.is_none() {
                return Ok(Self(openings));
            }
        }
    }

    /// Puts the names into a record that commits to them.
    ///
    /// # Panics
    /// When the record commits to something else than the opening.
    #[track_caller]
    pub(crate) fn open(&self, record: &mut AuditRecord) -> Opened {
        let Some(Value::Text(commitment)) = record.extra.get("personal") else {
            return Opened::Nothing;
        };
        let Some(opening) = self.0.get(&session_of_opening(record)) else {
            return Opened::Missing;
        };
        let real = digest_to_base64(&opening.commitment());
        assert_eq!(*commitment, real, "the opening of another record");
        let value = |name: &str| opening.get(name).cloned();
        record.principal = value("principal").or_else(|| record.principal.take());
        record.peer = value("peer");
        record.user_agent = value("user_agent");
        record.detail = value("detail").or_else(|| record.detail.take());
        // A record that stands for several attempts has no stream; others keep its token.
        let stream = record.stream.take();
        record.stream = stream.or_else(|| value("stream").map(Personal::into_exposed));
        Opened::Fields
    }
}

/// The session in the opening of a record.
pub(crate) fn session_of_opening(record: &AuditRecord) -> Uuid {
    let role = record.action.role();
    let opens = matches!(role, SessionRole::Opens(_) | SessionRole::Refuses);
    let (boot, seq) = (record.boot, record.seq);
    record
        .session
        .filter(|_| opens)
        .unwrap_or_else(|| session_of(boot.unwrap_or_default(), seq.unwrap_or_default()))
}
