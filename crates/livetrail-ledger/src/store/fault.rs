//! A store that fails where a test wants it to.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{Access, File, Listed, Lock, MemStore, SharedStore, Space, Store};

/// A kind of operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Op {
    /// [`Store::read`]
    Read,
    /// [`Store::write`]
    Write,
    /// [`Store::preallocate`]
    Preallocate,
    /// [`Store::open`]
    Open,
    /// [`Store::sync_files`]
    SyncFiles,
    /// [`Store::sync_dir`]
    SyncDir,
    /// [`Store::rename`]
    Rename,
    /// [`Store::rename_new`]
    RenameNew,
    /// [`Store::create_dir`]
    CreateDir,
    /// [`Store::remove`]
    Remove,
    /// [`Store::remove_dir`]
    RemoveDir,
    /// [`Store::list`]
    List,
    /// [`Store::exists`]
    Exists,
    /// [`Store::lock`]
    Lock,
    /// [`Store::space`]
    Space,
    /// [`File::write_at`]
    WriteAt,
    /// [`File::sync`]
    Sync,
    /// [`File::read_at`]
    ReadAt,
    /// [`File::set_len`] and [`File::byte_len`]
    Len,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Read,
        Self::Write,
        Self::Preallocate,
        Self::Open,
        Self::SyncFiles,
        Self::SyncDir,
        Self::Rename,
        Self::RenameNew,
        Self::CreateDir,
        Self::Remove,
        Self::RemoveDir,
        Self::List,
        Self::Exists,
        Self::Lock,
        Self::Space,
        Self::WriteAt,
        Self::Sync,
        Self::ReadAt,
        Self::Len,
    ];
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It reports an error and did nothing. After a sync that failed in this way, the data are on
    /// no disk and count as clean.
    Error(io::ErrorKind),
    /// It reports an error although it was done.
    ErrorButDone(io::ErrorKind),
    /// Like [`Fault::Error`], with an error number of the system: for example `EMFILE`, which has
    /// no kind.
    ErrorNumber(i32),
    /// Like [`Fault::ErrorButDone`], with an error number of the system.
    ErrorNumberButDone(i32),
    /// A write does the first half of its bytes and reports an error; any other operation fails
    /// like [`Fault::Error`].
    Short,
    /// The process ends before it: this and all later operations do nothing and report an error.
    KilledBefore,
    /// The process ends after it: it is done, and all later operations do nothing and report an
    /// error.
    KilledAfter,
    /// It does not return before [`FaultStore::release`]; then it is done.
    Hang,
}

/// The operation that fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// The kind of operation.
    pub op: Op,
    /// Its number among those of this kind, from 0.
    pub nth: u64,
    /// How it fails.
    pub fault: Fault,
}

/// Wraps a store and makes one operation of it fail. Clones share the plan and the counts.
#[derive(Clone, Debug)]
pub struct FaultStore {
    inner: SharedStore,
    /// Set when the inner store can model what a failed sync leaves behind.
    mem: Option<MemStore>,
    state: Arc<Mutex<State>>,
    released: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct State {
    plan: Option<FaultPlan>,
    counts: BTreeMap<Op, u64>,
    killed: bool,
    fired: bool,
    hanging: bool,
}

enum Verdict {
    Go,
    Fail(io::Error),
    DoThenFail(io::Error),
    HalfThenFail,
}

fn killed() -> io::Error {
    io::Error::other("the process was killed here")
}

impl FaultStore {
    /// Wraps any store, without a plan: everything works and is counted.
    #[must_use]
    pub fn new(inner: SharedStore) -> Self {
        Self {
            inner,
            mem: None,
            state: Arc::default(),
            released: Arc::default(),
        }
    }

    /// Wraps a store in memory, which then also forgets the data of a failed sync.
    #[must_use]
    pub fn over_memory(mem: MemStore) -> Self {
        Self {
            inner: Arc::new(mem.clone()),
            mem: Some(mem),
            state: Arc::default(),
            released: Arc::default(),
        }
    }

