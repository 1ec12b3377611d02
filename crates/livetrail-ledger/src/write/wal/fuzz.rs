//! The fuzz body of the write-ahead log.

use livetrail_tlog::Frontier;

use super::{
    batch::Batch,
    scan::{replay, scan_log},
    segment::Header,
};
use crate::{
    error::LedgerError,
    layout,
    store::{Access, MemStore, Store as _},
    write::companion::Entry,
};

/// Parses any bytes as the last segment of a log: a result, never a panic, and never a record that
/// was not there.
pub(crate) fn fuzz_segment(bytes: &[u8]) {
    fuzz_tail(bytes, false);
    fuzz_tail(&fuzz_batch(bytes), true);
}

/// A batch whose entries and companions are parts of these bytes, and the bytes after the last one.
fn fuzz_batch(mut bytes: &[u8]) -> Vec<u8> {
    let mut batch = Batch::new(0, Vec::new());
    let mut wanted = Vec::new();
    while let Some(([entry, companion], rest)) = bytes.split_first_chunk() {
        let Some((entry, after)) = rest.split_at_checked(usize::from(*entry)) else {
            break;
        };
        let Some((companion, after)) = after.split_at_checked(usize::from(*companion)) else {
            break;
        };
        bytes = after;
        let entry = Entry {
            bytes: entry,
            companion,
        };
        batch.push(entry);
        wanted.push(entry);
    }
    assert!(batch.entries().eq(wanted), "entries come back as they were");
    let mut file = batch.into_buffer();
    file.extend_from_slice(bytes);
    file
}

fn fuzz_tail(bytes: &[u8], companions: bool) {
    let id = *b"fuzzfuzzfuzzfuzz";
    let header = Header {
        log_id: id,
        first_index: 0,
        published: Frontier::new(),
        companions,
    };
    let mut file = header.encode();
    file.extend_from_slice(bytes);
    let store = MemStore::new();
    let made = store
        .create_dir(layout::WAL)
        .and_then(|_| store.write(&layout::segment(0), &file, Access::Private));
    assert!(made.is_ok(), "memory takes it");
    let Ok(scan) = scan_log(&store, &id, 0) else {
        return;
    };
    let (mut seen, mut last_companion) = (0, None);
    let replayed = replay(&store, &scan, 0, |batch| {
        seen = batch.next_index();
        for (index, entry) in (batch.first_index()..).zip(batch.entries()) {
            if !entry.companion.is_empty() {
                last_companion = Some(index);
            }
        }
        Ok::<_, LedgerError>(())
    });
    assert!(replayed.is_ok() && seen == scan.next_index);
    assert_eq!(last_companion, scan.last_companion);
    if let Some(cut) = scan.cut {
        assert!(cut.apply(&store).is_ok());
        let again = scan_log(&store, &id, 0);
        assert!(
            again.is_ok_and(|again| again.next_index == scan.next_index),
            "a second scan of a cut log finds nothing to cut"
        );
    }
}
