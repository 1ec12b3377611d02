//! Reads a record without copying it, in one pass over its entry.
//!
//! [`parse_canonical`](crate::parse_canonical) takes some microseconds for any JSON. Nearly every
//! entry is *plain*: it has the fields of this version in their order, without escapes. The code
//! here recognises such an entry and builds nothing. Any other entry needs the general parser.
//! Tests compare the two.

use std::fmt;

use uuid::Uuid;

use crate::action::{AuditAction, EVENT};
use crate::canonical::{MAX_CANONICAL_BYTES, MAX_INTEGER, decode_nonce, key};
use crate::fields::AuditRecord;
use crate::later;
use crate::personal::{Personal, digest_from_base64};
use crate::reason::{Outcome, Reason};

/// The type of a field in a plain entry.
macro_rules! viewed {
    ($a:lifetime, Action) => { &$a str };
    ($a:lifetime, Name) => { &$a str };
    ($a:lifetime, Number) => { Option<u64> };
    ($a:lifetime, Time) => { u64 };
    ($a:lifetime, Version) => { u32 };
    ($a:lifetime, Flag) => { bool };
    ($a:lifetime, Id) => { Option<Uuid> };
    // Texts and labels, and a nonce in canonical base64 of the right length.
    ($a:lifetime, $text:ident) => { Option<&$a str> };
}

/// Reads a member without copying it.
macro_rules! member {
    ($c:ident, $name:ident, Action) => {
        $c.text_of(concat!("{\"", stringify!($name), "\":"))??
    };
    ($c:ident, $name:ident, Name) => {
        $c.text_of(key!($name))??
    };
    ($c:ident, $name:ident, Number) => {
        $c.integer_of(key!($name))?
    };
    ($c:ident, $name:ident, Time) => {
        $c.integer_of(key!($name))??
    };
    ($c:ident, $name:ident, Version) => {
        $c.integer_of(key!($name))??.try_into().ok()?
    };
    ($c:ident, $name:ident, Flag) => {
        $c.has(concat!(",\"", stringify!($name), "\":true"))
    };
    ($c:ident, $name:ident, Id) => {
        $c.uuid_of(key!($name))?
    };
    ($c:ident, $name:ident, Nonce) => {
        $c.nonce_of(key!($name))?
    };
    ($c:ident, $name:ident, Digest) => {
        $c.digest_of(key!($name))?
    };
    ($c:ident, $name:ident, $text:ident) => {
        $c.text_of(key!($name))?
    };
}

/// Copies a member into a record that already has its action and application.
macro_rules! take {
    ($r:ident, $view:ident, $name:ident, Action) => {};
    ($r:ident, $view:ident, $name:ident, Label) => {};
    ($r:ident, $view:ident, $name:ident, Name) => {};
    ($r:ident, $view:ident, $name:ident, Text) => {
        $r.$name = $view.$name.map(str::to_owned)
    };
    ($r:ident, $view:ident, $name:ident, Personal) => {
        $r.$name = $view.$name.map(Personal::from)
    };
    ($r:ident, $view:ident, $name:ident, Outcome) => {
        $r.$name = $view.$name.map(Outcome::from_label)
    };
    ($r:ident, $view:ident, $name:ident, Reason) => {
        $r.$name = $view.$name.map(Reason::from_label)
    };
    ($r:ident, $view:ident, $name:ident, Nonce) => {
        $r.$name = $view.$name.and_then(decode_nonce)
    };
    ($r:ident, $view:ident, $name:ident, Word) => {
        if let Some(text) = $view.$name {
            $r.extra.set_text(stringify!($name), text);
        }
    };
    ($r:ident, $view:ident, $name:ident, Digest) => {
        take!($r, $view, $name, Word)
    };
    ($r:ident, $view:ident, $name:ident, $as_it_is:ident) => {
        $r.$name = $view.$name
    };
}

