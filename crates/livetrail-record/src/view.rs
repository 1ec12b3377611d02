//! A record read where it lies: one pass over an entry, nothing copied.
//!
//! [`parse_canonical`](crate::parse_canonical) takes some microseconds for JSON in general. Nearly every entry is *plain*: the fields of this
//! version in their order, no escapes. Such an entry is recognised here without building anything; whatever is not plain is left to the
//! general way, and tests hold the two together.

use std::fmt;

use uuid::Uuid;

use crate::action::{AuditAction, EVENT};
use crate::canonical::{MAX_CANONICAL_BYTES, MAX_INTEGER, decode_nonce};
use crate::personal::Personal;
use crate::reason::{Outcome, Reason};
use crate::record::AuditRecord;

/// The fields of a plain entry, as slices of it. Meanings are those of [`AuditRecord`]'s fields.
///
/// `principal`, `peer`, `user_agent` and `detail` are personal data.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are documented at AuditRecord")]
pub struct RecordView<'a> {
    pub action: &'a str,
    pub app: &'a str,
    pub boot: Option<Uuid>,
    pub bytes: Option<u64>,
    pub count: Option<u64>,
    pub detail: Option<&'a str>,
    pub detail_cut: bool,
    pub distinct: Option<u64>,
    pub dropped_frames: Option<u64>,
    pub duration_ms: Option<u64>,
    pub first_seq: Option<u64>,
    pub first_ts_ms: Option<u64>,
    pub frames: Option<u64>,
    pub inferred: bool,
    /// The label of a free-form event.
    pub label: Option<&'a str>,
    pub last_seq: Option<u64>,
    pub last_ts_ms: Option<u64>,
    pub mono_ms: Option<u64>,
    pub node: Option<&'a str>,
    /// In base64, of the right length and canonical.
    pub nonce: Option<&'a str>,
    pub outcome: Option<&'a str>,
    pub peer: Option<&'a str>,
    pub principal: Option<&'a str>,
    pub protocol: Option<&'a str>,
    pub reason: Option<&'a str>,
    pub refused_before: Option<u64>,
    pub seq: Option<u64>,
    pub session: Option<Uuid>,
    pub stream: Option<&'a str>,
    pub ts_ms: u64,
    pub user_agent: Option<&'a str>,
    pub v: u32,
}

