//! The file and its cursor on disk, and the order of an append.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use livetrail_replica::ReplicaError;

use super::batch::{Batch, Piece};
use super::cursor::{Cursor, MAX_CURSOR_BYTES};
use super::place::{Place, open_options};
use super::{Format, Rotation, error, rotated};
use crate::sys::{inode_of, is_deleted};

/// How often a reader tries again if a writer moved the cursor in between.
const LOOKS: usize = 8;

/// The completed steps of an append. Tests end the process after each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The lock is held and the file is found. If nothing was ever written, the file is now there
    /// and empty.
    Opened,
    /// The cursor exists. If there was none, it is now at the beginning.
    Begun,
    /// The file is truncated to the cursor's length.
    Cut,
    /// The lines are written.
    Written,
    /// The lines are synced.
    Synced,
    /// The new cursor is next to the old one and synced.
    CursorBeside,
    /// The new cursor has replaced the old one.
    Renamed,
    /// A file that gets no more lines is truncated to its committed length, and synced.
    Closed,
    /// The file has its rotated name.
    MovedAway,
    /// The next file exists and is empty.
    NewFile,
}

/// A function that tests call after each step. Its error ends the append there, and no further step
/// is done.
pub(super) type AfterStep<'a> = &'a mut dyn FnMut(Step) -> io::Result<()>;

/// The function outside tests: it does nothing.
pub(super) const fn nothing_happens(_: Step) -> io::Result<()> {
    Ok(())
}

/// A file and its cursor.
#[derive(Debug)]
pub(super) struct Target {
    place: Place,
    format: Format,
    rotation: Rotation,
    /// The open file of the cursor, whatever its name is now.
    held: Option<Held>,
    /// Someone has moved the file away and sent the signal for it.
    reopen_requested: bool,
    /// Whether the rotated files were checked.
    is_checked: bool,
}

#[derive(Debug)]
struct Held {
    file: File,
    /// The first index in the file. By this number a cursor names its file.
    first: u64,
}

/// Where the cursor's file is.
enum Found {
    /// It is already open.
    Held,
    /// It is at its path.
    InPlace,
    /// It has another name, and at its path there is no file or an empty one.
    MovedAway(PathBuf),
    /// It is nowhere, and at its path there is no file or an empty one.
    Gone,
}

impl Target {
    pub(super) fn new(path: PathBuf, format: Format, rotation: Rotation) -> Self {
        Self {
            place: Place::new(path),
            format,
            rotation,
            held: None,
            reopen_requested: false,
            is_checked: false,
        }
    }

