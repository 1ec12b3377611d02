//! The vault: opens it, and inserts rows.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use livetrail_clock::Clock;
use livetrail_ledger::{Lock, RealStore, SharedStore};
use zeroize::Zeroizing;

use crate::{
    crypt,
    disk::{self, Disk},
    error::VaultError,
    find::Position,
    format::{
        Read,
        row::{self, Found, MAX_APP_BYTES, MAX_OPENING_BYTES, Row, RowKind, SessionId},
        slots, wide,
    },
    key::{Keys, Kind, MasterKey, Token},
    refusals::Refusals,
    segment::{
        active::{Active, Bounds},
        full::{self, Full},
        recover::{self, Mode},
    },
    state::State,
    tombstones::Tombstones,
};

/// The name of the key file in the vault's directory, unless the options name another file.
pub const KEY_FILE: &str = "vault.key";

/// Bytes of rows that are collected before they are written.
const WRITE_BYTES: usize = 4 << 20;

/// Bounds of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Openings of refusals that are kept within a minute.
    pub refusals_per_minute: u32,
    /// Openings of refusals that are kept at any time.
    pub refusals: u64,
    /// Rows of a segment: 1 to 65,536. The index of one segment is in memory, and an erasure
    /// rewrites whole indexes.
    pub segment_rows: u32,
    /// Bytes of a segment's rows. A segment is read whole when the vault is opened.
    pub segment_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            refusals_per_minute: 600,
            refusals: 100_000,
            segment_rows: 32_768,
            segment_bytes: 64 << 20,
        }
    }
}

/// Where a vault is, and its bounds.
///
/// ```
/// use std::sync::Arc;
/// use livetrail_clock::SystemClock;
/// use livetrail_vault::{Options, Vault};
///
/// let dir = tempfile::tempdir()?;
/// let mut options = Options::new(dir.path().join("personal"));
/// options.key_file = Some(dir.path().join("personal.key"));
/// options.limits.refusals = 10_000;
/// let (_vault, opened) = Vault::open(&options, Arc::new(SystemClock::new()))?;
/// assert!(opened.created && dir.path().join("personal.key").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The vault's directory. It is created with mode 0700. On Windows its permissions are the
    /// operator's.
    pub dir: PathBuf,
    /// The key file; [`KEY_FILE`] in the directory when `None`. It may be on another volume. It is
    /// created together with the vault.
    pub key_file: Option<PathBuf>,
    /// The bounds.
    pub limits: Limits,
}

impl Options {
    /// A vault in this directory, with the key file in it and the default bounds.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            key_file: None,
            limits: Limits::default(),
        }
    }
}

impl Options {
    fn key_path(&self) -> PathBuf {
        let file = self.key_file.clone();
        file.unwrap_or_else(|| self.dir.join(KEY_FILE))
    }
}

/// A row to keep.
#[derive(Clone, Copy)]
pub struct NewRow<'a> {
    /// The session, or what identifies the record in its place.
    pub session: SessionId,
    /// Whether it is a refusal, which is bounded.
    pub kind: RowKind,
    /// The application, for retention; at most 254 bytes.
    pub app: &'a str,
    /// The record's time, in milliseconds since 1970.
    pub time_ms: u64,
    /// The principal, to find the row by: exactly these bytes.
    pub principal: Option<&'a str>,
    /// The peer's address, to find the row by. An IPv4 address that is mapped into IPv6 counts as
    /// IPv4.
    pub peer: Option<IpAddr>,
    /// The user agent, to find the row by, without white space around it.
    pub user_agent: Option<&'a str>,
    /// The stream in the application, for holds.
    pub stream: Option<&'a str>,
    /// The session whose record this is, if the row has an identifier of its own. Erasing or
    /// holding that session erases or holds the row.
    pub owner: Option<SessionId>,
    /// The opening: bytes that the vault does not interpret, at most [`MAX_OPENING_BYTES`].
    pub opening: &'a [u8],
}

impl std::fmt::Debug for NewRow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewRow(..)")
    }
}

/// The result of inserting a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inserted {
    /// Rows that are in the vault now, durably.
    pub kept: u64,
    /// Rows whose session has a row already: the batch was given before.
    pub duplicate: u64,
    /// Rows of sessions that were erased, and parts of such sessions.
    pub erased: u64,
    /// Refusals over a bound.
    pub not_kept: u64,
}

