//! Reading the log back at a start: finds its end, and decides whether its tail is torn or the log
//! is damaged.

use std::io;

use livetrail_tlog::Frontier;

use super::{
    batch::Batch,
    record::{HEAD_BYTES, Head, MAX_FRAMED_BYTES},
    segment::{HEADER_BYTES, Header, LogId},
};
use crate::{
    error::LedgerError,
    layout,
    store::{File, SECTOR_BYTES, Store},
    write::companion::Entry,
};

/// The number of bytes of a segment that are in memory at once.
const WINDOW_BYTES: usize = 256 << 10;

/// A replayed batch is passed on at this many bytes.
const REPLAY_BATCH_BYTES: usize = 1 << 20;

/// First indexes of the segments, ascending.
pub(crate) type Segments = Vec<u64>;

/// The state of the bytes after the last valid record of the last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Zeros that were never written.
    Blank,
    /// The remains of the last batch after a crash. It was never reported as durable.
    Torn,
    /// Damage to records that were durable: valid ones follow them.
    Damaged,
}

/// The change that a start must make to the last segment before the log continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    segment: u64,
    /// The end of the last valid record.
    pub(crate) offset: u64,
    /// The start of the last batch.
    last_batch: u64,
    /// The file's current length.
    len: u64,
    pub(crate) tail: Tail,
}

/// The contents of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The index after the last valid record.
    pub(crate) next_index: u64,
    /// `None` when there is no segment.
    pub(crate) cut: Option<Cut>,
    /// The segments that have records from the asked index on.
    segments: Segments,
    /// The newest published tree that a segment records.
    pub(crate) published: Frontier,
    /// The last record with a companion.
    pub(crate) last_companion: Option<u64>,
}

/// The segments in the log's directory.
pub(crate) fn list_segments(store: &dyn Store) -> io::Result<Segments> {
    let names = store.list(layout::WAL)?;
    let mut segments: Segments = names
        .iter()
        .filter_map(|listed| layout::segment_first_index(&listed.name))
        .collect();
    segments.sort_unstable();
    Ok(segments)
}

/// Reads the log from `from` on: every header, every record, and the bytes after the last one.
/// Changes nothing.
///
/// Segments entirely below `from` are not read: their records are in published bundles, and I5 will
/// remove them.
pub(crate) fn scan_log(store: &dyn Store, log_id: &LogId, from: u64) -> Result<Scan, LedgerError> {
    let all = list_segments(store).map_err(|error| LedgerError::io("list", layout::WAL, error))?;
    let below = all.partition_point(|first| *first <= from);
    if below == 0 {
        return match all.first() {
            Some(first) => Err(LedgerError::WalGap {
                wanted: from,
                found: *first,
            }),
            None => Ok(Scan {
                next_index: from,
                cut: None,
                segments: Vec::new(),
                published: Frontier::new(),
                last_companion: None,
            }),
        };
    }
    let segments = all.get(below.saturating_sub(1)..).unwrap_or_default();
    let mut scan = Scan {
        next_index: segments.first().copied().unwrap_or(from),
        cut: None,
        segments: segments.to_vec(),
        published: Frontier::new(),
        last_companion: None,
    };
    for (at, first) in segments.iter().enumerate() {
        let successor = segments.get(at.saturating_add(1)).copied();
        scan_segment(store, log_id, *first, successor, &mut scan)?;
    }
    Ok(scan)
}

