//! Entries as log records of OpenTelemetry.

use std::sync::LazyLock;

use livetrail_record::{AuditRecord, Field, FieldType, FieldValue, Severity, parse_canonical};
use livetrail_replica::{EntryOpening, Gap};
use livetrail_tlog::Hash;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::severity::of_record;

/// The maximum number of records in a request.
pub const MAX_REQUEST_ENTRIES: usize = 2_048;

/// A request ends with the entry that brings its entries to this many bytes.
pub(super) const MAX_REQUEST_BYTES: usize = 1 << 20;

/// The fields that become attributes.
static ATTRIBUTES: LazyLock<Vec<Field>> = LazyLock::new(|| Field::attributes().collect());

/// The event name for entries that were pruned before the sink received them.
const GAP: &str = "gap";

/// A request with these records of one log.
pub(super) fn request(
    service_name: &str,
    origin: &str,
    log_records: Vec<LogRecord>,
) -> ExportLogsServiceRequest {
    let resource = Resource {
        attributes: vec![
            text("service.name", service_name),
            text("livetrail.origin", origin),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "livetrail".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_logs = ScopeLogs {
        scope: Some(scope),
        log_records,
        ..ScopeLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![scope_logs],
            ..ResourceLogs::default()
        }],
    }
}

/// The log record for an entry.
pub(super) fn entry(
    index: u64,
    leaf: &Hash,
    entry: &[u8],
    opening: Option<&EntryOpening>,
) -> LogRecord {
    let mut attributes = vec![
        number("livetrail.index", index),
        text("livetrail.leaf", &leaf.to_string()),
    ];
    // Canonical bytes are UTF-8.
    let known = parse_canonical(entry)
        .ok()
        .zip(std::str::from_utf8(entry).ok());
    let Some((record, exact)) = known else {
        return LogRecord {
            body: Some(value(Value::BytesValue(entry.to_vec()))),
            attributes,
            ..of_severity(Severity::Notice)
        };
    };
    add_fields(&mut attributes, &record);
    for (name, value) in opening.iter().flat_map(|one| one.opening.fields()) {
        attributes.push(text(&format!("livetrail.personal.{name}"), value.expose()));
    }
    let time_unix_nano = record.ts_ms.saturating_mul(1_000_000);
    LogRecord {
        time_unix_nano,
        // The time of the record: the trail does not measure when it received it.
        observed_time_unix_nano: time_unix_nano,
        event_name: record.action.label().to_owned(),
        body: Some(value(Value::StringValue(exact.to_owned()))),
        attributes,
        ..of_severity(of_record(&record))
    }
}

/// The log record for missing entries.
pub(super) fn gap(gap: &Gap) -> LogRecord {
    LogRecord {
        event_name: GAP.to_owned(),
        body: Some(value(Value::StringValue(gap.reason.clone()))),
        attributes: vec![
            number("livetrail.first_index", gap.missing.start),
            number("livetrail.next_index", gap.missing.end),
        ],
        ..of_severity(Severity::Warning)
    }
}

fn add_fields(attributes: &mut Vec<KeyValue>, record: &AuditRecord) {
    for field in ATTRIBUTES.iter() {
        let name = || format!("livetrail.{}", field.name());
        attributes.extend(match field.get(record) {
            // An empty application means the server as a whole, so it is omitted. Other texts stay.
            Some(FieldValue::Text("")) if field.kind() == FieldType::Name => None,
            Some(FieldValue::Text(value)) => Some(text(&name(), value)),
            Some(FieldValue::Id(value)) => Some(text(&name(), &value.to_string())),
            Some(FieldValue::Number(value)) => Some(number(&name(), value)),
            // Personal data and all other fields do not become attributes.
            _ => None,
        });
    }
}

fn of_severity(severity: Severity) -> LogRecord {
    let (number, text) = match severity {
        Severity::Error => (SeverityNumber::Error, "error"),
        Severity::Warning => (SeverityNumber::Warn, "warning"),
        // The specification maps syslog's severities in this way.
        Severity::Notice => (SeverityNumber::Info2, "notice"),
        Severity::Informational => (SeverityNumber::Info, "info"),
    };
    LogRecord {
        severity_number: number.into(),
        severity_text: text.to_owned(),
        ..LogRecord::default()
    }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

fn number(key: &str, number: u64) -> KeyValue {
    attribute(
        key,
        Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)),
    )
}

fn attribute(key: &str, of: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(value(of)),
        ..KeyValue::default()
    }
}

const fn value(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

#[cfg(test)]
mod tests {
    use livetrail_record::{AuditAction, EntryContext, Uuid, encode_canonical, encode_entry};
    use livetrail_tlog::leaf_hash;

    use super::*;

    fn of(bytes: &[u8]) -> LogRecord {
        entry(7, &leaf_hash(bytes), bytes, None)
    }

    #[test]
    fn a_records_body_is_its_exact_bytes() {
        let record =
            AuditRecord::new(AuditAction::PlayDenied, "live").with_ts_ms(1_764_064_800_250);
        let bytes = encode_canonical(&record).unwrap();
        let sent = of(&bytes);
        assert_eq!(sent.time_unix_nano, 1_764_064_800_250_000_000);
        assert_eq!(
            (sent.severity_number, sent.event_name.as_str()),
            (13, "play_denied")
        );
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(sent.body, Some(value(Value::StringValue(text))));
        assert!(sent.attributes.contains(&number("livetrail.index", 7)));
        assert!(sent.attributes.contains(&text_of_leaf(&bytes)));
    }

    #[test]
    fn names_in_clear_are_attributes_of_their_own() {
        let record = AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_session(Uuid::from_u128(7))
            .with_principal("alice");
        let made = encode_entry(&record, &EntryContext::new([9; 16])).unwrap();
        let opening = EntryOpening::new(7, made.opening.unwrap());
        let sent = entry(7, &leaf_hash(&made.bytes), &made.bytes, Some(&opening));
        let name = text("livetrail.personal.principal", "alice");
        assert!(sent.attributes.contains(&name), "{:?}", sent.attributes);
        let exact = String::from_utf8(made.bytes).unwrap();
        assert_eq!(sent.body, Some(value(Value::StringValue(exact))));
    }

    #[test]
    fn the_document_lists_the_attributes() {
        let document = include_str!("../../../../docs/sinks/otlp.md");
        let names: Vec<String> = ATTRIBUTES
            .iter()
            .map(|field| format!("`{}`", field.name()))
            .collect();
        let names = names.join(", ").replace("`action`", "`livetrail.action`");
        let wanted = format!(
            "| attributes | `livetrail.index`, `livetrail.leaf`; and, if the record has them, {names} |"
        );
        assert!(
            document.lines().any(|line| line == wanted),
            "docs/sinks/otlp.md lacks\n{wanted}"
        );
    }

    fn text_of_leaf(bytes: &[u8]) -> KeyValue {
        text("livetrail.leaf", &leaf_hash(bytes).to_string())
    }

    #[test]
    fn an_entry_that_is_no_record_is_bytes() {
        let sent = of(b"no\n\xff");
        assert_eq!(
            sent.body,
            Some(value(Value::BytesValue(b"no\n\xff".to_vec())))
        );
        assert_eq!(sent.event_name, "");
    }
}
