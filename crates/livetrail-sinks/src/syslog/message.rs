//! Messages of RFC 5424, each preceded by its length (RFC 6587, section 3.4.1).

use std::io::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use livetrail_record::{AuditRecord, Field, FieldType, FieldValue, Severity, parse_canonical};
use livetrail_replica::{EntryOpening, Gap};
use livetrail_tlog::Hash;

use super::target::SyslogTarget;
use crate::severity::of_record;

const APP_NAME: &str = "livetrail";

/// The longest lengths of fields in the header (RFC 5424, section 6).
const MAX_HOSTNAME_BYTES: usize = 255;
const MAX_PROCID_BYTES: usize = 128;
const MAX_MSGID_BYTES: usize = 32;

/// The MSGID of the message for entries that were pruned before the sink received them.
const GAP: &str = "gap";

/// The fields that are already in the header.
const IN_HEADER: [&str; 2] = ["node", "boot"];

/// The fields that become parameters of the structured data.
static PARAMETERS: LazyLock<Vec<Field>> = LazyLock::new(|| {
    Field::attributes()
        .filter(|field| !IN_HEADER.contains(&field.name()))
        .collect()
});

/// Encodes messages about one log.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    facility: u8,
    enterprise: u32,
    origin: &'a str,
    /// The current message. Its length goes first, so the message is complete before it is sent.
    message: Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(super) const fn new(target: &SyslogTarget, origin: &'a str) -> Self {
        Self {
            facility: target.facility(),
            enterprise: target.enterprise(),
            origin,
            message: Vec::new(),
        }
    }

    /// Appends an entry's message.
    pub(super) fn entry(
        &mut self,
        out: &mut Vec<u8>,
        index: u64,
        leaf: &Hash,
        entry: &[u8],
        opening: Option<&EntryOpening>,
    ) {
        self.message.clear();
        match parse_canonical(entry) {
            Ok(record) => self.record(index, leaf, entry, &record, opening),
            Err(_) => {
                self.header(Severity::Notice, &AuditRecord::new(no_action(), ""), "-");
                self.place(index, leaf);
                self.parameter("encoding", "base64");
                self.message.extend_from_slice(b"] ");
                self.message
                    .extend_from_slice(STANDARD.encode(entry).as_bytes());
            }
        }
        self.finish(out);
    }

    /// Appends the message for missing entries.
    pub(super) fn gap(&mut self, out: &mut Vec<u8>, gap: &Gap) {
        self.message.clear();
        self.header(Severity::Warning, &AuditRecord::new(no_action(), ""), GAP);
        self.parameter("origin", self.origin);
        self.parameter("first_index", &gap.missing.start.to_string());
        self.parameter("next_index", &gap.missing.end.to_string());
        self.message.extend_from_slice(b"] ");
        self.message.extend_from_slice(gap.reason.as_bytes());
        self.finish(out);
    }

    fn record(
        &mut self,
        index: u64,
        leaf: &Hash,
        entry: &[u8],
        record: &AuditRecord,
        opening: Option<&EntryOpening>,
    ) {
        self.header(of_record(record), record, record.action.label());
        self.place(index, leaf);
        for field in PARAMETERS.iter() {
            match field.get(record) {
                // An empty application means the server as a whole, so it is omitted. Other texts
                // stay.
                Some(FieldValue::Text("")) if field.kind() == FieldType::Name => {}
                Some(FieldValue::Text(value)) => self.parameter(field.name(), value),
                Some(FieldValue::Id(value)) => self.parameter(field.name(), &value.to_string()),
                Some(FieldValue::Number(value)) => {
                    self.parameter(field.name(), &value.to_string());
                }
                // Personal data and all other fields do not become parameters.
                _ => {}
            }
        }
        if let Some(opening) = opening {
            // Names in clear are a second element.
            let enterprise = self.enterprise;
            self.write(format_args!("][personal@{enterprise}"));
            for (name, value) in opening.opening.fields() {
                self.parameter(name, value.expose());
            }
        }
        self.message.extend_from_slice(b"] ");
        // This is MSG-ANY. JSON has no byte order mark (RFC 8259, section 8.1), and the leaf hash
        // is that of exactly these bytes.
        self.message.extend_from_slice(entry);
    }

    /// Writes the header and the beginning of the structured data.
    fn header(&mut self, severity: Severity, record: &AuditRecord, msgid: &str) {
        let severity = match severity {
            Severity::Error => 3,
            Severity::Warning => 4,
            Severity::Notice => 5,
            Severity::Informational => 6,
        };
        let priority = u32::from(self.facility) * 8 + severity;
        let boot = record.boot.map(|boot| boot.to_string());
        let hostname = printable(record.node.as_deref(), MAX_HOSTNAME_BYTES);
        let procid = printable(boot.as_deref(), MAX_PROCID_BYTES);
        let msgid = printable(Some(msgid), MAX_MSGID_BYTES);
        let time = timestamp(record.ts_ms);
        let enterprise = self.enterprise;
        self.write(format_args!(
            "<{priority}>1 {time} {hostname} {APP_NAME} {procid} {msgid} [livetrail@{enterprise}"
        ));
    }

    fn place(&mut self, index: u64, leaf: &Hash) {
        self.write(format_args!(" index=\"{index}\" leaf=\"{leaf}\""));
        self.parameter("origin", self.origin);
    }

    /// Writes a parameter of the structured data, and escapes its value (RFC 5424, section 6.3.3).
    fn parameter(&mut self, name: &str, value: &str) {
        self.write(format_args!(" {name}=\""));
        for byte in value.bytes() {
            if matches!(byte, b'"' | b'\\' | b']') {
                self.message.push(b'\\');
            }
            self.message.push(byte);
        }
        self.message.push(b'"');
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a vector cannot fail.
        let _ = self.message.write_fmt(text);
    }

    fn finish(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "{} ", self.message.len());
        out.extend_from_slice(&self.message);
    }
}