fn scan_segment(
    store: &dyn Store,
    log_id: &LogId,
    first: u64,
    successor: Option<u64>,
    scan: &mut Scan,
) -> Result<(), LedgerError> {
    let path = layout::segment(first);
    let corrupt = |offset, what: &str| LedgerError::WalCorrupt {
        path: layout::segment(first),
        offset,
        what: what.to_owned(),
    };
    if scan.next_index != first {
        return Err(LedgerError::WalGap {
            wanted: scan.next_index,
            found: first,
        });
    }
    let failed = |error| LedgerError::io("read", &path, error);
    let file = store.open(&path, true).map_err(failed)?;
    let mut window = Window::new(file.as_ref()).map_err(failed)?;
    let header = Header::parse(window.bytes(0, HEADER_BYTES).map_err(failed)?)
        .map_err(|what| corrupt(0, what))?;
    if header.log_id != *log_id {
        return Err(corrupt(0, "it belongs to another log"));
    }
    if header.first_index != first {
        return Err(corrupt(
            0,
            "its name and its header begin at different indexes",
        ));
    }
    if header.published.size() > scan.published.size() {
        scan.published = header.published;
    }
    let mut walk = Walk::new(window, first, successor);
    while let Some((index, entry)) = walk.next().map_err(failed)? {
        if !entry.companion.is_empty() {
            scan.last_companion = Some(index);
        }
    }
    scan.next_index = walk.next_index;
    match successor {
        Some(next) if walk.next_index != next => Err(corrupt(
            walk.offset,
            &format!(
                "there is no valid record {} here, although a later segment begins with record {next}",
                walk.next_index
            ),
        )),
        Some(_) => Ok(()),
        None => {
            let tail = walk.judge().map_err(failed)?;
            if tail == Tail::Damaged {
                return Err(corrupt(
                    walk.offset,
                    &format!(
                        "there is no valid record {} here, although valid records follow",
                        walk.next_index
                    ),
                ));
            }
            scan.cut = Some(Cut {
                segment: first,
                offset: walk.offset,
                last_batch: walk.last_batch,
                len: walk.window.len,
                tail,
            });
            Ok(())
        }
    }
}

/// Passes on the scanned records from `from` to the end, in batches of about a mebibyte.
pub(crate) fn replay<E: From<LedgerError>>(
    store: &dyn Store,
    scan: &Scan,
    from: u64,
    mut visit: impl FnMut(Batch) -> Result<(), E>,
) -> Result<(), E> {
    let mut batch = Batch::new(from, Vec::new());
    for (at, first) in scan.segments.iter().enumerate() {
        let path = layout::segment(*first);
        let failed = |error| E::from(LedgerError::io("read", &path, error));
        let file = store.open(&path, true).map_err(failed)?;
        let successor = scan.segments.get(at.saturating_add(1)).copied();
        let end = successor.unwrap_or(scan.next_index);
        let window = Window::new(file.as_ref()).map_err(failed)?;
        let mut walk = Walk::new(window, *first, Some(end));
        while let Some((index, entry)) = walk.next().map_err(failed)? {
            if index < from {
                continue;
            }
            batch.push(entry);
            if batch.bytes().len() >= REPLAY_BATCH_BYTES {
                let next = Batch::new(batch.next_index(), Vec::new());
                visit(std::mem::replace(&mut batch, next))?;
            }
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    visit(batch)
}

impl Cut {
    /// Whether [`apply`](Self::apply) has anything to do, when records from `sealed` on are not
    /// covered by a checkpoint.
    pub(crate) fn is_needed(&self, next_index: u64, sealed: u64) -> bool {
        self.len != self.offset || next_index > sealed
    }

    /// Makes the last segment end after its last valid record, and makes the records before
    /// durable.
    ///
    /// The last batch is written again before the sync: if a sync of it failed before the crash,
    /// its pages are clean in the page cache and not on the disk, and a sync alone would wrongly
    /// succeed. Earlier batches were synced before the last one was written. A crash here leaves
    /// the same records, and the next start repeats this.
    pub(crate) fn apply(&self, store: &dyn Store) -> Result<(), LedgerError> {
        let path = layout::segment(self.segment);
        let failed = |error| LedgerError::io("cut the tail of", &path, error);
        let mut file = store.open(&path, false).map_err(failed)?;
        let mut at = self.last_batch;
        let mut buffer = vec![0; WINDOW_BYTES];
        while at < self.offset {
            let left = usize::try_from(self.offset.saturating_sub(at)).unwrap_or(usize::MAX);
            let wanted = left.min(buffer.len());
            let part = buffer.get_mut(..wanted).unwrap_or_default();
            let read = file.read_at(at, part).map_err(failed)?;
            if read == 0 {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            let part = buffer.get(..read).unwrap_or_default();
            file.write_at(at, part).map_err(failed)?;
            at = at.saturating_add(read as u64);
        }
        file.set_len(self.offset).map_err(failed)?;
        file.sync().map_err(failed)
    }
}

/// A part of a file in memory, which moves along the file.
struct Window<'a> {
    file: &'a dyn File,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn File) -> io::Result<Self> {
        Ok(Self {
            file,
            len: file.byte_len()?,
            start: 0,
            bytes: Vec::new(),
        })
    }

    /// `count` bytes at `offset`; fewer only at the end of the file.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = count.min(left);
        let have = self.start.saturating_add(self.bytes.len() as u64);
        let end = offset.saturating_add(count as u64);
        if offset < self.start || end > have {
            self.bytes.resize(count.max(WINDOW_BYTES).min(left), 0);
            let read = self.file.read_at(offset, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = offset;
        }
        let from = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..).unwrap_or_default();
        Ok(rest.get(..count).unwrap_or(rest))
    }
}

