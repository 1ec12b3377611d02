//! The file and its cursor on disk: the order of an append.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use livetrail_audit::replica::{Gap, ReplicaError, SealedRange};
use livetrail_tlog::Hash;

use super::cursor::{Cursor, MAX_CURSOR_BYTES};
use super::{Format, error, line};

/// What of an append is done; tests end the process there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The file is there, and empty if it was not.
    Opened,
    /// There is a cursor: of the beginning, if there was none.
    Begun,
    /// The file is cut to the cursor's length.
    Cut,
    /// The lines are written.
    Written,
    /// And synced.
    Synced,
    /// The new cursor is beside the old one, synced.
    CursorBeside,
    /// It has the old one's place.
    Renamed,
}

/// What a test makes of a step. An error ends the append there, and nothing more is done.
pub(super) type AfterStep<'a> = &'a mut dyn FnMut(Step) -> io::Result<()>;

/// Outside of tests.
pub(super) const fn nothing_happens(_: Step) -> io::Result<()> {
    Ok(())
}

/// Lines to append, and where they belong.
#[derive(Debug)]
pub(super) struct Batch {
    first: u64,
    next: u64,
    lines: String,
    last_leaf: Option<Hash>,
    checkpoint: Option<Bytes>,
}

impl Batch {
    pub(super) fn of_range(range: &SealedRange, format: Format) -> Self {
        let mut lines = String::with_capacity(range.entry_bytes().saturating_mul(3) / 2);
        for (index, entry, leaf) in range.iter() {
            line::entry(&mut lines, format, index, leaf, entry);
        }
        Self {
            first: range.first(),
            next: range.next(),
            lines,
            last_leaf: range.leaves().last().copied(),
            checkpoint: Some(range.note().clone()),
        }
    }

    pub(super) fn of_gap(gap: &Gap, format: Format) -> Self {
        let mut lines = String::new();
        line::gap(&mut lines, format, gap);
        Self {
            first: gap.missing.start,
            next: gap.missing.end,
            lines,
            last_leaf: None,
            checkpoint: None,
        }
    }
}

/// A file and its cursor.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    cursor_path: PathBuf,
    new_cursor_path: PathBuf,
    format: Format,
}

