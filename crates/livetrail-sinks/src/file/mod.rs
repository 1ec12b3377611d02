//! A file of lines: the trail for whatever reads text.
//!
//! ```text
//!  PATH           one line an entry, in index order, nothing else
//!  PATH.FIRST     earlier ones, where files are rotated: FIRST is the index that the file begins with, in 20 digits. All in the
//!                 order of their names and then PATH are the log, each entry once
//!  PATH.lock      empty; held while something is written
//!  PATH.cursor    livetrail-file-cursor 2 LF     how far it is committed: replaced as a whole, never changed in place
//!                 origin ORIGIN LF               of which log
//!                 format lines|json LF
//!                 next INDEX LF                  the first index that is in no file
//!                 bytes LENGTH LF                the file's length with what it has below that index
//!                 first INDEX LF                 the index that the file begins with: by this and the next two it is known again
//!                 since MS LF                    the time of its first record, in milliseconds since 1970; `-` where there is none
//!                 inode NUMBER LF                its number in the file system; `-` where there are none
//!                 leaf HASH LF                   the leaf hash of the entry before `next`, base64; `-` where there is none
//!                 tree BASE64 LF                the tree of all entries below `next` (`Frontier::encode`); `-` where it is not known
//!                 hand_over ID NOTE LF           one line for each key that was given up: its id, and the checkpoint of the hand-over,
//!                                                base64; as a rule none
//!                 checkpoint LENGTH LF NOTE      the newest signed checkpoint that covers nothing beyond `next`; LENGTH may be 0
//!                 ahead LENGTH LF NOTE           a newer one, of which some entries are still to come; LENGTH may be 0
//! ```
//!
//! - **[`Format::Lines`]** is the tab-separated line of `livetrail_record::encode_line`. An entry that is no record has a free-form
//!   event's line in its place: time 0, label `no record`, its `index` and `leaf`.
//! - **[`Format::Json`]** is `{"index":N,"leaf":"…","record":{…}}`, the record being the entry's exact bytes, so that `leaf` can be
//!   computed again. An entry that is no record has `"entry_base64":"…"` in place of `"record"`.
//! - **Entries that were pruned** before an optional sink had them: a free-form event `gap` with `first_index` and `next_index` (without the
//!   latter), or `{"first_index":N,"next_index":M,"gap":"why"}`.
//! - **A file of JSON that is not the first** begins with `{"tree_size":N,"peaks":["…",…]}`: N is its first index, and the hashes are those of the
//!   full subtrees of the entries before it, the largest first. So what is left can be proven when the first files are gone. There is no such line behind
//!   entries that were pruned, nor with a cursor of version 1, which had no tree.
//! - **What is behind the cursor's length is not committed.** A crash can leave it there, and the next append cuts it off. So
//!   a reader that follows the file may see lines twice across a crash, and one that reads up to `bytes` never does.
//! - **Rotation** is by [`Rotation`], whose bounds depend on lines alone and on no clock; or by somebody else, who moves the file away and
//!   then says so ([`ReplicaSink::reopen`](livetrail_replica::ReplicaSink::reopen)). Until then lines go on into the file that was
//!   moved. One that was moved while nobody wrote is found by its inode under whatever name in the same folder.
//!
//! The order of an append, and what a crash in the middle means, is in `append.rs`.

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

/// When a file is rotated: the next line goes into a new one, and the old one gets a name with its first index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// No file becomes longer than so many bytes; a line that is longer has a file of its own.
    pub max_bytes: Option<u64>,
    /// No file has records of two such periods, counted from the beginning of 1970 UTC: a day's is the UTC day. By the time in each
    /// record, not by a clock: the same log is always cut at the same places. Whole milliseconds, at least one.
    pub every: Option<Duration>,
    /// How many rotated files are kept; older ones are removed. All, if not told otherwise.
    pub keep_files: Option<usize>,
}

impl Format {
    /// Its name in the cursor and in configuration.
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
