//! Notes of commands for the server's trail: what a local user read, exported, reviewed, or had
//! shown of personal fields.
//!
//! A command adds a line to `private/looked` of the trail. The running server records it within
//! seconds. Otherwise the next start records it. The file has at most 1 MiB. Notes beyond this
//! limit are only counted: each adds a byte to `private/looked.more`.
//!
//! A note is recorded before its line is removed. After a crash between the two steps, it is
//! recorded twice.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use livetrail_ledger::generate_seed;
use livetrail_record::digest_to_base64;
use livetrail_tlog::leaf_hash;
use serde::{Deserialize, Serialize};

use super::Act;
use crate::Error;

/// The maximum number of bytes of notes that wait for a server.
const MOST_BYTES: u64 = 1 << 20;

/// The maximum number of bytes of one note.
const MOST_BYTES_OF_A_NOTE: usize = 8 << 10;

/// What a local user did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Done {
    /// Entries were read or exported.
    Looked {
        /// Whether they were copied out.
        act: Act,
        /// The command.
        what: String,
        /// The hash of its filter.
        filter: Option<String>,
    },
    /// Personal fields were shown.
    Disclosed {
        /// The reason.
        purpose: String,
        /// The hash of the filter.
        filter: String,
        /// The number of sessions.
        count: u64,
    },
    /// A range was reviewed.
    Reviewed {
        /// The first entry.
        first: u64,
        /// The last entry.
        last: u64,
        /// The reviewer's words.
        note: String,
    },
}

/// A note of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The time, in milliseconds since 1970.
    pub ts_ms: u64,
    /// The local user.
    pub by: String,
    /// What the user did.
    pub done: Done,
}

/// The notes that were pending.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) notes: Vec<Note>,
    /// The number of further notes, which were only counted.
    pub(crate) more: u64,
}

/// The local user as a number, which is how records name the user: a name is personal data.
#[must_use]
pub fn local_user() -> String {
    format!("local:{}", rustix::process::getuid().as_raw())
}

/// The hash under which a filter is on record. It is keyed with a key of the trail, so that nobody
/// can guess a name in the filter from the hash.
///
/// # Errors
/// The key cannot be read or made.
pub fn filter_hash(trail: &Path, filter: &str) -> Result<String, Error> {
    Ok(hash(trail, filter)?)
}

fn hash(trail: &Path, filter: &str) -> anyhow::Result<String> {
    let file = trail.join("private").join("looked.key");
    let read = || std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()));
    let key = match read() {
        Ok(key) if !key.is_empty() => key,
        _ => {
            make_key(&file).with_context(|| format!("cannot write {}", file.display()))?;
            read()?
        }
    };
    let keyed = [key.as_slice(), b"\0", filter.as_bytes()].concat();
    Ok(digest_to_base64(leaf_hash(&keyed).as_bytes()))
}

/// Creates the key file whole or not at all. If another command was faster, its key is kept.
fn make_key(file: &Path) -> anyhow::Result<()> {
    let above = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new()
        .prefix("looked.")
        .tempfile_in(above)?;
    new.write_all(&*generate_seed()?)?;
    new.as_file().sync_all()?;
    match new.persist_noclobber(file) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error.into()),
        _ => Ok(()),
    }
}

fn file(trail: &Path) -> PathBuf {
    trail.join("private").join("looked")
}

fn more_file(trail: &Path) -> PathBuf {
    trail.join("private").join("looked.more")
}

/// Leaves a note for the server.
///
/// # Errors
/// The note cannot be written, or is too long.
pub fn leave(trail: &Path, note: &Note) -> Result<(), Error> {
    Ok(add(trail, note)?)
}