    /// Sets the operation that fails from now on; the counts restart.
    pub fn arm(&self, plan: FaultPlan) {
        *self.state() = State {
            plan: Some(plan),
            ..State::default()
        };
    }

    /// Releases the operation that hangs.
    pub fn release(&self) {
        self.state().hanging = false;
        self.released.notify_all();
    }

    /// The number of operations of each kind since the start or the last [`arm`](Self::arm).
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Op, u64> {
        self.state().counts.clone()
    }

    /// Whether the planned operation was reached.
    #[must_use]
    pub fn fired(&self) -> bool {
        self.state().fired
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verdict(&self, op: Op) -> io::Result<Verdict> {
        let mut state = self.state();
        if state.killed {
            return Err(killed());
        }
        let count = state.counts.entry(op).or_default();
        let nth = *count;
        *count = count.saturating_add(1);
        let Some(plan) = state.plan else {
            return Ok(Verdict::Go);
        };
        if plan.op != op || plan.nth != nth {
            return Ok(Verdict::Go);
        }
        state.fired = true;
        Ok(match plan.fault {
            Fault::Error(kind) => Verdict::Fail(kind.into()),
            Fault::ErrorButDone(kind) => Verdict::DoThenFail(kind.into()),
            Fault::ErrorNumber(number) => Verdict::Fail(io::Error::from_raw_os_error(number)),
            Fault::ErrorNumberButDone(number) => {
                Verdict::DoThenFail(io::Error::from_raw_os_error(number))
            }
            Fault::Short => Verdict::HalfThenFail,
            Fault::KilledBefore => {
                state.killed = true;
                return Err(killed());
            }
            Fault::Hang => {
                state.hanging = true;
                let released = self.released.wait_while(state, |state| state.hanging);
                drop(released);
                return Ok(Verdict::Go);
            }
            Fault::KilledAfter => {
                state.killed = true;
                Verdict::DoThenFail(io::ErrorKind::Other.into())
            }
        })
    }

    fn run<T>(&self, op: Op, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.verdict(op)? {
            Verdict::Go => act(),
            Verdict::Fail(error) => Err(error),
            Verdict::HalfThenFail => Err(io::ErrorKind::Other.into()),
            Verdict::DoThenFail(error) => {
                act()?;
                Err(error)
            }
        }
    }

    fn run_write(
        &self,
        op: Op,
        bytes: &[u8],
        act: impl FnOnce(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.verdict(op)? {
            Verdict::Go => act(bytes),
            Verdict::Fail(error) => Err(error),
            Verdict::DoThenFail(error) => {
                act(bytes)?;
                Err(error)
            }
            Verdict::HalfThenFail => {
                act(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
                Err(io::ErrorKind::WriteZero.into())
            }
        }
    }

    fn run_sync(
        &self,
        op: Op,
        paths: &[String],
        act: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        match self.verdict(op)? {
            Verdict::Go => act(),
            Verdict::DoThenFail(error) => {
                act()?;
                Err(error)
            }
            failed @ (Verdict::Fail(_) | Verdict::HalfThenFail) => {
                if let Some(mem) = &self.mem {
                    for path in paths {
                        mem.forget_unsynced(path);
                    }
                }
                Err(match failed {
                    Verdict::Fail(error) => error,
                    _ => io::ErrorKind::Other.into(),
                })
            }
        }
    }

    fn file(&self, path: &str, inner: Box<dyn File>) -> Box<dyn File> {
        Box::new(FaultFile {
            store: self.clone(),
            path: path.to_owned(),
            inner,
        })
    }
}

#[derive(Debug)]
struct FaultFile {
    store: FaultStore,
    path: String,
    inner: Box<dyn File>,
}

impl File for FaultFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let inner = &mut self.inner;
        self.store
            .run_write(Op::WriteAt, bytes, |bytes| inner.write_at(offset, bytes))
    }

    fn sync(&mut self) -> io::Result<()> {
        let inner = &mut self.inner;
        let paths = std::slice::from_ref(&self.path);
        self.store.run_sync(Op::Sync, paths, || inner.sync())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.store
            .run(Op::ReadAt, || self.inner.read_at(offset, buffer))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let inner = &mut self.inner;
        self.store.run(Op::Len, || inner.set_len(len))
    }

    fn byte_len(&self) -> io::Result<u64> {
        self.store.run(Op::Len, || self.inner.byte_len())
    }
}

impl Store for FaultStore {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.run(Op::Read, || self.inner.read(path))
    }

