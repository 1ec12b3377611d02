//! Bodies of fuzz targets.

use zeroize::Zeroizing;

use crate::{
    format::{index, row, slots, tombstones},
    key::{Keys, MasterKey},
    sealed,
    state::State,
    vault,
};

/// Parses any bytes as each of the vault's files; the first byte chooses. A result, never a panic,
/// and what was read is written as the same bytes.
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
