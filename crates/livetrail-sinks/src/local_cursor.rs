//! A cursor in a file of our own, for destinations that cannot report what they hold. A host's own
//! sink can use it, too ([`Delivery::AtLeastOnce`](livetrail_replica::Delivery::AtLeastOnce)).
//!
//! ```text
//!  FOLDER/SINK/ORIGIN.cursor    livetrail-sink-cursor 1 LF
//!                               sink NAME LF
//!                               origin ORIGIN LF
//!                               next INDEX LF
//!                               leaf HASH LF
//!                               hand_over ID NOTE LF
//!                               lost FIRST NEXT EVENTS LF
//!                               checkpoint LF NOTE
//!  FOLDER/SINK/ORIGIN.lock
//! ```
//!
//! A new cursor file replaces the whole old one; a cursor file never changes in place.
//!
//! | line | meaning |
//! |---|---|
//! | `next` | the first index that the destination has not accepted |
//! | `leaf` | the leaf hash of the entry before that index, base64; `-` if there is none |
//! | `hand_over` | for each replaced key: its id, and the checkpoint of the hand-over, base64 |
//! | `lost` | events that the sink has given up, between these indexes, and has not reported yet |
//! | `checkpoint` | the newest signed checkpoint that came with entries, to the end; may be empty |
//!
//! Most cursors have neither a line `hand_over` nor a line `lost`. The lock file is empty; the
//! sender locks it.
//!
//! In file names `_` and two digits replace each byte of an origin except letters, digits, `.` and
//! `-`.
//!
//! - **The cursor moves after the destination accepted a batch.** After a crash in between, the
//!   sink sends the batch again.
//! - **If the file is lost or is an older copy, the sink sends again.** It never skips entries.
//! - **If the file is ahead of the ledger, or has another leaf hash or checkpoint, it is a fork**:
//!   the replicator compares. If the ledger and this file are restored together from one old copy,
//!   they agree. Then only the records at the destination show it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use livetrail_replica::{Gap, ReplicaError, SealedRange, SinkCursor};
use livetrail_tlog::{Hash, leaf_hash};

use crate::blocking::blocking;
use crate::hand_overs::KeptHandOvers;
use crate::lock;
use crate::sys;

const FIRST_LINE: &[u8] = b"livetrail-sink-cursor 1";

/// The maximum number of bytes that are read from a cursor. A checkpoint with many cosignatures has
/// some thousands.
const MAX_CURSOR_BYTES: u64 = 1 << 20;

/// The longest origin in a file's name. The hash of a longer origin replaces it, because file
/// systems accept 255 bytes.
const MAX_STEM_BYTES: usize = 200;

/// Events that a destination did not accept in time. Nobody sends them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The index of the first of them.
    pub first: u64,
    /// The index after the last of them. Events in between may have arrived.
    pub next: u64,
    /// Their number. If they were pruned, nobody could count them, and it is an upper bound.
    pub events: u64,
}

impl Lost {
    /// Both of these.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            first: self.first.min(more.first),
            next: self.next.max(more.next),
            events: self.events.saturating_add(more.events),
        }
    }

    /// Takes the line, if it is there. `None` if it is not valid.
    fn take(bytes: &mut &[u8]) -> Option<Option<Self>> {
        let Some(rest) = bytes.strip_prefix(b"lost ") else {
            return Some(None);
        };
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, after) = rest.split_at_checked(end)?;
        let mut numbers = line.split(|byte| *byte == b' ').map(number);
        let mut next = || numbers.next().flatten();
        let lost = Self {
            first: next()?,
            next: next()?,
            events: next()?,
        };
        *bytes = after.get(1..)?;
        numbers.next().is_none().then_some(Some(lost))
    }
}

/// The cursors of one sink, one for each log.
#[derive(Clone, Debug)]
pub struct LocalCursor {
    folder: PathBuf,
    sink: String,
}

impl LocalCursor {
    /// The cursors of the sink with this name, in a directory of its own in `folder`. Creates
    /// nothing yet.
    #[must_use]
    pub fn new(folder: &Path, sink: &str) -> Self {
        Self {
            folder: folder.join(sink),
            sink: sink.to_owned(),
        }
    }

