//! A store in memory that distinguishes durable data from the page cache, so that a test can
//! simulate a power cut.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Access, File, Listed, Lock, SECTOR_BYTES, Space, Store, parent};

/// The part of the unsynced data that survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerCut {
    /// Nothing.
    Synced,
    /// All of it.
    All,
    /// The first changes, up to a moment; the write at that moment in part. The seed chooses the
    /// moment.
    Prefix(u64),
    /// Any sectors of any write and any names. The seed chooses.
    Subset(u64),
}

/// A store in memory. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct MemStore(Arc<Mutex<Disk>>);

type Inode = u64;

#[derive(Clone, Debug, Default)]
struct Disk {
    next_inode: Inode,
    inodes: BTreeMap<Inode, Content>,
    live: Names,
    durable: Names,
    /// Changes of names that no sync of a directory has covered, oldest first.
    pending: Vec<NameChange>,
    locks: HashSet<String>,
    capacity_bytes: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    files: BTreeMap<String, Inode>,
    dirs: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync, oldest first.
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Len(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, Inode),
    Unlink(String),
    Rename(String, String, Inode),
    Dir(String),
    NoDir(String),
}

impl MemStore {
    /// An empty store, without bounds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bounds the volume; `None` removes the bound. Existing data stay.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity_bytes = bytes;
    }

    /// The data that a machine finds after a power cut now. This store is not changed.
    #[must_use]
    pub fn power_cut(&self, cut: PowerCut) -> Self {
        let disk = self.disk();
        let mut random = Random(match cut {
            PowerCut::Prefix(seed) | PowerCut::Subset(seed) => seed,
            PowerCut::Synced | PowerCut::All => 0,
        });
        let mut names = disk.durable.clone();
        let keep = random.below(disk.pending.len().saturating_add(1));
        for (at, change) in disk.pending.iter().enumerate() {
            let kept = match cut {
                PowerCut::Synced => false,
                PowerCut::All => true,
                PowerCut::Prefix(_) => at < keep,
                PowerCut::Subset(_) => random.below(2) == 0,
            };
            if kept {
                names.apply(change);
            }
        }
        let mut after = Disk {
            next_inode: disk.next_inode,
            capacity_bytes: disk.capacity_bytes,
            ..Disk::default()
        };
        for inode in names.files.values() {
            let bytes = disk
                .inodes
                .get(inode)
                .map(|content| content.after(cut, &mut random))
                .unwrap_or_default();
            after.inodes.insert(*inode, Content::settled(bytes));
        }
        after.live = names.clone();
        after.durable = names;
        Self(Arc::new(Mutex::new(after)))
    }

    /// A copy of the store as a process sees it now, all of it durable: a back-up.
    #[must_use]
    pub fn copy(&self) -> Self {
        self.power_cut(PowerCut::All)
    }

    /// Simulates an error of a sync: the pages count as clean, and are on no disk.
    pub(crate) fn forget_unsynced(&self, path: &str) {
        let mut disk = self.disk();
        if let Some(content) = disk.content_mut(path) {
            content.pending.clear();
        }
    }

    /// Flips one bit of a file, in the page cache and on the disk.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, `InvalidInput` when it is not that long.
    pub fn flip_bit(&self, path: &str, byte: usize, bit: u8) -> io::Result<()> {
        let mut disk = self.disk();
        let content = disk.content_mut(path).ok_or(io::ErrorKind::NotFound)?;
        let mask = 1_u8.checked_shl(u32::from(bit)).unwrap_or(1);
        let live = content.live.get_mut(byte);
        *live.ok_or(io::ErrorKind::InvalidInput)? ^= mask;
        if let Some(durable) = content.durable.get_mut(byte) {
            *durable ^= mask;
        }
        Ok(())
    }

    /// The paths of all files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.disk().live.files.keys().cloned().collect()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inode: Inode, read_only: bool) -> Box<dyn File> {
        Box::new(MemFile {
            store: self.clone(),
            inode,
            read_only,
        })
    }
}

impl Disk {
    fn content_mut(&mut self, path: &str) -> Option<&mut Content> {
        let inode = self.live.files.get(path)?;
        self.inodes.get_mut(inode)
    }

