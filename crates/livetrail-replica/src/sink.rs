//! The contract of a sink that follows the ledger.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use livetrail_tlog::Hash;

use crate::error::ReplicaError;
use crate::personal::{Erasure, PersonalMode};
use crate::range::SealedRange;
use crate::sightings::Sightings;

/// A destination outside that keeps a copy of the ledger: a table, a topic, a bucket, a file, or
/// anything that an embedding program writes itself.
///
/// Entries are keyed by (origin, index), so one destination can hold several logs that do not
/// disturb each other. A sink has to promise:
///
/// 1. **`append` is all or nothing, and durable when it returns.** It commits entries and cursor
///    together, so that the cursor always matches the stored entries.
/// 2. **The cursor inside the sink is the truth.** `append` accepts a range only if the cursor is
///    at its first index, and moves the cursor in the same commit (compare and swap). Of two
///    writers one then fails with [`ReplicaError::CursorMoved`].
/// 3. **A range that is there already changes nothing.** If the range lies below the cursor, as a
///    whole or in part, the sink compares the stored entries by leaf hash. It keeps equal entries
///    and appends the rest; a different entry is [`ReplicaError::Fork`]. A sink that cannot read
///    its own output (such as syslog) may answer `CursorMoved` instead.
/// 4. **Errors have a class** ([`ReplicaError::class`]): what may pass by itself, what a person
///    must fix, what is a fork. Messages contain no secrets: no passwords, no tokens, no URLs with
///    them.
/// 5. **Dropping a future is safe at any moment**, like a broken connection: each attempt has a
///    deadline.
/// 6. **What is erased stays erased**, if it keeps openings ([`personal`](Self::personal)).
///    `append` stores the openings of a range at the latest with its commit. [`erase`](Self::erase)
///    removes them, is durable when it returns, and moves a cursor of its own. An opening that was
///    erased and comes again, for example from a second writer, is not there when `append` returns.
///
/// A destination that cannot report what it holds (syslog, a pipe) stores no cursor. Its sink keeps
/// the cursor in its own file, and moves it only when the destination has accepted the range, as
/// far as its protocol can report that. It declares this with [`delivery`](Self::delivery). For
/// such a sink promises 1 to 3 hold for that file, and the destination may hold entries twice.
///
/// One replicator makes the calls, one at a time; another process may use the same destination by
/// mistake. No call may block its thread. This crate's feature `conformance` has the suite that
/// every sink must pass against its real server.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
/// use async_trait::async_trait;
/// use livetrail_replica::{ReplicaError, ReplicaSink, SealedRange, SinkCursor};
///
/// /// Keeps everything in memory. A real sink commits entries and cursor in one transaction.
/// struct Shelf(Mutex<BTreeMap<(String, u64), Vec<u8>>>);
///
/// #[async_trait]
/// impl ReplicaSink for Shelf {
///     fn name(&self) -> &str { "shelf" }
///
///     async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
///         let held = self.0.lock().unwrap();
///         Ok(SinkCursor::at(held.keys().filter(|(of, _)| of == origin).count() as u64))
///     }
///
///     async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
///         let next = self.cursor(range.origin()).await?.next();
///         if next != range.first() {
///             return Err(ReplicaError::CursorMoved { expected: range.first(), found: next });
///         }
///         let mut held = self.0.lock().unwrap();
///         for (index, entry, _leaf) in range.iter() {
///             held.insert((range.origin().to_owned(), index), entry.to_vec());
///         }
///         Ok(())
///     }
///
///     async fn health(&self) -> Result<(), ReplicaError> { Ok(()) }
/// }
/// ```
#[async_trait]
pub trait ReplicaSink: Send + Sync + 'static {
    /// The sink's name in configuration, cursors, metrics and messages: 1 to 64 letters, digits,
    /// `-` and `_`.
    fn name(&self) -> &str;

    /// Whether an entry that is sent twice is stored twice. By default it is stored once.
    fn delivery(&self) -> Delivery {
        Delivery::OnceInEffect
    }

    /// How far the sink has come with this log. For a log that it has never seen:
    /// [`SinkCursor::at`] 0.
    ///
    /// # Errors
    /// The sink cannot be asked.
    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError>;

    /// Offers each checkpoint of the log that the destination holds and that may be the largest one
    /// with the log's own signature. It does so whatever else is wrong with the destination:
    /// settings that prevent writes, content of others, objects that are damaged or gone. An
    /// incomplete answer must be an error. Notes that were offered before the error still count.
    ///
    /// The offered notes include hand-overs from key to key. A copy of the ledger from before a
    /// change of keys knows no other signature by which it could learn that the log continued.
    ///
    /// By default it offers the checkpoint and the hand-overs of [`cursor`](Self::cursor).
    ///
    /// # Errors
    /// The destination cannot be read, or a part of it in which there may be a checkpoint.
    async fn sightings(&self, seen: &Sightings) -> Result<(), ReplicaError> {
        let cursor = self.cursor(seen.origin()).await?;
        for note in cursor.checkpoint().into_iter().chain(cursor.hand_overs()) {
            seen.offer(note);
        }
        Ok(())
    }

    /// Commits a range and moves the cursor behind it. Both are durable when it returns.
    ///
    /// # Errors
    /// [`ReplicaError::CursorMoved`] if the cursor is elsewhere, [`ReplicaError::Fork`] if other
    /// bytes are there, and the destination's errors. After any error but a fork it is unknown
    /// whether the range was committed; the replicator then reads the cursor.
    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError>;

    /// Moves the cursor over entries that no longer exist, and stores which ones are missing. Only
    /// optional sinks are asked to do this.
    ///
    /// # Errors
    /// As for [`append`](Self::append). By default: [`ReplicaError::GapRefused`].
    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        Err(ReplicaError::GapRefused {
            from: gap.missing.start,
            to: gap.missing.end,
        })
    }

    /// What the sink has of personal data. By default nothing: entries alone.
    fn personal(&self) -> PersonalMode {
        PersonalMode::None
    }

    /// How far the sink has come with the erasures of this log: it has applied those that entries
    /// below this index name. The destination holds this cursor, next to the openings: if an older
    /// copy of it is restored, it gets the later erasures again. A sink that has never kept an
    /// opening of this log has nothing to erase, and reports the cursor of its entries.
    ///
    /// A sink is asked only if [`personal`](Self::personal) is [`PersonalMode::Opening`].
    ///
    /// # Errors
    /// The sink cannot be asked.
    async fn erasure_cursor(&self, origin: &str) -> Result<u64, ReplicaError> {
        let _ = origin;
        Ok(0)
    }

    /// Removes openings for good, and moves the erasure cursor to the end of the span, unless it is
    /// beyond that. Both are durable when it returns. To remove what is not there changes nothing:
    /// the replicator repeats a call after any error, and after the cursor went back.
    ///
    /// The entries stay: they contain no personal data.
    ///
    /// # Errors
    /// [`ReplicaError::CursorMoved`] if the span begins behind the erasure cursor, so that the sink
    /// would miss erasures; and the destination's errors. By default:
    /// [`ReplicaError::Unsuitable`].
    async fn erase(&self, erasure: &Erasure) -> Result<(), ReplicaError> {
        let _ = erasure;
        Err(ReplicaError::unsuitable("this sink cannot erase"))
    }

    /// Checks whether the destination could take entries now: it is reachable, the login works, and
    /// the schema or settings are right.
    ///
    /// # Errors
    /// What is wrong.
    async fn health(&self) -> Result<(), ReplicaError>;

    /// How many records this sink has given up since it was made: the destination did not accept
    /// them in time, and nobody sends them again. By default a sink gives up nothing.
    fn lost(&self) -> u64 {
        0
    }

    /// Starts the output again from scratch at the same path, because somebody has moved it away
    /// (`SIGHUP`). `false`, the default, means that the sink has no output that could be moved.
    ///
    /// # Errors
    /// What prevented it now. The next range then does it.
    async fn reopen(&self) -> Result<bool, ReplicaError> {
        Ok(false)
    }
}