impl<'a> RecordView<'a> {
    /// The record in a plain entry. `None` says nothing about an entry but that it is not plain: ask
    /// [`parse_canonical`](crate::parse_canonical). What is returned is always what that would say.
    #[must_use]
    pub fn parse(entry: &'a [u8]) -> Option<Self> {
        if entry.len() > MAX_CANONICAL_BYTES {
            return None;
        }
        let mut c = Cursor {
            rest: std::str::from_utf8(entry).ok()?,
        };
        // The members in canonical order: that each is looked for once and in its place is what proves the order.
        let view = Self {
            action: c.text_of("{\"action\":")??,
            app: c.text_of(",\"app\":")??,
            boot: c.uuid_of(",\"boot\":")?,
            bytes: c.integer_of(",\"bytes\":")?,
            count: c.integer_of(",\"count\":")?,
            detail: c.text_of(",\"detail\":")?,
            detail_cut: c.has(",\"detail_cut\":true"),
            distinct: c.integer_of(",\"distinct\":")?,
            dropped_frames: c.integer_of(",\"dropped_frames\":")?,
            duration_ms: c.integer_of(",\"duration_ms\":")?,
            first_seq: c.integer_of(",\"first_seq\":")?,
            first_ts_ms: c.integer_of(",\"first_ts_ms\":")?,
            frames: c.integer_of(",\"frames\":")?,
            inferred: c.has(",\"inferred\":true"),
            label: c.text_of(",\"label\":")?,
            last_seq: c.integer_of(",\"last_seq\":")?,
            last_ts_ms: c.integer_of(",\"last_ts_ms\":")?,
            mono_ms: c.integer_of(",\"mono_ms\":")?,
            node: c.text_of(",\"node\":")?,
            nonce: c.nonce_of(",\"nonce\":")?,
            outcome: c.text_of(",\"outcome\":")?,
            peer: c.text_of(",\"peer\":")?,
            principal: c.text_of(",\"principal\":")?,
            protocol: c.text_of(",\"protocol\":")?,
            reason: c.text_of(",\"reason\":")?,
            refused_before: c.integer_of(",\"refused_before\":")?,
            seq: c.integer_of(",\"seq\":")?,
            session: c.uuid_of(",\"session\":")?,
            stream: c.text_of(",\"stream\":")?,
            ts_ms: c.integer_of(",\"ts_ms\":")??,
            user_agent: c.text_of(",\"user_agent\":")?,
            v: c.integer_of(",\"v\":")??.try_into().ok()?,
        };
        let label_is_right = match view.label {
            None => true,
            Some(label) => view.action == EVENT && !label.is_empty(),
        };
        (c.rest == "}" && label_is_right).then_some(view)
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

    /// The record with everything that the entry says.
    #[must_use]
    pub fn to_record(&self) -> AuditRecord {
        AuditRecord {
            v: self.v,
            ts_ms: self.ts_ms,
            action: self.action(),
            app: self.app.to_owned(),
            stream: self.stream.map(str::to_owned),
            session: self.session,
            outcome: self.outcome.map(Outcome::from_label),
            reason: self.reason.map(Reason::from_label),
            protocol: self.protocol.map(str::to_owned),
            principal: self.principal.map(Personal::from),
            peer: self.peer.map(Personal::from),
            user_agent: self.user_agent.map(Personal::from),
            duration_ms: self.duration_ms,
            bytes: self.bytes,
            frames: self.frames,
            dropped_frames: self.dropped_frames,
            inferred: self.inferred,
            count: self.count,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            first_ts_ms: self.first_ts_ms,
            last_ts_ms: self.last_ts_ms,
            distinct: self.distinct,
            refused_before: self.refused_before,
            detail: self.detail.map(Personal::from),
            detail_cut: self.detail_cut,
            node: self.node.map(str::to_owned),
            boot: self.boot,
            seq: self.seq,
            mono_ms: self.mono_ms,
            nonce: self.nonce.and_then(decode_nonce),
            extra: crate::extra::Extra::new(),
        }
    }
}

/// Without personal data.
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

/// What is left of the entry. Of a member, the outer `None` is *not plain*, the inner one *not there*.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn has(&mut self, literal: &str) -> bool {
        match self.rest.strip_prefix(literal) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn text_of(&mut self, key: &str) -> Option<Option<&'a str>> {
        if self.has(key) {
            self.text().map(Some)
        } else {
            Some(None)
        }
    }

    fn integer_of(&mut self, key: &str) -> Option<Option<u64>> {
        if self.has(key) {
            self.integer().map(Some)
        } else {
            Some(None)
        }
    }

    fn uuid_of(&mut self, key: &str) -> Option<Option<Uuid>> {
        if self.has(key) {
            uuid(self.text()?).map(Some)
        } else {
            Some(None)
        }
    }

    fn nonce_of(&mut self, key: &str) -> Option<Option<&'a str>> {
        if self.has(key) {
            let text = self.text()?;
            is_nonce(text).then_some(Some(text))
        } else {
            Some(None)
        }
    }

    /// A string without escapes.
    fn text(&mut self) -> Option<&'a str> {
        let rest = self.rest.strip_prefix('"')?;
        let (text, after) = rest.split_at_checked(unescaped(rest.as_bytes()))?;
        self.rest = after.strip_prefix('"')?;
        Some(text)
    }

    fn integer(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        let mut digits = 0_usize;
        for byte in self.rest.bytes() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            digits = digits.saturating_add(1);
            number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
        }
        let (text, after) = self.rest.split_at_checked(digits)?;
        let canonical = digits == 1 || (digits > 1 && !text.starts_with('0'));
        self.rest = after;
        (canonical && number <= MAX_INTEGER).then_some(number)
    }
}