/// What opening a vault found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// Whether the vault was created.
    pub created: bool,
    /// Rows of the last batch whose write was not finished. Nobody relies on them.
    pub dropped: u64,
    /// Sessions whose erasure was not finished, and is now.
    pub finished_erasures: u64,
    /// Segments whose index was rebuilt.
    pub rebuilt_indexes: u64,
    /// Rows in these segments that do not open: see [`Vault::check`].
    pub damaged: u64,
}

/// Personal data of sessions, sealed, next to the trail. See the [crate](crate).
pub struct Vault {
    pub(crate) disk: Disk,
    id: [u8; 16],
    pub(crate) keys: Keys,
    pub(crate) state_key: Zeroizing<[u8; 32]>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) full: BTreeMap<u64, Full>,
    pub(crate) active: Active,
    /// Sessions of the segment before the active one.
    recent: HashSet<Token>,
    pub(crate) tombstones: Tombstones,
    pub(crate) state: State,
    refusals: Refusals,
    broken: bool,
    /// The rows of an erasure that are not erased yet.
    pub(crate) unfinished: Option<crate::find::Places>,
    /// `None` when the vault is open to read only.
    lock: Option<Box<dyn Lock>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault")
            .field("place", &self.disk.place())
            .field("segments", &self.full.len().saturating_add(1))
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Opens a vault, or creates it together with its key file.
    ///
    /// # Errors
    /// [`VaultError::DirectoryMode`], [`VaultError::KeyLost`], [`VaultError::WrongKey`],
    /// [`VaultError::InUse`], or errors of the system.
    pub fn open(options: &Options, clock: Arc<dyn Clock>) -> Result<(Self, Opened), VaultError> {
        create_private_dir(&options.dir)?;
        let key_file = options.key_path();
        let store: SharedStore = Arc::new(RealStore::new(&options.dir));
        let is_new = Disk(Arc::clone(&store)).read(disk::VAULT)?.is_none();
        let key = match MasterKey::read(&key_file)? {
            Some(key) => key,
            None if is_new => MasterKey::create(&key_file)?,
            None => return Err(VaultError::KeyLost { path: key_file }),
        };
        Self::open_store(store, &key, options.limits, clock)
    }

    /// Opens an existing vault to read it, also while another process has it open. It shows the
    /// rows of this moment. Later rows are not seen; erased ones disappear. Everything that writes
    /// is refused.
    ///
    /// # Errors
    /// [`VaultError::Missing`], [`VaultError::KeyLost`], [`VaultError::WrongKey`], errors of the
    /// system. An erasure at the same moment can remove a file that is being opened: try again.
    pub fn open_read_only(options: &Options, clock: Arc<dyn Clock>) -> Result<Self, VaultError> {
        if !options.dir.is_dir() {
            return Err(VaultError::Missing {
                place: options.dir.display().to_string(),
            });
        }
        create_private_dir(&options.dir)?;
        let path = options.key_path();
        let key = MasterKey::read(&path)?.ok_or(VaultError::KeyLost { path })?;
        let store: SharedStore = Arc::new(RealStore::new(&options.dir));
        Self::open_store_read_only(store, &key, clock)
    }

    /// The same in any store.
    ///
    /// # Errors
    /// As [`open_read_only`](Self::open_read_only).
    pub fn open_store_read_only(
        store: SharedStore,
        key: &MasterKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, VaultError> {
        let disk = Disk(store);
        let keys = Keys::new(key);
        let bytes = disk.read(disk::VAULT)?.ok_or_else(|| VaultError::Missing {
            place: disk.place(),
        })?;
        let id = check_vault(&bytes, &keys, &disk)?;
        let listed = disk.list()?;
        let mut opened = Opened::default();
        Self::load(
            (disk, None),
            keys,
            &id,
            &listed,
            Limits::default(),
            clock,
            &mut opened,
        )
    }

    /// Opens a vault in any store, or creates it, with a key that the caller keeps.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_store(
        store: SharedStore,
        key: &MasterKey,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Opened), VaultError> {
        let disk = Disk(store);
        let lock = disk.lock()?;
        let keys = Keys::new(key);
        let listed = disk.list()?;
        let mut opened = Opened::default();
        let id = match disk.read(disk::VAULT)? {
            Some(bytes) => check_vault(&bytes, &keys, &disk)?,
            None if listed.keys.is_empty() && listed.rows.is_empty() => {
                opened.created = true;
                create_vault(&disk, &keys)?
            }
            None => {
                return Err(VaultError::NotAVault {
                    place: disk.place(),
                });
            }
        };
        for staged in &listed.staged {
            disk.remove(staged)?;
        }
        let limits = Limits {
            segment_rows: limits.segment_rows.clamp(1, 65_536),
            ..limits
        };
        let place = (disk, Some(lock));
        let mut vault = Self::load(place, keys, &id, &listed, limits, clock, &mut opened)?;
        opened.finished_erasures = vault.finish_erasure()?;
        Ok((vault, opened))
    }

    fn load(
        (disk, lock): (Disk, Option<Box<dyn Lock>>),
        keys: Keys,
        id: &[u8; 16],
        listed: &disk::Listed,
        limits: Limits,
        clock: Arc<dyn Clock>,
        opened: &mut Opened,
    ) -> Result<Self, VaultError> {
        let mode = match lock {
            Some(_) => Mode::Write {
                new_slots: limits.segment_rows,
            },
            None => Mode::Read,
        };
        let (full, active) = open_segments(&disk, &keys, listed, mode, opened)?;
        let state_key = keys.state(id);
        Ok(Self {
            recent: recent(&disk, &full)?,
            tombstones: Tombstones::open(&disk, listed, mode)?,
            state: State::read(&disk, &state_key)?,
            refusals: Refusals::default(),
            broken: false,
            unfinished: None,
            lock,
            disk,
            id: *id,
            keys,
            state_key,
            clock,
            limits,
            full,
            active,
        })
    }

    /// Keeps rows. When it returns, they are durable: keys and rows are synced once for the batch.
    /// Rows of erased sessions and refusals over the bounds are not kept, and counted.
    ///
    /// A row is skipped if its session has another one among the last `segment_rows` rows. After a
    /// start, give rows that may be in the vault to [`insert_missing`](Self::insert_missing).
    ///
    /// # Errors
    /// [`VaultError::TooLarge`] or [`VaultError::Name`] before anything is done; errors of the
    /// system, after which the vault must be opened again and the batch given again.
    pub fn insert(&mut self, rows: &[NewRow<'_>]) -> Result<Inserted, VaultError> {
        check_rows(rows)?;
        self.mutate(|vault| vault.take(rows, &HashSet::new()))
    }

    /// Keeps the rows whose session has no row in the whole vault: for batches that are given again
    /// after a start, however old they are.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_missing(&mut self, rows: &[NewRow<'_>]) -> Result<Inserted, VaultError> {
        check_rows(rows)?;
        self.usable()?;
        let sessions: Vec<SessionId> = rows.iter().map(|row| row.session).collect();
        let located = self.locate(&sessions)?;
        let known = located
            .into_iter()
            .filter_map(|(at, _)| sessions.get(at).copied());
        let known: HashSet<SessionId> = known.collect();
        self.mutate(|vault| vault.take(rows, &known))
    }

    fn take(
        &mut self,
        rows: &[NewRow<'_>],
        known: &HashSet<SessionId>,
    ) -> Result<Inserted, VaultError> {
        let mut done = Inserted::default();
        let mut pending: Vec<Row> = Vec::new();
        let mut pending_bytes = 0_usize;
        let mut sessions = HashSet::new();
        let mut refusals = self.kept_refusals();
        let minute = self
            .clock
            .monotonic()
            .as_secs()
            .checked_div(60)
            .unwrap_or(0);
        for new in rows {
            let token = self.keys.token(Kind::Session, &new.session);
            let owner = new.owner.filter(|owner| *owner != new.session);
            let is_erased = self.tombstones.contains(&new.session)?
                || owner.map_or(Ok(false), |owner| self.tombstones.contains(&owner))?;
            if is_erased {
                done.erased = done.erased.saturating_add(1);
                continue;
            }
            let known = known.contains(&new.session)
                || self.recent.contains(&token)
                || !self.active.find(Kind::Session, &token, 0).is_empty()
                || !sessions.insert(token);
            if known {
                done.duplicate = done.duplicate.saturating_add(1);
                continue;
            }
            if new.kind == RowKind::Refusal {
                if !self.refusals.admit(minute, refusals, &self.limits) {
                    done.not_kept = done.not_kept.saturating_add(1);
                    continue;
                }
                refusals = refusals.saturating_add(1);
            }
            let bytes = new
                .opening
                .len()
                .saturating_add(new.app.len())
                .saturating_add(160);
            let bounds = Bounds {
                rows: self.limits.segment_rows,
                bytes: self.limits.segment_bytes,
            };
            let is_full = !self.active.is_empty_with(pending.len())
                && self
                    .active
                    .is_full(pending.len(), pending_bytes.saturating_add(bytes), bounds);
            if is_full || pending_bytes >= WRITE_BYTES {
                self.active.append(&self.keys, &pending)?;
                pending.clear();
                pending_bytes = 0;
            }
            if is_full {
                self.roll()?;
            }
            pending_bytes = pending_bytes.saturating_add(bytes);
            pending.push(self.row(new));
            done.kept = done.kept.saturating_add(1);
        }
        if !pending.is_empty() {
            self.active.append(&self.keys, &pending)?;
        }
        if done.kept > 0 {
            self.active.sync()?;
        }
        Ok(done)
    }

    fn row(&self, new: &NewRow<'_>) -> Row {
        Row {
            session: new.session,
            time_ms: new.time_ms,
            kind: new.kind,
            app: new.app.to_owned(),
            principal: new.principal.map(|name| self.keys.principal(name)),
            user_agent: new.user_agent.map(|name| self.keys.user_agent(name)),
            peer: new.peer.map(|peer| peer.to_canonical()),
            stream: new.stream.map(|name| self.keys.stream(new.app, name)),
            owner: new.owner.filter(|owner| *owner != new.session),
            opening: Zeroizing::new(new.opening.to_vec()),
        }
    }

    /// Makes the active segment a full one, and begins the next.
    ///
    /// 1. Its rows are synced. A crash here leaves an active segment that is full: the next row
    ///    starts again with step 1.
    /// 2. Its index is written. A crash here leaves no active segment: the start creates one.
    /// 3. The next segment is created. A crash during this step leaves a segment without rows: the
    ///    start creates it again.
    fn roll(&mut self) -> Result<(), VaultError> {
        self.active.sync()?;
        self.active.seal(&self.disk)?;
        let number = self.active.number;
        let full = Full::open(&self.disk, number)?
            .ok_or_else(|| VaultError::damaged(&disk::index(number), "it changed"))?;
        self.recent = recent_of(&self.disk, &full)?;
        if full.head.live == 0 {
            full::remove(&self.disk, number)?;
        } else {
            self.full.insert(number, full);
        }
        let next = number.saturating_add(1);
        self.active = Active::create(&self.disk, next, self.limits.segment_rows)?;
        Ok(())
    }

    /// Refusals that the vault has now.
    fn kept_refusals(&self) -> u64 {
        let full = self.full.values().map(|full| u64::from(full.head.refusals));
        full.sum::<u64>()
            .saturating_add(u64::from(self.active.refusals()))
    }

    /// The vault's identifier: random, made with the vault. Copies of a vault have the same.
    #[must_use]
    pub const fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The identifier of the vault in a store, without its key. `None`: there is no vault.
    ///
    /// # Errors
    /// [`VaultError::Damaged`], errors of the system.
    pub fn id_in(store: &SharedStore) -> Result<Option<[u8; 16]>, VaultError> {
        let disk = Disk(Arc::clone(store));
        let Some(bytes) = disk.read(disk::VAULT)? else {
            return Ok(None);
        };
        let (id, _) = parse_vault(&bytes)
            .ok_or_else(|| VaultError::damaged(disk::VAULT, "it is not valid"))?;
        Ok(Some(id))
    }

    /// A secret for another purpose of the caller. It is derived from the vault's key, so it is the
    /// same at each start, and is lost with the key.
    #[must_use]
    pub fn secret(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        self.keys.secret(purpose)
    }

    /// Whether the vault must be opened again: an operation that writes has failed, and every later
    /// one is refused.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Refusals that were not kept since the last call. The caller records them.
    pub fn take_not_kept(&mut self) -> u64 {
        self.refusals.take()
    }

    /// Statistics of the vault.
    #[must_use]
    pub fn status(&self) -> Status {
        let full = self.full.values();
        let live = full.map(|full| u64::from(full.head.live)).sum::<u64>();
        Status {
            rows: live.saturating_add(u64::from(self.active.live())),
            refusals: self.kept_refusals(),
            refusals_not_kept: self.refusals.total(),
            segments: wide(self.full.len()).saturating_add(1),
            erased_sessions: self.tombstones.len(),
            holds: wide(self.state.holds.len()),
            waiting: wide(self.state.waiting.len()),
        }
    }

    /// The position after the last row.
    pub(crate) fn end(&self) -> Position {
        Position {
            segment: self.active.number,
            row: self.active.rows(),
        }
    }

    /// Runs an operation that writes. After an error of the disk the state in memory may differ
    /// from the disk, so every later operation is refused.
    pub(crate) fn mutate<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        self.writable()?;
        let done = act(self);
        self.broken = matches!(
            done,
            Err(VaultError::Io { .. } | VaultError::Damaged { .. } | VaultError::Randomness)
        );
        done
    }

    pub(crate) fn writable(&self) -> Result<(), VaultError> {
        if self.is_read_only() {
            return Err(VaultError::ReadOnly);
        }
        self.usable()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.lock.is_none()
    }

    pub(crate) fn usable(&self) -> Result<(), VaultError> {
        if self.broken {
            return Err(VaultError::Reopen);
        }
        Ok(())
    }
}