macro_rules! view {
    ($($name:ident: $type:ident;)+) => {
        /// The fields of a plain entry, as slices of it. They mean the same as the fields of
        /// [`AuditRecord`]. `label` is the label of a free-form event. `nonce` and `personal` are
        /// in base64.
        ///
        /// `principal`, `peer`, `user_agent` and `detail` are personal data.
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "the fields are documented at AuditRecord")]
        pub struct RecordView<'a> {
            $(pub $name: viewed!('a, $type),)+
        }

        impl<'a> RecordView<'a> {
            /// Reads the members in canonical order. Each is searched once and in its place, which
            /// proves the order.
            #[inline]
            fn members(c: &mut Cursor<'a>) -> Option<Self> {
                Some(Self { $($name: member!(c, $name, $type),)+ })
            }

            /// The record with all fields of the entry.
            #[must_use]
            pub fn to_record(&self) -> AuditRecord {
                let mut record = AuditRecord::new(self.action(), self.app);
                $(take!(record, self, $name, $type);)+
                record
            }
        }
    };
}

with_types!(view);

impl<'a> RecordView<'a> {
    /// The record of a plain entry. `None` means only that the entry is not plain: call
    /// [`parse_canonical`](crate::parse_canonical). A returned record is always equal to its
    /// result.
    #[must_use]
    pub fn parse(entry: &'a [u8]) -> Option<Self> {
        if entry.len() > MAX_CANONICAL_BYTES {
            return None;
        }
        let mut c = Cursor {
            rest: std::str::from_utf8(entry).ok()?,
        };
        let view = Self::members(&mut c)?;
        let label_is_right = match view.label {
            None => true,
            Some(label) => view.action == EVENT && !label.is_empty(),
        };
        // In an entry of schema 1 these are fields of its own with any value.
        let is_of_schema_2 =
            view.personal.is_some() | view.peer_source.is_some() | view.via.is_some();
        let schema_is_right = !is_of_schema_2 || view.v >= later::SINCE;
        (c.rest == "}" && label_is_right && schema_is_right).then_some(view)
    }

    /// The action.
    #[must_use]
    pub fn action(&self) -> AuditAction {
        if self.action == EVENT {
            AuditAction::Event(self.label.unwrap_or_default().to_owned())
        } else {
            AuditAction::from_label(self.action)
        }
    }
}

/// The output has no personal data.
impl fmt::Debug for RecordView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordView")
            .field("ts_ms", &self.ts_ms)
            .field("action", &self.action)
            .field("app", &self.app)
            .field("stream", &self.stream)
            .field("session", &self.session)
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

/// The rest of the entry. For a member, the outer `None` means *not plain*, and the inner `None`
/// means *absent*.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// Skips this text if it comes next. Most fields of the table are absent from an entry. Inlined
    /// with a literal, the test for one of them is a comparison of two words.
    #[inline(always)]
    fn has(&mut self, literal: &str) -> bool {
        match self.rest.strip_prefix(literal) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    #[inline(always)]
    fn text_of(&mut self, key: &str) -> Option<Option<&'a str>> {
        if self.has(key) {
            self.text().map(Some)
        } else {
            Some(None)
        }
    }

    #[inline(always)]
    fn integer_of(&mut self, key: &str) -> Option<Option<u64>> {
        if self.has(key) {
            self.integer().map(Some)
        } else {
            Some(None)
        }
    }

    #[inline(always)]
    fn uuid_of(&mut self, key: &str) -> Option<Option<Uuid>> {
        if self.has(key) {
            uuid(self.text()?).map(Some)
        } else {
            Some(None)
        }
    }

    #[inline(always)]
    fn nonce_of(&mut self, key: &str) -> Option<Option<&'a str>> {
        if self.has(key) {
            let text = self.text()?;
            is_nonce(text).then_some(Some(text))
        } else {
            Some(None)
        }
    }

    fn digest_of(&mut self, key: &str) -> Option<Option<&'a str>> {
        if self.has(key) {
            let text = self.text()?;
            digest_from_base64(text).map(|_| Some(text))
        } else {
            Some(None)
        }
    }

    /// Reads a string without escapes.
    fn text(&mut self) -> Option<&'a str> {
        let rest = self.rest.strip_prefix('"')?;
        let (text, after) = rest.split_at_checked(unescaped(rest.as_bytes()))?;
        self.rest = after.strip_prefix('"')?;
        Some(text)
    }

    #[inline(never)]
    fn integer(&mut self) -> Option<u64> {
        let bytes = self.rest.as_bytes();
        let (mut number, mut digits) = (0, 0);
        // Times and totals have at least eight digits.
        if let Some(eight) = bytes.first_chunk().and_then(eight_digits) {
            (number, digits) = (eight, 8);
        }
        for byte in bytes.iter().skip(digits) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 || digits > MAX_DIGITS {
                break;
            }
            digits = digits.saturating_add(1);
            // At most 17 digits, which do not overflow.
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        let (text, after) = self.rest.split_at_checked(digits)?;
        let canonical = digits == 1 || (digits > 1 && !text.starts_with('0'));
        self.rest = after;
        (canonical && number <= MAX_INTEGER).then_some(number)
    }
}