    fn change(&mut self, change: NameChange) {
        self.live.apply(&change);
        self.pending.push(change);
    }

    fn used_bytes(&self) -> u64 {
        let used = |inode| self.inodes.get(inode).map_or(0, |c| c.live.len() as u64);
        self.live.files.values().map(used).sum()
    }

    /// Whether the volume has space for this many more bytes.
    fn reserve(&self, bytes: usize) -> io::Result<()> {
        let wanted = self.used_bytes().saturating_add(bytes as u64);
        if self
            .capacity_bytes
            .is_some_and(|capacity| wanted > capacity)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// The inode of a file, created if necessary.
    fn make(&mut self, path: &str) -> io::Result<Inode> {
        let dir = parent(path);
        if !dir.is_empty() && !self.live.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if let Some(inode) = self.live.files.get(path) {
            return Ok(*inode);
        }
        let inode = self.next_inode;
        self.next_inode = self.next_inode.saturating_add(1);
        self.inodes.insert(inode, Content::default());
        self.change(NameChange::Link(path.to_owned(), inode));
        Ok(inode)
    }
}

impl Names {
    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Link(path, inode) => {
                self.dirs_above(path);
                self.files.insert(path.clone(), *inode);
            }
            NameChange::Unlink(path) => {
                self.files.remove(path);
            }
            NameChange::Rename(from, to, inode) => {
                if self.files.get(from) == Some(inode) {
                    self.files.remove(from);
                }
                self.dirs_above(to);
                self.files.insert(to.clone(), *inode);
            }
            NameChange::Dir(path) => {
                self.dirs_above(path);
                self.dirs.insert(path.clone());
            }
            NameChange::NoDir(path) => {
                let inside = format!("{path}/");
                self.files.retain(|file, _| !file.starts_with(&inside));
                self.dirs
                    .retain(|dir| dir != path && !dir.starts_with(&inside));
            }
        }
    }

    /// Ensures that an existing name has directories above it.
    fn dirs_above(&mut self, path: &str) {
        let mut dir = parent(path);
        while !dir.is_empty() && self.dirs.insert(dir.to_owned()) {
            dir = parent(dir);
        }
    }
}

impl NameChange {
    fn touches(&self, dir: &str) -> bool {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Dir(path) | Self::NoDir(path) => {
                parent(path) == dir
            }
            Self::Rename(from, to, _) => parent(from) == dir || parent(to) == dir,
        }
    }
}

impl Content {
    fn settled(bytes: Vec<u8>) -> Self {
        Self {
            live: bytes.clone(),
            durable: bytes,
            pending: Vec::new(),
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.live, &change);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &change);
        }
    }

    fn after(&self, cut: PowerCut, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let keep = random.below(self.pending.len().saturating_add(1));
        for (at, change) in self.pending.iter().enumerate() {
            match cut {
                PowerCut::Synced => {}
                PowerCut::All => apply(&mut bytes, change),
                PowerCut::Prefix(_) if at < keep => apply(&mut bytes, change),
                PowerCut::Prefix(_) if at == keep => {
                    apply_sectors(&mut bytes, change, &mut |_| random.below(8) != 0, true);
                }
                PowerCut::Prefix(_) => {}
                PowerCut::Subset(_) => {
                    apply_sectors(&mut bytes, change, &mut |_| random.below(2) == 0, false);
                }
            }
        }
        bytes
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => {
            let end = offset.saturating_add(bytes.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            if let Some(place) = content.get_mut(*offset..end) {
                place.copy_from_slice(bytes);
            }
        }
        Change::Len(len) => content.resize(*len, 0),
    }
}

/// Applies those sectors of a change that `keep` selects, or those before the first that it does
/// not select.
fn apply_sectors(
    content: &mut Vec<u8>,
    change: &Change,
    keep: &mut dyn FnMut(usize) -> bool,
    stop_at_first: bool,
) {
    let Change::Write { offset, bytes } = change else {
        if keep(0) {
            apply(content, change);
        }
        return;
    };
    let mut at = *offset;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let in_sector = at.checked_rem(SECTOR_BYTES).unwrap_or(0);
        let take = SECTOR_BYTES.saturating_sub(in_sector).min(rest.len());
        let (part, behind) = rest.split_at(take);
        if keep(at) {
            apply(
                content,
                &Change::Write {
                    offset: at,
                    bytes: part.to_vec(),
                },
            );
        } else if stop_at_first {
            return;
        }
        at = at.saturating_add(take);
        rest = behind;
    }
}

