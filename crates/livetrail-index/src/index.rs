//! The index: opening, catching up, open sessions.

use std::{collections::HashMap, path::Path};

use livetrail_ledger::{LedgerError, Reader};
use livetrail_record::{
    AuditRecord, OpenSession, Personal, RecordView, TrailChecker, Uuid, parse_canonical,
};
use livetrail_tlog::{Hash, TILE_WIDTH, VerifiedCheckpoint, parse_bundle};

use crate::candidates;
use crate::database::{About, Database, Rows};
use crate::error::IndexError;
use crate::filter::Filter;
use crate::hits::Hits;
use crate::segment::{
    Fields, SEGMENT_BUNDLES, SEGMENT_RECORDS, SegmentBuilder, opened, posting_place, sealed,
};
use crate::sessions::SessionSet;

/// The file's name in the index's directory.
pub const FILE_NAME: &str = "entries.sqlite";

/// The extent of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The number of indexed records.
    pub indexed: u64,
    /// The number of records that the published checkpoint covers. The last ones, fewer than
    /// [`SEGMENT_RECORDS`], are never indexed.
    pub published: u64,
}

/// An index over one trail.
pub struct Index {
    database: Database,
    origin: String,
    indexed: u64,
    /// The state after the last indexed record, once it was needed.
    state: Option<State>,
}

/// The sessions that the records so far leave open.
struct State {
    checker: TrailChecker,
    /// The first entry that is not a record: the open sessions are unknown then.
    unreadable: Option<u64>,
}

impl Index {
    /// Opens the index in this directory, or creates it. An existing one is discarded when it is
    /// damaged, of another format, or not of this trail: its origin must be the same, and the
    /// published checkpoint must have grown out of the tree of its records.
    ///
    /// # Errors
    /// When the trail cannot be read, or the file cannot be written. For queries, the caller can
    /// then use [`scan`](crate::scan).
    pub fn open(dir: &Path, reader: &Reader) -> Result<Self, IndexError> {
        let mut index = Self {
            database: Database::open(&dir.join(FILE_NAME))?,
            origin: String::new(),
            indexed: 0,
            state: None,
        };
        index.settle(reader)?;
        Ok(index)
    }