/// The digits of [`MAX_INTEGER`].
const MAX_DIGITS: usize = 16;

/// The number that eight decimal digits spell. Adds neighbours in three steps: digits, pairs, and
/// groups of four.
fn eight_digits(text: &[u8; 8]) -> Option<u64> {
    const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
    const HIGH: u64 = u64::from_le_bytes([0xf0; 8]);
    const SIXES: u64 = u64::from_le_bytes([6; 8]);
    let word = u64::from_le_bytes(*text);
    let digits = word ^ ZEROS;
    // A byte below 10 stays below 16 when six are added; no byte carries into the next one.
    if digits & HIGH != 0 || digits.wrapping_add(SIXES) & HIGH != 0 {
        return None;
    }
    // The first digit is in the lowest byte, and counts most.
    let pairs = digits.wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(10_000 << 32 | 1) >> 32)
}

/// Number of bytes before the first byte that ends a plain string: a quote, a backslash or a
/// control character. The search tests eight bytes at a time.
fn unescaped(bytes: &[u8]) -> usize {
    let mut at = 0_usize;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let found = ends(u64::from_le_bytes(*word));
        if found != 0 {
            return at.saturating_add((found.trailing_zeros() / 8) as usize);
        }
        at = at.saturating_add(8);
    }
    let in_rest = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
    at.saturating_add(in_rest.unwrap_or(rest.len()))
}

/// The high bit of each byte that ends a plain string. Above the lowest such byte a bit may be
/// wrong, because a borrow moves upwards.
const fn ends(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);
    const SPACES: u64 = u64::from_le_bytes([0x20; 8]);
    let quote = word ^ QUOTES;
    let backslash = word ^ BACKSLASHES;
    let zero_quote = quote.wrapping_sub(ONES) & !quote;
    let zero_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let below_space = word.wrapping_sub(SPACES) & !word;
    (zero_quote | zero_backslash | below_space) & HIGH
}

/// The value of each lower-case hexadecimal digit, and [`NO_DIGIT`] for any other byte.
const HEX: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let digits = b"0123456789abcdef";
    let mut value = 0_u8;
    while (value as usize) < digits.len() {
        #[expect(clippy::indexing_slicing, reason = "a constant: it would not compile")]
        {
            table[digits[value as usize] as usize] = value;
        }
        value = value.wrapping_add(1);
    }
    table
};

#[expect(
    clippy::indexing_slicing,
    reason = "the table has a place for every byte"
)]
const fn digit(byte: u8) -> u8 {
    HEX[byte as usize]
}

/// The value has more than four bits.
const NO_DIGIT: u8 = 0xff;

