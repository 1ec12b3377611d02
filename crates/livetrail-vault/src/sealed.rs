//! Openings in a write-ahead log, sealed under a key per segment of the log.
//!
//! An opening is in the write-ahead log from when its record is durable until it is in the vault.
//! There it is sealed with the key of its segment. When all openings of a segment are in the vault,
//! the key is destroyed, and with it every copy of these openings that is left in the log, in spare
//! segments or in blocks of the disk.
//!
//! The keys are in one small file. A key's slot is written when the key is created, and overwritten
//! with zeros when it is destroyed; both are synced before the call returns.
//!
//! ```text
//! file   "LTSKEYS1" │ slots u32 │ crc32c u32 │ zeros(48)             64 bytes
//! slot   used u32 = 1 │ crc32c u32 │ segment u64 │ key(32) │ zeros(16)  64 bytes
//! ```
//!
//! A slot is within one sector. A slot with a wrong checksum comes from a creation or a destruction
//! that was not finished: nothing was sealed with its key, or nothing that it sealed is needed. So
//! the start overwrites it.

use std::{collections::BTreeMap, fmt};

use livetrail_ledger::SharedStore;
use zeroize::Zeroizing;

use crate::{
    crypt,
    disk::{Disk, Open},
    error::VaultError,
    format::{Read, narrow, wide},
};

/// The file's name.
pub const SEGMENT_KEYS_FILE: &str = "segment.keys";

/// The bytes that sealing adds: a nonce and a tag.
pub const SEALED_EXTRA_BYTES: usize = crypt::SEALED_EXTRA_BYTES;

/// The maximum number of keys that may be alive at once.
pub const MAX_SEGMENT_KEYS: usize = 4096;

const PLACE_BYTES: usize = 64;
const FILE: [u8; 8] = *b"LTSKEYS1";

/// The key of one segment of a write-ahead log. It is wiped when dropped.
pub struct SegmentKey {
    segment: u64,
    key: Zeroizing<[u8; 32]>,
    /// Begins each nonce: random in each process, so that no nonce repeats after a restart.
    prefix: [u8; 16],
    next: std::sync::atomic::AtomicU64,
}

impl fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentKey({})", self.segment)
    }
}

impl SegmentKey {
    fn new(segment: u64, key: Zeroizing<[u8; 32]>) -> Result<Self, VaultError> {
        Ok(Self {
            segment,
            key,
            prefix: *crypt::random::<16>()?,
            next: std::sync::atomic::AtomicU64::new(0),
        })
    }

    /// The segment.
    #[must_use]
    pub const fn segment(&self) -> u64 {
        self.segment
    }

    /// Seals an opening: [`SEALED_EXTRA_BYTES`] more. `place` binds it, for example to the index of
    /// its entry; it is not part of the result.
    ///
    /// # Errors
    /// [`VaultError::TooLarge`].
    pub fn seal(&self, place: u64, opening: &[u8]) -> Result<Vec<u8>, VaultError> {
        if opening.len() > crate::MAX_OPENING_BYTES {
            return Err(VaultError::TooLarge {
                bytes: opening.len(),
            });
        }
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut nonce = [0; 24];
        let bytes = self.prefix.into_iter().chain(number.to_be_bytes());
        for (to, from) in nonce.iter_mut().zip(bytes) {
            *to = from;
        }
        crypt::seal(&self.key, &nonce, &self.about(place), opening)
    }

    /// Opens what [`seal`](Self::seal) sealed in the same place.
    ///
    /// # Errors
    /// [`VaultError::Unsealable`].
    pub fn open(&self, place: u64, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        if sealed.len() > crate::MAX_OPENING_BYTES.saturating_add(SEALED_EXTRA_BYTES) {
            return Err(VaultError::Unsealable);
        }
        crypt::open(&self.key, &self.about(place), sealed)
    }