/// A small generator (splitmix64): the same seed gives the same power cut.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(mixed.checked_rem(bound).unwrap_or(0)).unwrap_or(0)
    }
}

#[derive(Debug)]
struct MemFile {
    store: MemStore,
    inode: Inode,
    read_only: bool,
}

impl MemFile {
    fn change(&self, change: Change) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut disk = self.store.disk();
        let end = match &change {
            Change::Write { offset, bytes } => offset.saturating_add(bytes.len()),
            Change::Len(len) => *len,
        };
        let now = disk
            .inodes
            .get(&self.inode)
            .map_or(0, |content| content.live.len());
        disk.reserve(end.saturating_sub(now))?;
        if let Some(content) = disk.inodes.get_mut(&self.inode) {
            content.change(change);
        }
        Ok(())
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl File for MemFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write {
            offset: place(offset)?,
            bytes: bytes.to_vec(),
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(content) = self.store.disk().inodes.get_mut(&self.inode) {
            content.sync();
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = place(offset)?;
        let disk = self.store.disk();
        let live = disk.inodes.get(&self.inode);
        let from = live.and_then(|content| content.live.get(offset..));
        let from = from.unwrap_or_default();
        let count = from.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), from.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.change(Change::Len(place(len)?))
    }

    fn byte_len(&self) -> io::Result<u64> {
        let disk = self.store.disk();
        Ok(disk
            .inodes
            .get(&self.inode)
            .map_or(0, |content| content.live.len() as u64))
    }
}

#[derive(Debug)]
struct MemLock {
    store: MemStore,
    path: String,
}

impl Lock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.store.disk().locks.remove(&self.path);
    }
}

impl Store for MemStore {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut disk = self.disk();
        let content = disk.content_mut(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(content.live.clone())
    }

    fn write(&self, path: &str, bytes: &[u8], _access: Access) -> io::Result<()> {
        let mut disk = self.disk();
        disk.reserve(bytes.len())?;
        let inode = disk.make(path)?;
        if let Some(content) = disk.inodes.get_mut(&inode) {
            content.change(Change::Len(0));
            content.change(Change::Write {
                offset: 0,
                bytes: bytes.to_vec(),
            });
        }
        Ok(())
    }

    fn preallocate(&self, path: &str, len: u64) -> io::Result<Box<dyn File>> {
        let len = place(len)?;
        let mut disk = self.disk();
        disk.reserve(len)?;
        let inode = disk.make(path)?;
        if let Some(content) = disk.inodes.get_mut(&inode) {
            content.change(Change::Len(0));
            content.change(Change::Len(len));
        }
        drop(disk);
        Ok(self.file(inode, false))
    }

    fn open(&self, path: &str, read_only: bool) -> io::Result<Box<dyn File>> {
        let inode = self.disk().live.files.get(path).copied();
        Ok(self.file(inode.ok_or(io::ErrorKind::NotFound)?, read_only))
    }