    /// Checks that an existing index is of this trail, and recreates it if not.
    fn settle(&mut self, reader: &Reader) -> Result<(), IndexError> {
        let checkpoint = reader.checkpoint()?;
        self.origin = checkpoint.checkpoint().origin().to_owned();
        self.state = None;
        self.indexed = 0;
        match self.database.about() {
            Ok(None) => return Ok(()),
            Ok(Some(about)) => {
                if self.is_of_this_log(&about, &checkpoint, reader)? {
                    self.indexed = about.records;
                    return Ok(());
                }
            }
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
        self.recreate(checkpoint.head().size)
    }

    fn is_of_this_log(
        &self,
        about: &About,
        checkpoint: &VerifiedCheckpoint,
        reader: &Reader,
    ) -> Result<bool, IndexError> {
        let whole = about.records.checked_rem(SEGMENT_RECORDS) == Some(0);
        if about.origin != self.origin || about.records > checkpoint.head().size || !whole {
            return Ok(false);
        }
        Ok(root_at(about.records, checkpoint, reader)? == about.root)
    }

    fn recreate(&mut self, published: u64) -> Result<(), IndexError> {
        if self.database.is_read_only() {
            return Err(IndexError::ReadOnly { behind: published });
        }
        self.database.recreate()?;
        self.indexed = 0;
        self.state = None;
        Ok(())
    }

    /// The number of indexed records, from the first on: a multiple of [`SEGMENT_RECORDS`].
    #[must_use]
    pub const fn indexed(&self) -> u64 {
        self.indexed
    }

    /// Indexes all whole segments under the published checkpoint, one transaction each. Calls
    /// `progress` after each; `false` stops. One segment is in memory at a time. Another process
    /// may do the same concurrently.
    ///
    /// # Errors
    /// When the trail cannot be read or the file cannot be written.
    pub fn catch_up(
        &mut self,
        reader: &Reader,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Progress, IndexError> {
        match self.try_catch_up(reader, progress) {
            Err(error) if error.is_damage() => {
                self.recreate(0)?;
                self.try_catch_up(reader, progress)
            }
            other => other,
        }
    }

    fn try_catch_up(
        &mut self,
        reader: &Reader,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Progress, IndexError> {
        let checkpoint = reader.checkpoint()?;
        let published = checkpoint.head().size;
        loop {
            let done = Progress {
                indexed: self.indexed,
                published,
            };
            let behind = published.saturating_sub(self.indexed);
            if behind < SEGMENT_RECORDS {
                return Ok(done);
            }
            if self.database.is_read_only() {
                return Err(IndexError::ReadOnly { behind });
            }
            self.add_segment(&checkpoint, reader)?;
            let done = Progress {
                indexed: self.indexed,
                published,
            };
            if !progress(done) {
                return Ok(done);
            }
        }
    }

    fn add_segment(
        &mut self,
        checkpoint: &VerifiedCheckpoint,
        reader: &Reader,
    ) -> Result<(), IndexError> {
        let before = self.indexed;
        // Taken out, so that an error discards a partly fed state.
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.saved_state()?,
        };
        let segment = before.checked_div(SEGMENT_RECORDS).unwrap_or_default();
        let rows = read_segment(segment, checkpoint, reader, &mut state)?;
        let records = before.saturating_add(SEGMENT_RECORDS);
        let about = About {
            origin: self.origin.clone(),
            records,
            root: root_at(records, checkpoint, reader)?,
        };
        if self
            .database
            .add(before, &rows, &about, &state.save(records))?
        {
            self.indexed = records;
            self.state = Some(state);
            return Ok(());
        }
        // Another process was faster, or found an error and recreated the file.
        self.settle(reader)
    }

    fn saved_state(&self) -> Result<State, IndexError> {
        if self.indexed == 0 {
            return Ok(State {
                checker: TrailChecker::new(),
                unreadable: None,
            });
        }
        let bytes = self.database.state()?.ok_or(IndexError::Damaged {
            what: "the state is missing",
        })?;
        State::restore(self.indexed, &bytes)
    }

    /// The sessions that the trail leaves open at the published checkpoint. The result is that of
    /// replaying the whole trail through [`TrailChecker`], but only the records that are not
    /// indexed are replayed.
    ///
    /// The index has no names. For sessions that entries of schema 1 opened, they are read from
    /// these entries.
    ///
    /// # Errors
    /// When the trail cannot be read, or an entry is not a record.
    pub fn open_sessions(&mut self, reader: &Reader) -> Result<Vec<OpenSession>, IndexError> {
        let mut state = match self.saved_state() {
            Err(error) if error.is_damage() => {
                self.recreate(0)?;
                self.saved_state()?
            }
            other => other?,
        };
        let checkpoint = reader.checkpoint()?;
        let width = u64::from(TILE_WIDTH);
        let first = self.indexed.checked_div(width).unwrap_or_default();
        for number in first..checkpoint.head().size.div_ceil(width) {
            for_each_entry(number, &checkpoint, reader, |index, entry| {
                state.feed(index, entry, |_| {});
            })?;
        }
        if let Some(index) = state.unreadable {
            return Err(unreadable(index, reader));
        }
        let mut open = state.checker.finish().1.open;
        self.read_names(&mut open, reader)?;
        Ok(open)
    }

    /// Reads principal and peer of the sessions whose entries have them in clear.
    fn read_names(&mut self, open: &mut [OpenSession], reader: &Reader) -> Result<(), IndexError> {
        let is_named = |text: &Option<Personal>| text.as_ref().is_some_and(Personal::is_redacted);
        let mut named: HashMap<Uuid, &mut OpenSession> = open
            .iter_mut()
            .filter(|session| is_named(&session.principal) || is_named(&session.peer))
            .map(|session| (session.session, session))
            .collect();
        let ids: Vec<[u8; 16]> = named.keys().map(|id| id.into_bytes()).collect();
        for sessions in SessionSet::pages(ids) {
            let filter = Filter {
                sessions: Some(sessions),
                ..Filter::default()
            };
            for found in self.find(reader, filter)? {
                let AuditRecord {
                    session,
                    boot,
                    ts_ms,
                    principal,
                    peer,
                    ..
                } = found?.record;
                // The session's first entry, which is that of the checker.
                if let Some(id) = session
                    && let Some(open) = named.remove(&id)
                {
                    if (open.boot, open.ts_ms) == (boot, ts_ms) {
                        (open.principal, open.peer) = (principal, peer);
                    } else {
                        named.insert(id, open);
                    }
                }
            }
        }
        // Their entries were pruned.
        for open in named.into_values() {
            (open.principal, open.peer) = (None, None);
        }
        Ok(())
    }

    /// The matching records, in trail order.
    ///
    /// # Errors
    /// When the trail cannot be read. A damaged index is emptied, and the whole trail is read.
    pub fn find<'a>(&mut self, reader: &'a Reader, filter: Filter) -> Result<Hits<'a>, IndexError> {
        let checkpoint = reader.checkpoint()?;
        let size = checkpoint.head().size;
        let indexed = self.indexed;
        let found = self.database.with_snapshot(|snapshot| {
            let about = snapshot.about()?;
            // Never more than was compared with the log when this index was opened, or than it
            // wrote itself.
            let indexed = about.map_or(0, |about| about.records.min(indexed));
            candidates::bundles(&filter, snapshot, indexed, size)
        });
        let bundles = match found {
            Err(error) if error.is_damage() => {
                if !self.database.is_read_only() {
                    self.recreate(size)?;
                }
                std::iter::once(candidates::all(&filter, size)).collect()
            }
            found => found?,
        };
        Ok(Hits::new(reader, checkpoint, filter, bundles))
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("origin", &self.origin)
            .field("indexed", &self.indexed)
            .finish_non_exhaustive()
    }
}

