//! Errors of a record's bytes.

use thiserror::Error;

use crate::personal::PersonalError;

/// The reason why a record could not be encoded or parsed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// An integer is outside RFC 8785's exact range, which ends below 2^53.
    #[error("{field} is {value}: an integer in a record is below 2^53")]
    IntegerTooLarge {
        /// The field's name.
        field: String,
        /// Its value.
        value: u64,
    },
    /// The record is longer than an entry may be, even without its `detail`.
    #[error("the record has {bytes} bytes without its detail, an entry has at most 65535")]
    TooLong {
        /// Number of bytes without `detail`.
        bytes: usize,
    },
    /// The bytes are not a JSON text.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The bytes are JSON but not an object.
    #[error("a record is a JSON object")]
    NotAnObject,
    /// The bytes mean a record but are not canonical.
    #[error("not canonical: differs from the canonical bytes at byte {offset}")]
    NotCanonical {
        /// Offset of the first difference.
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
        /// The kind of value that the field must have.
        expected: &'static str,
    },
    /// An [`Extra`](crate::Extra) field has the name of a field that this version knows.
    #[error("{field} is a field of this version")]
    KnownField {
        /// The field's name.
        field: String,
    },
    /// The personal fields of a record make no opening.
    #[error(transparent)]
    Personal(#[from] PersonalError),
    /// A line is not UTF-8 text.
    #[error("the line is not UTF-8 from byte {offset}")]
    NotUtf8 {
        /// Offset of the first byte that is not UTF-8.
        offset: usize,
    },
    /// A line does not have exactly five columns.
    #[error("a line has 5 columns separated by TAB, this one has {columns}")]
    Columns {
        /// Number of columns that it has.
        columns: usize,
    },
    /// A `%` is not followed by two hexadecimal digits, or the decoded bytes are not UTF-8.
    #[error("bad percent-encoding in {column}")]
    BadEscape {
        /// The column or field.
        column: String,
    },
    /// A line has a control character that is not encoded.
    #[error("the line has a bare control character at byte {offset}")]
    ControlCharacter {
        /// Offset of the character.
        offset: usize,
    },
    /// A word in `detail` is not `key=value`, and the action has no free-form label.
    #[error("the detail has a word that is not key=value: word {index}")]
    NotKeyValue {
        /// Index of the word, from 0.
        index: usize,
    },
    /// A line has a field twice.
    #[error("{field} stands twice")]
    Duplicate {
        /// The field's name.
        field: String,
    },
    /// The bytes are not a saved state of a [`TrailChecker`](crate::TrailChecker), or have another
    /// version.
    #[error("not a checker's state of this version, from byte {offset} on")]
    Snapshot {
        /// Offset up to which the bytes could be read.
        offset: usize,
    },
}
