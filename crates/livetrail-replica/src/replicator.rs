//! The loop that follows the ledger for one sink: batches go out, cursors come back, errors cause
//! pauses.

use std::sync::Arc;
use std::time::Duration;

use livetrail_clock::Clock;
use livetrail_ledger::{Cursor, HandOver, Handle, Reader};
use livetrail_record::{AuditAction, AuditRecord, RecordError, Value, parse_canonical};
use livetrail_tlog::VerifiedCheckpoint;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::backoff::Backoff;
use crate::call::{Turns, blocking, chain};
use crate::clock;
use crate::eraser::{Eraser, Progress};
use crate::error::{ErrorClass, ReplicaError};
use crate::floor::source_name;
use crate::judge::{self, Contradiction};
use crate::options::{ReplicaOptions, ReplicaOptionsError};
use crate::personal::{OpeningSource, PersonalMode, opening_of};
use crate::range::SealedRange;
use crate::sightings::Sightings;
use crate::sink::{Gap, ReplicaSink, SinkCursor};
use crate::source::{Batch, SealedLog};
use crate::status::{Board, ReplicaStatus};

/// Receives the replicator's own records and puts them into the trail that it follows. Must not
/// wait.
pub type RecordEvent = Arc<dyn Fn(AuditRecord) + Send + Sync>;

/// Follows the ledger for one sink. [`run`](Self::run) it in any tokio runtime with timers.
///
/// # Loop contract
///
/// 1. The replicator asks the sink once what it has seen ([`ReplicaSink::sightings`]). A checkpoint
///    with the ledger's own signature that contradicts the ledger stops the ledger. After an answer
///    the ledger no longer waits for this sink before it signs.
/// 2. It asks the sink for its cursor, and compares the answer with the ledger. Another tree is a
///    fork. A cursor below the earlier one is reported: in the log, in the status, and on record.
/// 3. It sends batches from there, one at a time, and reads the next one meanwhile. Each batch is
///    proven against the published checkpoint.
/// 4. After any error it pauses as the error's class demands, and continues with step 2: only the
///    sink knows whether a batch was committed. Without an error it repeats step 2 each
///    `recheck_interval`, and on request. It repeats step 1 until the sink has answered, and after
///    a fork.
///
/// It writes the local copy of the cursor (`private/cursors/NAME`) after the sink has moved its
/// own: retention may keep too much, never too little.
///
/// If the sink keeps openings ([`ReplicaSink::personal`]), each batch has those of its entries,
/// from the [`OpeningSource`]. A second loop applies the erasures that the log names. It repeats
/// steps 2 to 4 with [`ReplicaSink::erasure_cursor`] and [`ReplicaSink::erase`], and pauses on its
/// own. Retention waits for it as for the entries.
pub struct Replicator {
    log: SealedLog,
    sink: Arc<dyn ReplicaSink>,
    options: ReplicaOptions,
    clock: Arc<dyn Clock>,
    event: Option<RecordEvent>,
    openings: Option<Arc<dyn OpeningSource>>,
    board: Arc<Board>,
    backoff: Backoff,
    closing: watch::Receiver<Option<Instant>>,
    closer: watch::Sender<Option<Instant>>,
    retry: Arc<Notify>,
    retry_erasures: Arc<Notify>,
    turns: Turns,
    progress: Option<watch::Sender<Progress>>,
    /// The last written local copy of the cursor, and when it was written.
    written: Option<(Cursor, Instant)>,
    /// Whether the sink has answered what it has seen.
    has_answered: bool,
    /// The sink's cursor before this process started, from the local copy.
    known: u64,
    /// The same, for as long as the sink has not reported its erasure cursor.
    known_erasures: u64,
}

/// Why following ended without an error.
enum Turn {
    /// The sink must be asked for its cursor again.
    Again,
    /// The replicator is closed.
    End,
}

/// How a wait for entries ended.
enum Wait {
    More,
    Turn(Turn),
}

/// Observes a replicator, and closes it.
#[derive(Clone, Debug)]
pub struct ReplicaWatch {
    ledger: Handle,
    board: Arc<Board>,
    closer: watch::Sender<Option<Instant>>,
    retry: Arc<Notify>,
    retry_erasures: Arc<Notify>,
}