    fn write(&self, path: &str, bytes: &[u8], access: Access) -> io::Result<()> {
        self.run_write(Op::Write, bytes, |bytes| {
            self.inner.write(path, bytes, access)
        })
    }

    fn preallocate(&self, path: &str, len: u64) -> io::Result<Box<dyn File>> {
        let file = self.run(Op::Preallocate, || self.inner.preallocate(path, len))?;
        Ok(self.file(path, file))
    }

    fn open(&self, path: &str, read_only: bool) -> io::Result<Box<dyn File>> {
        let file = self.run(Op::Open, || self.inner.open(path, read_only))?;
        Ok(self.file(path, file))
    }

    fn sync_files(&self, paths: &[String]) -> io::Result<()> {
        self.run_sync(Op::SyncFiles, paths, || self.inner.sync_files(paths))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.run(Op::SyncDir, || self.inner.sync_dir(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.run(Op::Rename, || self.inner.rename(from, to))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.run(Op::RenameNew, || self.inner.rename_new(from, to))
    }

    fn create_dir(&self, path: &str) -> io::Result<Vec<String>> {
        self.run(Op::CreateDir, || self.inner.create_dir(path))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.run(Op::Remove, || self.inner.remove(path))
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.run(Op::RemoveDir, || self.inner.remove_dir(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<Listed>> {
        self.run(Op::List, || self.inner.list(path))
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        self.run(Op::Exists, || self.inner.exists(path))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>> {
        self.run(Op::Lock, || self.inner.lock(path))
    }

    fn space(&self) -> io::Result<Space> {
        self.run(Op::Space, || self.inner.space())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed(op: Op, fault: Fault) -> (MemStore, FaultStore) {
        let mem = MemStore::new();
        let store = FaultStore::over_memory(mem.clone());
        store.arm(FaultPlan { op, nth: 1, fault });
        (mem, store)
    }

    #[test]
    fn the_nth_operation_of_the_kind_fails_and_no_other() {
        let (mem, store) = armed(Op::Write, Fault::Error(io::ErrorKind::StorageFull));
        store.write("a", b"x", Access::Private).unwrap();
        assert!(store.write("b", b"x", Access::Private).is_err());
        store.write("c", b"x", Access::Private).unwrap();
        assert_eq!(mem.paths(), ["a", "c"]);
        assert!(store.fired());
    }

    #[test]
    fn a_short_write_leaves_half() {
        let (mem, store) = armed(Op::Write, Fault::Short);
        store.write("a", b"x", Access::Private).unwrap();
        assert!(store.write("b", b"1234", Access::Private).is_err());
        assert_eq!(mem.read("b").unwrap(), b"12");
    }

    #[test]
    fn after_a_failed_sync_a_good_one_keeps_nothing() {
        let (mem, store) = armed(Op::Sync, Fault::Error(io::ErrorKind::Other));
        let mut file = store.preallocate("a", 4).unwrap();
        file.sync().unwrap();
        mem.sync_dir("").unwrap();
        file.write_at(0, b"1234").unwrap();
        assert!(file.sync().is_err());
        file.sync().unwrap();
        let after = mem.power_cut(super::super::PowerCut::Synced);
        assert_eq!(after.read("a").unwrap(), [0; 4]);
    }

    #[test]
    fn a_killed_process_does_nothing_more() {
        for (fault, left) in [
            (Fault::KilledBefore, vec!["a"]),
            (Fault::KilledAfter, vec!["a", "b"]),
        ] {
            let (mem, store) = armed(Op::Write, fault);
            store.write("a", b"x", Access::Private).unwrap();
            assert!(store.write("b", b"x", Access::Private).is_err());
            assert!(store.write("c", b"x", Access::Private).is_err());
            assert!(store.read("a").is_err());
            assert_eq!(mem.paths(), left);
        }
    }
}
