//! Openings: what the entries of a ledger only commit to.

use std::io;
use std::sync::Arc;

use livetrail_record::{AuditRecord, Opening};

/// Seals openings for their way through the write-ahead log. A host with a vault supplies it.
///
/// With openings, [`LedgerSink`](crate::LedgerSink) writes entries of schema 2: they have a
/// commitment in place of personal fields. The opening of an entry is sealed here and becomes the
/// companion of the entry. The ledger gives companions to the host's
/// [`CompanionStore`](livetrail_ledger::CompanionStore) before it seals their entries.
///
/// ```
/// use std::io;
/// use livetrail_audit::{OpeningOf, Openings};
///
/// /// Passes openings on as they are. A host seals them under a key that it destroys soon.
/// struct Plain;
///
/// impl Openings for Plain {
///     fn seal(&self, opening: &OpeningOf<'_>, into: &mut Vec<u8>) -> io::Result<()> {
///         into.extend_from_slice(&opening.opening.to_json());
///         Ok(())
///     }
///
///     fn name_secret(&self, _app: &str) -> Option<[u8; 32]> {
///         None
///     }
/// }
/// ```
pub trait Openings: Send + Sync + 'static {
    /// Seals an opening for its way through the write-ahead log, and appends the result to `into`:
    /// at most [`MAX_COMPANION_BYTES`](livetrail_ledger::MAX_COMPANION_BYTES). If it appends
    /// nothing, the opening is not kept, and the entry's commitment can never be opened.
    ///
    /// The pipeline's own thread calls it, in the order of the trail. It may block briefly. The
    /// JSON of an opening from the pipeline has at most 66 KiB.
    ///
    /// # Errors
    /// The sink tries again until it succeeds or the log has stopped. Meanwhile it accepts nothing,
    /// and [`failing`](crate::AuditSink::failing) reports the error. What was appended to `into`
    /// does not count.
    fn seal(&self, opening: &OpeningOf<'_>, into: &mut Vec<u8>) -> io::Result<()>;

    /// The secret of the tokens of stream names of this application, if its names are personal. An
    /// entry then has a token in place of the name.
    ///
    /// It is asked for each record, so it must be fast. The secret of an application never changes,
    /// because the records of a session must have the same token.
    fn name_secret(&self, app: &str) -> Option<[u8; 32]>;
}

impl<T: Openings + ?Sized> Openings for Arc<T> {
    fn seal(&self, opening: &OpeningOf<'_>, into: &mut Vec<u8>) -> io::Result<()> {
        self.as_ref().seal(opening, into)
    }

    fn name_secret(&self, app: &str) -> Option<[u8; 32]> {
        self.as_ref().name_secret(app)
    }
}

/// An opening, and the record whose entry commits to it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct OpeningOf<'a> {
    /// The record as the pipeline made it, with its personal fields. Its `boot` and `seq` name it.
    pub record: &'a AuditRecord,
    /// The personal fields with their salt. [`Opening::session`] says under which session they are
    /// kept.
    pub opening: &'a Opening,
}

impl<'a> OpeningOf<'a> {
    /// The opening of this record.
    #[must_use]
    pub const fn new(record: &'a AuditRecord, opening: &'a Opening) -> Self {
        Self { record, opening }
    }
}
