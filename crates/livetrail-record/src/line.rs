//! The file trail's line: `ts_ms TAB action TAB app TAB stream TAB detail LF`.
//!
//! ```text
//! 1763805600123<TAB>play_denied<TAB>live<TAB>cam<TAB>session=0199… reason=unauthorized<LF>
//! 1763805600124<TAB>event<TAB>live<TAB>cam<TAB>scene change count=2<LF>
//! ```
//!
//! An absent stream is `-`. `detail` is empty if the record has only the first four columns.
//! Otherwise it has all other fields: first the label of a free-form event, then `key=value`
//! separated by single spaces. The schema's version is omitted if it is [`SCHEMA`]. The value of a
//! field of schema 2, and of an unknown field, is JSON.
//!
//! Some characters are percent-encoded (upper-case hexadecimal of the UTF-8 bytes), so that each
//! line can be parsed back:
//!
//! | where | what |
//! |---|---|
//! | a value, the name of an unknown field | space, `=`, `%`, control characters |
//! | a free-form label | `=`, `%`, control characters; but TAB, CR and LF become one space each |
//! | `action`, `app`, `stream` | `%`, control characters; and a stream named `-` is `%2D` |

use uuid::Uuid;

use crate::action::{AuditAction, EVENT};
use crate::canonical::{decode_nonce, encode_nonce};
use crate::error::RecordError;
use crate::extra::Value;
use crate::fields::{AuditRecord, IN_ORDER, Name, SCHEMA, is_first_origin};
use crate::later;
use crate::personal::Personal;
use crate::reason::{Outcome, Reason};

/// The record's line, with its LF.
#[must_use]
pub fn encode_line(record: &AuditRecord) -> String {
    let mut out = String::with_capacity(256);
    encode_line_into(record, &mut out);
    out
}

/// Appends the record's line, with its LF, to `out`.
pub fn encode_line_into(record: &AuditRecord, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(record.ts_ms));
    out.push('\t');
    escape(out, record.action.label(), in_column);
    out.push('\t');
    escape(out, &record.app, in_column);
    out.push('\t');
    match record.stream.as_deref() {
        None => out.push('-'),
        Some("-") => out.push_str("%2D"),
        Some(stream) => escape(out, stream, in_column),
    }
    out.push('\t');
    write_detail(out, record);
    out.push('\n');
}

/// Parses a line, with or without its LF.
///
/// # Errors
/// Each way in which a line can be invalid has its own [`RecordError`]. Any bytes are safe to pass.
pub fn parse_line(line: &[u8]) -> Result<AuditRecord, RecordError> {
    let line = std::str::from_utf8(line).map_err(|error| RecordError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    let line = line.strip_suffix('\n').unwrap_or(line);
    if let Some((offset, _)) = line
        .char_indices()
        .find(|(_, c)| c.is_control() && *c != '\t')
    {
        return Err(RecordError::ControlCharacter { offset });
    }
    let columns: Vec<&str> = line.split('\t').collect();
    let [ts_ms, action, app, stream, detail] = columns.as_slice() else {
        return Err(RecordError::Columns {
            columns: columns.len(),
        });
    };
    let action = AuditAction::from_label(&unescape("action", action)?);
    let mut record =
        AuditRecord::new(action, unescape("app", app)?).with_ts_ms(integer("ts_ms", ts_ms)?);
    if *stream != "-" {
        record.stream = Some(unescape("stream", stream)?);
    }
    read_detail(&mut record, detail)?;
    later::check_all(record.v, &record.extra)?;
    Ok(record)
}

// ---- Writing ----

/// Writes a word as its type requires. The columns and the version are not words.
macro_rules! write_word {
    ($w:ident, $r:ident, stream, Text) => {{}};
    ($w:ident, $r:ident, $name:ident, Text) => {
        $w.text(stringify!($name), $r.$name.as_deref())
    };
    ($w:ident, $r:ident, $name:ident, Personal) => {
        $w.text(stringify!($name), $r.$name.as_ref().map(Personal::expose))
    };
    ($w:ident, $r:ident, $name:ident, Outcome) => {
        $w.text(stringify!($name), $r.$name.as_ref().map(Outcome::label))
    };
    ($w:ident, $r:ident, $name:ident, Reason) => {
        $w.text(stringify!($name), $r.$name.as_ref().map(Reason::label))
    };
    ($w:ident, $r:ident, $name:ident, Number) => {
        $w.integer(stringify!($name), $r.$name)
    };
    ($w:ident, $r:ident, $name:ident, Flag) => {
        $w.flag(stringify!($name), $r.$name)
    };
    ($w:ident, $r:ident, $name:ident, Id) => {
        $w.uuid(stringify!($name), $r.$name)
    };
    ($w:ident, $r:ident, $name:ident, Nonce) => {
        $w.nonce(stringify!($name), $r.$name)
    };
    ($w:ident, $r:ident, $name:ident, $head:ident) => {{}};
}

macro_rules! writer {
    ($($name:ident: $type:ident;)+) => {
        /// If the field is known at compile time, the choice costs nothing.
        #[inline(always)]
        fn write_word(w: &mut Words<'_>, r: &AuditRecord, field: Name) {
            match field {
                $(Name::$name => write_word!(w, r, $name, $type),)+
            }
        }

        /// Writes the words in reading order. The fields of a later version come before the fields
        /// that the pipeline adds to each record.
        fn write_words(w: &mut Words<'_>, r: &AuditRecord) {
            $({
                const AT: usize = Name::$name as usize;
                const FIELD: Name = IN_ORDER[AT];
                if const { is_first_origin(AT) } {
                    w.extra(r);
                }
                write_word(w, r, FIELD);
            })+
        }
    };
}

with_types!(writer);

fn write_detail(out: &mut String, r: &AuditRecord) {
    let mut w = Words { out, first: true };
    if let AuditAction::Event(label) = &r.action {
        w.label(label);
    }
    if r.v != SCHEMA {
        w.integer("v", Some(u64::from(r.v)));
    }
    write_words(&mut w, r);
}

struct Words<'a> {
    out: &'a mut String,
    first: bool,
}

