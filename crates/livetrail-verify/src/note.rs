//! Signed notes in files.

use livetrail_tlog::{Checkpoint, Note};

/// The maximum number of bytes of a checkpoint, of `private/log.json` and of a file with keys.
pub(crate) const MAX_SMALL_BYTES: usize = livetrail_tlog::MAX_NOTE_BYTES;

/// The checkpoint in a note, with any signer.
pub(crate) fn stated(bytes: &[u8]) -> Option<Checkpoint> {
    Checkpoint::parse(Note::parse(bytes).ok()?.text()).ok()
}