/// Parses the hyphenated form in lower case, which is the canonical one.
fn uuid(text: &str) -> Option<Uuid> {
    let t: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let [
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        b'-',
        _,
        _,
        _,
        _,
        b'-',
        _,
        _,
        _,
        _,
        b'-',
        _,
        _,
        _,
        _,
        b'-',
        ..,
    ] = t
    else {
        return None;
    };
    let digits = [
        t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[9], t[10], t[11], t[12], t[14], t[15],
        t[16], t[17], t[19], t[20], t[21], t[22], t[24], t[25], t[26], t[27], t[28], t[29], t[30],
        t[31], t[32], t[33], t[34], t[35],
    ];
    let (pairs, _) = digits.as_chunks::<2>();
    let mut bytes = [0; 16];
    let mut all = 0;
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (digit(*high), digit(*low));
        all |= high | low;
        *byte = high << 4 | low;
    }
    (all != NO_DIGIT).then(|| Uuid::from_bytes(bytes))
}

/// Whether the text is 16 bytes in base64: 21 digits, one digit whose last four bits are 0, and the
/// padding.
fn is_nonce(text: &str) -> bool {
    let Ok(text) = <&[u8; 24]>::try_from(text.as_bytes()) else {
        return false;
    };
    let Some(([last, b'=', b'='], digits)) = text.split_last_chunk::<3>().map(|(a, b)| (b, a))
    else {
        return false;
    };
    // The loop tests all digits without stopping.
    matches!(last, b'A' | b'Q' | b'g' | b'w')
        && digits.iter().fold(0, |all, byte| all | not_base64(*byte)) == 0
}

/// 0 for each digit of base64, and 1 for any other byte.
const NOT_BASE64: [u8; 256] = {
    let mut table = [1; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        #[expect(clippy::indexing_slicing, reason = "a constant: it would not compile")]
        if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/') {
            table[byte as usize] = 0;
        }
        byte = byte.wrapping_add(1);
    }
    table
};