/// How many bytes stand before the first that ends a plain string: a quote, a backslash or a control character. Eight are looked at at a time.
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

/// The high bit of each byte that ends a plain string. Above the lowest such byte a bit may be set wrongly: a borrow goes upwards.
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

/// The value of each hexadecimal digit in lower case; [`NO_DIGIT`] of everything else.
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

/// More than four bits.
const NO_DIGIT: u8 = 0xff;

/// The hyphenated form in lower case, which is the canonical one.
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

/// 16 bytes in base64: 21 digits, one whose last four bits are 0, and the padding.
fn is_nonce(text: &str) -> bool {
    let Ok(text) = <&[u8; 24]>::try_from(text.as_bytes()) else {
        return false;
    };
    let Some(([last, b'=', b'='], digits)) = text.split_last_chunk::<3>().map(|(a, b)| (b, a))
    else {
        return false;
    };
    let wrong = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    // All are looked at, without stopping: that is done many at a time.
    matches!(last, b'A' | b'Q' | b'g' | b'w')
        && !digits.iter().fold(false, |any, byte| any | wrong(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::{encode_canonical, parse_in_general};
    use crate::record::FIELDS;
    use proptest::prelude::*;

    fn full() -> AuditRecord {
        let mut record = AuditRecord::new(AuditAction::Event("moved — twice".into()), "live")
            .with_ts_ms(1_763_805_600_000)
            .with_stream("cam")
            .with_session(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_00ab_cdef))
            .with_boot(Uuid::from_u128(7))
            .with_outcome(Outcome::Success)
            .with_reason(Reason::ClientClosed)
            .with_inferred(true)
            .with_nonce([0xfe; 16])
            .with_protocol("rtmp")
            .with_node("n1")
            .with_principal("someone")
            .with_peer("192.0.2.1:4000")
            .with_user_agent("a browser — of sorts")
            .with_detail("x")
            .with_seq(MAX_INTEGER)
            .with_mono_ms(0)
            .with_duration_ms(10)
            .with_bytes(11)
            .with_frames(12)
            .with_dropped_frames(13)
            .with_count(14)
            .with_first_seq(15)
            .with_last_seq(16)
            .with_first_ts_ms(17)
            .with_last_ts_ms(18)
            .with_distinct(19)
            .with_refused_before(20);
        record.detail_cut = true;
        record
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
        for name in FIELDS {
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
    fn whatever_one_byte_is_changed_to_nothing_is_taken_that_the_general_way_refuses() {
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
        for secret in ["someone", "192.0.2.1", "browser"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn the_end_of_a_string_is_where_looking_at_each_byte_finds_it(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x1f..=0x24_u8, Just(b'\\'), Just(0x5b_u8)], 0..40),
        ) {
            let slow = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(bytes.len());
            prop_assert_eq!(unescaped(&bytes), slow);
        }

        #[test]
        fn members_in_any_order_and_number_are_judged_as_in_general(
            members in prop::collection::vec((0..FIELDS.len(), 0..6_usize), 1..12),
            sorted in any::<bool>(),
        ) {
            let mut members = members;
            if sorted {
                members.sort_unstable();
            }
            let values = ["\"a\"", "\"0199a1b2-0000-7000-8000-000000000001\"", "12", "true", "\"AAAAAAAAAAAAAAAAAAAAAA==\"", "0"];
            let text: Vec<String> = members
                .iter()
                .map(|(field, value)| format!("\"{}\":{}", FIELDS[*field], values[*value]))
                .collect();
            let text = text.join(",");
            for head in ["", r#""action":"heartbeat","app":"","#, r#""action":"event","app":"","#] {
                for tail in ["", r#","ts_ms":1,"v":1"#] {
                    agree(format!("{{{head}{text}{tail}}}").as_bytes());
                }
            }
        }
    }
}