impl ReplicaWatch {
    /// The status of the replica.
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        self.board.status(self.ledger.checkpoint().head().size)
    }

    /// Asks the sink again now, whatever its state. For somebody who has fixed something, or wants
    /// to know.
    pub fn retry(&self) {
        self.retry.notify_one();
        self.retry_erasures.notify_one();
    }

    /// Lets it send what is sealed already, and ends it after `within` at the latest.
    pub fn close(&self, within: Duration) {
        self.closer.send_replace(Some(later(clock::now(), within)));
    }
}

impl Replicator {
    /// Makes a replicator that follows this ledger for this sink.
    ///
    /// # Errors
    /// [`ReplicaOptionsError`].
    pub fn new(
        ledger: Handle,
        reader: Arc<Reader>,
        sink: Arc<dyn ReplicaSink>,
        options: ReplicaOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ReplicaOptionsError> {
        options.check(sink.name())?;
        let (closer, closing) = watch::channel(None);
        let board = Board::new(sink.name(), sink.delivery(), sink.personal(), &options);
        Ok(Self {
            board: Arc::new(board),
            backoff: Backoff::new(options.backoff_first, options.backoff_max),
            log: SealedLog::new(ledger, reader, &options),
            turns: Turns::new(options.attempt_timeout),
            sink,
            options,
            clock,
            event: None,
            openings: None,
            closing,
            closer,
            retry: Arc::default(),
            retry_erasures: Arc::default(),
            progress: None,
            written: None,
            has_answered: false,
            known: 0,
            known_erasures: 0,
        })
    }

    /// Puts on record when the sink is left behind, and which entries it then misses.
    #[must_use]
    pub fn recording(mut self, event: RecordEvent) -> Self {
        self.event = Some(event);
        self
    }

    /// Takes the openings of entries from here, for a sink that keeps them.
    #[must_use]
    pub fn with_openings(mut self, openings: Arc<dyn OpeningSource>) -> Self {
        self.openings = Some(openings);
        self
    }

    /// Returns a watch that observes and closes the replicator, also while it runs.
    #[must_use]
    pub fn watch(&self) -> ReplicaWatch {
        ReplicaWatch {
            ledger: self.log.ledger.clone(),
            board: Arc::clone(&self.board),
            closer: self.closer.clone(),
            retry: Arc::clone(&self.retry),
            retry_erasures: Arc::clone(&self.retry_erasures),
        }
    }

    /// Follows the ledger until it is [closed](ReplicaWatch::close). Dropping the future is safe at
    /// any moment.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    pub async fn run(mut self) {
        let mut closing = self.closing.clone();
        self.hold_retention().await;
        self.note_clear_copies();
        let eraser = self.eraser();
        let both = async {
            let erasing = async {
                if let Some(eraser) = eraser {
                    eraser.run().await;
                }
            };
            let following = async {
                self.follow_for_ever().await;
                // The other loop ends when nothing more can come.
                self.progress = None;
            };
            tokio::join!(following, erasing);
        };
        tokio::select! {
            () = both => {}
            () = deadline(&mut closing) => {
                tracing::warn!(sink = self.sink.name(), "closed before the sink had everything; it goes on from its cursor next time");
            }
        }
        self.keep_cursor(true).await;
        self.board.ended();
    }

    /// The loop that applies erasures, if the sink keeps openings from which it can erase.
    fn eraser(&mut self) -> Option<Eraser> {
        if self.sink.personal() != PersonalMode::Opening {
            return None;
        }
        let (sender, progress) = watch::channel(Progress::default());
        self.progress = Some(sender);
        Some(Eraser {
            log: self.log.clone(),
            sink: Arc::clone(&self.sink),
            options: self.options.clone(),
            clock: Arc::clone(&self.clock),
            board: Arc::clone(&self.board),
            backoff: Backoff::new(self.options.backoff_first, self.options.backoff_max),
            closing: self.closing.clone(),
            retry: Arc::clone(&self.retry_erasures),
            turns: self.turns.clone(),
            progress,
            seen: self.known,
            kept: self.known,
            pending: Default::default(),
        })
    }

