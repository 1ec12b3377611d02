//! Canonical bytes: RFC 8785 JSON, written by hand in key order.
//!
//! The same record always gives the same bytes, and the parser accepts no other bytes. Thus a
//! record and its leaf hash determine each other.

use std::cmp::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::action::{AuditAction, EVENT};
use crate::error::RecordError;
use crate::extra::{self, Value};
use crate::field;
use crate::fields::AuditRecord;
use crate::later;
use crate::personal::Personal;
use crate::reason::{Outcome, Reason};
use crate::view::RecordView;

/// The maximum number of bytes of the canonical form. An entry bundle has lengths of 16 bits.
pub const MAX_CANONICAL_BYTES: usize = 65_535;

/// The largest integer in a record, 2^53 − 1. Every JSON reader represents integers up to it
/// exactly.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The record's canonical bytes.
///
/// # Errors
/// The same as for [`encode_canonical_into`].
pub fn encode_canonical(record: &AuditRecord) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::with_capacity(512);
    encode_canonical_into(record, &mut out)?;
    Ok(out)
}

/// Appends the record's canonical bytes to `out`, at most [`MAX_CANONICAL_BYTES`] of them. If the
/// record is longer, `detail` is cut at a character boundary and `detail_cut` is set. After an
/// error `out` is unchanged.
///
/// # Errors
/// [`RecordError::IntegerTooLarge`] for a number from 2^53 on, and [`RecordError::TooLong`] if even
/// without `detail` the record is longer than an entry.
pub fn encode_canonical_into(record: &AuditRecord, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let detail = record.detail.as_ref().map(Personal::expose);
    write_bounded(out, record, detail, write_record)
}

/// Writes a record with a function that is given `detail` and whether it is cut.
#[inline(always)]
pub(crate) fn write_bounded(
    out: &mut Vec<u8>,
    record: &AuditRecord,
    detail: Option<&str>,
    write_record: impl Fn(&mut Vec<u8>, &AuditRecord, Option<&str>, bool),
) -> Result<(), RecordError> {
    record.check_numbers()?;
    let start = out.len();
    write_record(out, record, detail, record.detail_cut);
    if out.len().saturating_sub(start) <= MAX_CANONICAL_BYTES {
        return Ok(());
    }
    out.truncate(start);
    let Some(detail) = detail else {
        write_record(out, record, None, record.detail_cut);
        let bytes = out.len().saturating_sub(start);
        out.truncate(start);
        return Err(RecordError::TooLong { bytes });
    };
    write_record(out, record, Some(""), true);
    let bytes = out.len().saturating_sub(start);
    out.truncate(start);
    let room = MAX_CANONICAL_BYTES
        .checked_sub(bytes)
        .ok_or(RecordError::TooLong { bytes })?;
    write_record(out, record, Some(cut(detail, room)), true);
    Ok(())
}

/// Parses canonical bytes. Fields that this version does not know are in [`AuditRecord::extra`], so
/// that encoding the record gives the same bytes.
///
/// # Errors
/// Each way in which the bytes can be invalid has its own [`RecordError`]. JSON that means a record
/// but is written differently is [`RecordError::NotCanonical`].
pub fn parse_canonical(bytes: &[u8]) -> Result<AuditRecord, RecordError> {
    match RecordView::parse(bytes) {
        Some(view) => Ok(view.to_record()),
        None => parse_in_general(bytes),
    }
}

/// Parses any entry, plain or not. This is several times slower.
pub(crate) fn parse_in_general(bytes: &[u8]) -> Result<AuditRecord, RecordError> {
    if bytes.len() > MAX_CANONICAL_BYTES {
        return Err(RecordError::TooLong { bytes: bytes.len() });
    }
    let json: Json =
        serde_json::from_slice(bytes).map_err(|error| RecordError::NotJson(error.to_string()))?;
    let Json::Object(members) = json else {
        return Err(RecordError::NotAnObject);
    };
    let record = from_members(members)?;
    let again = encode_canonical(&record)?;
    if again == bytes {
        return Ok(record);
    }
    let offset = again
        .iter()
        .zip(bytes)
        .position(|(a, b)| a != b)
        .unwrap_or_else(|| again.len().min(bytes.len()));
    Err(RecordError::NotCanonical { offset })
}