    /// How far the destination has accepted this log. This takes no lock and creates nothing, so
    /// other processes may ask while a server sends.
    ///
    /// Cancel safe: nothing changes.
    ///
    /// # Errors
    /// The file cannot be read: [`ReplicaError::Damaged`] if someone has changed it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn read(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        let file = self.file(origin);
        blocking(move || Ok(file.read()?.to_sink_cursor())).await
    }

    /// Takes the right to send from `first` on, for as long as the claim is held. If two processes
    /// try, one of them gets an error: the other one has the right, or the cursor has moved.
    ///
    /// If the future is dropped, the right ends as soon as the file system has answered.
    ///
    /// # Errors
    /// - [`ReplicaError::CursorMoved`]: the cursor is not at `first`.
    /// - Another process has the right.
    /// - The folder cannot be written.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn claim(&self, origin: &str, first: u64) -> Result<Claim, ReplicaError> {
        let file = self.file(origin);
        blocking(move || file.claim(first)).await
    }

    fn file(&self, origin: &str) -> CursorFile {
        let stem = stem(origin);
        CursorFile {
            path: self.folder.join(format!("{stem}.cursor")),
            new_path: self.folder.join(format!("{stem}.cursor.new")),
            lock_path: self.folder.join(format!("{stem}.lock")),
            folder: self.folder.clone(),
            sink: self.sink.clone(),
            origin: origin.to_owned(),
        }
    }
}

/// The right to send, and to move the cursor past the sent entries. The right ends when this is
/// dropped or the process is killed.
#[derive(Debug)]
pub struct Claim {
    file: CursorFile,
    cursor: Cursor,
    lock: File,
}

impl Claim {
    /// The events that the destination did not get and does not know of.
    #[must_use]
    pub const fn lost(&self) -> Option<Lost> {
        self.cursor.lost
    }

    /// Replaces these events. [`commit`](Self::commit) writes them next to the cursor.
    pub const fn set_lost(&mut self, lost: Option<Lost>) {
        self.cursor.lost = lost;
    }

    /// The destination has accepted this range. When this returns, the cursor is after the range
    /// and durable.
    ///
    /// If the future is dropped after its first poll, the cursor moves all the same, unless that
    /// fails.
    ///
    /// # Errors
    /// The cursor cannot be written. It may have moved or not.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn commit(self, range: &SealedRange) -> Result<(), ReplicaError> {
        let moved = Cursor {
            next: range.next(),
            last_leaf: range.leaves().last().copied(),
            hand_overs: self.cursor.hand_overs.clone().and(range.hand_overs()),
            checkpoint: Some(range.note().clone()),
            lost: self.cursor.lost,
        };
        self.replace(moved).await
    }

    /// The destination has accepted the notice that these entries are missing.
    ///
    /// As for [`commit`](Self::commit) if the future is dropped.
    ///
    /// # Errors
    /// The errors of [`commit`](Self::commit).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn commit_gap(self, gap: &Gap) -> Result<(), ReplicaError> {
        let moved = Cursor {
            next: gap.missing.end,
            last_leaf: None,
            hand_overs: self.cursor.hand_overs.clone(),
            checkpoint: self.cursor.checkpoint.clone(),
            lost: self.cursor.lost,
        };
        self.replace(moved).await
    }

    async fn replace(self, cursor: Cursor) -> Result<(), ReplicaError> {
        blocking(move || {
            let replaced = self.file.replace(&cursor);
            drop(self.lock);
            replaced
        })
        .await
    }
}

/// The content of the file, without the sink's name and the origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cursor {
    next: u64,
    last_leaf: Option<Hash>,
    hand_overs: KeptHandOvers,
    checkpoint: Option<Bytes>,
    lost: Option<Lost>,
}

impl Cursor {
    fn to_sink_cursor(&self) -> SinkCursor {
        let mut cursor = SinkCursor::at(self.next).with_hand_overs(self.hand_overs.notes());
        if let Some(leaf) = self.last_leaf {
            cursor = cursor.with_last_leaf(leaf);
        }
        if let Some(note) = &self.checkpoint {
            cursor = cursor.with_checkpoint(note.clone());
        }
        cursor
    }
}