/// Reads a segment record by record, as far as they are valid.
struct Walk<'a> {
    window: Window<'a>,
    offset: u64,
    next_index: u64,
    last_batch: u64,
    in_batch: bool,
    /// Records from this index on are skipped: a later segment has them.
    end: Option<u64>,
}

impl<'a> Walk<'a> {
    const fn new(window: Window<'a>, first_index: u64, end: Option<u64>) -> Self {
        Self {
            window,
            offset: HEADER_BYTES as u64,
            next_index: first_index,
            last_batch: HEADER_BYTES as u64,
            in_batch: false,
            end,
        }
    }

    /// The next valid record, or `None` at the end or before an invalid one.
    fn next(&mut self) -> io::Result<Option<(u64, Entry<'_>)>> {
        loop {
            if self.end == Some(self.next_index) {
                return Ok(None);
            }
            let Some(head) = Head::parse(self.window.bytes(self.offset, HEAD_BYTES)?) else {
                return Ok(None);
            };
            let framed = self.window.bytes(self.offset, head.framed_bytes())?;
            if head.index != self.next_index || head.entry(framed).is_none() {
                return Ok(None);
            }
            if !head.is_mark() && !self.in_batch {
                return Ok(None);
            }
            let at = self.offset;
            self.offset = at.saturating_add(head.framed_bytes() as u64);
            if head.is_mark() {
                self.last_batch = at;
                self.in_batch = true;
                continue;
            }
            let index = self.next_index;
            self.next_index = index.saturating_add(1);
            let framed = self.window.bytes(at, head.framed_bytes())?;
            return Ok(head.checked_entry(framed).map(|entry| (index, entry)));
        }
    }

    /// Judges the bytes after the last valid record of the last segment.
    ///
    /// A power cut may keep any sectors of the last batch, so valid records after an invalid one do
    /// not prove damage. It is damage if a mark shows that a later batch was begun, because the
    /// invalid batch was then durable; or if every sector of the invalid place has been written,
    /// because sectors that a power cut lost still have their zeros.
    fn judge(&mut self) -> io::Result<Tail> {
        if self.is_blank(self.offset, self.window.len)? {
            return Ok(Tail::Blank);
        }
        let mut next_good = None;
        let mut at = self.offset;
        while at < self.window.len {
            let next_index = self.next_index;
            let bytes = self.window.bytes(at, WINDOW_BYTES + MAX_FRAMED_BYTES)?;
            for position in 0..bytes.len().min(WINDOW_BYTES) {
                let rest = bytes.get(position..).unwrap_or_default();
                let Some(head) = Head::parse(rest).filter(|head| head.index >= next_index) else {
                    continue;
                };
                if head.entry(rest).is_none() {
                    continue;
                }
                if head.is_mark() && head.index > next_index {
                    return Ok(Tail::Damaged);
                }
                if !head.is_mark() && next_good.is_none() {
                    next_good = Some(at.saturating_add(position as u64));
                }
            }
            at = at.saturating_add(WINDOW_BYTES as u64);
        }
        match next_good {
            None => Ok(Tail::Torn),
            Some(good) if self.has_blank_sector(self.offset, good)? => Ok(Tail::Torn),
            Some(_) => Ok(Tail::Damaged),
        }
    }