/// The action of an entry that is not a record. The header uses only time, node and boot.
const fn no_action() -> livetrail_record::AuditAction {
    livetrail_record::AuditAction::Heartbeat
}

/// A field of the header: printable ASCII without spaces, or `-` if it is empty.
fn printable(text: Option<&str>, most: usize) -> String {
    let text: String = text
        .unwrap_or_default()
        .chars()
        .take(most)
        .map(|c| if c.is_ascii_graphic() { c } else { '_' })
        .collect();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// The time in UTC with milliseconds; `-` if it is not known.
fn timestamp(ts_ms: u64) -> String {
    let time = i64::try_from(ts_ms).ok().filter(|ms| *ms > 0);
    let time = time.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use livetrail_record::{
        AuditAction, EntryContext, Outcome, Reason, Uuid, encode_canonical, encode_entry,
    };
    use livetrail_tlog::leaf_hash;

    use super::super::target::Transport;
    use super::*;

    fn target() -> SyslogTarget {
        SyslogTarget::parse("localhost", Transport::Tls).unwrap()
    }

    fn message(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        let leaf = leaf_hash(bytes);
        Encoder::new(&target(), "example.com/a").entry(&mut out, 7, &leaf, bytes, None);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_a_message_with_its_exact_bytes() {
        let mut record = AuditRecord::new(AuditAction::PlayDenied, "live")
            .with_ts_ms(1_764_064_800_250)
            .with_session(Uuid::from_u128(1))
            .with_boot(Uuid::from_u128(2));
        record.node = Some("édge 1".to_owned());
        record.stream = Some("a\"b]c\\d".to_owned());
        record.outcome = Some(Outcome::Denied);
        record.reason = Some(Reason::Unauthorized);
        record.seq = Some(3);
        let bytes = encode_canonical(&record).unwrap();
        let leaf = leaf_hash(&bytes);
        let json = std::str::from_utf8(&bytes).unwrap();
        let wanted = format!(
            "<108>1 2025-11-25T10:00:00.250Z _dge_1 livetrail 00000000-0000-0000-0000-000000000002 play_denied \
             [livetrail@32473 index=\"7\" leaf=\"{leaf}\" origin=\"example.com/a\" action=\"play_denied\" app=\"live\" \
             stream=\"a\\\"b\\]c\\\\d\" session=\"00000000-0000-0000-0000-000000000001\" outcome=\"denied\" reason=\"unauthorized\" seq=\"3\"] {json}"
        );
        assert_eq!(message(&bytes), format!("{} {wanted}", wanted.len()));
    }

    #[test]
    fn names_in_clear_are_an_element_of_their_own() {
        let record = AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_session(Uuid::from_u128(7))
            .with_principal("ali]ce")
            .with_peer("192.0.2.7:1");
        let made = encode_entry(&record, &EntryContext::new([9; 16])).unwrap();
        let opening = EntryOpening::new(7, made.opening.unwrap());
        let (leaf, bytes) = (leaf_hash(&made.bytes), made.bytes);
        let mut out = Vec::new();
        let target = target();
        let mut encoder = Encoder::new(&target, "example.com/a");
        encoder.entry(&mut out, 7, &leaf, &bytes, Some(&opening));
        let text = String::from_utf8(out).unwrap();
        let json = String::from_utf8(bytes).unwrap();
        let wanted =
            format!("\"][personal@32473 peer=\"192.0.2.7:1\" principal=\"ali\\]ce\"] {json}");
        assert!(text.ends_with(&wanted), "{text}");
    }

    #[test]
    fn the_document_lists_the_parameters() {
        let document = include_str!("../../../../docs/sinks/syslog.md");
        let names: Vec<String> = PARAMETERS
            .iter()
            .map(|field| format!("`{}`", field.name()))
            .collect();
        let wanted = format!(
            "| `[livetrail@32473 …]` | `index`, `leaf`, `origin`; and, if the record has them, {} |",
            names.join(", ")
        );
        assert!(
            document.lines().any(|line| line == wanted),
            "docs/sinks/syslog.md lacks\n{wanted}"
        );
    }

    #[test]
    fn an_entry_that_is_no_record_is_there_in_base64() {
        let said = message(b"no\n\xff");
        assert!(
            said.contains("<109>1 - - livetrail - - [livetrail@32473 index=\"7\""),
            "{said}"
        );
        assert!(said.ends_with(" encoding=\"base64\"] bm8K/w=="), "{said}");
    }

    #[test]
    fn a_gap_says_which_entries_are_missing() {
        let mut out = Vec::new();
        let target = target().with_names(4, 99).unwrap();
        let gap = Gap::new("example.com/a", 3..8, "pruned");
        Encoder::new(&target, "example.com/a").gap(&mut out, &gap);
        let wanted = "<36>1 - - livetrail - gap [livetrail@99 origin=\"example.com/a\" first_index=\"3\" next_index=\"8\"] pruned";
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{} {wanted}", wanted.len())
        );
    }

    #[test]
    fn a_time_that_no_calendar_has_is_not_known() {
        assert_eq!(timestamp(0), "-");
        assert_eq!(timestamp(u64::MAX), "-");
        assert_eq!(timestamp((1 << 53) - 1), "-");
        assert_eq!(timestamp(1), "1970-01-01T00:00:00.001Z");
    }
}
