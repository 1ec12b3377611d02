//! A file of lines: the trail for programs that read text.
//!
//! ```text
//!  PATH           one line per entry, in the order of indexes, and nothing else
//!  PATH.FIRST     a rotated file: FIRST is its first index, in 20 digits
//!  PATH.lock      empty; locked during a write
//!  PATH.cursor    livetrail-file-cursor 2 LF
//!                 origin ORIGIN LF
//!                 format lines|json LF
//!                 next INDEX LF
//!                 bytes LENGTH LF
//!                 first INDEX LF
//!                 since MS LF
//!                 inode NUMBER LF
//!                 leaf HASH LF
//!                 tree BASE64 LF
//!                 hand_over ID NOTE LF
//!                 checkpoint LENGTH LF NOTE
//!                 ahead LENGTH LF NOTE
//! ```
//!
//! The rotated files in the order of their names, followed by PATH, are the log: each entry is
//! there once. A new cursor file replaces the whole old one; a cursor file never changes in place.
//!
//! | line | meaning |
//! |---|---|
//! | `origin` | the log |
//! | `next` | the first index that is not in any file |
//! | `bytes` | the file's length up to that index |
//! | `first` | the first index in the file |
//! | `since` | the time of its first record, in milliseconds since 1970; `-` if there is none |
//! | `inode` | its number in the file system; `-` if there is none |
//! | `leaf` | the leaf hash of the entry before `next`, base64; `-` if there is none |
//! | `tree` | the tree of all entries below `next` (`Frontier::encode`); `-` if it is not known |
//! | `hand_over` | for each replaced key: its id, and the checkpoint of the hand-over, base64 |
//! | `checkpoint` | the newest signed checkpoint that covers nothing beyond `next`; LENGTH may be 0 |
//! | `ahead` | a newer one, which also covers entries that have not come yet; LENGTH may be 0 |
//!
//! The lines `first`, `since` and `inode` identify the file. Most cursors have no line `hand_over`.
//!
//! - **[`Format::Lines`]** is the tab-separated line of `livetrail_record::encode_line`. In place
//!   of an entry that is not a record there is the line of a free-form event. It has time 0, the
//!   label `no record`, and the entry's `index` and `leaf`.
//! - **[`Format::Json`]** is `{"index":N,"leaf":"…","record":{…}}`. The record is the entry's exact
//!   bytes, so a reader can compute `leaf` again. An entry that is not a record has
//!   `"entry_base64":"…"` in place of `"record"`.
//! - **Entries that were pruned** before an optional sink received them: a free-form event `gap`
//!   with `first_index` and `next_index`, or `{"first_index":N,"next_index":M,"gap":"why"}`. The
//!   entry at the second index is not missing.
//! - **A later file of JSON** begins with `{"tree_size":N,"peaks":["…",…]}`. N is its first index.
//!   The hashes are those of the full subtrees of the entries before it, the largest first. So the
//!   remaining files can be proven after the first files are gone. This line is absent after pruned
//!   entries. It is also absent with a cursor of version 1, which had no tree.
//! - **Data after the cursor's length is not committed.** A crash can leave such data, and the next
//!   append removes it. So a reader that follows the file may see lines twice across a crash. A
//!   reader that stops at `bytes` never does.
//! - **Rotation** follows [`Rotation`], whose bounds depend only on lines and not on a clock.
//!   Another program may rotate instead: it moves the file away and then reports it
//!   ([`ReplicaSink::reopen`](livetrail_replica::ReplicaSink::reopen)). Until then lines go into
//!   the moved file. If the file was moved while nobody wrote, the sink finds it by its inode under
//!   any name in the same directory.
//!
//! `append.rs` describes the order of an append, and the result of a crash at each step.

mod append;
mod batch;
mod build;
mod cursor;
mod error;
mod line;
mod place;
mod rotated;
mod sink;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use crate::settings::Format;
pub use sink::FileReplica;

/// When a file is rotated. The next line goes into a new file, and the old file gets a name with
/// its first index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotation {
    /// No file becomes longer than this many bytes. A longer line has a file of its own.
    pub max_bytes: Option<u64>,
    /// No file has records of two periods of this length. The first period begins with 1970 UTC, so
    /// periods of a day are UTC days.
    ///
    /// The time in each record counts, and no clock does. So the same log is always split at the
    /// same places. The period is a whole number of milliseconds and at least one.
    pub every: Option<Duration>,
    /// The number of rotated files to keep; older ones are removed. `None` keeps all.
    pub keep_files: Option<usize>,
}

impl Format {
    /// The name of the format in the cursor and in the configuration.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Json => "json",
        }
    }

    const fn from_label(label: &[u8]) -> Option<Self> {
        match label {
            b"lines" => Some(Self::Lines),
            b"json" => Some(Self::Json),
            _ => None,
        }
    }
}