// ---- Writing ----

/// A key between two members, with its comma and colon.
macro_rules! key {
    ($name:ident) => {
        concat!(",\"", stringify!($name), "\":")
    };
}
pub(crate) use key;

/// Writes a member as its type requires.
macro_rules! write_member {
    ($w:ident, $r:ident, $detail:ident, $detail_cut:ident, detail, Personal) => {
        $w.optional_text(key!(detail), $detail)
    };
    ($w:ident, $r:ident, $detail:ident, $detail_cut:ident, detail_cut, Flag) => {
        $w.flag(key!(detail_cut), $detail_cut)
    };
    ($w:ident, $r:ident, $detail:ident, $detail_cut:ident, $name:ident, $type:ident) => {
        write_member!($w, $r, $name, $type)
    };
    ($w:ident, $r:ident, $name:ident, Action) => {
        $w.text(key!($name), $r.$name.label())
    };
    ($w:ident, $r:ident, $name:ident, Label) => {
        if let AuditAction::Event(label) = &$r.action
            && !label.is_empty()
        {
            $w.text(key!($name), label);
        }
    };
    ($w:ident, $r:ident, $name:ident, Name) => {
        $w.text(key!($name), &$r.$name)
    };
    ($w:ident, $r:ident, $name:ident, Text) => {
        $w.optional_text(key!($name), $r.$name.as_deref())
    };
    ($w:ident, $r:ident, $name:ident, Personal) => {
        $w.optional_text(key!($name), $r.$name.as_ref().map(Personal::expose))
    };
    ($w:ident, $r:ident, $name:ident, Outcome) => {
        $w.optional_text(key!($name), $r.$name.as_ref().map(Outcome::label))
    };
    ($w:ident, $r:ident, $name:ident, Reason) => {
        $w.optional_text(key!($name), $r.$name.as_ref().map(Reason::label))
    };
    ($w:ident, $r:ident, $name:ident, Number) => {
        $w.integer(key!($name), $r.$name)
    };
    ($w:ident, $r:ident, $name:ident, Time) => {
        $w.integer(key!($name), Some($r.$name))
    };
    ($w:ident, $r:ident, $name:ident, Version) => {
        $w.integer(key!($name), Some(u64::from($r.$name)))
    };
    ($w:ident, $r:ident, $name:ident, Flag) => {
        $w.flag(key!($name), $r.$name)
    };
    ($w:ident, $r:ident, $name:ident, Id) => {
        $w.uuid(key!($name), $r.$name)
    };
    ($w:ident, $r:ident, $name:ident, Nonce) => {
        $w.nonce(key!($name), $r.$name)
    };
    // It is in `extra`, and written from there.
    ($w:ident, $r:ident, $name:ident, $in_extra:ident) => {{}};
}

/// Writes a member of an entry of schema 2 as its type requires.
macro_rules! write_entry_member {
    ($w:ident, $r:ident, $entry:ident, stream, Text) => {
        $w.optional_text(key!(stream), $entry.stream)
    };
    ($w:ident, $r:ident, $entry:ident, detail, Personal) => {
        $w.optional_text(key!(detail), $entry.detail)
    };
    ($w:ident, $r:ident, $entry:ident, detail_cut, Flag) => {
        $w.flag(key!(detail_cut), $entry.detail_cut)
    };
    ($w:ident, $r:ident, $entry:ident, personal, Digest) => {
        $w.digest(key!(personal), $entry.personal)
    };
    ($w:ident, $r:ident, $entry:ident, $name:ident, Personal) => {{}};
    ($w:ident, $r:ident, $entry:ident, $name:ident, Version) => {
        $w.integer(key!($name), Some(u64::from(later::SINCE)))
    };
    ($w:ident, $r:ident, $entry:ident, $name:ident, $type:ident) => {
        write_member!($w, $r, $name, $type)
    };
}