    /// Puts on record that the sink gets personal data that nobody can erase there.
    fn note_clear_copies(&self) {
        if self.sink.personal() != PersonalMode::Clear {
            return;
        }
        tracing::warn!(
            sink = self.sink.name(),
            "the sink gets personal data that cannot be erased there"
        );
        let record = AuditRecord::new(AuditAction::AdminSinkUnerasable, "")
            .with_extra("sink", Value::Text(self.sink.name().to_owned()));
        self.put_on_record(record);
    }

    async fn follow_for_ever(&mut self) {
        loop {
            let error = match self.follow().await {
                Ok(Turn::Again) => continue,
                Ok(Turn::End) => return,
                Err(error) => error,
            };
            let pause = self.pause_after(&error).await;
            // An error that may pass is retried until the closing deadline. Other errors will not
            // change by then.
            let mut closing = self.closing.clone();
            tokio::select! {
                () = sleep(pause) => {}
                () = self.retry.notified() => {}
                () = closed(&mut closing), if error.class() != ErrorClass::Passing => return,
            }
        }
    }

    /// Holds retention until the sink has answered for the first time: nothing that it may still
    /// need is pruned.
    async fn hold_retention(&mut self) {
        let cursors = self.log.ledger.cursors().unwrap_or_default();
        let mut of_it = cursors.iter().filter(|(name, _)| name == self.sink.name());
        match of_it.next() {
            Some((_, Cursor::Required(next) | Cursor::Optional(next))) => {
                self.known = *next;
                self.known_erasures = *next;
            }
            Some((_, Cursor::Hold(_))) => {}
            None => self.write_cursor(Cursor::Required(0)).await,
        }
    }

    /// Asks what the sink has seen, whatever else is wrong with it. Notes that it showed before an
    /// error count.
    async fn ask(&mut self) -> Result<(), ReplicaError> {
        let seen = Sightings::new(Arc::clone(&self.log.reader));
        let asked = self.turns.call(self.sink.sightings(&seen)).await;
        let reader = Arc::clone(&self.log.reader);
        let judged = blocking(move || judge::judge_sightings(&reader, &seen)).await?;
        judged.map_err(|contradiction| self.contradicted(contradiction))?;
        asked?;
        self.has_answered = true;
        let (ledger, name) = (self.log.ledger.clone(), source_name(self.sink.as_ref()));
        blocking(move || ledger.answered(&name))
            .await?
            .map_err(ReplicaError::Ledger)
    }

    /// Sends from the sink's cursor on, until an error, until the cursor must be read again, or
    /// until the end.
    async fn follow(&mut self) -> Result<Turn, ReplicaError> {
        if !self.has_answered {
            self.ask().await?;
        }
        let origin = self.log.origin();
        let hand_overs = self.hand_overs().await?;
        let cursor = self.turns.call(self.sink.cursor(&origin)).await?;
        self.compare(&cursor).await?;
        let ask_again_at = later(clock::now(), self.options.recheck_interval);
        let mut next = cursor.next();
        self.notice_going_back(next);
        // Hand-overs below this index came with entries that the sink already has.
        let mut attached = next;
        self.board.answered(next);
        self.tell(|progress| progress.committed = next);
        let mut ahead = None;
        // Whether the last batch ended at its bounds: more entries are then pending.
        let mut is_behind = false;
        loop {
            match self.wait_beyond(next, ask_again_at).await {
                Wait::More => {}
                Wait::Turn(turn) => return Ok(turn),
            }
            if ahead.is_none() && !is_behind {
                self.fill_batch(next).await;
            }
            let batch = match ahead.take() {
                Some(batch) => batch,
                None => self.log.read(next).await?,
            };
            let range = match batch {
                Batch::Range(range) => range,
                Batch::PrunedBelow(there) => {
                    self.skip(next..there).await?;
                    next = there;
                    self.tell(|progress| progress.committed = next);
                    continue;
                }
            };
            self.note_age(&range);
            let (range, is_whole) = self.with_openings_of(range).await?;
            let range = with_those_due(range, &hand_overs, attached);
            let (sent, read) = tokio::join!(self.turns.call(self.sink.append(&range)), async {
                if is_whole {
                    self.read_ahead(range.next()).await
                } else {
                    None
                }
            });
            self.board.lost(self.sink.lost());
            sent?;
            self.tell(|progress| progress.committed(&range));
            next = range.next();
            attached = next;
            is_behind = next < range.checkpoint().head().size;
            self.board.committed(next, range.len(), range.entry_bytes());
            self.backoff.reset();
            self.keep_cursor(false).await;
            // An error while reading ahead occurs again when it is that batch's turn.
            ahead = read.and_then(Result::ok);
        }
    }