fn check_rows(rows: &[NewRow<'_>]) -> Result<(), VaultError> {
    for row in rows {
        let bytes = row.opening.len();
        if bytes > MAX_OPENING_BYTES {
            return Err(VaultError::TooLarge { bytes });
        }
        if row.app.len() > MAX_APP_BYTES {
            return Err(VaultError::Name {
                what: "an application",
                bytes: row.app.len(),
                most: MAX_APP_BYTES,
            });
        }
    }
    Ok(())
}

/// Statistics of a vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Rows that are not erased.
    pub rows: u64,
    /// Refusals among them.
    pub refusals: u64,
    /// Refusals that were not kept since the vault was opened.
    pub refusals_not_kept: u64,
    /// Segments.
    pub segments: u64,
    /// Erased sessions.
    pub erased_sessions: u64,
    /// Holds.
    pub holds: u64,
    /// Requests that wait for a hold.
    pub waiting: u64,
}

/// The sessions of the last full segment.
fn recent(disk: &Disk, full: &BTreeMap<u64, Full>) -> Result<HashSet<Token>, VaultError> {
    full.values()
        .next_back()
        .map_or_else(|| Ok(HashSet::new()), |full| recent_of(disk, full))
}

fn recent_of(disk: &Disk, full: &Full) -> Result<HashSet<Token>, VaultError> {
    let pairs = full.lookup(disk)?.pairs(Kind::Session)?;
    Ok(pairs.into_iter().map(|(token, _)| token).collect())
}