/// What an entry of schema 2 has that its record does not have.
pub(crate) struct EntryMembers<'a> {
    pub(crate) stream: Option<&'a str>,
    pub(crate) detail: Option<&'a str>,
    pub(crate) detail_cut: bool,
    pub(crate) personal: Option<&'a [u8; 32]>,
}

macro_rules! writer {
    ($($name:ident: $type:ident;)+) => {
        fn write_record(out: &mut Vec<u8>, r: &AuditRecord, detail: Option<&str>, detail_cut: bool) {
            out.push(b'{');
            let mut w = Members {
                out,
                extra: r.extra.iter().peekable(),
                first: true,
            };
            $(write_member!(w, r, detail, detail_cut, $name, $type);)+
            w.close();
        }

        /// Writes an entry of schema 2.
        pub(crate) fn write_entry(out: &mut Vec<u8>, r: &AuditRecord, entry: &EntryMembers<'_>) {
            out.push(b'{');
            let extra = r.extra.iter().filter(|(name, _)| *name != "personal");
            let mut w = Members {
                out,
                extra: extra.peekable(),
                first: true,
            };
            $(write_entry_member!(w, r, entry, $name, $type);)+
            w.close();
        }
    };
}

with_types!(writer);

/// Writes members in key order. Unknown members are written at their places between the known ones.
struct Members<'a, I: Iterator<Item = (&'a str, &'a Value)>> {
    out: &'a mut Vec<u8>,
    extra: std::iter::Peekable<I>,
    first: bool,
}

impl<'a, I: Iterator<Item = (&'a str, &'a Value)>> Members<'a, I> {
    /// Writes the quoted key, with its comma and colon: `,"name":`.
    fn key(&mut self, quoted: &'static str) {
        if self.extra.peek().is_some() {
            let name = quoted.trim_matches([',', '"', ':']);
            while let Some((unknown, value)) = self
                .extra
                .next_if(|(unknown, _)| extra::compare(unknown, name) == Ordering::Less)
            {
                self.unknown(unknown, value);
            }
        }
        let quoted = if std::mem::take(&mut self.first) {
            quoted.trim_start_matches(',')
        } else {
            quoted
        };
        self.out.extend_from_slice(quoted.as_bytes());
    }

    fn unknown(&mut self, name: &str, value: &Value) {
        self.comma();
        write_string(self.out, name);
        self.out.push(b':');
        write_value(self.out, value);
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }

    fn text(&mut self, quoted: &'static str, text: &str) {
        self.key(quoted);
        write_string(self.out, text);
    }

    fn optional_text(&mut self, quoted: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(quoted, text);
        }
    }

    fn integer(&mut self, quoted: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.key(quoted);
            self.out
                .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
    }

    fn flag(&mut self, quoted: &'static str, set: bool) {
        if set {
            self.key(quoted);
            self.out.extend_from_slice(b"true");
        }
    }

    fn uuid(&mut self, quoted: &'static str, id: Option<Uuid>) {
        if let Some(id) = id {
            self.key(quoted);
            self.out.push(b'"');
            self.out.extend_from_slice(
                id.as_hyphenated()
                    .encode_lower(&mut Uuid::encode_buffer())
                    .as_bytes(),
            );
            self.out.push(b'"');
        }
    }

    fn nonce(&mut self, quoted: &'static str, nonce: Option<[u8; 16]>) {
        if let Some(nonce) = nonce {
            self.key(quoted);
            self.out.push(b'"');
            self.out.extend_from_slice(&encode_nonce(&nonce));
            self.out.push(b'"');
        }
    }

    fn digest(&mut self, quoted: &'static str, digest: Option<&[u8; 32]>) {
        if let Some(digest) = digest {
            let text: [u8; 44] = encode_base64(digest);
            self.key(quoted);
            self.out.push(b'"');
            self.out.extend_from_slice(&text);
            self.out.push(b'"');
        }
    }

    fn close(mut self) {
        while let Some((name, value)) = self.extra.next() {
            self.unknown(name, value);
        }
        self.out.push(b'}');
    }
}