    /// Waits until something beyond `next` is sealed, but at most until `ask_again_at`.
    async fn wait_beyond(&mut self, next: u64, ask_again_at: Instant) -> Wait {
        if ask_again_at <= clock::now() {
            return Wait::Turn(Turn::Again);
        }
        let target = next.saturating_add(1);
        if self.log.size() >= target {
            return Wait::More;
        }
        self.board.caught_up();
        let mut closing = self.closing.clone();
        let mut sealed = self.log.ledger.sealed(target);
        loop {
            let due = self.cursor_due();
            tokio::select! {
                biased;
                reached = &mut sealed => {
                    if reached.is_err() {
                        // The ledger is closed or has stopped: no more entries will come.
                        closed(&mut closing).await;
                    }
                    break;
                }
                () = closed(&mut closing) => break,
                () = self.retry.notified() => return Wait::Turn(Turn::Again),
                () = sleep_until(ask_again_at) => return Wait::Turn(Turn::Again),
                () = sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => {
                    self.keep_cursor(true).await;
                }
            }
        }
        if self.log.size() >= target {
            Wait::More
        } else {
            Wait::Turn(Turn::End)
        }
    }

    /// Waits for a batch to become full.
    async fn fill_batch(&mut self, next: u64) {
        let full = self.full_at(next);
        if self.options.batch_interval.is_zero() || self.log.size() >= full {
            return;
        }
        let until = later(clock::now(), self.options.batch_interval);
        let mut closing = self.closing.clone();
        let mut sealed = self.log.ledger.sealed(full);
        loop {
            let due = self.cursor_due();
            tokio::select! {
                biased;
                // A closed ledger also ends the wait: the entries that are there go out.
                _ = &mut sealed => return,
                () = closed(&mut closing) => return,
                () = sleep_until(until) => return,
                () = sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => {
                    self.keep_cursor(true).await;
                }
            }
        }
    }

    /// The sealed size at which a batch from `first` on has the maximum number of entries.
    fn full_at(&self, first: u64) -> u64 {
        let records = u64::try_from(self.options.batch_records).unwrap_or(u64::MAX);
        first.saturating_add(records)
    }

    async fn read_ahead(&self, first: u64) -> Option<Result<Batch, ReplicaError>> {
        let wanted = if self.options.batch_interval.is_zero() {
            first.saturating_add(1)
        } else {
            self.full_at(first)
        };
        if self.log.size() < wanted {
            return None;
        }
        Some(self.log.read(first).await)
    }

    /// Adds the openings of its entries to a range, for a sink that keeps them. The range becomes
    /// shorter if its openings have more bytes than a batch; `false` says that it did.
    async fn with_openings_of(
        &self,
        range: SealedRange,
    ) -> Result<(SealedRange, bool), ReplicaError> {
        let Some(source) = &self.openings else {
            return Ok((range, true));
        };
        if !self.sink.personal().has_openings() {
            return Ok((range, true));
        }
        let (source, most) = (Arc::clone(source), self.options.batch_bytes);
        blocking(move || {
            let mut openings = Vec::new();
            let mut bytes = 0_usize;
            for (index, entry, _) in range.iter() {
                if bytes >= most {
                    let part = range.ending_at(index).unwrap_or_else(|| range.clone());
                    return Ok((part.with_openings(openings), false));
                }
                let opening = opening_of(source.as_ref(), index, entry);
                if let Some(opening) = opening.map_err(ReplicaError::Openings)? {
                    bytes = bytes.saturating_add(opening.json().len());
                    openings.push(opening);
                }
            }
            Ok((range.with_openings(openings), true))
        })
        .await?
    }

    /// Tells the loop that applies erasures.
    fn tell(&self, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = &self.progress {
            progress.send_modify(change);
        }
    }

