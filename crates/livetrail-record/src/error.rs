//! What can be wrong with a record's bytes.

use thiserror::Error;

/// Why a record could not be encoded or parsed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// An integer does not fit RFC 8785's exact range, below 2^53.
    #[error("{field} is {value}, an integer in a record is below 2^53")]
    IntegerTooLarge {
        /// The field's name.
        field: String,
        /// Its value.
        value: u64,
    },
    /// The record is longer than an entry may be, even with its `detail` cut to nothing.
    #[error("the record has {bytes} bytes without its detail, an entry has at most 65535")]
    TooLong {
        /// Bytes without `detail`.
        bytes: usize,
    },
    /// The bytes are no JSON text.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The bytes are JSON but no object.
    #[error("a record is a JSON object")]
    NotAnObject,
    /// The bytes mean a record but are not its canonical bytes.
    #[error("not canonical: differs from the canonical bytes at byte {offset}")]
    NotCanonical {
        /// Where the first difference is.
        offset: usize,
    },
    /// A field that every record has is absent.
    #[error("{field} is missing")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A field has a value of the wrong kind or out of its range.
    #[error("{field} is not {expected}")]
    BadField {
        /// The field's name.
        field: String,
        /// What it must be.
        expected: &'static str,
    },
    /// An [`Extra`](crate::Extra) field must not have the name of a field that this version knows.
    #[error("{field} is a field of this version")]
    KnownField {
        /// The field's name.
        field: String,
    },
    /// A line is no UTF-8 text.
    #[error("the line is not UTF-8 from byte {offset}")]
    NotUtf8 {
        /// Where it stops being UTF-8.
        offset: usize,
    },
    /// A line has not exactly five columns.
    #[error("a line has 5 columns separated by TAB, this one has {columns}")]
    Columns {
        /// How many it has.
        columns: usize,
    },
    /// A `%` is not followed by two hexadecimal digits, or the bytes it gives are no UTF-8.
    #[error("bad percent-encoding in {column}")]
    BadEscape {
        /// The column or field.
        column: String,
    },
    /// A control character stands in a line unencoded.
    #[error("the line has a bare control character at byte {offset}")]
    ControlCharacter {
        /// Where.
        offset: usize,
    },
    /// A word in `detail` is not `key=value`, and the action has no free-form label.
    #[error("the detail has a word that is not key=value: word {index}")]
    NotKeyValue {
        /// Which word, from 0.
        index: usize,
    },
    /// A field stands twice in a line.
    #[error("{field} stands twice")]
    Duplicate {
        /// The field's name.
        field: String,
    },
    /// The bytes are no saved state of a [`TrailChecker`](crate::TrailChecker), or one of another version.
    #[error("not a checker's state of this version, from byte {offset} on")]
    Snapshot {
        /// Up to where they could be understood.
        offset: usize,
    },
}