impl Target {
    pub(super) fn new(path: PathBuf, format: Format) -> Self {
        Self {
            cursor_path: beside(&path, ".cursor"),
            new_cursor_path: beside(&path, ".cursor.new"),
            path,
            format,
        }
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Where the file stands; `None` when nothing was ever written to it. Takes no lock, so others may ask while a server
    /// writes: the cursor is read first, and the file never becomes shorter than a cursor that it had.
    pub(super) fn cursor(&self, origin: &str) -> Result<Option<Cursor>, ReplicaError> {
        let mut cursor = self.read_cursor()?;
        let length = self.length()?;
        if cursor.is_none() && length > 0 {
            // A writer may have begun in between: its cursor was there before its first line.
            cursor = self.read_cursor()?;
        }
        let Some(cursor) = cursor else {
            return match length {
                0 => Ok(None),
                bytes => Err(error::no_cursor(&self.path, &self.cursor_path, bytes)),
            };
        };
        if cursor.origin != origin {
            return Err(error::other_log(&self.path, &cursor.origin, origin));
        }
        if cursor.format != self.format {
            let (found, wanted) = (cursor.format.label(), self.format.label());
            return Err(error::other_format(&self.path, found, wanted));
        }
        if length < cursor.bytes {
            let (wanted, found) = (cursor.bytes, length);
            return Err(error::too_short(
                &self.path,
                &self.cursor_path,
                wanted,
                found,
            ));
        }
        Ok(Some(cursor))
    }

    /// Appends a batch where the cursor stands at its first index, and moves the cursor behind it.
    ///
    /// Only what the cursor says is committed. Whatever a crash leaves behind the cursor's length is cut off by the next append, so
    /// each entry is in the file once at whatever step the process or the machine ends.
    pub(super) fn append(
        &self,
        origin: &str,
        batch: &Batch,
        after: AfterStep<'_>,
    ) -> Result<(), ReplicaError> {
        // The lock ends with `file`, also when the process is killed.
        let mut file = self.open_locked()?;
        // A crash here: an empty file and no cursor, which is what it was before for all that anybody can tell.
        self.after(after, Step::Opened)?;
        let cursor = match self.cursor(origin)? {
            Some(cursor) => cursor,
            None => self.begin(origin)?,
        };
        // A crash here: a cursor at the beginning of an empty file. From now on lines without a cursor are not ours.
        self.after(after, Step::Begun)?;
        if cursor.next != batch.first {
            return Err(ReplicaError::CursorMoved {
                expected: batch.first,
                found: cursor.next,
            });
        }
        self.check_line_end(&mut file, cursor.bytes)?;
        let told = |step| move |source| error::of_io(step, &self.path, source);
        // What a crash left there was never committed. A crash here: the file is as the cursor says.
        file.set_len(cursor.bytes).map_err(told("cut"))?;
        self.after(after, Step::Cut)?;
        // A crash here: some of the lines, or holes where they should be, behind the cursor's length. They are cut off.
        file.seek(SeekFrom::Start(cursor.bytes))
            .and_then(|_| file.write_all(batch.lines.as_bytes()))
            .map_err(told("write to"))?;
        self.after(after, Step::Written)?;
        // A crash here: all of the lines, and they are cut off and written again. A failed sync is not tried again by itself: the next
        // attempt writes them anew, because the system may have forgotten them.
        file.sync_data().map_err(told("sync"))?;
        self.after(after, Step::Synced)?;
        let written = u64::try_from(batch.lines.len()).unwrap_or(u64::MAX);
        self.replace_cursor(
            &Cursor {
                next: batch.next,
                bytes: cursor.bytes.saturating_add(written),
                last_leaf: batch.last_leaf,
                checkpoint: batch.checkpoint.clone().or(cursor.checkpoint),
                ..cursor
            },
            after,
        )
    }

    /// Whether lines could be written now. Writes nothing.
    pub(super) fn health(&self) -> Result<(), ReplicaError> {
        match self.plain_file()? {
            Some(_) => {
                let opened = File::options().append(true).open(&self.path);
                opened.map_err(|source| error::of_io("write to", &self.path, source))?;
                Ok(())
            }
            None => {
                let directory = directory(&self.path);
                let listed = fs::read_dir(directory);
                listed.map_err(|source| error::of_io("look into", directory, source))?;
                Ok(())
            }
        }
    }

    /// Begins an empty file.
    fn begin(&self, origin: &str) -> Result<Cursor, ReplicaError> {
        let cursor = Cursor::at_the_beginning(origin, self.format);
        // This syncs the directory, and with it the name of the file, before anything is in it.
        self.replace_cursor(&cursor, &mut nothing_happens)?;
        Ok(cursor)
    }

    fn replace_cursor(&self, cursor: &Cursor, after: AfterStep<'_>) -> Result<(), ReplicaError> {
        let told = |step| move |source| error::of_io(step, &self.cursor_path, source);
        // A crash before the end of this: the old cursor counts, and this file is written over.
        let mut new = open_options()
            .truncate(true)
            .open(&self.new_cursor_path)
            .map_err(told("write"))?;
        new.write_all(&cursor.encode())
            .and_then(|()| new.sync_all())
            .map_err(told("write"))?;
        self.after(after, Step::CursorBeside)?;
        // This commits. A crash before the directory is synced: the old cursor or the new one, and the file has what either says.
        fs::rename(&self.new_cursor_path, &self.cursor_path).map_err(told("replace"))?;
        self.after(after, Step::Renamed)?;
        File::open(directory(&self.path))
            .and_then(|directory| directory.sync_all())
            .map_err(told("sync the directory of"))
    }

    fn after(&self, after: AfterStep<'_>, step: Step) -> Result<(), ReplicaError> {
        after(step).map_err(|source| error::of_io("append to", &self.path, source))
    }

    fn open_locked(&self) -> Result<File, ReplicaError> {
        self.plain_file()?;
        let opened = open_options().read(true).truncate(false).open(&self.path);
        let file = opened.map_err(|source| error::of_io("open", &self.path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(error::locked(&self.path)),
            Err(TryLockError::Error(source)) => Err(error::of_io("lock", &self.path, source)),
        }
    }

    fn check_line_end(&self, file: &mut File, bytes: u64) -> Result<(), ReplicaError> {
        let Some(last) = bytes.checked_sub(1) else {
            return Ok(());
        };
        let mut byte = [0];
        file.seek(SeekFrom::Start(last))
            .and_then(|_| file.read_exact(&mut byte))
            .map_err(|source| error::of_io("read", &self.path, source))?;
        if byte != *b"\n" {
            return Err(error::no_line_end(&self.path, bytes));
        }
        Ok(())
    }

    fn read_cursor(&self) -> Result<Option<Cursor>, ReplicaError> {
        let told = |source| error::of_io("read", &self.cursor_path, source);
        let file = match File::open(&self.cursor_path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_CURSOR_BYTES)
            .read_to_end(&mut bytes)
            .map_err(told)?;
        let parsed = Cursor::parse(&bytes);
        parsed
            .map(Some)
            .map_err(|what| error::damaged(&self.cursor_path, what))
    }

    /// The file's length; 0 when it is not there.
    fn length(&self) -> Result<u64, ReplicaError> {
        Ok(self.plain_file()?.map_or(0, |metadata| metadata.len()))
    }

    /// The file, if it is there. Links are refused: what they name may change, and is in a directory that nobody syncs.
    fn plain_file(&self) -> Result<Option<fs::Metadata>, ReplicaError> {
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
            Ok(_) => Err(error::no_plain_file(&self.path)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error::of_io("look at", &self.path, error)),
        }
    }
}

/// Writing, and readable by owner and group alone: there is personal data in it.
fn open_options() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o640);
    }
    options
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn directory(path: &Path) -> &Path {
    let parent = path.parent();
    parent
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}
