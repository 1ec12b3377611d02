//! Errors of openings and disclosures.

use thiserror::Error;

/// The reason why an opening or a disclosure could not be made or parsed.
///
/// No error contains a value, because values are personal data.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PersonalError {
    /// An opening cannot have a field of this name.
    #[error(
        "{name:?} is not a field of an opening: by, detail, peer, principal, stream, user_agent, or detail. with a name of a-z, 0-9 and _, at most 32 bytes in all"
    )]
    UnknownField {
        /// The name, cut to 32 characters.
        name: String,
    },
    /// The opening has the field already.
    #[error("{name} is in the opening already")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The opening has as many fields as it can have.
    #[error("an opening has at most 32 fields")]
    TooManyFields,
    /// A value is too long.
    #[error("{name} has {bytes} bytes: a field of an opening has at most 65536")]
    ValueTooLong {
        /// The field's name.
        name: String,
        /// Number of bytes of the value.
        bytes: usize,
    },
    /// The JSON is longer than it may be.
    #[error("{bytes} bytes of JSON: an opening or a disclosure has at most 131072")]
    TooLong {
        /// Number of bytes.
        bytes: usize,
    },
    /// The bytes are not a JSON text.
    #[error("not JSON: {category} at line {line}, column {column}")]
    NotJson {
        /// The kind of violation.
        category: &'static str,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The bytes are JSON but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member that must be there is missing.
    #[error("{name} is missing")]
    Missing {
        /// The member's name.
        name: &'static str,
    },
    /// A member does not have the value that it must have.
    #[error("{name} is not {expected}")]
    BadMember {
        /// The member's name, cut to 32 characters.
        name: String,
        /// What the member must be.
        expected: &'static str,
    },
    /// The bytes are an opening or a disclosure, but not in the canonical form.
    #[error("not canonical: differs from the canonical bytes at byte {offset}")]
    NotCanonical {
        /// Offset of the first difference.
        offset: usize,
    },
}
