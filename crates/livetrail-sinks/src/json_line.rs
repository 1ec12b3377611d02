//! An entry as a line of JSON, for all sinks that write lines.
//!
//! ```text
//! {"index":N,"leaf":"BASE64","record":{…}}
//! {"index":N,"leaf":"BASE64","opening":{…},"record":{…}}
//! {"index":N,"leaf":"BASE64","entry_base64":"BASE64"}
//! {"first_index":N,"next_index":M,"gap":"why"}
//! ```
//!
//! - The first form is for a record, with the entry's exact bytes.
//! - The second form has the opening of the record, for sinks that get names in clear.
//! - The third form is for an entry that is not a record.
//! - The fourth form is for entries from N up to, but without, M. The sink never receives them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livetrail_replica::{EntryOpening, Gap};
use livetrail_tlog::Hash;

/// Appends an entry's line, with its LF.
pub(crate) fn entry(
    out: &mut String,
    index: u64,
    leaf: &Hash,
    entry: &[u8],
    is_record: bool,
    opening: Option<&EntryOpening>,
) {
    let _ = write!(out, "{{\"index\":{index},\"leaf\":\"{leaf}\",");
    // Canonical bytes are UTF-8 without a line end.
    match std::str::from_utf8(entry).ok().filter(|_| is_record) {
        Some(record) => {
            if let Some(opening) = opening {
                out.push_str("\"opening\":");
                // An opening is JSON, so it is UTF-8.
                out.push_str(&String::from_utf8_lossy(&opening.json()));
                out.push(',');
            }
            out.push_str("\"record\":");
            out.push_str(record);
        }
        None => {
            out.push_str("\"entry_base64\":\"");
            STANDARD.encode_string(entry, out);
            out.push('"');
        }
    }
    out.push_str("}\n");
}

/// Appends the line for missing entries.
pub(crate) fn gap(out: &mut String, gap: &Gap) {
    let (first, next) = (gap.missing.start, gap.missing.end);
    let _ = write!(
        out,
        "{{\"first_index\":{first},\"next_index\":{next},\"gap\":\""
    );
    escape(out, &gap.reason);
    out.push_str("\"}\n");
}

/// Appends text as the inside of a JSON string.
pub(crate) fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}