/// Opens all segments. Indexes that are missing are rebuilt, except that of the newest segment,
/// which is the active one.
fn open_segments(
    disk: &Disk,
    keys: &Keys,
    listed: &disk::Listed,
    mode: Mode,
    opened: &mut Opened,
) -> Result<(BTreeMap<u64, Full>, Active), VaultError> {
    let mut full = BTreeMap::new();
    let files = listed.keys.iter().chain(&listed.rows);
    let mut numbers: Vec<u64> = files.chain(&listed.indexes).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    let newest = numbers.last().copied();
    let mut active = None;
    for number in numbers {
        let has_index = listed.indexes.contains(&number);
        let is_whole = listed.keys.contains(&number) && listed.rows.contains(&number);
        if !is_whole && (has_index || Some(number) != newest) {
            if mode != Mode::Read {
                forget(disk, number)?;
            }
            continue;
        }
        if let Some(found) = Full::open(disk, number)? {
            if found.head.live == 0 && Some(number) != newest {
                if mode != Mode::Read {
                    full::remove(disk, number)?;
                }
            } else {
                full.insert(number, found);
            }
            continue;
        }
        if mode == Mode::Read && Some(number) != newest {
            let what = "it is missing or damaged: open the vault to write, which makes it again";
            return Err(VaultError::damaged(&disk::index(number), what));
        }
        let (found, recovered) = recover::open(disk, number, keys, mode)?;
        opened.dropped = opened.dropped.saturating_add(recovered.dropped);
        opened.damaged = opened.damaged.saturating_add(recovered.damaged);
        if Some(number) == newest {
            active = Some(found);
            continue;
        }
        if found.live() == 0 {
            drop(found);
            full::remove(disk, number)?;
            continue;
        }
        opened.rebuilt_indexes = opened.rebuilt_indexes.saturating_add(1);
        found.seal(disk)?;
        full.extend(Full::open(disk, number)?.map(|found| (number, found)));
    }
    let active = match active {
        Some(active) => active,
        None => {
            let next = newest.map_or(0, |newest| newest.saturating_add(1));
            Active::begin(disk, next, mode)?
        }
    };
    Ok((full, active))
}