    fn sync_files(&self, paths: &[String]) -> io::Result<()> {
        let mut disk = self.disk();
        for path in paths {
            let content = disk.content_mut(path).ok_or(io::ErrorKind::NotFound)?;
            content.sync();
        }
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let disk = &mut *self.disk();
        let mut stay = Vec::new();
        for change in std::mem::take(&mut disk.pending) {
            if change.touches(path) {
                // The file is durable under another name: its old name must not reappear with a
                // later sync.
                if let NameChange::Rename(from, ..) = &change {
                    stay.retain(
                        |other| !matches!(other, NameChange::Link(path, _) if path == from),
                    );
                }
                disk.durable.apply(&change);
            } else {
                stay.push(change);
            }
        }
        disk.pending = stay;
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        let inode = disk.live.files.get(from).copied();
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
        disk.change(NameChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        if self.exists(to)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn create_dir(&self, path: &str) -> io::Result<Vec<String>> {
        let mut disk = self.disk();
        let mut missing = Vec::new();
        let mut at = path;
        while !at.is_empty() && !disk.live.dirs.contains(at) {
            missing.push(at.to_owned());
            at = parent(at);
        }
        missing.reverse();
        for dir in &missing {
            disk.change(NameChange::Dir(dir.clone()));
        }
        Ok(missing)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.live.files.contains_key(path) {
            disk.change(NameChange::Unlink(path.to_owned()));
        }
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.live.dirs.contains(path) {
            disk.change(NameChange::NoDir(path.to_owned()));
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<Listed>> {
        let disk = self.disk();
        let inside = |name: &String| parent(name) == path && !name.is_empty();
        let named = |path: &String, is_dir| Listed {
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            is_dir,
        };
        let files = disk.live.files.keys().filter(|name| inside(name));
        let dirs = disk.live.dirs.iter().filter(|name| inside(name));
        let mut listed: Vec<_> = files
            .map(|path| named(path, false))
            .chain(dirs.map(|path| named(path, true)))
            .collect();
        listed.sort();
        Ok(listed)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.disk().live.files.contains_key(path))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>> {
        let mut disk = self.disk();
        disk.make(path)?;
        if !disk.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemLock {
            store: self.clone(),
            path: path.to_owned(),
        }))
    }

    fn space(&self) -> io::Result<Space> {
        let disk = self.disk();
        let total_bytes = disk.capacity_bytes.unwrap_or(u64::MAX / 4);
        Ok(Space {
            total_bytes,
            available_bytes: total_bytes.saturating_sub(disk.used_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_file(store: &MemStore) {
        store.write("a", b"one", Access::Private).unwrap();
        store.sync_files(&["a".into()]).unwrap();
        store.sync_dir("").unwrap();
    }

    #[test]
    fn only_what_was_synced_survives_a_power_cut() {
        let store = MemStore::new();
        one_file(&store);
        store.write("a", b"two", Access::Private).unwrap();
        store.write("b", b"three", Access::Private).unwrap();
        store.sync_files(&["b".into()]).unwrap();
        let after = store.power_cut(PowerCut::Synced);
        assert_eq!(after.read("a").unwrap(), b"one");
        assert!(!after.exists("b").unwrap(), "its name was not synced");
        let after = store.power_cut(PowerCut::All);
        assert_eq!(after.read("a").unwrap(), b"two");
        assert_eq!(after.read("b").unwrap(), b"three");
    }

    #[test]
    fn a_rename_is_atomic_whatever_the_cut() {
        for seed in 0..64 {
            let store = MemStore::new();
            one_file(&store);
            store.write("a.new", b"two", Access::Private).unwrap();
            store.sync_files(&["a.new".into()]).unwrap();
            store.rename("a.new", "a").unwrap();
            let content = store.power_cut(PowerCut::Subset(seed)).read("a").unwrap();
            assert!(content == b"one" || content == b"two", "seed {seed}");
        }
    }

    #[test]
    fn a_cut_tears_writes_at_sectors() {
        let mut seen = BTreeSet::new();
        for seed in 0..64 {
            let store = MemStore::new();
            let mut file = store.preallocate("w", 2048).unwrap();
            file.sync().unwrap();
            store.sync_dir("").unwrap();
            file.write_at(100, &[1; 1500]).unwrap();
            let after = store.power_cut(PowerCut::Subset(seed)).read("w").unwrap();
            for sector in after.as_chunks::<SECTOR_BYTES>().0 {
                let ones = sector.iter().filter(|byte| **byte == 1).count();
                assert!([0, 412, 512, 64].contains(&ones), "{ones} of a sector");
            }
            seen.insert(after);
        }
        assert!(seen.len() > 8, "the seed chooses");
    }

    #[test]
    fn a_full_volume_takes_nothing_more() {
        let store = MemStore::new();
        store.set_capacity(Some(10));
        store.write("a", &[0; 10], Access::Private).unwrap();
        let error = store.write("b", b"x", Access::Private).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(store.space().unwrap().used_percent(), 100);
        store.remove("a").unwrap();
        store.write("b", b"x", Access::Private).unwrap();
    }
}