/// Encodes 16 bytes as 24 characters of base64, with padding.
pub(crate) fn encode_nonce(nonce: &[u8; 16]) -> [u8; 24] {
    encode_base64(nonce)
}

/// Base64 with padding. The text has 4 characters for each 3 bytes or fewer.
#[inline(always)]
pub(crate) fn encode_base64<const BYTES: usize, const CHARACTERS: usize>(
    bytes: &[u8; BYTES],
) -> [u8; CHARACTERS] {
    const { assert!(CHARACTERS == BYTES.div_ceil(3) * 4) };
    let mut text = [b'='; CHARACTERS];
    let (threes, rest) = bytes.as_chunks::<3>();
    let (fours, _) = text.as_chunks_mut::<4>();
    let mut fours = fours.iter_mut();
    for ([a, b, c], four) in threes.iter().zip(&mut fours) {
        *four = digits([*a, *b, *c]);
    }
    match (rest, fours.next()) {
        ([a], Some([first, second, ..])) => [*first, *second, ..] = digits([*a, 0, 0]),
        ([a, b], Some([first, second, third, _])) => {
            [*first, *second, *third, _] = digits([*a, *b, 0]);
        }
        _ => {}
    }
    text
}

/// The four digits of three bytes.
#[inline(always)]
fn digits([a, b, c]: [u8; 3]) -> [u8; 4] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u32::from_be_bytes([0, a, b, c]);
    [18, 12, 6, 0].map(|shift| {
        let digit = usize::try_from((bits >> shift) & 63).unwrap_or_default();
        DIGITS.get(digit).copied().unwrap_or_default()
    })
}

pub(crate) fn decode_nonce(text: &str) -> Option<[u8; 16]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Integer(n) => out.extend_from_slice(itoa::Buffer::new().format(*n).as_bytes()),
        Value::Text(text) => write_string(out, text),
        Value::List(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (i, (name, item)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(out, name.as_str());
                out.push(b':');
                write_value(out, item);
            }
            out.push(b'}');
        }
    }
}

/// Writes a string by RFC 8785 §3.2.2.2: it escapes only what JSON demands, with the short form if
/// there is one.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    // Nearly no text has anything to escape. This loop tests all bytes without stopping, so that 16
    // are tested at a time.
    if !rest
        .iter()
        .fold(false, |any, &byte| any | must_escape(byte))
    {
        out.extend_from_slice(rest);
        out.push(b'"');
        return;
    }
    while let Some(at) = rest.iter().position(|&b| must_escape(b)) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = from.split_first() else {
            break;
        };
        write_escape(out, byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

pub(crate) const fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        0x08 => out.extend_from_slice(b"\\b"),
        b'\t' => out.extend_from_slice(b"\\t"),
        b'\n' => out.extend_from_slice(b"\\n"),
        0x0c => out.extend_from_slice(b"\\f"),
        b'\r' => out.extend_from_slice(b"\\r"),
        control => {
            out.extend_from_slice(b"\\u00");
            out.push(if control < 0x10 { b'0' } else { b'1' });
            let low = control & 0x0f;
            out.push(if low < 10 {
                b'0'.saturating_add(low)
            } else {
                b'a'.saturating_add(low.saturating_sub(10))
            });
        }
    }
}

