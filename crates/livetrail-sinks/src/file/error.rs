//! Converts errors of the file system, and creates the refusals that a person must fix.

use std::io::{self, ErrorKind};
use std::path::Path;

use livetrail_replica::ReplicaError;

use super::cursor::Cursor;

/// An I/O error of a step.
pub(super) fn of_io(step: &str, path: &Path, error: io::Error) -> ReplicaError {
    let what = format!("cannot {step} {}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            ReplicaError::denied(format!("{what}: let the server write there"), error)
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory => ReplicaError::Unsuitable {
            what: format!("{what}: make its directory, or mount what it is on"),
            source: Some(error.into()),
        },
        _ => ReplicaError::unavailable(what, error),
    }
}

/// The path is not a file that lines can be appended to.
pub(super) fn no_plain_file(path: &Path) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "{} is no plain file (a link, a device or a directory): name a file",
        path.display()
    ))
}

/// The file has data, and no cursor names its log.
pub(super) fn no_cursor(path: &Path, cursor: &Path, bytes: u64) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "{} has {bytes} bytes and there is no {} that says of which log they are: restore that, or move the file away and a new one is written from the beginning",
        path.display(),
        cursor.display()
    ))
}

/// The file has lost committed data.
pub(super) fn too_short(path: &Path, cursor: &Path, wanted: u64, found: u64) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "{} has {found} bytes and {} says that {wanted} were written: restore the file, or move both away and a new one is written from the beginning",
        path.display(),
        cursor.display()
    ))
}

/// The file is the right one, but was truncated: by `copytruncate`, or by a `>` in a shell.
pub(super) fn cut_in_place(path: &Path, wanted: u64, found: u64) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "{} was cut in place: {wanted} bytes were written to it and {found} are left, as logrotate's copytruncate does, which loses lines. Use create or nocreate and a signal (SIGHUP) instead; to continue, put the lines back, or move the file and its cursor away and a new one is written from the beginning",
        path.display()
    ))
}

/// The file is neither at its path nor under another name in the directory.
pub(super) fn gone(path: &Path, cursor: &Cursor) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "the file with the entries from {} to {} (without that one), {} bytes, is neither at {} nor under another name next to it: put it back; or, if it was rotated, send the server SIGHUP to start a new one",
        cursor.first,
        cursor.next,
        cursor.bytes,
        path.display()
    ))
}

/// The file was there a moment ago.
pub(super) fn gone_by_name(path: &Path) -> ReplicaError {
    ReplicaError::Unavailable {
        what: format!("{} was moved away meanwhile", path.display()),
        source: None,
    }
}

/// The next file cannot start, because the path has another file with data.
pub(super) fn other_file(path: &Path) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "{} is another file than the one that was written to, and there is something in it: move it away, so that the next one can begin there",
        path.display()
    ))
}

/// The file cannot be rotated, because another file has the rotated name.
pub(super) fn name_taken(path: &Path) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "{} is there already, and a file of that name is to be rotated: move it away",
        path.display()
    ))
}

/// The committed part of the file does not end with a line end, so someone has changed it.
pub(super) fn no_line_end(path: &Path, bytes: u64) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "{} was changed: no line ends at byte {bytes}, up to which it was written. Restore it, or move it and its cursor away and a new one is written from the beginning",
        path.display()
    ))
}

/// The file belongs to another log.
pub(super) fn other_log(path: &Path, found: &str, wanted: &str) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "{} is the file of the log {found:?} and not of {wanted:?}: give each log a file of its own",
        path.display()
    ))
}

/// The file was started in another format.
pub(super) fn other_format(path: &Path, found: &str, wanted: &str) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "{} was begun with format {found:?} and {wanted:?} is configured: set it back, or name another file",
        path.display()
    ))
}

/// The cursor cannot be read, although each new cursor replaces the whole file.
pub(super) fn damaged(cursor: &Path, what: &str) -> ReplicaError {
    ReplicaError::Damaged {
        what: format!("{} {what}", cursor.display()),
        source: None,
    }
}

/// Another process holds the lock.
pub(super) fn locked(path: &Path) -> ReplicaError {
    ReplicaError::Unavailable {
        what: format!(
            "another process writes to {} right now: let only one server write to it",
            path.display()
        ),
        source: None,
    }
}