#[derive(Clone, Debug)]
struct CursorFile {
    folder: PathBuf,
    path: PathBuf,
    new_path: PathBuf,
    lock_path: PathBuf,
    sink: String,
    origin: String,
}

impl CursorFile {
    fn read(&self) -> Result<Cursor, ReplicaError> {
        let failure = |source| failed("read", &self.path, source);
        let mut bytes = Vec::new();
        match File::open(&self.path) {
            Ok(file) => {
                let read = file.take(MAX_CURSOR_BYTES).read_to_end(&mut bytes);
                read.map_err(failure)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Cursor::default()),
            Err(error) => return Err(failure(error)),
        }
        self.parse(&bytes).map_err(|what| ReplicaError::Damaged {
            what: format!(
                "{} {what}; if you move it away, everything is sent again",
                self.path.display()
            ),
            source: None,
        })
    }

    fn claim(self, first: u64) -> Result<Claim, ReplicaError> {
        self.make_folder()?;
        let lock = open_options()
            .open(&self.lock_path)
            .map_err(|source| failed("open", &self.lock_path, source))?;
        match lock::try_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ReplicaError::Unavailable {
                    what: format!(
                        "another process sends to sink {} right now: let only one server send to it",
                        self.sink
                    ),
                    source: None,
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(failed("lock", &self.lock_path, source));
            }
        }
        let cursor = self.read()?;
        if cursor.next != first {
            return Err(ReplicaError::CursorMoved {
                expected: first,
                found: cursor.next,
            });
        }
        Ok(Claim {
            file: self,
            cursor,
            lock,
        })
    }

    /// After a crash before the end of this, the old cursor counts and the batch is sent again.
    fn replace(&self, cursor: &Cursor) -> Result<(), ReplicaError> {
        let mut new = open_options()
            .truncate(true)
            .open(&self.new_path)
            .map_err(|source| failed("write", &self.new_path, source))?;
        new.write_all(&self.encode(cursor))
            .and_then(|()| new.sync_all())
            .map_err(|source| failed("write", &self.new_path, source))?;
        // This commits. After a crash before the directory is synced, the old or the new cursor is
        // there. Both are valid.
        fs::rename(&self.new_path, &self.path)
            .and_then(|()| sys::sync_dir(&self.folder))
            .map_err(|source| failed("replace", &self.path, source))
    }

    /// Creates the directory and makes it durable, up to the existing parent. So a crash cannot
    /// remove a cursor together with its directory.
    fn make_folder(&self) -> Result<(), ReplicaError> {
        if self.folder.is_dir() {
            return Ok(());
        }
        let mut builder = fs::DirBuilder::new();
        sys::dirs_for_group(builder.recursive(true));
        let made = builder.create(&self.folder).and_then(|()| {
            let parents = self.folder.ancestors().skip(1).take(2);
            parents
                .filter(|parent| parent.is_dir())
                .try_for_each(sys::sync_dir)
        });
        made.map_err(|source| failed("make", &self.folder, source))
    }

    fn encode(&self, cursor: &Cursor) -> Vec<u8> {
        let leaf = cursor
            .last_leaf
            .map_or_else(|| "-".to_owned(), |leaf| leaf.to_string());
        let mut out = FIRST_LINE.to_vec();
        let lost = cursor.lost.map_or_else(String::new, |lost| {
            format!("lost {} {} {}\n", lost.first, lost.next, lost.events)
        });
        let lines = format!(
            "\nsink {}\norigin {}\nnext {}\nleaf {leaf}\n{}{lost}checkpoint\n",
            self.sink,
            self.origin,
            cursor.next,
            cursor.hand_overs.lines()
        );
        out.extend_from_slice(lines.as_bytes());
        out.extend_from_slice(cursor.checkpoint.as_deref().unwrap_or_default());
        out
    }

    /// Parses the file. An error says which line is wrong.
    fn parse(&self, bytes: &[u8]) -> Result<Cursor, &'static str> {
        let mut parts = bytes.splitn(6, |byte| *byte == b'\n');
        if parts.next() != Some(FIRST_LINE) {
            return Err("does not begin with \"livetrail-sink-cursor 1\"");
        }
        let mut value = |name: &str| {
            let line = parts.next()?.strip_prefix(name.as_bytes())?;
            line.strip_prefix(b" ")
        };
        if value("sink") != Some(self.sink.as_bytes()) {
            return Err("is another sink's by its line 2");
        }
        if value("origin") != Some(self.origin.as_bytes()) {
            return Err("is another log's by its line 3");
        }
        let next = value("next").and_then(number);
        let next = next.ok_or("has no index in line 4")?;
        let last_leaf = match value("leaf") {
            Some(b"-") => None,
            text => Some(text.and_then(hash).ok_or("has no leaf hash in line 5")?),
        };
        let mut rest = parts.next().unwrap_or_default();
        let hand_overs = KeptHandOvers::take(&mut rest).ok_or("has an invalid hand-over")?;
        let lost = Lost::take(&mut rest).ok_or("has an invalid line about lost events")?;
        let note = rest
            .strip_prefix(b"checkpoint\n")
            .ok_or("has no checkpoint from line 6 on, or behind the hand-overs")?;
        Ok(Cursor {
            next,
            last_leaf,
            hand_overs,
            checkpoint: (!note.is_empty()).then(|| Bytes::copy_from_slice(note)),
            lost,
        })
    }
}