fn add(trail: &Path, note: &Note) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(note)?;
    line.push(b'\n');
    anyhow::ensure!(
        line.len() <= MOST_BYTES_OF_A_NOTE,
        "the note has more than {MOST_BYTES_OF_A_NOTE} bytes"
    );
    let path = file(trail);
    let write = || -> io::Result<()> {
        let mut waiting = append(&path)?;
        waiting.lock()?;
        if waiting.metadata()?.len() < MOST_BYTES {
            return waiting.write_all(&line);
        }
        let mut more = append(&more_file(trail))?;
        match more.metadata()?.len() < MOST_BYTES {
            true => more.write_all(b"."),
            false => Ok(()),
        }
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Passes the pending notes to `record`, and removes them. Does nothing while a command holds the
/// file.
pub(crate) fn take(trail: &Path, record: impl FnOnce(Waiting)) {
    if let Err(error) = try_take(trail, record)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "the notes of local commands cannot be read");
    }
}

fn try_take(trail: &Path, record: impl FnOnce(Waiting)) -> io::Result<()> {
    let mut waiting = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file(trail))?;
    if waiting.metadata()?.len() == 0 || waiting.try_lock().is_err() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    // Somebody may have written a longer file by hand.
    let most = MOST_BYTES.saturating_add(MOST_BYTES_OF_A_NOTE as u64);
    (&waiting).take(most).read_to_end(&mut bytes)?;
    let mut found = parse(&bytes);
    let more = more_file(trail);
    if let Ok(length) = std::fs::metadata(&more).map(|file| file.len()) {
        found.more = found.more.saturating_add(length);
    }
    record(found);
    waiting.rewind()?;
    waiting.set_len(0)?;
    match std::fs::remove_file(more) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads lines. A line that is not a note is only counted.
fn parse(bytes: &[u8]) -> Waiting {
    let mut found = Waiting::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(note) => found.notes.push(note),
            Err(_) => found.more = found.more.saturating_add(1),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(what: &str) -> Note {
        Note {
            ts_ms: 5,
            by: "local:0".to_owned(),
            done: Done::Looked {
                act: Act::Read,
                what: what.to_owned(),
                filter: None,
            },
        }
    }

    fn trail() -> tempfile::TempDir {
        let trail = tempfile::tempdir().unwrap();
        std::fs::create_dir(trail.path().join("private")).unwrap();
        trail
    }

    fn taken(trail: &Path) -> Option<Waiting> {
        let mut found = None;
        take(trail, |waiting| found = Some(waiting));
        found
    }

    #[test]
    fn notes_are_taken_once_and_their_number_is_bounded() {
        let trail = trail();
        assert_eq!(taken(trail.path()), None);
        let notes = [looked("query"), looked("tail")];
        for note in &notes {
            leave(trail.path(), note).unwrap();
        }
        let expected = Waiting {
            notes: notes.to_vec(),
            more: 0,
        };
        assert_eq!(taken(trail.path()), Some(expected));
        assert_eq!(taken(trail.path()), None);

        let long = looked(&"x".repeat(7_000));
        for _ in 0..200 {
            leave(trail.path(), &long).unwrap();
        }
        let found = taken(trail.path()).unwrap();
        assert!(found.notes.len() < 160 && found.more > 40, "{}", found.more);
        assert_eq!(found.notes.len() as u64 + found.more, 200);
        assert!(leave(trail.path(), &looked(&"x".repeat(9_000))).is_err());
    }

    #[test]
    fn any_bytes_are_notes_or_counted() {
        for bytes in [
            &b""[..],
            b"\n\n",
            b"{}\n",
            b"\xff\xfe\n{\"ts_ms\":1}",
            b"[[[[",
        ] {
            let found = parse(bytes);
            assert!(found.notes.is_empty());
            assert!(found.more <= 2);
        }
    }

    #[test]
    fn the_hash_of_a_filter_is_the_same_in_a_trail_and_another_in_another() {
        let (one, other) = (trail(), trail());
        let hash = |trail: &tempfile::TempDir| filter_hash(trail.path(), "stream=cam").unwrap();
        assert_eq!(hash(&one), hash(&one));
        assert_ne!(hash(&one), hash(&other));
        assert_eq!(hash(&one).len(), 44);
    }
}
