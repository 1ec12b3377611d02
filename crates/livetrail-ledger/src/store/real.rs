//! The operating system's store: the only module that uses `std::fs`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Access, File, Listed, Lock, SharedStore, Space, Store,
    file_reserve::FileReserve,
    sys::{self, begin_write_back},
};

/// From this many files up, one `syncfs` is cheaper than a sync of each (a sync costs 3 to 4 ms,
/// for a file of any size).
const SYNCFS_FROM_FILES: usize = 24;

/// A directory of the file system.
///
/// The store of a trail that is open for writing ([`Store::lock`]) reserves
/// [`RESERVED_FILES`](super::RESERVED_FILES) file descriptors. It releases one when a file cannot
/// be opened for lack of descriptors, and takes it back afterwards.
#[derive(Debug)]
pub struct RealStore {
    root: PathBuf,
    reserve: FileReserve,
}

impl RealStore {
    /// The directory `root`, which need not exist yet: [`Ledger::create`](crate::Ledger::create)
    /// creates it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            reserve: FileReserve::default(),
        }
    }

    /// Opens a file, if necessary with a descriptor of the reserve, and does something with it.
    fn with<T>(
        &self,
        open: impl Fn() -> io::Result<fs::File>,
        act: impl FnOnce(fs::File) -> io::Result<T>,
    ) -> io::Result<T> {
        let done = self.reserve.open(open).and_then(act);
        self.reserve.fill_up();
        done
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        sys::write_all_at(&self.0, bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        sys::sync_data(&self.0)
    }

    fn begin_sync(&mut self, offset: u64, len: u64) {
        begin_write_back(&self.0, offset, NonZeroU64::new(len));
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            match sys::read_at(&self.0, rest, at) {
                Ok(0) => break,
                Ok(more) => read = read.saturating_add(more),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// The open file is the lock: closing it releases the lock.
#[derive(Debug)]
struct RealLock(#[expect(dead_code, reason = "held open, never read")] fs::File);

impl Lock for RealLock {}

fn create(path: &Path, access: Access) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    sys::with_mode(&mut options, access.mode()).open(path)
}

impl Store for RealStore {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let at = self.at(path);
        self.with(
            || fs::File::open(&at),
            |mut file| {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok(bytes)
            },
        )
    }

    fn write(&self, path: &str, bytes: &[u8], access: Access) -> io::Result<()> {
        let at = self.at(path);
        self.with(|| create(&at, access), |mut file| file.write_all(bytes))
    }

    fn write_early(&self, path: &str, bytes: &[u8], access: Access) -> io::Result<()> {
        let at = self.at(path);
        self.with(
            || create(&at, access),
            |mut file| {
                file.write_all(bytes)?;
                begin_write_back(&file, 0, None);
                Ok(())
            },
        )
    }

    fn preallocate(&self, path: &str, len: u64) -> io::Result<Box<dyn File>> {
        let at = self.at(path);
        let file = self.reserve.open(|| create(&at, Access::Private))?;
        if let Err(error) = sys::reserve(&file, len) {
            drop(file);
            // The partly reserved space is released. If that fails too, the first error is the
            // more useful one.
            let _ = fs::remove_file(at);
            return Err(error);
        }
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &str, read_only: bool) -> io::Result<Box<dyn File>> {
        let at = self.at(path);
        let open = || OpenOptions::new().read(true).write(!read_only).open(&at);
        Ok(Box::new(RealFile(self.reserve.open(open)?)))
    }

    fn sync_files(&self, paths: &[String]) -> io::Result<()> {
        if paths.len() >= SYNCFS_FROM_FILES {
            let all = |root| Ok(sys::sync_file_system(&root));
            if let Some(synced) = self.with(|| sys::open_dir(&self.root), all)? {
                return synced;
            }
        }
        for path in paths {
            let at = self.at(path);
            self.with(|| sys::open_to_sync(&at), |file| sys::sync_data(&file))?;
        }
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.with(|| sys::open_dir(&self.at(path)), |file| file.sync_all())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        sys::rename_new(&self.at(from), &self.at(to))
    }

    fn create_dir(&self, path: &str) -> io::Result<Vec<String>> {
        let mut missing = Vec::new();
        let mut at = path;
        while !self.at(at).is_dir() {
            missing.push(at.to_owned());
            if at.is_empty() {
                break;
            }
            at = super::parent(at);
        }
        missing.reverse();
        for dir in &missing {
            let at = self.at(dir);
            if dir.is_empty() {
                // Directories above the trail's own are not ours to restrict.
                fs::create_dir_all(&at)?;
                if let Some(above) = at.parent().filter(|above| !above.as_os_str().is_empty()) {
                    self.with(|| sys::open_dir(above), |file| file.sync_all())?;
                }
                continue;
            }
            let private = dir.starts_with(crate::layout::PRIVATE);
            match sys::create_dir(&at, if private { 0o700 } else { 0o755 }) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(missing)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        found(fs::remove_file(self.at(path)))
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        found(fs::remove_dir_all(self.at(path)))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Listed>> {
        let at = self.at(path);
        let entries = match self.reserve.open(|| fs::read_dir(&at)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry?;
            listed.push(Listed {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: entry.file_type()?.is_dir(),
            });
        }
        listed.sort();
        self.reserve.fill_up();
        Ok(listed)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.at(path).try_exists()
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = sys::with_mode(&mut options, Access::Private.mode()).open(self.at(path))?;
        sys::try_lock(&file)?;
        self.reserve.begin();
        Ok(Box::new(RealLock(file)))
    }

    fn space(&self) -> io::Result<Space> {
        sys::space(&self.root)
    }

    fn for_reading(&self) -> Option<SharedStore> {
        // A separate store, without a reserve: a reader must not use the log's descriptors.
        Some(Arc::new(Self::new(&self.root)))
    }
}

fn found(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