/// Encodes an origin as the first part of a file's name. Two origins never have the same one.
fn stem(origin: &str) -> String {
    let mut stem = String::with_capacity(origin.len());
    for byte in origin.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') {
            stem.push(char::from(byte));
        } else {
            let _ = write!(stem, "_{byte:02X}");
        }
    }
    if stem.len() > MAX_STEM_BYTES {
        stem.clear();
        for byte in leaf_hash(origin.as_bytes()).as_bytes() {
            let _ = write!(stem, "{byte:02x}");
        }
    }
    stem
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn hash(text: &[u8]) -> Option<Hash> {
    Hash::parse(std::str::from_utf8(text).ok()?).ok()
}

fn open_options() -> OpenOptions {
    let mut options = File::options();
    sys::for_group(options.write(true).create(true).truncate(false));
    options
}

fn failed(step: &str, path: &Path, source: io::Error) -> ReplicaError {
    let what = format!("cannot {step} {}", path.display());
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            ReplicaError::denied(format!("{what}: let the server write there"), source)
        }
        _ => ReplicaError::unavailable(what, source),
    }
}

#[cfg(test)]
mod tests {
    use livetrail_replica::ErrorClass;
    use livetrail_replica::conformance::TestLog;

    use super::*;

    const ORIGIN: &str = "example.com/a";

    fn cursor(folder: &tempfile::TempDir) -> LocalCursor {
        LocalCursor::new(folder.path(), "syslog")
    }

    async fn next(cursor: &LocalCursor) -> u64 {
        cursor.read(ORIGIN).await.unwrap().next()
    }