/// The longest prefix of `text` at a character boundary whose escaped form has at most `room`
/// bytes.
pub(crate) fn cut(text: &str, room: usize) -> &str {
    // An escaped character has at most six bytes.
    if text.len() <= room / 6 {
        return text;
    }
    let mut used = 0_usize;
    for (at, c) in text.char_indices() {
        used = used.saturating_add(match c {
            '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 2,
            c if c < '\u{20}' => 6,
            c => c.len_utf8(),
        });
        if used > room {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

// ---- Reading ----

/// Members that must exist or belong together. They are collected before the record is made.
#[derive(Default)]
struct Heads {
    action: Option<String>,
    app: Option<String>,
    label: Option<String>,
    ts_ms: Option<u64>,
    v: Option<u32>,
}

/// Reads a member as its type requires.
macro_rules! read_member {
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Action) => {
        $heads.$name = Some(text(&$key, $json)?)
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Label) => {
        $heads.$name = Some(text(&$key, $json)?)
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Name) => {
        $heads.$name = Some(text(&$key, $json)?)
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Time) => {
        $heads.$name = Some(integer(&$key, &$json)?)
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Version) => {
        $heads.$name = Some(version(&$key, &$json)?)
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Text) => {
        $r.$name = Some(text(&$key, $json)?)
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Personal) => {
        $r.$name = Some(text(&$key, $json)?.into())
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Outcome) => {
        $r.$name = Some(Outcome::from_label(&text(&$key, $json)?))
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Reason) => {
        $r.$name = Some(Reason::from_label(&text(&$key, $json)?))
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Number) => {
        $r.$name = Some(integer(&$key, &$json)?)
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Flag) => {
        $r.$name = flag(&$key, &$json)?
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Id) => {
        $r.$name = Some(uuid(&$key, $json)?)
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, Nonce) => {
        $r.$name = Some(nonce(&$key, $json)?)
    };
    ($r:ident, $heads:ident, $key:ident, $json:ident, $name:ident, $in_extra:ident) => {
        read_extra($r, &$key, $json)?
    };
}

macro_rules! reader {
    ($($name:ident: $type:ident;)+) => {
        fn read_member(
            r: &mut AuditRecord,
            heads: &mut Heads,
            key: String,
            json: Json,
        ) -> Result<(), RecordError> {
            match key.as_str() {
                $(stringify!($name) => read_member!(r, heads, key, json, $name, $type),)+
                _ => read_extra(r, &key, json)?,
            }
            Ok(())
        }
    };
}

with_types!(reader);

fn read_extra(r: &mut AuditRecord, key: &str, json: Json) -> Result<(), RecordError> {
    let value = Value::from_json(key, json)?;
    r.extra.insert_as_read(key, value)
}

fn from_members(members: serde_json::Map<String, Json>) -> Result<AuditRecord, RecordError> {
    let mut record = AuditRecord::new(AuditAction::Event(String::new()), String::new());
    let mut heads = Heads::default();
    for (name, value) in members {
        read_member(&mut record, &mut heads, name, value)?;
    }
    record.action = match (heads.action, heads.label) {
        (None, _) => return Err(RecordError::Missing { field: "action" }),
        (Some(action), label) if action == EVENT => AuditAction::Event(label.unwrap_or_default()),
        (Some(action), None) => AuditAction::from_label(&action),
        (Some(_), Some(_)) => {
            return Err(RecordError::BadField {
                field: "label".to_owned(),
                expected: "a field of a free-form event alone",
            });
        }
    };
    record.app = heads.app.ok_or(RecordError::Missing { field: "app" })?;
    record.ts_ms = heads.ts_ms.ok_or(RecordError::Missing { field: "ts_ms" })?;
    record.v = heads.v.ok_or(RecordError::Missing { field: "v" })?;
    later::check_all(record.v, &record.extra)?;
    Ok(record)
}

fn nonce(field: &str, value: Json) -> Result<[u8; 16], RecordError> {
    decode_nonce(&text(field, value)?).ok_or_else(|| bad(field, "16 bytes in base64"))
}

fn bad(field: &str, expected: &'static str) -> RecordError {
    debug_assert!(field::is_known_field(field), "{field} belongs in extra");
    RecordError::BadField {
        field: field.to_owned(),
        expected,
    }
}

fn text(field: &str, value: Json) -> Result<String, RecordError> {
    match value {
        Json::String(text) => Ok(text),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            Err(bad(field, "a string"))
        }
    }
}

fn integer(field: &str, value: &Json) -> Result<u64, RecordError> {
    value
        .as_u64()
        .filter(|n| *n <= MAX_INTEGER)
        .ok_or_else(|| bad(field, "an integer below 2^53"))
}

fn version(field: &str, value: &Json) -> Result<u32, RecordError> {
    value
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .ok_or_else(|| bad(field, "a version number"))
}

/// Parses a flag. A flag that is not set is absent, so `false` is not canonical. The comparison
/// with the canonical bytes finds it.
fn flag(field: &str, value: &Json) -> Result<bool, RecordError> {
    value.as_bool().ok_or_else(|| bad(field, "true"))
}

fn uuid(field: &str, value: Json) -> Result<Uuid, RecordError> {
    Uuid::try_parse(&text(field, value)?).map_err(|_| bad(field, "a UUID"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_decoder() {
        let bytes: [u8; 48] = std::array::from_fn(|at| (at as u8).wrapping_mul(89) ^ 0xa5);
        fn agrees<const BYTES: usize, const CHARACTERS: usize>(bytes: &[u8]) {
            let bytes: &[u8; BYTES] = bytes.first_chunk().unwrap();
            let text: [u8; CHARACTERS] = encode_base64(bytes);
            assert_eq!(text, STANDARD.encode(bytes).as_bytes());
        }
        for at in 0..16 {
            agrees::<16, 24>(&bytes[at..]);
            agrees::<32, 44>(&bytes[at..]);
            agrees::<30, 40>(&bytes[at..]);
        }
    }

    fn record() -> AuditRecord {
        AuditRecord::new(AuditAction::PublishEnded, "live")
            .with_stream("cam")
            .with_ts_ms(1)
    }

    #[test]
    fn keys_are_sorted_and_absent_fields_omitted() {
        let bytes = encode_canonical(&record().with_seq(7).with_inferred(true)).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"action":"publish_ended","app":"live","inferred":true,"seq":7,"stream":"cam","ts_ms":1,"v":1}"#
        );
    }

    #[test]
    fn an_unknown_field_of_a_later_version_survives_where_it_belongs() {
        let bytes = "{\"action\":\"x\",\"app\":\"a\",\"region\":{\"a\":[1,-2,null,true],\"b\":\"\u{e9}\"},\"ts_ms\":1,\"v\":2,\"\u{1f600}\":0,\"\u{fb33}\":1}";
        let parsed = parse_canonical(bytes.as_bytes()).unwrap();
        assert_eq!(parsed.v, 2);
        assert_eq!(parsed.action, AuditAction::Other("x".into()));
        assert_eq!(parsed.extra.iter().count(), 3);
        assert_eq!(encode_canonical(&parsed).unwrap(), bytes.as_bytes());
    }

    #[test]
    fn json_that_is_not_canonical_is_refused_with_the_reason() {
        type Expected = fn(&RecordError) -> bool;
        let cases: [(&[u8], Expected); 14] = [
            (br#"{"action":"x", "app":"a","ts_ms":1,"v":1}"#, |e| *e == RecordError::NotCanonical { offset: 14 }),
            (br#"{"app":"a","action":"x","ts_ms":1,"v":1}"#, |e| matches!(e, RecordError::NotCanonical { .. })),
            (br#"{"action":"x","action":"x","app":"a","ts_ms":1,"v":1}"#, |e| matches!(e, RecordError::NotCanonical { .. })),
            (br#"{"action":"\u0078","app":"a","ts_ms":1,"v":1}"#, |e| matches!(e, RecordError::NotCanonical { .. })),
            (br#"{"action":"x","app":"a","inferred":false,"ts_ms":1,"v":1}"#, |e| matches!(e, RecordError::NotCanonical { .. })),
            (br#"{"action":"x","app":"a","ts_ms":1.0,"v":1}"#, |e| matches!(e, RecordError::BadField { .. })),
            (br#"{"action":"x","app":"a","ts_ms":9007199254740992,"v":1}"#, |e| matches!(e, RecordError::BadField { .. })),
            (br#"{"action":"x","app":"a","new":1e2,"ts_ms":1,"v":1}"#, |e| matches!(e, RecordError::BadField { .. })),
            (br#"{"action":"x","app":"a","seq":-1,"ts_ms":1,"v":1}"#, |e| matches!(e, RecordError::BadField { .. })),
            (br#"{"action":"x","app":"a","label":"l","ts_ms":1,"v":1}"#, |e| matches!(e, RecordError::BadField { .. })),
            (br#"{"action":"x","app":"a","session":"7F2C5E0A-0000-7000-8000-000000000000","ts_ms":1,"v":1}"#, |e| matches!(e, RecordError::NotCanonical { .. })),
            (br#"{"action":"x","app":"a","v":1}"#, |e| *e == RecordError::Missing { field: "ts_ms" }),
            (b"[]", |e| *e == RecordError::NotAnObject),
            (b"{", |e| matches!(e, RecordError::NotJson(_))),
        ];
        for (bytes, expected) in cases {
            let error = parse_canonical(bytes).unwrap_err();
            assert!(
                expected(&error),
                "{}: {error}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn integers_from_2_to_the_53_are_refused() {
        assert!(encode_canonical(&record().with_bytes(MAX_INTEGER)).is_ok());
        let mut out = b"before".to_vec();
        assert_eq!(
            encode_canonical_into(&record().with_bytes(MAX_INTEGER + 1), &mut out),
            Err(RecordError::IntegerTooLarge {
                field: "bytes".into(),
                value: 1 << 53
            })
        );
        assert_eq!(out, b"before");
    }

    #[test]
    fn a_long_detail_is_cut_at_a_character_boundary_and_says_so() {
        for unit in ["a", "é", "\u{1f600}", "\n", "\u{1}", "\""] {
            let long = record().with_detail(unit.repeat(70_000));
            let bytes = encode_canonical(&long).unwrap();
            assert!(
                bytes.len() <= MAX_CANONICAL_BYTES && bytes.len() > MAX_CANONICAL_BYTES - 6,
                "{unit:?}"
            );
            let parsed = parse_canonical(&bytes).unwrap();
            assert!(parsed.detail_cut);
            assert!(
                long.detail
                    .unwrap()
                    .expose()
                    .starts_with(parsed.detail.as_ref().unwrap().expose())
            );
            assert_eq!(encode_canonical(&parsed).unwrap(), bytes);
        }
    }

    #[test]
    fn a_record_that_is_too_long_without_its_detail_is_refused() {
        let long = record().with_user_agent("u".repeat(70_000));
        assert!(matches!(
            encode_canonical(&long),
            Err(RecordError::TooLong { .. })
        ));
        assert!(matches!(
            encode_canonical(&long.with_detail("d")),
            Err(RecordError::TooLong { .. })
        ));
    }

    #[test]
    fn the_longest_detail_that_fits_is_not_cut() {
        let room = MAX_CANONICAL_BYTES - encode_canonical(&record().with_detail("")).unwrap().len();
        let bytes = encode_canonical(&record().with_detail("d".repeat(room))).unwrap();
        assert_eq!(bytes.len(), MAX_CANONICAL_BYTES);
        assert!(!parse_canonical(&bytes).unwrap().detail_cut);
    }
}