/// Where a sink keeps its cursor, and so what happens to an entry that is sent twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// The destination holds the cursor, and the commit that adds entries moves it. Each entry is
    /// stored once.
    #[default]
    OnceInEffect,
    /// The destination cannot report what it holds, and the cursor is in a file next to the ledger.
    /// Entries repeat after a crash, or if that file is lost. Each names its index and leaf hash,
    /// by which a reader can recognise a repetition.
    AtLeastOnce,
}

impl Delivery {
    /// Its stable name in API answers: `once` or `at_least_once`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::OnceInEffect => "once",
            Self::AtLeastOnce => "at_least_once",
        }
    }
}

/// How far a sink has come with one log, and the evidence by which that can be checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkCursor {
    next: u64,
    last_leaf: Option<Hash>,
    checkpoint: Option<Bytes>,
    hand_overs: Vec<Bytes>,
}

impl SinkCursor {
    /// The sink holds everything below `next`, and needs that entry next.
    #[must_use]
    pub const fn at(next: u64) -> Self {
        Self {
            next,
            last_leaf: None,
            checkpoint: None,
            hand_overs: Vec::new(),
        }
    }

    /// Adds the leaf hash that the sink holds for the entry before `next`. The replicator compares
    /// it with the ledger's.
    #[must_use]
    pub const fn with_last_leaf(mut self, leaf: Hash) -> Self {
        self.last_leaf = Some(leaf);
        self
    }

    /// Adds the signed checkpoint of the largest size that the sink holds. The replicator compares
    /// its tree with the ledger's. This finds a changed history at any index, and keeps a ledger
    /// that was restored from an old copy from signing.
    #[must_use]
    pub fn with_checkpoint(mut self, note: impl Into<Bytes>) -> Self {
        self.checkpoint = Some(note.into());
        self
    }

    /// Adds the key hand-overs that the sink holds next to its cursor.
    #[must_use]
    pub fn with_hand_overs(mut self, notes: impl IntoIterator<Item = Bytes>) -> Self {
        self.hand_overs.extend(notes);
        self
    }

    /// The next index that the sink needs.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The leaf hash of the entry before [`next`](Self::next), if the sink can report it.
    #[must_use]
    pub const fn last_leaf(&self) -> Option<&Hash> {
        self.last_leaf.as_ref()
    }

    /// The bytes of the signed checkpoint of the largest size, if the sink keeps checkpoints. Not
    /// verified.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&Bytes> {
        self.checkpoint.as_ref()
    }

    /// The key hand-overs that the sink keeps next to its cursor. Not verified.
    #[must_use]
    pub fn hand_overs(&self) -> &[Bytes] {
        &self.hand_overs
    }
}

/// Entries that a sink will never get, because they were pruned before the sink came back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The log's origin.
    pub origin: String,
    /// The missing indexes. They start at the sink's cursor.
    pub missing: Range<u64>,
    /// The reason, for people.
    pub reason: String,
}

impl Gap {
    /// Makes a gap.
    #[must_use]
    pub fn new(origin: impl Into<String>, missing: Range<u64>, reason: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            missing,
            reason: reason.into(),
        }
    }
}
