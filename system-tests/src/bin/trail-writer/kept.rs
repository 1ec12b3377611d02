//! The companions of entries, in a file next to the trail: `DIR.kept`, a line for each.
//!
//! A line has the entry's index in 20 digits, a space, and the companion. All companions have the
//! same length, so a line that a kill cut is found by its place. A companion that comes again has a
//! second line.

use std::fs::OpenOptions;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use livetrail_ledger::{Companion, CompanionStore};

/// The length of a companion: a hash in base64.
const COMPANION_BYTES: usize = 44;

/// The length of a line, with its end.
const LINE_BYTES: u64 = 20 + 1 + COMPANION_BYTES as u64 + 1;

pub(crate) struct Kept(pub(crate) PathBuf);

impl CompanionStore for Kept {
    fn keep(&mut self, companions: &[Companion<'_>]) -> io::Result<()> {
        let mut lines = Vec::new();
        for one in companions {
            write!(lines, "{:020} ", one.index)?;
            lines.extend_from_slice(one.bytes);
            lines.push(b'\n');
        }
        if lines.len() as u64 != companions.len() as u64 * LINE_BYTES {
            return Err(io::Error::other("a companion of another length"));
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.0)?;
        let whole = file.metadata()?.len() / LINE_BYTES * LINE_BYTES;
        file.seek(SeekFrom::Start(whole))?;
        file.write_all(&lines)?;
        file.sync_data()
    }
}
