//! A file of lines: the trail for whatever reads text.
//!
//! ```text
//!  PATH           one line an entry, in index order, nothing else
//!  PATH.cursor    livetrail-file-cursor 1 LF     how far it is committed: replaced as a whole, never changed in place
//!                 origin ORIGIN LF               of which log
//!                 format lines|json LF
//!                 next INDEX LF                  the first index that is not in the file
//!                 bytes LENGTH LF                the file's length with what is below that index
//!                 leaf HASH LF                   the leaf hash of the entry before that index, base64; `-` where there is none
//!                 checkpoint LF NOTE             the newest signed checkpoint that came with entries, to the end; may be empty
//! ```
//!
//! - **[`Format::Lines`]** is the tab-separated line of `livetrail_record::encode_line`. An entry that is no record has a free-form
//!   event's line in its place: time 0, label `no record`, its `index` and `leaf`.
//! - **[`Format::Json`]** is `{"index":N,"leaf":"…","record":{…}}`, the record being the entry's exact bytes, so that `leaf` can be
//!   computed again. An entry that is no record has `"entry_base64":"…"` in place of `"record"`.
//! - **Entries that were pruned** before an optional sink had them: a free-form event `gap` with `first_index` and `next_index` (without the
//!   latter), or `{"first_index":N,"next_index":M,"gap":"why"}`.
//! - **What is behind the cursor's length is not committed.** A crash can leave it there, and the next append cuts it off. So
//!   a reader that follows the file may see lines twice across a crash, and one that reads up to `bytes` never does.
//!
//! The order of an append, and what a crash in the middle means, is in `append.rs`.

mod append;
mod cursor;
mod error;
mod line;
mod sink;
#[cfg(test)]
mod tests;

pub use sink::FileReplica;

/// How an entry is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Tab-separated, for people and the tools of a shell. Leaf hashes are not in it.
    #[default]
    Lines,
    /// A JSON object a line, from which the log's leaves can be computed.
    Json,
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