/// Removes what is left of a segment whose rows were erased and removed.
fn forget(disk: &Disk, number: u64) -> Result<(), VaultError> {
    let path = disk::keys(number);
    let bytes = Zeroizing::new(disk.read(&path)?.unwrap_or_default());
    let has_keys =
        slots::parse(&bytes, number).is_some_and(|slots| slots.iter().any(|slot| *slot != [0; 32]));
    if has_keys {
        return Err(VaultError::damaged(&path, "there are keys and no rows"));
    }
    let path = disk::rows(number);
    let rows = disk.read(&path)?.unwrap_or_default();
    let scan = row::scan(&rows, number, u32::MAX);
    if scan.is_some_and(|scan| !scan.rows.iter().all(Found::is_erased)) {
        return Err(VaultError::damaged(&path, "there are rows and no keys"));
    }
    full::remove(disk, number)
}

/// ```text
/// "LTVAULT1" │ id(16) │ check value of the key(16) │ crc32c u32
/// ```
fn create_vault(disk: &Disk, keys: &Keys) -> Result<[u8; 16], VaultError> {
    let id = *crypt::random::<16>()?;
    let mut bytes = b"LTVAULT1".to_vec();
    bytes.extend_from_slice(&id);
    bytes.extend_from_slice(&keys.check(&id));
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    disk.replace(disk::VAULT, &bytes)?;
    Ok(id)
}