    fn is_blank(&mut self, from: u64, to: u64) -> io::Result<bool> {
        let mut at = from;
        while at < to {
            let left = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
            let bytes = self.window.bytes(at, left.min(WINDOW_BYTES))?;
            if bytes.iter().fold(0, |all, byte| all | byte) != 0 {
                return Ok(false);
            }
            if bytes.is_empty() {
                break;
            }
            at = at.saturating_add(bytes.len() as u64);
        }
        Ok(true)
    }

    /// Whether a sector that touches `from..to` has only zeros. For the first sector only the bytes
    /// after `from` count, because an older batch may have been written before that. Fewer than
    /// four bytes prove nothing: a mark begins with three zeros.
    fn has_blank_sector(&mut self, from: u64, to: u64) -> io::Result<bool> {
        let sector = SECTOR_BYTES as u64;
        let mut at = from;
        while at < to {
            let in_sector = at.checked_rem(sector).unwrap_or(0);
            let end = at.saturating_add(sector.saturating_sub(in_sector));
            let end = end.min(self.window.len);
            if end.saturating_sub(at) >= 4 && self.is_blank(at, end)? {
                return Ok(true);
            }
            at = end.max(at.saturating_add(1));
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Access, MemStore};
    use crate::write::wal::framed_bytes;

    const ID: LogId = *b"0123456789abcdef";

    fn header(first_index: u64) -> Vec<u8> {
        header_of(first_index, false)
    }

    fn header_of(first_index: u64, companions: bool) -> Vec<u8> {
        Header {
            log_id: ID,
            first_index,
            published: Frontier::new(),
            companions,
        }
        .encode()
    }

    /// Three batches of three records of 600 bytes, then zeros.
    fn three_batches() -> (Vec<u8>, Vec<u64>) {
        batches_of(&[])
    }

    /// The same, of entries that have this companion. Each record occupies 616 bytes.
    fn batches_of(companion: &[u8]) -> (Vec<u8>, Vec<u64>) {
        let mut bytes = header_of(0, !companion.is_empty());
        let entry_bytes = 616 - framed_bytes(0, companion.len());
        let mut starts = Vec::new();
        let mut index = 0;
        for _ in 0..3 {
            starts.push(bytes.len() as u64);
            let mut batch = Batch::new(index, Vec::new());
            for fill in 1..=3_u8 {
                batch.push(Entry {
                    bytes: &vec![fill; entry_bytes],
                    companion,
                });
            }
            index = batch.next_index();
            bytes.extend_from_slice(batch.bytes());
        }
        starts.push(bytes.len() as u64);
        bytes.resize(16 << 10, 0);
        (bytes, starts)
    }

    /// Batches of entries without companions, and of entries with them.
    fn both_kinds() -> [(Vec<u8>, Vec<u64>); 2] {
        [three_batches(), batches_of(&[0xcc; 250])]
    }

    fn scan(bytes: &[u8]) -> Result<Scan, LedgerError> {
        let store = MemStore::new();
        store.create_dir(layout::WAL).unwrap();
        store
            .write(&layout::segment(0), bytes, Access::Private)
            .unwrap();
        scan_log(&store, &ID, 0)
    }

    #[test]
    fn a_whole_segment_is_read_to_its_blank_tail() {
        for (bytes, starts) in both_kinds() {
            let scan = scan(&bytes).unwrap();
            let cut = scan.cut.unwrap();
            assert_eq!(scan.next_index, 9);
            assert_eq!((cut.offset, cut.tail), (starts[3], Tail::Blank));
            assert_eq!(cut.last_batch, starts[2]);
        }
    }

    #[test]
    fn an_entry_and_its_companion_are_read_back_together_or_not_at_all() {
        let (bytes, starts) = batches_of(&[0xcc; 200]);
        let store = MemStore::new();
        store.create_dir(layout::WAL).unwrap();
        let path = layout::segment(0);
        let last = usize::try_from(starts[2]).unwrap() + HEAD_BYTES;
        // The last batch is torn at every byte.
        for end in last..usize::try_from(starts[3]).unwrap() {
            let mut torn = bytes.clone();
            torn[end..].fill(0);
            store.write(&path, &torn, Access::Private).unwrap();
            let scan = scan_log(&store, &ID, 0).unwrap();
            let whole = 6 + u64::try_from((end - last) / 616).unwrap();
            assert_eq!(scan.next_index, whole, "byte {end}");
            assert_eq!(scan.last_companion, Some(whole - 1), "byte {end}");
            let mut read = 0;
            replay(&store, &scan, 0, |batch| {
                for entry in batch.entries() {
                    assert_eq!(
                        (entry.bytes.len(), entry.companion),
                        (396, &[0xcc; 200][..])
                    );
                    read += 1;
                }
                Ok::<_, LedgerError>(())
            })
            .unwrap();
            assert_eq!(read, whole, "byte {end}");
        }
    }

    #[test]
    fn both_versions_of_segments_are_in_one_log() {
        let store = MemStore::new();
        store.create_dir(layout::WAL).unwrap();
        let mut index = 0;
        for companion in [&b""[..], b"companion", b""] {
            let mut bytes = header_of(index, !companion.is_empty());
            let mut batch = Batch::new(index, Vec::new());
            batch.push(Entry::new(b"one"));
            batch.push(Entry {
                bytes: b"two",
                companion,
            });
            bytes.extend_from_slice(batch.bytes());
            let path = layout::segment(index);
            store.write(&path, &bytes, Access::Private).unwrap();
            index = batch.next_index();
        }
        let scan = scan_log(&store, &ID, 0).unwrap();
        assert_eq!((scan.next_index, scan.last_companion), (6, Some(3)));
        replay(&store, &scan, 0, |batch| {
            let companions: Vec<_> = batch.entries().map(|entry| entry.companion).collect();
            assert_eq!(companions, [&b""[..], b"", b"", b"companion", b"", b""]);
            Ok::<_, LedgerError>(())
        })
        .unwrap();
    }

    #[test]
    fn a_flipped_bit_before_the_last_batch_is_damage_wherever_it_is() {
        for (bytes, starts) in both_kinds() {
            for at in (starts[0]..starts[2]).step_by(5) {
                let mut flipped = bytes.clone();
                flipped[usize::try_from(at).unwrap()] ^= 4;
                let error = scan(&flipped).unwrap_err();
                assert!(
                    matches!(error, LedgerError::WalCorrupt { .. }),
                    "byte {at}: {error}"
                );
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_the_last_batch_is_damage_when_good_records_follow() {
        for (bytes, starts) in both_kinds() {
            let last_record = starts[3] - 616;
            for at in (starts[2]..last_record).step_by(5) {
                let mut flipped = bytes.clone();
                flipped[usize::try_from(at).unwrap()] ^= 4;
                assert!(scan(&flipped).is_err(), "byte {at}");
            }
            for at in (last_record..starts[3]).step_by(5) {
                let mut flipped = bytes.clone();
                flipped[usize::try_from(at).unwrap()] ^= 4;
                let scan = scan(&flipped).unwrap();
                assert_eq!(
                    scan.next_index, 8,
                    "byte {at}: nothing follows, so it may be torn"
                );
                assert_eq!(scan.cut.unwrap().tail, Tail::Torn);
            }
        }
    }

    #[test]
    fn any_sectors_of_the_last_batch_may_be_missing() {
        for (bytes, starts) in both_kinds() {
            let start = usize::try_from(starts[2]).unwrap();
            let sectors = start / SECTOR_BYTES..=usize::try_from(starts[3]).unwrap() / SECTOR_BYTES;
            let sectors: Vec<_> = sectors.collect();
            for missing in 1_u32..1 << sectors.len() {
                let mut torn = bytes.clone();
                for (bit, sector) in sectors.iter().enumerate() {
                    if missing >> bit & 1 == 1 {
                        let from = (sector * SECTOR_BYTES).max(start);
                        torn[from..(sector + 1) * SECTOR_BYTES].fill(0);
                    }
                }
                // The first sector of the batch may be shared with the batch before: the disk then
                // kept its older contents.
                let scan = scan(&torn).unwrap_or_else(|error| panic!("{missing:b}: {error}"));
                assert!((6..9).contains(&scan.next_index), "{missing:b}");
            }
        }
    }

    #[test]
    fn a_segment_with_a_successor_ends_where_that_one_begins() {
        let (bytes, _) = three_batches();
        let store = MemStore::new();
        store.create_dir(layout::WAL).unwrap();
        let write = |first, bytes: &[u8]| {
            let path = layout::segment(first);
            store.write(&path, bytes, Access::Private).unwrap();
        };
        write(0, &bytes);
        write(7, &header(7));
        let scanned = scan_log(&store, &ID, 0).unwrap();
        assert_eq!(
            scanned.next_index, 7,
            "what the successor begins with counts"
        );
        let mut seen = Vec::new();
        replay(&store, &scanned, 2, |batch| {
            seen.push((batch.first_index(), batch.entries().count()));
            Ok::<_, LedgerError>(())
        })
        .unwrap();
        assert_eq!(seen, [(2, 5)]);
        write(10, &header(10));
        assert!(matches!(
            scan_log(&store, &ID, 0).unwrap_err(),
            LedgerError::WalCorrupt { .. }
        ));
        assert!(matches!(
            scan_log(&store, &ID, 9).unwrap_err(),
            LedgerError::WalCorrupt { .. }
        ));
        assert_eq!(scan_log(&store, &ID, 10).unwrap().next_index, 10);
    }

    #[test]
    fn a_missing_first_segment_is_a_gap() {
        let store = MemStore::new();
        store.create_dir(layout::WAL).unwrap();
        store
            .write(&layout::segment(5), &header(5), Access::Private)
            .unwrap();
        assert!(matches!(
            scan_log(&store, &ID, 4).unwrap_err(),
            LedgerError::WalGap {
                wanted: 4,
                found: 5
            }
        ));
    }

    #[test]
    fn another_logs_segment_is_refused() {
        let store = MemStore::new();
        store.create_dir(layout::WAL).unwrap();
        store
            .write(&layout::segment(0), &header(0), Access::Private)
            .unwrap();
        let error = scan_log(&store, b"another log's id", 0).unwrap_err();
        assert!(error.to_string().contains("another log"), "{error}");
    }

    #[test]
    fn a_cut_log_is_whole() {
        let (mut bytes, starts) = three_batches();
        let end = usize::try_from(starts[3]).unwrap();
        bytes[end - 700..end].fill(0);
        let store = MemStore::new();
        store.create_dir(layout::WAL).unwrap();
        let path = layout::segment(0);
        store.write(&path, &bytes, Access::Private).unwrap();
        let scan = scan_log(&store, &ID, 0).unwrap();
        let cut = scan.cut.unwrap();
        assert_eq!(cut.tail, Tail::Torn);
        assert!(cut.is_needed(scan.next_index, scan.next_index));
        cut.apply(&store).unwrap();
        let again = scan_log(&store, &ID, 0).unwrap();
        assert_eq!(again.next_index, scan.next_index);
        assert!(
            !again
                .cut
                .unwrap()
                .is_needed(scan.next_index, scan.next_index)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_get_an_answer(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2000)) {
            crate::write::wal::fuzz_segment(&bytes);
        }
    }
}
