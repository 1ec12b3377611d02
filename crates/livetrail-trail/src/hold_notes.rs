//! Changes of legal holds while a server runs: who made them.
//!
//! ```text
//! private/holds/NAME   from <index, decimal> | lifted LF
//!                      by <who> LF
//! ```
//!
//! A command leaves the note, then changes the hold. The server finds that the hold has changed,
//! records it and removes the note. If the server is killed before that, its next start does it. A
//! note of another change than the one that is found says nothing.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use livetrail_ledger::{LedgerError, Store, set_hold};

use crate::{Error, looked::notes::local_user};

/// The maximum number of bytes of a note.
const MOST_BYTES: u64 = 256;

/// The maximum number of characters of who changed a hold.
const MOST_BY_CHARS: usize = 64;

/// The maximum number of notes that a start reads.
const MOST_NOTES: usize = 1_024;

/// A change of a hold, and who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) name: String,
    /// The first entry that the hold keeps; `None` if it was lifted.
    pub(crate) from: Option<u64>,
    pub(crate) by: String,
}

/// Sets a legal hold on all entries from this one on, or lifts it with `None`, while a server has
/// the trail open. The server records the change within seconds, with the number of the local user.
/// The hold is in force when this returns.
///
/// # Errors
/// Those of [`set_hold`], or it cannot be noted who changes the hold. Then nothing is changed.
pub fn change_hold(
    trail: &Path,
    store: &dyn Store,
    name: &str,
    from: Option<u64>,
) -> Result<(), Error> {
    let note = Note {
        name: name.to_owned(),
        from,
        by: local_user(),
    };
    // A name that is not allowed must not become a path.
    if is_name(name) {
        leave(trail, &note)?;
    }
    let changed: Result<(), LedgerError> = set_hold(store, name, from);
    if changed.is_err() && is_name(name) {
        let _ = fs::remove_file(file(trail, name));
    }
    changed.map_err(|error| anyhow::Error::new(error).into())
}

/// Who made this change, if it is noted. The note is removed.
pub(crate) fn take(trail: &Path, name: &str, from: Option<u64>) -> Option<String> {
    let note = read(trail, name)?;
    let _ = fs::remove_file(file(trail, name));
    (note.from == from).then_some(note.by)
}

/// The notes that an earlier process did not take.
pub(crate) fn left(trail: &Path) -> Vec<Note> {
    let names = fs::read_dir(directory(trail)).into_iter().flatten();
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names = names.filter(|name| is_name(name)).take(MOST_NOTES);
    names.filter_map(|name| read(trail, &name)).collect()
}

fn leave(trail: &Path, note: &Note) -> anyhow::Result<()> {
    let directory = directory(trail);
    let write = || -> std::io::Result<()> {
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut new = tempfile::Builder::new()
            .prefix(".new")
            .tempfile_in(&directory)?;
        new.write_all(text(note).as_bytes())?;
        new.persist(file(trail, &note.name))?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", file(trail, &note.name).display()))
}

fn text(note: &Note) -> String {
    let change = match note.from {
        Some(from) => format!("from {from}"),
        None => "lifted".to_owned(),
    };
    format!("{change}\nby {}\n", note.by)
}

fn read(trail: &Path, name: &str) -> Option<Note> {
    let mut bytes = Vec::new();
    let file = File::open(file(trail, name)).ok()?;
    file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    parse(name, str::from_utf8(&bytes).ok()?)
}

fn parse(name: &str, text: &str) -> Option<Note> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let from = match lines.next()? {
        "lifted" => None,
        set => Some(set.strip_prefix("from ")?.parse().ok()?),
    };
    let by: String = lines
        .next()?
        .strip_prefix("by ")?
        .chars()
        .take(MOST_BY_CHARS)
        .collect();
    let is_whole = lines.next().is_none() && !by.is_empty();
    is_whole.then(|| Note {
        name: name.to_owned(),
        from,
        by,
    })
}

fn directory(trail: &Path) -> PathBuf {
    trail.join("private").join("holds")
}

fn file(trail: &Path, name: &str) -> PathBuf {
    directory(trail).join(name)
}

/// Whether a hold can have this name, so that it is no path to elsewhere.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use livetrail_ledger::MemStore;

    use super::*;

    fn trail() -> tempfile::TempDir {
        let trail = tempfile::tempdir().unwrap();
        fs::create_dir(trail.path().join("private")).unwrap();
        trail
    }

    #[test]
    fn who_changed_a_hold_is_known_once_and_only_for_that_change() {
        let (trail, store) = (trail(), MemStore::new());
        change_hold(trail.path(), &store, "case-17", Some(300)).unwrap();
        assert_eq!(left(trail.path()).len(), 1);
        assert_eq!(take(trail.path(), "other", Some(300)), None);
        let by = take(trail.path(), "case-17", Some(300));
        assert_eq!(by, Some(local_user()));
        assert_eq!(take(trail.path(), "case-17", Some(300)), None);
        change_hold(trail.path(), &store, "case-17", None).unwrap();
        assert_eq!(take(trail.path(), "case-17", Some(300)), None);
        assert_eq!(left(trail.path()), []);
    }

    #[test]
    fn a_refused_change_leaves_no_note() {
        let (trail, store) = (trail(), MemStore::new());
        for name in ["none", "", "a/b", "../x"] {
            assert!(change_hold(trail.path(), &store, name, None).is_err());
        }
        assert_eq!(left(trail.path()), []);
        assert!(!trail.path().join("x").exists());
    }

    #[test]
    fn any_text_is_a_note_or_none() {
        let note = Note {
            name: "case".to_owned(),
            from: Some(7),
            by: "local:0".to_owned(),
        };
        assert_eq!(parse("case", &text(&note)), Some(note));
        for text in [
            "",
            "\n",
            "lifted\n",
            "lifted\nby \n",
            "lifted\nby x",
            "from \nby x\n",
            "from -1\nby x\n",
            "from 99999999999999999999\nby x\n",
            "lifted\nby x\ny\n",
            "by x\nlifted\n",
        ] {
            assert_eq!(parse("case", text), None, "{text:?}");
        }
    }
}