fn check_vault(bytes: &[u8], keys: &Keys, disk: &Disk) -> Result<[u8; 16], VaultError> {
    let (id, check) =
        parse_vault(bytes).ok_or_else(|| VaultError::damaged(disk::VAULT, "it is not valid"))?;
    if check != keys.check(&id) {
        return Err(VaultError::WrongKey {
            place: disk.place(),
        });
    }
    Ok(id)
}

pub(crate) fn parse_vault(bytes: &[u8]) -> Option<([u8; 16], [u8; 16])> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if u32::from_be_bytes(*sum) != crc32c::crc32c(body) {
        return None;
    }
    let mut read = Read(body);
    let ours = read.array()? == *b"LTVAULT1";
    let (id, check) = (read.array()?, read.array()?);
    (ours && read.0.is_empty()).then_some((id, check))
}

/// Creates the directory with mode 0700, or checks that nobody else may enter an existing one.
pub(crate) fn create_private_dir(dir: &Path) -> Result<(), VaultError> {
    let failed = |op| VaultError::io(op, &dir.display().to_string());
    if !dir.is_dir() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(dir).map_err(failed("create"))?;
        #[cfg(unix)]
        {
            let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
            fs::File::open(above.unwrap_or(Path::new(".")))
                .and_then(|above| above.sync_all())
                .map_err(failed("sync"))?;
        }
    }
    #[cfg(unix)]
    {
        let metadata = fs::metadata(dir).map_err(failed("read the permissions of"))?;
        let mode = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777;
        if mode & 0o077 != 0 {
            return Err(VaultError::DirectoryMode {
                path: dir.to_owned(),
                mode,
            });
        }
    }
    Ok(())
}