    fn about(&self, place: u64) -> Vec<u8> {
        let mut about = b"livetrail wal opening 1\0".to_vec();
        about.extend_from_slice(&self.segment.to_be_bytes());
        about.extend_from_slice(&place.to_be_bytes());
        about
    }
}

/// The keys of the segments of a write-ahead log that still have openings.
///
/// ```
/// use std::sync::Arc;
/// use livetrail_ledger::MemStore;
/// use livetrail_vault::{VaultError, sealed::SegmentKeys};
///
/// let mut keys = SegmentKeys::open(Arc::new(MemStore::new()), 16)?;
/// let key = keys.create(3)?;
/// let sealed = key.seal(120, b"an opening")?;
/// assert_eq!(keys.get(3)?.open(120, &sealed)?.as_slice(), b"an opening");
/// assert!(matches!(key.open(121, &sealed), Err(VaultError::Unsealable)));
/// keys.destroy(3)?;
/// assert!(matches!(keys.get(3), Err(VaultError::NoSegmentKey { segment: 3 })));
/// # Ok::<(), VaultError>(())
/// ```
pub struct SegmentKeys {
    file: Open,
    places: u32,
    used: BTreeMap<u64, (u32, Zeroizing<[u8; 32]>)>,
    broken: bool,
}

impl fmt::Debug for SegmentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.used.keys()).finish()
    }
}

impl SegmentKeys {
    /// Opens the file in this store, or creates it with this many slots. An existing file keeps its
    /// number of slots.
    ///
    /// Only one process may have it open: the lock of the vault or of the log next to it ensures
    /// that.
    ///
    /// # Errors
    /// [`VaultError::Full`] when there are more than [`MAX_SEGMENT_KEYS`] slots,
    /// [`VaultError::Damaged`], errors of the system.
    pub fn open(store: SharedStore, places: u32) -> Result<Self, VaultError> {
        if narrow(u64::from(places)) > MAX_SEGMENT_KEYS || places == 0 {
            return Err(VaultError::Full {
                what: "keys of segments",
                most: MAX_SEGMENT_KEYS,
            });
        }
        let disk = Disk(store);
        let bytes = disk.read(SEGMENT_KEYS_FILE)?.map(Zeroizing::new);
        let (places, found) = match &bytes {
            Some(bytes) => parse(bytes)
                .ok_or_else(|| VaultError::damaged(SEGMENT_KEYS_FILE, "it is not valid"))?,
            None => {
                let mut bytes = header(places);
                bytes.resize(narrow(offset(places)), 0);
                disk.replace(SEGMENT_KEYS_FILE, &bytes)?;
                (places, Vec::new())
            }
        };
        let mut keys = Self {
            file: disk.open(SEGMENT_KEYS_FILE)?,
            places,
            used: BTreeMap::new(),
            broken: false,
        };
        for (place, entry) in found {
            match entry {
                Some((segment, key)) if !keys.used.contains_key(&segment) => {
                    keys.used.insert(segment, (place, key));
                }
                // An unfinished slot, which is not in use.
                _ => keys.file.write_at(offset(place), &[0; PLACE_BYTES])?,
            }
        }
        // An earlier sync may have failed: then what was read need not be on the disk.
        for (segment, (place, key)) in &keys.used {
            keys.file.write_at(offset(*place), &entry(*segment, key))?;
        }
        keys.file.sync()?;
        Ok(keys)
    }

    /// Creates the key of a segment, or returns the existing one. Durable when it returns.
    ///
    /// # Errors
    /// [`VaultError::Full`] when all slots are used; errors of the system, after which the file
    /// must be opened again.
    pub fn create(&mut self, segment: u64) -> Result<SegmentKey, VaultError> {
        if self.used.contains_key(&segment) {
            return self.get(segment);
        }
        let taken: std::collections::BTreeSet<u32> =
            self.used.values().map(|(place, _)| *place).collect();
        let Some(place) = (0..self.places).find(|place| !taken.contains(place)) else {
            return Err(VaultError::Full {
                what: "keys of segments",
                most: narrow(u64::from(self.places)),
            });
        };
        let key = crypt::random::<32>()?;
        self.write(place, &entry(segment, &key))?;
        self.used.insert(segment, (place, key));
        self.get(segment)
    }

