//! A quick way to read an entry that is certainly a record's canonical bytes.
//!
//! [`livetrail_record::parse_canonical`] says what is canonical, at some microseconds a record. Nearly every entry is plain: known fields
//! in their order, no escapes. Such an entry can be recognised in one pass without building anything that the checks do not need. What
//! is not plain goes to `parse_canonical`; a test holds the two together.

use livetrail_record::{
    AuditAction, AuditRecord, MAX_CANONICAL_BYTES, MAX_INTEGER, Reason, RecordError, Uuid,
    parse_canonical,
};

/// The fields in canonical order, and what each holds.
const FIELDS: [(&str, Kind); 27] = [
    ("action", Kind::Text),
    ("app", Kind::Text),
    ("boot", Kind::Uuid),
    ("bytes", Kind::Integer),
    ("count", Kind::Integer),
    ("detail", Kind::Text),
    ("detail_cut", Kind::True),
    ("dropped_frames", Kind::Integer),
    ("duration_ms", Kind::Integer),
    ("first_seq", Kind::Integer),
    ("frames", Kind::Integer),
    ("inferred", Kind::True),
    ("last_seq", Kind::Integer),
    ("mono_ms", Kind::Integer),
    ("node", Kind::Text),
    ("nonce", Kind::Nonce),
    ("outcome", Kind::Text),
    ("peer", Kind::Text),
    ("principal", Kind::Text),
    ("protocol", Kind::Text),
    ("reason", Kind::Text),
    ("seq", Kind::Integer),
    ("session", Kind::Uuid),
    ("stream", Kind::Text),
    ("ts_ms", Kind::Integer),
    ("user_agent", Kind::Text),
    ("v", Kind::Integer),
];

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Uuid,
    Integer,
    True,
    Nonce,
}

/// The record in an entry, as far as the checks need it: without outcome, protocol, personal data, totals and nonce, and with `detail`
/// only in a record of loss.
///
/// # Errors
/// Those of [`parse_canonical`].
pub(crate) fn read_entry(entry: &[u8]) -> Result<AuditRecord, RecordError> {
    match plain(entry) {
        Some(record) => Ok(record),
        None => parse_canonical(entry),
    }
}