impl Words<'_> {
    fn space(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(' ');
        }
    }

    fn key(&mut self, name: &str) {
        self.space();
        self.out.push_str(name);
        self.out.push('=');
    }

    fn label(&mut self, label: &str) {
        self.space();
        let is_blank = |c| matches!(c, '\t' | '\r' | '\n');
        for (i, part) in label.split(is_blank).enumerate() {
            if i > 0 {
                self.out.push(' ');
            }
            escape(self.out, part, in_label);
        }
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.key(name);
            escape(self.out, text, in_value);
        }
    }

    fn integer(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.key(name);
            self.out.push_str(itoa::Buffer::new().format(value));
        }
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.key(name);
            self.out.push_str("true");
        }
    }

    fn uuid(&mut self, name: &str, id: Option<Uuid>) {
        if let Some(id) = id {
            self.key(name);
            self.out
                .push_str(id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        }
    }

    fn extra(&mut self, r: &AuditRecord) {
        for (name, value) in r.extra.iter() {
            self.space();
            escape(self.out, name, in_value);
            self.out.push('=');
            escape(self.out, &value.to_text(), in_value);
        }
    }

    /// 16 bytes end in two `=` of padding, which a value must encode.
    fn nonce(&mut self, name: &str, nonce: Option<[u8; 16]>) {
        if let Some(nonce) = nonce {
            self.key(name);
            let text = encode_nonce(&nonce);
            let text = std::str::from_utf8(&text).unwrap_or_default();
            self.out.push_str(text.trim_end_matches('='));
            self.out.push_str("%3D%3D");
        }
    }
}

fn in_column(byte: u8) -> bool {
    byte == b'%' || byte.is_ascii_control()
}

fn in_label(byte: u8) -> bool {
    matches!(byte, b'%' | b'=') || byte.is_ascii_control()
}

fn in_value(byte: u8) -> bool {
    matches!(byte, b'%' | b'=' | b' ') || byte.is_ascii_control()
}

/// The first byte of the control characters beyond ASCII, U+0080 to U+009F. Their second byte is
/// 0x80 to 0x9F.
const HIGH_CONTROL: u8 = 0xc2;

