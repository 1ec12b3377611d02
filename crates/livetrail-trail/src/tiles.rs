//! Reads all full hash tiles once after each start, in the background. A missing or changed tile is
//! reported within minutes, and not only by the next auditor.

use std::{io, sync::Arc, thread::Builder, time::Duration};

use livetrail_ledger::{Handle, LedgerError, Reader, WaitError};

use super::Watch;
use crate::chain;

/// The thread pauses after this many tiles (512 KiB), so that neither the disk nor a processor is
/// busy with it.
const PIECE: u64 = 64;
const PAUSE: Duration = Duration::from_millis(5);

/// Checks the tiles on its own thread, which ends with the check or with the ledger.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn check(reader: Arc<Reader>, handle: Handle, watch: Arc<Watch>) -> io::Result<()> {
    let thread = Builder::new().name("trail-tiles".to_owned());
    thread.spawn(move || {
        let checked = reader.check_tiles(&mut |checked| {
            if checked > 0 && checked.is_multiple_of(PIECE) {
                std::thread::sleep(PAUSE);
                let wait = handle.wait_sealed(u64::MAX, Duration::ZERO);
                return matches!(wait, Ok(()) | Err(WaitError::TimedOut));
            }
            true
        });
        match checked {
            Ok(tiles) => tracing::debug!(tiles, "the hash tiles are whole"),
            Err(error @ (LedgerError::FileMissing { .. } | LedgerError::FileCorrupt { .. })) => {
                watch.set_damaged();
                tracing::error!(
                    "the trail is damaged; recording continues: {}",
                    chain(&error)
                );
            }
            Err(error) => tracing::warn!("the hash tiles cannot be checked: {}", chain(&error)),
        }
    })?;
    Ok(())
}