fn plain(entry: &[u8]) -> Option<AuditRecord> {
    if entry.len() > MAX_CANONICAL_BYTES {
        return None;
    }
    let mut cursor = Cursor {
        rest: std::str::from_utf8(entry).ok()?.strip_prefix('{')?,
    };
    let mut fields = FIELDS.iter();
    let mut record = AuditRecord::new(AuditAction::Heartbeat, String::new());
    let mut seen = 0_u8;
    let mut detail = None;
    loop {
        let key = cursor.text()?;
        // Going on from the field before is what proves the order.
        let (_, kind) = fields.find(|(name, _)| *name == key)?;
        cursor.take(':')?;
        match kind {
            Kind::Text => {
                let text = cursor.text()?;
                match key {
                    "action" => {
                        record.action = AuditAction::from_label(text);
                        seen |= 1;
                    }
                    "app" => {
                        record.app = text.to_owned();
                        seen |= 2;
                    }
                    "detail" => detail = Some(text),
                    "node" => record.node = Some(text.to_owned()),
                    "reason" => record.reason = Some(Reason::from_label(text)),
                    "stream" => record.stream = Some(text.to_owned()),
                    _ => {}
                }
            }
            Kind::Uuid => {
                let id = cursor.uuid()?;
                match key {
                    "boot" => record.boot = Some(id),
                    _ => record.session = Some(id),
                }
            }
            Kind::Integer => {
                let number = cursor.integer()?;
                match key {
                    "count" => record.count = Some(number),
                    "first_seq" => record.first_seq = Some(number),
                    "last_seq" => record.last_seq = Some(number),
                    "mono_ms" => record.mono_ms = Some(number),
                    "seq" => record.seq = Some(number),
                    "ts_ms" => {
                        record.ts_ms = number;
                        seen |= 4;
                    }
                    "v" => {
                        record.v = u32::try_from(number).ok()?;
                        seen |= 8;
                    }
                    _ => {}
                }
            }
            Kind::True => {
                cursor.rest = cursor.rest.strip_prefix("true")?;
                match key {
                    "inferred" => record.inferred = true,
                    _ => record.detail_cut = true,
                }
            }
            Kind::Nonce => cursor.nonce()?,
        }
        if cursor.rest == "}" {
            break;
        }
        cursor.take(',')?;
    }
    if record.action == AuditAction::RecordsDropped {
        record.detail = detail.map(Into::into);
    }
    (seen == 15).then_some(record)
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, wanted: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    /// A string without escapes.
    fn text(&mut self) -> Option<&'a str> {
        let rest = self.rest.strip_prefix('"')?;
        let end = rest
            .bytes()
            .position(|byte| byte == b'"' || byte == b'\\' || byte < 0x20)?;
        let (text, after) = rest.split_at_checked(end)?;
        self.rest = after.strip_prefix('"')?;
        Some(text)
    }

    fn integer(&mut self) -> Option<u64> {
        let end = self
            .rest
            .bytes()
            .position(|byte| !byte.is_ascii_digit())
            .filter(|end| (1..=16).contains(end))?;
        let (digits, after) = self.rest.split_at_checked(end)?;
        if end > 1 && digits.starts_with('0') {
            return None;
        }
        self.rest = after;
        digits.parse().ok().filter(|number| *number <= MAX_INTEGER)
    }

    /// The hyphenated form in lower case, which is the canonical one.
    fn uuid(&mut self) -> Option<Uuid> {
        let text = self.text()?.as_bytes();
        let text: &[u8; 36] = text.try_into().ok()?;
        let mut value = 0_u128;
        for (at, byte) in text.iter().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return None;
                }
                continue;
            }
            let digit = match byte {
                b'0'..=b'9' => byte.wrapping_sub(b'0'),
                b'a'..=b'f' => byte.wrapping_sub(b'a').wrapping_add(10),
                _ => return None,
            };
            value = value << 4 | u128::from(digit);
        }
        Some(Uuid::from_u128(value))
    }

    /// 16 bytes in base64: 21 digits, one whose last four bits are 0, and the padding.
    fn nonce(&mut self) -> Option<()> {
        let digits = self.text()?.strip_suffix("==")?.as_bytes();
        let (last, digits) = digits.split_last()?;
        let good = digits.len() == 21
            && matches!(last, b'A' | b'Q' | b'g' | b'w')
            && digits
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
        good.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livetrail_record::{Outcome, encode_canonical};
    use proptest::prelude::*;

    /// What `plain` does not keep.
    fn stripped(mut record: AuditRecord) -> AuditRecord {
        record.outcome = None;
        record.protocol = None;
        record.principal = None;
        record.peer = None;
        record.user_agent = None;
        (record.bytes, record.frames) = (None, None);
        (record.dropped_frames, record.duration_ms) = (None, None);
        record.nonce = None;
        if record.action != AuditAction::RecordsDropped {
            record.detail = None;
        }
        record
    }

    fn full() -> AuditRecord {
        AuditRecord::new(AuditAction::PlayEnded, "live")
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
            .with_detail("play_started:1")
            .with_seq(MAX_INTEGER)
            .with_mono_ms(0)
            .with_duration_ms(10)
            .with_bytes(11)
            .with_frames(12)
            .with_dropped_frames(13)
            .with_count(14)
            .with_first_seq(15)
            .with_last_seq(16)
    }

    #[test]
    fn a_record_with_every_field_is_plain() {
        let bytes = encode_canonical(&full()).unwrap();
        assert_eq!(plain(&bytes), Some(stripped(full())));
        let mut cut = full();
        cut.detail_cut = true;
        cut.action = AuditAction::RecordsDropped;
        let bytes = encode_canonical(&cut).unwrap();
        assert_eq!(plain(&bytes), Some(stripped(cut)));
    }

    #[test]
    fn whatever_one_byte_is_changed_to_the_quick_way_takes_nothing_that_the_strict_one_refuses() {
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

    fn agree(entry: &[u8]) {
        if let Some(quick) = plain(entry) {
            let strict = parse_canonical(entry);
            let strict = strict
                .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(entry)));
            assert_eq!(
                quick,
                stripped(strict),
                "{}",
                String::from_utf8_lossy(entry)
            );
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_strict_way() {
        for entry in [
            br#"{"action":"event","app":"a","label":"x","ts_ms":1,"v":1}"#.as_slice(),
            br#"{"action":"a\"b","app":"a","ts_ms":1,"v":1}"#,
            br#"{"action":"heartbeat","app":"","later":true,"ts_ms":1,"v":2}"#,
        ] {
            assert!(plain(entry).is_none());
            assert!(read_entry(entry).is_ok());
        }
        assert!(read_entry(br#"{"app":"a","action":"heartbeat","ts_ms":1,"v":1}"#).is_err());
    }

    proptest! {
        #[test]
        fn members_in_any_order_and_number_are_judged_as_the_strict_way_does(
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
                .map(|(field, value)| format!("\"{}\":{}", FIELDS[*field].0, values[*value]))
                .collect();
            let text = text.join(",");
            for head in ["", r#""action":"heartbeat","app":"","#] {
                for tail in ["", r#","ts_ms":1,"v":1"#] {
                    agree(format!("{{{head}{text}{tail}}}").as_bytes());
                }
            }
        }
    }
}
