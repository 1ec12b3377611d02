//! Strict reading of the JSON of openings and disclosures.
//!
//! `serde_json` parses the bytes, and the result is written again. The bytes are accepted only if
//! they are the same. So each spelling but the canonical one is refused: another order, white
//! space, needless escapes, duplicate members.

use serde_json::error::Category;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::PersonalError;
use super::opening::{MAX_FIELD_NAME_BYTES, MAX_OPENING_BYTES};
use crate::canonical::{decode_nonce, must_escape};

/// The members of an object.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, PersonalError> {
    if bytes.len() > MAX_OPENING_BYTES {
        return Err(PersonalError::TooLong { bytes: bytes.len() });
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(PersonalError::NotAnObject),
        // The error's own text could contain a part of a value.
        Err(error) => Err(PersonalError::NotJson {
            category: match error.classify() {
                Category::Eof => "it ends too early",
                Category::Io | Category::Syntax | Category::Data => "a syntax error",
            },
            line: error.line(),
            column: error.column(),
        }),
    }
}

pub(super) fn text(name: &str, value: &Value) -> Result<String, PersonalError> {
    let text = value.as_str().ok_or_else(|| bad(name, "a text"))?;
    Ok(text.to_owned())
}

/// 16 bytes in base64.
pub(super) fn nonce(name: &'static str, value: Option<&Value>) -> Result<[u8; 16], PersonalError> {
    let text = required(name, value)?.as_str();
    text.and_then(decode_nonce)
        .ok_or_else(|| bad(name, "16 bytes in base64"))
}

pub(super) fn session(value: Option<&Value>) -> Result<Uuid, PersonalError> {
    let text = required("session", value)?.as_str();
    text.and_then(|text| Uuid::try_parse(text).ok())
        .ok_or_else(|| bad("session", "16 bytes in the form of a UUID"))
}

pub(super) fn members<'a>(
    name: &'static str,
    value: Option<&'a Value>,
) -> Result<&'a Map<String, Value>, PersonalError> {
    let members = required(name, value)?.as_object();
    members.ok_or_else(|| bad(name, "an object"))
}

/// Checks that the bytes are the canonical ones.
pub(super) fn same(bytes: &[u8], canonical: &[u8]) -> Result<(), PersonalError> {
    if bytes == canonical {
        return Ok(());
    }
    let differs = bytes.iter().zip(canonical).position(|(a, b)| a != b);
    let offset = differs.unwrap_or_else(|| bytes.len().min(canonical.len()));
    Err(PersonalError::NotCanonical { offset })
}

pub(super) fn bad(name: &str, expected: &'static str) -> PersonalError {
    PersonalError::BadMember {
        name: short(name),
        expected,
    }
}

/// The first characters of a name that came from outside.
pub(super) fn short(name: &str) -> String {
    name.chars().take(MAX_FIELD_NAME_BYTES).collect()
}

/// Number of bytes of a text between its quotes.
pub(super) fn escaped_bytes(text: &str) -> usize {
    // Almost no text has anything to escape. This loop tests all bytes without stopping, so that
    // many are tested at a time.
    if !text
        .bytes()
        .fold(false, |any, byte| any | must_escape(byte))
    {
        return text.len();
    }
    let more = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 1,
        0..=0x1f => 5,
        _ => 0,
    };
    text.bytes()
        .map(more)
        .fold(text.len(), usize::saturating_add)
}

pub(super) fn required<'a>(
    name: &'static str,
    value: Option<&'a Value>,
) -> Result<&'a Value, PersonalError> {
    value.ok_or(PersonalError::Missing { name })
}