    #[tokio::test]
    async fn it_moves_with_a_claim_alone_and_one_process_has_that_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let log = TestLog::with(ORIGIN, 30);
        let (one, two) = (cursor(&folder), cursor(&folder));
        assert_eq!(next(&one).await, 0);
        let claim = one.claim(ORIGIN, 0).await.unwrap();
        let error = two.claim(ORIGIN, 0).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Passing, "{error:?}");
        // A claim that is dropped has moved nothing.
        drop(claim);
        let claim = two.claim(ORIGIN, 0).await.unwrap();
        let range = log.range(0, 20);
        claim.commit(&range).await.unwrap();
        let error = one.claim(ORIGIN, 0).await.unwrap_err();
        assert!(
            matches!(
                error,
                ReplicaError::CursorMoved {
                    expected: 0,
                    found: 20
                }
            ),
            "{error:?}"
        );
        let read = one.read(ORIGIN).await.unwrap();
        assert_eq!(read.last_leaf(), range.leaves().last());
        assert_eq!(read.checkpoint(), Some(range.note()));
        // Another log has its own file.
        assert_eq!(one.read("example.com/b").await.unwrap().next(), 0);
    }

    #[tokio::test]
    async fn a_gap_moves_it_and_keeps_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let log = TestLog::with(ORIGIN, 10);
        let cursor = cursor(&folder);
        let claim = cursor.claim(ORIGIN, 0).await.unwrap();
        claim.commit(&log.range(0, 10)).await.unwrap();
        let gap = Gap::new(ORIGIN, 10..25, "pruned");
        let claim = cursor.claim(ORIGIN, 10).await.unwrap();
        claim.commit_gap(&gap).await.unwrap();
        let read = cursor.read(ORIGIN).await.unwrap();
        assert_eq!((read.next(), read.last_leaf()), (25, None));
        assert!(read.checkpoint().is_some());
    }

    #[tokio::test]
    async fn lost_events_stay_next_to_the_cursor_until_they_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let log = TestLog::with(ORIGIN, 30);
        let cursor = cursor(&folder);
        let [one, two] = [(3, 5, 2), (7, 9, 1)].map(|(first, next, events)| Lost {
            first,
            next,
            events,
        });
        let mut claim = cursor.claim(ORIGIN, 0).await.unwrap();
        assert_eq!(claim.lost(), None);
        claim.set_lost(Some(two.and(one)));
        claim.commit(&log.range(0, 10)).await.unwrap();
        let mut claim = cursor.claim(ORIGIN, 10).await.unwrap();
        let (first, next, events) = (3, 9, 3);
        let both = Lost {
            first,
            next,
            events,
        };
        assert_eq!(claim.lost(), Some(both));
        let path = folder.path().join("syslog/example.com_2Fa.cursor");
        let text = fs::read_to_string(&path).unwrap();
        for wrong in ["lost 3 9\n", "lost 3 9 x\n", "lost 3 9 3 4\n", "lost \n"] {
            fs::write(&path, text.replace("lost 3 9 3\n", wrong)).unwrap();
            let error = cursor.read(ORIGIN).await.unwrap_err();
            assert!(
                error.to_string().contains("lost events"),
                "{wrong}: {error}"
            );
        }
        claim.set_lost(None);
        claim.commit(&log.range(10, 10)).await.unwrap();
        let claim = cursor.claim(ORIGIN, 20).await.unwrap();
        assert_eq!(claim.lost(), None);
    }

    #[tokio::test]
    async fn a_lost_file_means_from_the_beginning_and_a_wrong_one_an_alarm() {
        let folder = tempfile::tempdir().unwrap();
        let log = TestLog::with(ORIGIN, 10);
        let cursor = cursor(&folder);
        let claim = cursor.claim(ORIGIN, 0).await.unwrap();
        claim.commit(&log.range(0, 10)).await.unwrap();
        let path = folder.path().join("syslog/example.com_2Fa.cursor");
        let good = fs::read(&path).unwrap();
        // The unfinished file of a crash has no effect.
        fs::write(path.with_extension("cursor.new"), "half a").unwrap();
        assert_eq!(next(&cursor).await, 10);

        let text = String::from_utf8(good.clone()).unwrap();
        for (line, words) in [
            ("livetrail-sink-cursor 1", "begin"),
            ("sink syslog", "line 2"),
            ("origin ", "line 3"),
            ("next ", "line 4"),
            ("leaf ", "line 5"),
            ("checkpoint", "line 6"),
        ] {
            fs::write(&path, text.replacen(line, "x", 1)).unwrap();
            let error = cursor.read(ORIGIN).await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::Fork, "{line}");
            assert!(error.to_string().contains(words), "{line}: {error}");
        }
        for end in 0..text.find("checkpoint\n").unwrap() {
            fs::write(&path, &good[..end]).unwrap();
            assert!(cursor.read(ORIGIN).await.is_err(), "{end}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(next(&cursor).await, 0);
    }

    #[test]
    fn no_two_origins_have_the_same_file() {
        assert_eq!(stem("example.com/a"), "example.com_2Fa");
        assert_eq!(stem("../a_2F"), ".._2Fa_5F2F");
        let long = |end: &str| stem(&format!("{}{end}", "x".repeat(250)));
        assert_eq!(long("a").len(), 64);
        assert_ne!(long("a"), long("b"));
    }
}
