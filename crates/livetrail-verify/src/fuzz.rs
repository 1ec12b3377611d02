//! Body of a fuzz target: any directory gets an answer.

use crate::source::Files;
use crate::verify::{Options, verify};

/// Files that a trail may have; the fuzzer chooses among them, so that it need not find their names.
const PATHS: [&str; 14] = [
    "checkpoint",
    "tile/0/000",
    "tile/0/000.p/1",
    "tile/0/000.p/3",
    "tile/0/001.p/1",
    "tile/1/000",
    "tile/1/000.p/1",
    "tile/entries/000",
    "tile/entries/000.p/1",
    "tile/entries/000.p/3",
    "tile/entries/001.p/1",
    "private/log.json",
    "private/checkpoints/00000000000000000001.note",
    "trail.vkey",
];

/// `data` is files: one byte for the path, two for the length, big-endian, then the contents.
///
/// # Panics
/// When the verifier does; and when it calls sound what nobody signed. That is what the fuzzer looks for.
#[doc(hidden)]
pub fn fuzz_trail(data: &[u8]) {
    let mut files = Files::default();
    let mut rest = data;
    while let Some(([path, high, low], after)) = rest.split_first_chunk::<3>().map(|(a, b)| (*a, b))
    {
        let length = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (contents, next) = after.split_at_checked(length).unwrap_or((after, &[]));
        let place = usize::from(path).checked_rem(PATHS.len()).unwrap_or(0);
        if let Some(path) = PATHS.get(place) {
            files.0.insert((*path).to_owned(), contents.to_vec());
        }
        rest = next;
    }
    let options = Options {
        threads: 1,
        ..Options::default()
    };
    if let Ok(report) = verify(&files, &options, &mut |_, _| {}) {
        assert!(report.findings.len() <= crate::MAX_FINDINGS);
        let _ = report.to_string();
    }
}