    async fn compare(&self, cursor: &SinkCursor) -> Result<(), ReplicaError> {
        let reader = Arc::clone(&self.log.reader);
        let checkpoint: VerifiedCheckpoint = self.log.ledger.checkpoint();
        let cursor = cursor.clone();
        let judged = blocking(move || judge::judge_cursor(&reader, &checkpoint, &cursor)).await?;
        judged.map_err(|contradiction| self.contradicted(contradiction))
    }

    /// Stops the log if our own signature proves the contradiction.
    fn contradicted(&self, contradiction: Contradiction) -> ReplicaError {
        if contradiction.proven {
            self.log.ledger.halt(format!(
                "sink {}: {}. Do not start this copy of the trail again: restore the newest copy, or continue with a new log",
                self.sink.name(),
                contradiction.error
            ));
        }
        contradiction.error
    }

    /// The hand-overs of the log. Keys change only while no server runs, so these stay the same for
    /// the life of the process.
    async fn hand_overs(&self) -> Result<Vec<HandOver>, ReplicaError> {
        let reader = Arc::clone(&self.log.reader);
        blocking(move || reader.hand_overs())
            .await?
            .map_err(ReplicaError::Ledger)
    }

    /// Reports that the sink needs entries again that it had. Somebody has emptied it, or restored
    /// an older copy of it.
    fn notice_going_back(&mut self, next: u64) {
        let had = self.board.cursor().unwrap_or(0).max(self.known);
        self.known = 0;
        if next >= had {
            return;
        }
        self.board.went_back();
        tracing::error!(
            sink = self.sink.name(),
            has = next,
            had,
            "A SINK HAS LESS THAN IT HAD: was it emptied, or replaced by an older copy? The missing entries are written again"
        );
        self.record(AuditAction::AdminReplicaWentBack, next..had);
    }

    async fn skip(&self, missing: std::ops::Range<u64>) -> Result<(), ReplicaError> {
        if self.options.required {
            return Err(ReplicaError::GapRefused {
                from: missing.start,
                to: missing.end,
            });
        }
        let gap = Gap::new(
            self.log.origin(),
            missing.clone(),
            "pruned before the sink came back",
        );
        self.turns.call(self.sink.skip(&gap)).await?;
        let records = missing.end.saturating_sub(missing.start);
        self.board.skipped(missing.end, records);
        tracing::error!(
            sink = self.sink.name(),
            first = missing.start,
            next = missing.end,
            "entries were pruned before this sink had them; it skips them"
        );
        self.record(AuditAction::AdminReplicaGap, missing);
        Ok(())
    }

    /// Logs what went wrong, and returns how long to wait now.
    async fn pause_after(&mut self, error: &ReplicaError) -> Duration {
        let what = chain(error);
        let sink = self.sink.name();
        match error.class() {
            ErrorClass::Passing => tracing::warn!(
                sink,
                error = what,
                "replication to the sink failed; retrying"
            ),
            ErrorClass::Permanent => {
                tracing::error!(sink, error = what, "the sink needs to be fixed by a person");
            }
            ErrorClass::Fork => {
                tracing::error!(
                    sink,
                    error = what,
                    "THE SINK HOLDS ANOTHER HISTORY; replication to it stops"
                );
            }
        }
        let failing = self.board.failed(error.class(), what);
        self.lose_patience(failing).await;
        if error.class() == ErrorClass::Fork {
            // Another server may have written there with our own key. This log must then sign
            // nothing more.
            if let Err(error) = self.ask().await {
                let (sink, error) = (self.sink.name(), chain(&error));
                tracing::error!(sink, error, "the sink did not report what it has seen");
            }
        }
        match error.class() {
            ErrorClass::Passing => self.backoff.next(),
            ErrorClass::Permanent => self.options.reprobe_interval,
            // Nothing but a close ends this pause.
            ErrorClass::Fork => Duration::MAX,
        }
    }

    async fn lose_patience(&mut self, failing: Duration) {
        let over = !self.options.required && failing >= self.options.patience;
        if !over || self.board.is_left_behind() {
            return;
        }
        self.board.left_behind();
        let next = self.board.cursor().unwrap_or(0);
        tracing::error!(
            sink = self.sink.name(),
            next,
            "retention no longer waits for this sink"
        );
        self.record(AuditAction::AdminReplicaLeftBehind, next..self.log.size());
        let cursor = self.local_cursor().unwrap_or(Cursor::Optional(next));
        self.write_cursor(cursor).await;
    }

