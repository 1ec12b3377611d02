//! The contract of a sink that follows the ledger.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use livetrail_tlog::Hash;

use crate::error::ReplicaError;
use crate::range::SealedRange;
use crate::sightings::Sightings;

/// A place outside that keeps a copy of the ledger: a table, a topic, a bucket, a file; or what a host writes itself.
///
/// Entries are keyed by (origin, index), so one place can hold several logs and none disturbs another. A sink has to promise:
///
/// 1. **`append` is all or nothing, and durable when it returns.** It commits entries and cursor together, so that the
///    cursor never says more or less than what is there.
/// 2. **The cursor inside the sink is the truth.** `append` takes a range only where the cursor stands at its first index, and
///    moves it in the same commit (compare and swap), so that of two writers one loses: [`ReplicaError::CursorMoved`].
/// 3. **A range that is there already changes nothing.** When the range lies below the cursor, as a whole or in part, the
///    stored entries are compared by leaf hash: the same ones are left alone and the rest is appended, others are
///    [`ReplicaError::Fork`]. A sink that cannot read back what it wrote (a syslog, say) may answer `CursorMoved` instead.
/// 4. **Errors have a class** ([`ReplicaError::class`]): what may pass by itself, what a person must mend, what is a fork.
///    Messages hold no secrets: no passwords, no tokens, no URLs with them.
/// 5. **Dropping a future is safe at any moment**, as a connection that breaks is: each attempt has a deadline.
///
/// A place that cannot say what it holds (a syslog, a pipe) has no cursor in it. Its sink keeps one in a file of its own, moves it only
/// when the place has taken the range as far as its protocol can tell, and says so with [`delivery`](Self::delivery): of such a
/// sink promises 1 to 3 hold for that file, and what is in the place may be there twice.
///
/// Calls come one at a time from one replicator; another process may talk to the same place by mistake. No call may block
/// its thread. `livetrail-audit`'s feature `conformance` has the suite that every sink must pass against its real server.
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
    /// Its name in configuration, cursors, metrics and messages: 1 to 64 letters, digits, `-` and `_`.
    fn name(&self) -> &str;

    /// Whether what is sent twice is there twice. Unless overridden it is not.
    fn delivery(&self) -> Delivery {
        Delivery::OnceInEffect
    }

    /// How far the sink has come with this log. Of a log that it has never seen: [`SinkCursor::at`] 0.
    ///
    /// # Errors
    /// When the sink cannot be asked.
    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError>;

    /// Offers every checkpoint of the log that the place holds and that may be the largest with the log's own signature, whatever else is wrong
    /// with the place: settings that would keep it from being written to, content of others, objects that are damaged or gone. An answer
    /// that leaves something out must be an error; what was offered by then counts all the same.
    ///
    /// Hand-overs from key to key belong to them: a copy of the ledger from before a change of keys
    /// knows no other signature by which it could know that the log went on.
    ///
    /// Unless overridden: the checkpoint and the hand-overs of [`cursor`](Self::cursor).
    ///
    /// # Errors
    /// When the place, or a part of it in which there may be a checkpoint, cannot be read.
    async fn sightings(&self, seen: &Sightings) -> Result<(), ReplicaError> {
        let cursor = self.cursor(seen.origin()).await?;
        for note in cursor.checkpoint().into_iter().chain(cursor.hand_overs()) {
            seen.offer(note);
        }
        Ok(())
    }

    /// Commits a range and moves the cursor behind it. Durable when it returns.
    ///
    /// # Errors
    /// [`ReplicaError::CursorMoved`] when the cursor stands elsewhere, [`ReplicaError::Fork`] when other bytes stand there, and
    /// what the place says. After any error but a fork it is not known whether the range was committed: the cursor is asked.
    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError>;

    /// Moves the cursor over entries that are not to be had any more, and keeps on record which. Only asked of optional sinks.
    ///
    /// # Errors
    /// As for [`append`](Self::append). Unless overridden: [`ReplicaError::GapRefused`].
    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        Err(ReplicaError::GapRefused {
            from: gap.missing.start,
            to: gap.missing.end,
        })
    }

    /// Whether the place could take entries now: reachable, let in, with the right schema or settings.
    ///
    /// # Errors
    /// What is wrong.
    async fn health(&self) -> Result<(), ReplicaError>;

    /// Somebody has moved away what the sink writes to, and wants it begun anew in the same place (`SIGHUP`). `false`: the sink writes to
    /// nothing that could be moved. Unless overridden, that.
    ///
    /// # Errors
    /// What kept it from doing so now. It is done with the next range then.
    async fn reopen(&self) -> Result<bool, ReplicaError> {
        Ok(false)
    }
}

/// How a sink keeps its cursor, and what follows for an entry that is sent twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The cursor is in the place, moved by the commit that adds the entries: each of them is there once.
    #[default]
    OnceInEffect,
    /// The place cannot say what it holds, and the cursor is in a file beside the ledger: after a crash, or when that file is lost, entries
    /// come again. Each names its index and leaf hash, by which a reader can tell.
    AtLeastOnce,
}

impl Delivery {
    /// Its stable name in answers: `once` or `at_least_once`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::OnceInEffect => "once",
            Self::AtLeastOnce => "at_least_once",
        }
    }
}

/// How far a sink has come with one log, and what it holds by which that can be checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkCursor {
    next: u64,
    last_leaf: Option<Hash>,
    checkpoint: Option<Bytes>,
    hand_overs: Vec<Bytes>,
}

impl SinkCursor {
    /// The sink holds everything below `next`, and needs that one next.
    #[must_use]
    pub const fn at(next: u64) -> Self {
        Self {
            next,
            last_leaf: None,
            checkpoint: None,
            hand_overs: Vec::new(),
        }
    }

    /// Adds the leaf hash that the sink holds for the entry before `next`. It is compared with the ledger's.
    #[must_use]
    pub const fn with_last_leaf(mut self, leaf: Hash) -> Self {
        self.last_leaf = Some(leaf);
        self
    }

    /// Adds the signed checkpoint of the largest size that the sink holds. Its tree is compared with the ledger's: so a
    /// history that was changed is found at whatever index, and a ledger restored from an old copy is kept from signing.
    #[must_use]
    pub fn with_checkpoint(mut self, note: impl Into<Bytes>) -> Self {
        self.checkpoint = Some(note.into());
        self
    }

    /// Adds the hand-overs from key to key that the sink holds next to its cursor.
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

    /// The leaf hash of the entry before [`next`](Self::next), if the sink can tell.
    #[must_use]
    pub const fn last_leaf(&self) -> Option<&Hash> {
        self.last_leaf.as_ref()
    }

    /// The bytes of the signed checkpoint of the largest size, if the sink keeps them. Not verified.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&Bytes> {
        self.checkpoint.as_ref()
    }

    /// The hand-overs from key to key, as far as the sink keeps them next to its cursor. Not verified.
    #[must_use]
    pub fn hand_overs(&self) -> &[Bytes] {
        &self.hand_overs
    }
}

/// Entries that a sink will never get, because they were pruned before it came back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Which log.
    pub origin: String,
    /// The indexes that are missing. It starts at the sink's cursor.
    pub missing: Range<u64>,
    /// Why, for people.
    pub reason: String,
}

impl Gap {
    /// A gap.
    #[must_use]
    pub fn new(origin: impl Into<String>, missing: Range<u64>, reason: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            missing,
            reason: reason.into(),
        }
    }
}