    /// The damage to the rotated files. They are checked once.
    pub(super) fn complaints(&mut self, cursor: &Cursor) -> Vec<String> {
        if std::mem::replace(&mut self.is_checked, true) {
            return Vec::new();
        }
        rotated::complaints(&self.place, self.format, self.rotation, cursor)
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// The file's cursor, or `None` if nothing was ever written to the file.
    ///
    /// This takes no lock, so other processes may ask while a server writes. If file and cursor do
    /// not match, it reads again as long as it finds a newer cursor.
    pub(super) fn cursor(&self, origin: &str) -> Result<Option<Cursor>, ReplicaError> {
        let mut before = None;
        for _ in 0..LOOKS {
            let cursor = self.read_cursor()?;
            match self.fits(cursor.as_ref(), origin) {
                Ok(()) => return Ok(cursor),
                Err(error) if before.as_ref() == Some(&cursor) => return Err(error),
                Err(_) => before = Some(cursor),
            }
        }
        Err(error::locked(&self.place.file))
    }

    /// Appends a batch if the cursor is at the batch's first index, and moves the cursor past the
    /// batch. If a line does not belong in the current file, it starts the next one.
    ///
    /// Only the data below the cursor is committed. A crash may leave data after the cursor's
    /// length, and the next append removes it. So each entry is in the files once, whatever the
    /// step at which the process or the machine ends. If a batch goes into several files, each file
    /// has its own commit.
    pub(super) fn append(
        &mut self,
        origin: &str,
        batch: &Batch,
        after: AfterStep<'_>,
    ) -> Result<(), ReplicaError> {
        let _lock = self.place.lock()?;
        let mut cursor = self.open(origin, after)?;
        if cursor.next != batch.first {
            return Err(ReplicaError::CursorMoved {
                expected: batch.first,
                found: cursor.next,
            });
        }
        let mut done = 0;
        while done < batch.len() {
            match batch.piece(done, &cursor, self.rotation) {
                Some(piece) => {
                    done = piece.done;
                    cursor = self.write(&cursor, piece, after)?;
                }
                None => cursor = self.rotate(cursor, after)?,
            }
        }
        Ok(())
    }

    /// Starts the next file at the path, because someone has moved the current one away. This does
    /// nothing if the file has not moved. If it fails, the next append does the rest.
    pub(super) fn reopen(&mut self) -> Result<(), ReplicaError> {
        self.reopen_requested = true;
        let Some(cursor) = self.read_cursor()? else {
            self.reopen_requested = false;
            return Ok(());
        };
        let _lock = self.place.lock()?;
        self.open_of(cursor, &mut nothing_happens)?;
        Ok(())
    }

    /// Writes the lines of a piece, and then the cursor after them.
    fn write(
        &self,
        cursor: &Cursor,
        piece: Piece<'_>,
        after: AfterStep<'_>,
    ) -> Result<Cursor, ReplicaError> {
        let mut file = self.file()?;
        self.check_line_end(file, cursor.bytes)?;
        let failed = |step| move |source| error::of_io(step, &self.place.file, source);
        // Data of a crash was never committed. After a crash here, the file matches the cursor.
        file.set_len(cursor.bytes).map_err(failed("cut"))?;
        self.after(after, Step::Cut)?;
        // After a crash here, some of the lines, or holes in their place, follow the cursor's
        // length. The next append removes them.
        file.seek(SeekFrom::Start(cursor.bytes))
            .and_then(|_| file.write_all(piece.head.as_bytes()))
            .and_then(|()| file.write_all(piece.text.as_bytes()))
            .map_err(failed("write to"))?;
        self.after(after, Step::Written)?;
        // After a crash here, all of the lines are there. The next append removes and writes them
        // again. A failed sync is not repeated: the next attempt writes the lines again, because
        // the system may have dropped them.
        file.sync_data().map_err(failed("sync"))?;
        self.after(after, Step::Synced)?;
        self.replace_cursor(&piece.cursor, after)?;
        Ok(piece.cursor)
    }

    /// Gives the file its rotated name, and starts the next file.
    fn rotate(&mut self, cursor: Cursor, after: AfterStep<'_>) -> Result<Cursor, ReplicaError> {
        self.close_file(self.file()?, &cursor, after)?;
        if self.is_in_place(self.file()?)? {
            let rotated = self.place.rotated(cursor.first);
            if fs::symlink_metadata(&rotated).is_ok() {
                return Err(error::name_taken(&rotated));
            }
            // After a crash from here on, no file is at the path, and the cursor's file has its
            // rotated name. The next open continues from here.
            fs::rename(&self.place.file, &rotated)
                .map_err(|source| error::of_io("rename", &self.place.file, source))?;
            self.after(after, Step::MovedAway)?;
        }
        self.begin_next(cursor, after)
    }

    /// Truncates a file that gets no more lines to its committed length, and syncs it. Nobody
    /// writes to it later.
    fn close_file(
        &self,
        file: &File,
        cursor: &Cursor,
        after: AfterStep<'_>,
    ) -> Result<(), ReplicaError> {
        self.check_line_end(file, cursor.bytes)?;
        file.set_len(cursor.bytes)
            .and_then(|()| file.sync_all())
            .map_err(|source| error::of_io("close", &self.place.file, source))?;
        // After a crash here, the file matches the cursor and still has its name.
        self.after(after, Step::Closed)
    }

    /// Starts the next file at the cursor's index. The cursor's file already has another name.
    fn begin_next(&mut self, cursor: Cursor, after: AfterStep<'_>) -> Result<Cursor, ReplicaError> {
        // The rename must be durable before a cursor names the new file. Otherwise only the new
        // file could remain after a power cut.
        self.place.sync_directory()?;
        if self
            .place
            .plain_file()?
            .is_some_and(|there| there.len() > 0)
        {
            return Err(error::other_file(&self.place.file));
        }
        self.held = None;
        let file = self.open_file()?;
        // After a crash here, the file is empty, but the cursor has a length for it. The next open
        // ignores the empty file.
        self.after(after, Step::NewFile)?;
        let next = cursor.of_the_next_file(inode_in(&file));
        // This commits. After a crash from here on, the file is empty and the cursor is at its
        // beginning.
        self.replace_cursor(&next, after)?;
        self.hold(file, &next);
        self.reopen_requested = false;
        if let Some(most) = self.rotation.keep_files {
            self.place.keep(most)?;
        }
        Ok(next)
    }

    /// Opens the file that gets the next lines, and returns its cursor.
    fn open(&mut self, origin: &str, after: AfterStep<'_>) -> Result<Cursor, ReplicaError> {
        match self.cursor(origin)? {
            Some(cursor) => self.open_of(cursor, after),
            None => self.begin(origin, after),
        }
    }

    /// Opens the cursor's file, or starts the next one if that file was moved away.
    fn open_of(&mut self, cursor: Cursor, after: AfterStep<'_>) -> Result<Cursor, ReplicaError> {
        match self.find(&cursor)? {
            Found::Held => {
                if !self.reopen_requested || self.is_in_place(self.file()?)? {
                    self.reopen_requested = false;
                    self.after(after, Step::Opened)?;
                    self.after(after, Step::Begun)?;
                    return Ok(cursor);
                }
                self.close_file(self.file()?, &cursor, after)?;
                tracing::info!(path = %self.place.file.display(), first = cursor.next, "the file was moved away: a new one is begun");
                self.begin_next(cursor, after)
            }
            Found::InPlace => {
                self.reopen_requested = false;
                let file = self.open_file()?;
                self.after(after, Step::Opened)?;
                // The path may now name another file: a copy that someone restored.
                let cursor = Cursor {
                    inode: inode_in(&file),
                    ..cursor
                };
                self.hold(file, &cursor);
                self.after(after, Step::Begun)?;
                Ok(cursor)
            }
            Found::MovedAway(path) => {
                let file = File::options().read(true).write(true).open(&path);
                let file = file.map_err(|source| error::of_io("open", &path, source))?;
                self.close_file(&file, &cursor, after)?;
                tracing::info!(path = %path.display(), first = cursor.next, "the file has this name now: a new one is begun");
                self.begin_next(cursor, after)
            }
            Found::Gone if self.reopen_requested => {
                tracing::warn!(
                    path = %self.place.file.display(),
                    first = cursor.first,
                    next = cursor.next,
                    "the file with these entries was moved where it is not found: a new one is begun, as the signal asks for"
                );
                self.begin_next(cursor, after)
            }
            Found::Gone => Err(error::gone(&self.place.file, &cursor)),
        }
    }

    /// Starts the first file.
    fn begin(&mut self, origin: &str, after: AfterStep<'_>) -> Result<Cursor, ReplicaError> {
        let file = self.open_file()?;
        // After a crash here, the file is empty and there is no cursor. That is the same as if
        // nothing had happened.
        self.after(after, Step::Opened)?;
        let mut cursor = Cursor::at_the_beginning(origin, self.format);
        cursor.inode = inode_in(&file);
        // This syncs the directory, and with it the name of the file, while the file is still
        // empty.
        self.replace_cursor(&cursor, &mut nothing_happens)?;
        self.hold(file, &cursor);
        // After a crash here, the cursor is at the beginning of an empty file. From now on this
        // sink refuses lines that have no cursor.
        self.after(after, Step::Begun)?;
        Ok(cursor)
    }

    /// Checks that the file matches the cursor and belongs to this log.
    fn fits(&self, cursor: Option<&Cursor>, origin: &str) -> Result<(), ReplicaError> {
        let file = &self.place.file;
        let Some(cursor) = cursor else {
            return match self.place.plain_file()?.map_or(0, |there| there.len()) {
                0 => Ok(()),
                bytes => Err(error::no_cursor(file, &self.place.cursor, bytes)),
            };
        };
        if cursor.origin != origin {
            return Err(error::other_log(file, &cursor.origin, origin));
        }
        if cursor.format != self.format {
            let (found, wanted) = (cursor.format.label(), self.format.label());
            return Err(error::other_format(file, found, wanted));
        }
        match self.find(cursor)? {
            Found::Gone if !self.reopen_requested => Err(error::gone(file, cursor)),
            _ => Ok(()),
        }
    }

    /// Finds the file of a cursor.
    fn find(&self, cursor: &Cursor) -> Result<Found, ReplicaError> {
        let there = self.place.plain_file()?;
        if let Some(held) = self.held_metadata(cursor)? {
            if held.len() < cursor.bytes {
                return Err(error::cut_in_place(
                    &self.place.file,
                    cursor.bytes,
                    held.len(),
                ));
            }
            return Ok(Found::Held);
        }
        let length = there.as_ref().map_or(0, |there| there.len());
        let inode = there.as_ref().and_then(inode_of);
        if cursor.bytes == 0 && length > 0 && inode != cursor.inode {
            return Err(error::other_file(&self.place.file));
        }
        if length >= cursor.bytes {
            return Ok(Found::InPlace);
        }
        if inode.is_some() && inode == cursor.inode {
            return Err(error::cut_in_place(&self.place.file, cursor.bytes, length));
        }
        if length > 0 {
            let (file, beside) = (&self.place.file, &self.place.cursor);
            return Err(error::too_short(file, beside, cursor.bytes, length));
        }
        let moved = self
            .place
            .moved_away(cursor.inode, cursor.first, cursor.bytes)?;
        Ok(moved.map_or(Found::Gone, Found::MovedAway))
    }

    /// The metadata of the open file, if it is the cursor's and still has a name. A deleted file
    /// gets no lines.
    fn held_metadata(&self, cursor: &Cursor) -> Result<Option<Metadata>, ReplicaError> {
        let held = self.held.as_ref();
        let Some(held) = held.filter(|held| held.first == cursor.first) else {
            return Ok(None);
        };
        let found = held.file.metadata();
        let found = found.map_err(|source| error::of_io("look at", &self.place.file, source))?;
        Ok((!is_deleted(&found)).then_some(found))
    }

    fn replace_cursor(&self, cursor: &Cursor, after: AfterStep<'_>) -> Result<(), ReplicaError> {
        let failed = |step| move |source| error::of_io(step, &self.place.cursor, source);
        // After a crash before the end of this, the old cursor counts, and the next attempt
        // overwrites this file.
        let mut new = open_options()
            .truncate(true)
            .open(&self.place.new_cursor)
            .map_err(failed("write"))?;
        new.write_all(&cursor.encode())
            .and_then(|()| new.sync_all())
            .map_err(failed("write"))?;
        self.after(after, Step::CursorBeside)?;
        // This commits. After a crash before the directory is synced, the old or the new cursor is
        // there. The file has the data of both.
        fs::rename(&self.place.new_cursor, &self.place.cursor).map_err(failed("replace"))?;
        self.after(after, Step::Renamed)?;
        self.place.sync_directory()
    }

    fn after(&self, after: AfterStep<'_>, step: Step) -> Result<(), ReplicaError> {
        after(step).map_err(|source| error::of_io("append to", &self.place.file, source))
    }

    fn open_file(&self) -> Result<File, ReplicaError> {
        self.place.plain_file()?;
        let opened = open_options()
            .read(true)
            .truncate(false)
            .open(&self.place.file);
        opened.map_err(|source| error::of_io("open", &self.place.file, source))
    }

    fn hold(&mut self, file: File, cursor: &Cursor) {
        let first = cursor.first;
        self.held = Some(Held { file, first });
    }

    fn file(&self) -> Result<&File, ReplicaError> {
        let held = self.held.as_ref().map(|held| &held.file);
        held.ok_or_else(|| error::gone_by_name(&self.place.file))
    }

    /// Whether an open file is the one at the path.
    fn is_in_place(&self, file: &File) -> Result<bool, ReplicaError> {
        let there = self.place.plain_file()?;
        Ok(there.as_ref().and_then(inode_of) == inode_in(file))
    }

    fn check_line_end(&self, mut file: &File, bytes: u64) -> Result<(), ReplicaError> {
        let Some(last) = bytes.checked_sub(1) else {
            return Ok(());
        };
        let mut byte = [0];
        file.seek(SeekFrom::Start(last))
            .and_then(|_| file.read_exact(&mut byte))
            .map_err(|source| error::of_io("read", &self.place.file, source))?;
        if byte != *b"\n" {
            return Err(error::no_line_end(&self.place.file, bytes));
        }
        Ok(())
    }

    fn read_cursor(&self) -> Result<Option<Cursor>, ReplicaError> {
        let path: &Path = &self.place.cursor;
        let failed = |source| error::of_io("read", path, source);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_CURSOR_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let parsed = Cursor::parse(&bytes);
        parsed.map(Some).map_err(|what| error::damaged(path, what))
    }
}

fn inode_in(file: &File) -> Option<u64> {
    file.metadata().as_ref().ok().and_then(inode_of)
}