    /// The key of a segment.
    ///
    /// # Errors
    /// [`VaultError::NoSegmentKey`] when it was destroyed, or never created.
    pub fn get(&self, segment: u64) -> Result<SegmentKey, VaultError> {
        let key = self.used.get(&segment).map(|(_, key)| key.clone());
        SegmentKey::new(segment, key.ok_or(VaultError::NoSegmentKey { segment })?)
    }

    /// Destroys the key of a segment: its slot is overwritten and synced. A missing one is fine.
    /// Keys that were given out before still work until they are dropped.
    ///
    /// # Errors
    /// Errors of the system, after which the file must be opened again and the key destroyed again.
    pub fn destroy(&mut self, segment: u64) -> Result<(), VaultError> {
        if let Some((place, _)) = self.used.get(&segment) {
            self.write(*place, &[0; PLACE_BYTES])?;
            self.used.remove(&segment);
        }
        Ok(())
    }

    /// The segments whose keys are alive, in order.
    pub fn segments(&self) -> impl Iterator<Item = u64> {
        self.used.keys().copied()
    }

    fn write(&mut self, place: u32, bytes: &[u8]) -> Result<(), VaultError> {
        if self.broken {
            return Err(VaultError::Reopen);
        }
        self.broken = true;
        self.file.write_at(offset(place), bytes)?;
        self.file.sync()?;
        self.broken = false;
        Ok(())
    }
}

fn offset(place: u32) -> u64 {
    u64::from(place)
        .saturating_add(1)
        .saturating_mul(wide(PLACE_BYTES))
}

fn header(places: u32) -> Vec<u8> {
    let mut bytes = FILE.to_vec();
    bytes.extend_from_slice(&places.to_be_bytes());
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes.resize(PLACE_BYTES, 0);
    bytes
}

fn entry(segment: u64, key: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PLACE_BYTES));
    bytes.extend_from_slice(&1_u32.to_be_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&segment.to_be_bytes()), key);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes.extend_from_slice(&segment.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes.resize(PLACE_BYTES, 0);
    bytes
}

/// A slot that is not free: its segment and key, or `None` when it is not valid.
type Place = (u32, Option<(u64, Zeroizing<[u8; 32]>)>);

/// The number of slots, and the slots that are not free.
fn parse(file: &[u8]) -> Option<(u32, Vec<Place>)> {
    let (chunks, rest) = file.as_chunks::<PLACE_BYTES>();
    let (head, chunks) = chunks.split_first()?;
    let places = u32::try_from(chunks.len()).ok()?;
    if !rest.is_empty() || head.as_slice() != header(places) || chunks.len() > MAX_SEGMENT_KEYS {
        return None;
    }
    let numbered = (0_u32..).zip(chunks);
    let used = numbered.filter(|(_, chunk)| **chunk != [0; PLACE_BYTES]);
    Some((
        places,
        used.map(|(place, chunk)| (place, parse_entry(chunk)))
            .collect(),
    ))
}

fn parse_entry(chunk: &[u8; PLACE_BYTES]) -> Option<(u64, Zeroizing<[u8; 32]>)> {
    let mut read = Read(chunk);
    let (_, _) = (read.u32()?, read.u32()?);
    let segment = read.u64()?;
    let key = Zeroizing::new(read.array::<32>()?);
    (chunk.as_slice() == entry(segment, &key).as_slice()).then_some((segment, key))
}

/// Parses any bytes as a file of keys.
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some((places, used)) = parse(bytes) {
        assert!(used.iter().all(|(place, _)| *place < places));
    }
}