#[expect(
    clippy::indexing_slicing,
    reason = "the table has a place for every byte"
)]
const fn not_base64(byte: u8) -> u8 {
    NOT_BASE64[byte as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::{encode_canonical, parse_in_general};
    use crate::field::{Field, FieldType};
    use crate::fields::NAMES;
    use proptest::prelude::*;

    /// A free-form event with a value in every field of the table.
    fn full() -> AuditRecord {
        let plain = Field::ALL.iter().filter(|field| field.is_in_view());
        let members = plain.zip(10..).map(|(field, number)| {
            let value = match field.kind() {
                FieldType::Action => "\"event\"".to_owned(),
                FieldType::Time | FieldType::Version => number.to_string(),
                FieldType::Number if field.name() == "seq" => MAX_INTEGER.to_string(),
                FieldType::Number => number.to_string(),
                FieldType::Flag => "true".to_owned(),
                FieldType::Id => "\"01990000-0000-7000-8000-000000abcdef\"".to_owned(),
                FieldType::Nonce => "\"/v7+/v7+/v7+/v7+/v7+/g==\"".to_owned(),
                FieldType::Digest => format!("\"{}/v4=\"", "/v7+".repeat(10)),
                FieldType::Personal => format!("\"secret {}\"", field.name()),
                _ => format!("\"{} — of sorts\"", field.name()),
            };
            format!("\"{}\":{value}", field.name())
        });
        let members: Vec<String> = members.collect();
        parse_in_general(format!("{{{}}}", members.join(",")).as_bytes()).unwrap()
    }

    fn agree(entry: &[u8]) {
        if let Some(view) = RecordView::parse(entry) {
            let general = parse_in_general(entry);
            assert_eq!(
                general.as_ref(),
                Ok(&view.to_record()),
                "{}",
                String::from_utf8_lossy(entry)
            );
        }
    }

    #[test]
    fn a_record_with_every_field_is_plain_and_read_whole() {
        let bytes = encode_canonical(&full()).unwrap();
        assert_eq!(RecordView::parse(&bytes).unwrap().to_record(), full());
        for name in NAMES {
            assert!(
                String::from_utf8_lossy(&bytes).contains(&format!("\"{name}\":")),
                "{name}"
            );
        }
        let mut least = AuditRecord::new(AuditAction::Heartbeat, "").with_ts_ms(1);
        least.v = u32::MAX;
        let bytes = encode_canonical(&least).unwrap();
        assert_eq!(RecordView::parse(&bytes).unwrap().to_record(), least);
    }

    #[test]
    fn with_any_byte_changed_the_fast_parser_accepts_nothing_that_the_general_one_refuses() {
        let bytes = encode_canonical(&full()).unwrap();
        for at in 0..bytes.len() {
            for byte in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = byte;
                agree(&changed);
            }
            let mut shorter = bytes.clone();
            shorter.remove(at);
            agree(&shorter);
            let mut longer = bytes.clone();
            longer.insert(at, bytes[at]);
            agree(&longer);
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_general_way() {
        for entry in [
            br#"{"action":"a\"b","app":"a","ts_ms":1,"v":1}"#.as_slice(),
            br#"{"action":"heartbeat","app":"","later":true,"ts_ms":1,"v":2}"#,
        ] {
            assert!(RecordView::parse(entry).is_none());
            assert!(crate::parse_canonical(entry).is_ok());
        }
    }

    #[test]
    fn personal_data_is_not_shown_for_debugging() {
        let bytes = encode_canonical(&full()).unwrap();
        let shown = format!("{:?}", RecordView::parse(&bytes).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    proptest! {
        #[test]
        fn the_end_of_a_string_is_where_reading_byte_by_byte_finds_it(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x1f..=0x24_u8, Just(b'\\'), Just(0x5b_u8)], 0..40),
        ) {
            let slow = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(bytes.len());
            prop_assert_eq!(unescaped(&bytes), slow);
        }

        #[test]
        fn integers_are_read_as_in_general(
            number in prop_oneof![any::<u64>(), 0..=MAX_INTEGER, (0..17_u32).prop_map(|n| 10_u64.pow(n))],
            zeros in 0..3_usize,
            at in 0..24_usize,
            byte in prop_oneof![any::<u8>(), b'.'..=b'@'],
        ) {
            let text = format!("{}{number}", "0".repeat(zeros));
            agree(format!(r#"{{"action":"heartbeat","app":"","ts_ms":{text},"v":1}}"#).as_bytes());
            let mut bytes = format!(r#"{{"action":"heartbeat","app":"","ts_ms":{number},"v":1}}"#).into_bytes();
            bytes[39 + at.min(7)] = byte;
            agree(&bytes);
        }

        #[test]
        fn eight_digits_are_the_number_that_they_spell(number in 0..100_000_000_u64, at in 0..8_usize, byte in any::<u8>()) {
            let mut text: [u8; 8] = format!("{number:08}").into_bytes().try_into().unwrap();
            prop_assert_eq!(eight_digits(&text), Some(number));
            text[at] = byte;
            let slow = std::str::from_utf8(&text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
            prop_assert_eq!(eight_digits(&text), slow.map(|t| t.parse().unwrap()));
        }

        #[test]
        fn members_in_any_order_and_number_are_judged_as_in_general(
            members in prop::collection::vec((0..NAMES.len(), 0..6_usize), 1..12),
            sorted in any::<bool>(),
        ) {
            let mut members = members;
            if sorted {
                members.sort_unstable();
            }
            let values = ["\"a\"", "\"0199a1b2-0000-7000-8000-000000000001\"", "12", "true", "\"AAAAAAAAAAAAAAAAAAAAAA==\"", "0"];
            let text: Vec<String> = members
                .iter()
                .map(|(field, value)| format!("\"{}\":{}", NAMES[*field], values[*value]))
                .collect();
            let text = text.join(",");
            for head in ["", r#""action":"heartbeat","app":"","#, r#""action":"event","app":"","#] {
                for tail in ["", r#","ts_ms":1,"v":1"#, r#","ts_ms":1,"v":2"#] {
                    agree(format!("{{{head}{text}{tail}}}").as_bytes());
                }
            }
        }
    }
}