/// Appends `text`. Control characters, and the characters that `must` selects, are percent-encoded.
fn escape(out: &mut String, text: &str, must: impl Fn(u8) -> bool) {
    // Most text has nothing to encode. This loop tests all bytes without stopping, so that many are
    // tested at a time.
    if !text
        .bytes()
        .fold(false, |any, byte| any | must(byte) | (byte == HIGH_CONTROL))
    {
        out.push_str(text);
        return;
    }
    let mut rest = text;
    while let Some(at) = rest
        .bytes()
        .position(|byte| must(byte) || byte == HIGH_CONTROL)
    {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = from.chars();
        let Some(c) = chars.next() else { break };
        if c.is_ascii() || c.is_control() {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                out.push('%');
                out.push(upper_hex(byte >> 4));
                out.push(upper_hex(byte & 0x0f));
            }
        } else {
            out.push(c);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

fn upper_hex(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16)
        .unwrap_or_default()
        .to_ascii_uppercase()
}

// ---- Reading ----

fn read_detail(record: &mut AuditRecord, detail: &str) -> Result<(), RecordError> {
    let free_form = record.action.label() == EVENT;
    if detail.is_empty() {
        return Ok(());
    }
    let mut label: Option<String> = None;
    let mut fields_began = false;
    let mut seen = Vec::new();
    for (index, word) in detail.split(' ').enumerate() {
        let Some((key, value)) = word.split_once('=') else {
            if !free_form || fields_began {
                return Err(RecordError::NotKeyValue { index });
            }
            // No writer puts these three into a label. A reader replaces them as a writer would
            // have done.
            let word = unescape("label", word)?.replace(['\t', '\r', '\n'], " ");
            label = Some(match label {
                None => word,
                Some(label) => label + " " + &word,
            });
            continue;
        };
        fields_began = true;
        let key = unescape("a field's name", key)?;
        if seen.contains(&key) {
            return Err(RecordError::Duplicate { field: key });
        }
        read_field(record, &key, &unescape(&key, value)?)?;
        seen.push(key);
    }
    if let AuditAction::Event(text) = &mut record.action {
        *text = label.unwrap_or_default();
    }
    Ok(())
}

/// Reads a word as its type requires. A word with the name of a column is an unknown field.
macro_rules! read_word {
    ($r:ident, $key:ident, $value:ident, stream, Text) => {
        read_unknown($r, $key, $value)?
    };
    ($r:ident, $key:ident, $value:ident, $name:ident, Text) => {
        $r.$name = Some($value.to_owned())
    };
    ($r:ident, $key:ident, $value:ident, $name:ident, Personal) => {
        $r.$name = Some($value.into())
    };
    ($r:ident, $key:ident, $value:ident, $name:ident, Outcome) => {
        $r.$name = Some(Outcome::from_label($value))
    };
    ($r:ident, $key:ident, $value:ident, $name:ident, Reason) => {
        $r.$name = Some(Reason::from_label($value))
    };
    ($r:ident, $key:ident, $value:ident, $name:ident, Number) => {
        $r.$name = Some(integer($key, $value)?)
    };
    ($r:ident, $key:ident, $value:ident, $name:ident, Flag) => {
        $r.$name = flag($key, $value)?
    };
    ($r:ident, $key:ident, $value:ident, $name:ident, Id) => {
        $r.$name = Some(uuid($key, $value)?)
    };
    ($r:ident, $key:ident, $value:ident, $name:ident, Nonce) => {{
        let nonce = decode_nonce($value);
        $r.$name = Some(nonce.ok_or_else(|| bad($key, "16 bytes in base64"))?);
    }};
    ($r:ident, $key:ident, $value:ident, $name:ident, Version) => {{
        let version = integer($key, $value)?.try_into();
        $r.$name = version.map_err(|_| bad($key, "a version number"))?;
    }};
    ($r:ident, $key:ident, $value:ident, $name:ident, $head:ident) => {
        read_unknown($r, $key, $value)?
    };
}

macro_rules! reader {
    ($($name:ident: $type:ident;)+) => {
        fn read_field(record: &mut AuditRecord, key: &str, value: &str) -> Result<(), RecordError> {
            match key {
                $(stringify!($name) => read_word!(record, key, value, $name, $type),)+
                _ => read_unknown(record, key, value)?,
            }
            Ok(())
        }
    };
}

with_types!(reader);

/// The value of an unknown field is JSON. Any other value is read as text, so that a foreign line
/// is not dropped.
fn read_unknown(record: &mut AuditRecord, key: &str, value: &str) -> Result<(), RecordError> {
    let value = serde_json::from_str(value)
        .ok()
        .and_then(|json| Value::from_json(key, json).ok())
        .unwrap_or_else(|| Value::Text(value.to_owned()));
    record.extra.insert_as_read(key, value)?;
    Ok(())
}

fn bad(field: &str, expected: &'static str) -> RecordError {
    RecordError::BadField {
        field: field.to_owned(),
        expected,
    }
}

pub(crate) fn integer(field: &str, text: &str) -> Result<u64, RecordError> {
    let expected = "a decimal integer";
    let canonical = text == "0" || !(text.starts_with('0') || text.starts_with('+'));
    if !canonical {
        return Err(bad(field, expected));
    }
    text.parse().map_err(|_| bad(field, expected))
}

fn flag(field: &str, text: &str) -> Result<bool, RecordError> {
    if text == "true" {
        Ok(true)
    } else {
        Err(bad(field, "true"))
    }
}

fn uuid(field: &str, text: &str) -> Result<Uuid, RecordError> {
    Uuid::try_parse(text).map_err(|_| bad(field, "a UUID"))
}

fn unescape(column: &str, text: &str) -> Result<String, RecordError> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let wrong = || RecordError::BadEscape {
        column: column.to_owned(),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.get(..2).ok_or_else(wrong)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(record: &AuditRecord) -> String {
        let line = encode_line(record);
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
        assert_eq!(&parse_line(line.as_bytes()).unwrap(), record, "{line:?}");
        line
    }

    #[test]
    fn a_record_with_nothing_beyond_the_first_columns_has_an_empty_detail() {
        let record = AuditRecord::new(AuditAction::PublishStarted, "live")
            .with_stream("cam")
            .with_ts_ms(42);
        assert_eq!(round_trip(&record), "42\tpublish_started\tlive\tcam\t\n");
        let record = AuditRecord::new(AuditAction::Heartbeat, "");
        assert_eq!(round_trip(&record), "0\theartbeat\t\t-\t\n");
    }

    #[test]
    fn a_stream_that_is_called_dash_is_not_an_absent_one() {
        let record = AuditRecord::new(AuditAction::PlayEnded, "100%").with_stream("-");
        assert_eq!(round_trip(&record), "0\tplay_ended\t100%25\t%2D\t\n");
    }

    #[test]
    fn a_free_form_label_begins_the_detail_and_stays_on_its_line() {
        let event = |label: &str| {
            AuditRecord::new(AuditAction::Event(label.into()), "live").with_stream("cam")
        };
        assert_eq!(
            encode_line(&event("a\tb\r\nc")),
            "0\tevent\tlive\tcam\ta b  c\n"
        );
        assert_eq!(
            round_trip(&event("score 3=2 100%").with_count(2)),
            "0\tevent\tlive\tcam\tscore 3%3D2 100%25 count=2\n"
        );
        for label in ["", " ", "a  b", " a", "a ", "bell\u{7}", "\u{85}"] {
            round_trip(&event(label));
            round_trip(&event(label).with_count(1));
        }
    }

    #[test]
    fn values_are_encoded_where_the_contract_says() {
        let record = AuditRecord::new(AuditAction::PlayDenied, "live")
            .with_reason(Reason::Unauthorized)
            .with_user_agent("A B=C%\t\r\n\u{7f}é");
        assert_eq!(
            round_trip(&record),
            "0\tplay_denied\tlive\t-\treason=unauthorized user_agent=A%20B%3DC%25%09%0D%0A%7Fé\n"
        );
    }

    #[test]
    fn hostile_lines_are_refused_with_the_reason() {
        let refused = |line: &[u8]| parse_line(line).unwrap_err();
        assert_eq!(refused(b"1\ta\tb\tc"), RecordError::Columns { columns: 4 });
        assert_eq!(
            refused(b"1\ta\tb\tc\td\te"),
            RecordError::Columns { columns: 6 }
        );
        assert_eq!(
            refused(b"1\ta\tb\tc\t\n\n"),
            RecordError::ControlCharacter { offset: 8 }
        );
        assert_eq!(
            refused(b"1\ta\tb\tc\t\r\n"),
            RecordError::ControlCharacter { offset: 8 }
        );
        assert_eq!(refused(b"\xff"), RecordError::NotUtf8 { offset: 0 });
        assert_eq!(
            refused(b"1\ta\tb\tc\tword"),
            RecordError::NotKeyValue { index: 0 }
        );
        assert_eq!(
            refused(b"1\tevent\tb\tc\tl count=1 word"),
            RecordError::NotKeyValue { index: 2 }
        );
        assert_eq!(
            refused(b"1\ta\tb\tc\tcount=1 count=1"),
            RecordError::Duplicate {
                field: "count".into()
            }
        );
        for bad in ["%", "%4", "%zz", "%+1", "%ff", "%\u{e9}"] {
            let line = format!("1\ta\t{bad}\tc\t");
            assert_eq!(
                refused(line.as_bytes()),
                RecordError::BadEscape {
                    column: "app".into()
                }
            );
        }
        for bad in ["", "+1", "01", "-1", "1.0", "99999999999999999999"] {
            let line = format!("{bad}\ta\tb\tc\t");
            assert!(
                matches!(refused(line.as_bytes()), RecordError::BadField { .. }),
                "{bad}"
            );
        }
        assert!(matches!(
            refused(b"1\ta\tb\tc\tinferred=false"),
            RecordError::BadField { .. }
        ));
    }
}