    /// Writes the local copy of the cursor if it is due, or at once if `now` and it is stale.
    async fn keep_cursor(&mut self, now: bool) {
        let due = self
            .cursor_due()
            .is_some_and(|due| now || due <= clock::now());
        if let Some(cursor) = self.local_cursor().filter(|_| due) {
            self.write_cursor(cursor).await;
        }
    }

    /// When the local copy of the cursor must be written; `None` while it is up to date.
    fn cursor_due(&self) -> Option<Instant> {
        let cursor = self.local_cursor()?;
        match self.written {
            None => Some(clock::now()),
            Some((written, when)) => {
                (written != cursor).then(|| later(when, self.options.cursor_interval))
            }
        }
    }

    fn local_cursor(&self) -> Option<Cursor> {
        let mut next = self.board.cursor()?;
        if self.sink.personal() == PersonalMode::Opening {
            // The records of erasures stay until they are applied.
            let erased = self.board.erased_up_to().unwrap_or(self.known_erasures);
            next = next.min(erased);
        }
        Some(if self.board.is_left_behind() {
            Cursor::Optional(next)
        } else {
            Cursor::Required(next)
        })
    }

    async fn write_cursor(&mut self, cursor: Cursor) {
        let ledger = self.log.ledger.clone();
        let name = self.sink.name().to_owned();
        let written = blocking(move || ledger.set_cursor(&name, Some(cursor))).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(sink = self.sink.name(), %error, "cannot write the local copy of the cursor; retention keeps more than it must")
            }
            Err(error) => {
                tracing::warn!(sink = self.sink.name(), %error, "cannot write the local copy of the cursor")
            }
        }
        self.written = Some((cursor, clock::now()));
    }

    fn note_age(&self, range: &SealedRange) {
        let ts_ms = range
            .entries()
            .first()
            .and_then(|entry| parse_canonical(entry).ok())
            .map_or(u64::MAX, |record| record.ts_ms);
        let age_ms = self.clock.unix_ms().saturating_sub(ts_ms);
        self.board.oldest(Duration::from_millis(age_ms));
    }

    fn record(&self, action: AuditAction, indexes: std::ops::Range<u64>) {
        let number = |index: u64| Value::Integer(i64::try_from(index).unwrap_or(i64::MAX));
        let record = AuditRecord::new(action, "")
            .with_extra("sink", Value::Text(self.sink.name().to_owned()))
            .and_then(|record| record.with_extra("first_index", number(indexes.start)))
            .and_then(|record| record.with_extra("next_index", number(indexes.end)));
        self.put_on_record(record);
    }

    fn put_on_record(&self, record: Result<AuditRecord, RecordError>) {
        let Some(event) = &self.event else {
            return;
        };
        match record {
            Ok(record) => event(record),
            Err(error) => tracing::error!(%error, "cannot put a replica's event on record"),
        }
    }
}

/// The end of a span that starts at `from`. A span longer than a hundred years counts as a hundred
/// years.
pub(super) fn later(from: Instant, span: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
    from.checked_add(span.min(LONGEST)).unwrap_or(from)
}

/// Resolves when the replicator must close.
async fn closed(closing: &mut watch::Receiver<Option<Instant>>) {
    // An error means that nobody is left who could close it. The replicator continues.
    if closing.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Resolves at the closing deadline.
async fn deadline(closing: &mut watch::Receiver<Option<Instant>>) {
    let deadline = match closing.wait_for(Option::is_some).await {
        Ok(deadline) => *deadline,
        Err(_) => None,
    };
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Adds the hand-overs that the sink did not get yet and that lie before the range's end.
fn with_those_due(range: SealedRange, hand_overs: &[HandOver], attached: u64) -> SealedRange {
    let due = attached..range.next();
    let due: Vec<_> = hand_overs
        .iter()
        .filter(|one| due.contains(&one.size))
        .cloned()
        .collect();
    if due.is_empty() {
        return range;
    }
    range.with_hand_overs(due.into())
}

impl std::fmt::Debug for Replicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicator")
            .field("sink", &self.sink.name())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
