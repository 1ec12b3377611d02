//! Bodies of fuzz targets.

use zeroize::Zeroizing;

use crate::{
    format::{index, row, slots, tombstones},
    key::{Keys, MasterKey},
    sealed,
    state::State,
    vault,
};

/// Parses any bytes as each of the vault's files; the first byte chooses the file. This never
/// panics, and what was read is written as the same bytes.
///
/// # Panics
/// When a file that was read is not written as it was.
pub(crate) fn files(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 7 {
        0 => rows(bytes),
        1 => {
            if let Some((head, index)) = index::Index::parse(bytes, 0) {
                assert!(head.live <= head.rows);
                let again = index::Index::parse(&index.file(0, |_| true), 0);
                assert!(again.is_some_and(|(_, again)| again == index));
            }
        }
        2 => {
            if let Some(sessions) = tombstones::parse(bytes) {
                assert_eq!(tombstones::file(sessions), bytes);
            }
        }
        3 => drop(slots::parse(bytes, 0)),
        4 => sealed::fuzz(bytes),
        5 => drop(vault::parse_vault(bytes)),
        _ => drop(State::parse(bytes, &[0; 32])),
    }
}

/// A rows file, with and without a valid header, and a decrypted body.
fn rows(bytes: &[u8]) {
    let mut file = row::file_header(0);
    file.extend_from_slice(bytes);
    let keys = Keys::new(&MasterKey::new(Zeroizing::new([0; 32])));
    if let Some(scan) = row::scan(&file, 0, 1 << 16) {
        let mut end = row::ALIGN;
        for (found, number) in scan.rows.iter().zip(0..) {
            assert!(found.offset >= end || found.header.is_none());
            end = found.offset;
            let from = usize::try_from(found.offset).unwrap_or(usize::MAX);
            let frame = file.get(from..).unwrap_or_default();
            let at = row::At {
                segment: 0,
                row: number,
            };
            drop(row::open_frame(frame, at, &keys, &[1; 32]));
        }
        assert!(scan.end <= u64::try_from(file.len()).unwrap_or(u64::MAX));
    }
    drop(row::scan(bytes, 0, 1 << 16));
    if let Some(row) = row::Row::parse([0; 16], bytes) {
        drop(row.tokens(&keys));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use livetrail_clock::ManualClock;
    use livetrail_ledger::{MemStore, Store as _};
    use proptest::prelude::*;

    use super::*;
    use crate::{Limits, NewRow, RowKind, Vault, sealed::SegmentKeys};

    /// Files of a vault, with the number of their kind, as the fuzz target takes them.
    fn real() -> Vec<Vec<u8>> {
        let mem = MemStore::new();
        let limits = Limits {
            segment_rows: 3,
            ..Limits::default()
        };
        let key = MasterKey::new(Zeroizing::new([0; 32]));
        let clock = Arc::new(ManualClock::at(0));
        let (mut vault, _) = Vault::open_store(Arc::new(mem.clone()), &key, limits, clock).unwrap();
        for number in 0..5_u8 {
            let row = NewRow {
                session: [number; 16],
                kind: RowKind::Session,
                app: "live",
                time_ms: 1,
                principal: Some("a"),
                peer: None,
                user_agent: None,
                stream: None,
                owner: None,
                opening: &[number; 40],
            };
            vault.insert(&[row]).unwrap();
        }
        vault.destroy(&[[1; 16], [9; 16]]).unwrap();
        SegmentKeys::open(Arc::new(mem.clone()), 2)
            .unwrap()
            .create(0)
            .unwrap();
        let kinds = [".rows", ".index", ".gone", ".keys", "segment.keys", "vault"];
        let mut files = Vec::new();
        for (name, (kind, ending)) in mem
            .paths()
            .iter()
            .flat_map(|name| (0_u8..).zip(kinds).map(move |kind| (name, kind)))
        {
            if name.ends_with(ending) {
                let mut bytes = mem.read(name).unwrap();
                bytes.drain(..if kind == 0 { 32 } else { 0 });
                bytes.insert(0, kind);
                files.push(bytes);
            }
        }
        files
    }

    #[test]
    fn real_files_are_among_what_is_parsed() {
        let real = real();
        assert!(real.len() > 6);
        real.iter().for_each(|bytes| files(bytes));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_result(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            files(&bytes);
        }

        #[test]
        fn changed_files_give_a_result(
            which in 0_usize..100,
            changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
            cut in any::<usize>(),
        ) {
            let real = real();
            let mut bytes = real[which % real.len()].clone();
            for (at, byte) in changes {
                let at = 1 + at % (bytes.len() - 1);
                bytes[at] = byte;
            }
            files(&bytes);
            bytes.truncate(1 + cut % bytes.len());
            files(&bytes);
        }
    }
}