impl State {
    fn feed(&mut self, index: u64, entry: &[u8], mut each: impl FnMut(&Fields<'_>)) {
        if let Some(view) = RecordView::parse(entry) {
            each(&Fields::from(&view));
            self.checker.feed(&view.to_record());
            return;
        }
        match parse_canonical(entry) {
            Ok(record) => {
                each(&Fields::from(&record));
                self.checker.feed(&record);
            }
            Err(_) => self.unreadable = self.unreadable.or(Some(index)),
        }
    }

    fn save(&self, records: u64) -> Vec<u8> {
        let mut bytes = self.unreadable.unwrap_or(u64::MAX).to_le_bytes().to_vec();
        bytes.extend(self.checker.save());
        sealed(records, bytes)
    }

    fn restore(records: u64, row: &[u8]) -> Result<Self, IndexError> {
        let damaged = IndexError::Damaged {
            what: "the state of the sessions cannot be read",
        };
        let Some((unreadable, checker)) = opened(records, row)?.split_first_chunk() else {
            return Err(damaged);
        };
        let unreadable = u64::from_le_bytes(*unreadable);
        Ok(Self {
            checker: TrailChecker::restore(checker).map_err(|_| damaged)?,
            unreadable: (unreadable != u64::MAX).then_some(unreadable),
        })
    }
}

fn read_segment(
    segment: u64,
    checkpoint: &VerifiedCheckpoint,
    reader: &Reader,
    state: &mut State,
) -> Result<Rows, IndexError> {
    let mut builder = SegmentBuilder::new();
    let first = segment.saturating_mul(SEGMENT_BUNDLES);
    for place in 0..=u8::MAX {
        builder.begin_bundle(place);
        let number = first.saturating_add(u64::from(place));
        for_each_entry(number, checkpoint, reader, |index, entry| {
            state.feed(index, entry, |fields| builder.add(fields));
        })?;
    }
    let (postings, times) = builder.finish(segment);
    let postings = (0..=u8::MAX)
        .map(|part| posting_place(segment, part))
        .zip(postings);
    Ok(Rows {
        segment,
        postings: postings.collect(),
        times,
    })
}

fn for_each_entry(
    number: u64,
    checkpoint: &VerifiedCheckpoint,
    reader: &Reader,
    mut each: impl FnMut(u64, &[u8]),
) -> Result<(), IndexError> {
    let (bundle, bytes) = match reader.bundle_of(checkpoint, number) {
        // Results in pruned bundles could not be shown.
        Err(LedgerError::Pruned { .. }) => return Ok(()),
        read => read?,
    };
    let entries = parse_bundle(bundle, &bytes).map_err(|error| LedgerError::FileCorrupt {
        path: bundle.to_string(),
        what: error.to_string(),
    })?;
    let first = number.saturating_mul(u64::from(TILE_WIDTH));
    for (index, entry) in (first..).zip(entries) {
        each(index, entry);
    }
    Ok(())
}

/// The root of the log's tree of `records` entries, from tiles that lead to the checkpoint's root.
fn root_at(
    records: u64,
    checkpoint: &VerifiedCheckpoint,
    reader: &Reader,
) -> Result<Hash, IndexError> {
    let (head, _) = reader.consistency_proof(records, checkpoint.head().size)?;
    Ok(head.root)
}

fn unreadable(index: u64, reader: &Reader) -> IndexError {
    match reader.entry(index) {
        Err(error) => error.into(),
        Ok(entry) => match parse_canonical(&entry) {
            Err(source) => IndexError::Entry { index, source },
            Ok(_) => IndexError::Damaged {
                what: "an entry is a record after all",
            },
        },
    }
}
