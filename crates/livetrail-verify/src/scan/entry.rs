//! A fast reader for entries that are certainly a record's canonical bytes, limited to the needs of
//! the checks.
//!
//! [`RecordView`] recognises a plain entry in one pass without building anything; only the fields
//! that the checks need are kept. Other entries go to [`parse_canonical`]; a test compares the two.

use livetrail_record::{
    AuditAction, AuditRecord, Outcome, Reason, RecordError, RecordView, parse_canonical,
};

/// The record in an entry, as far as the checks need it: without protocol, personal data,
/// totals and nonce, and with `detail` only in a record of loss.
///
/// This list of fields is the verifier's own, on purpose: what it needs is decided here, not where
/// the writer gets a new field. A test fails until a new field is on one of the two lists.
///
/// # Errors
/// Those of [`parse_canonical`].
pub(crate) fn read_entry(entry: &[u8]) -> Result<AuditRecord, RecordError> {
    match RecordView::parse(entry) {
        Some(view) => Ok(needed(&view)),
        None => parse_canonical(entry),
    }
}

fn needed(view: &RecordView<'_>) -> AuditRecord {
    let mut record = AuditRecord::new(view.action(), view.app);
    record.v = view.v;
    record.ts_ms = view.ts_ms;
    record.stream = view.stream.map(str::to_owned);
    record.session = view.session;
    record.outcome = view.outcome.map(Outcome::from_label);
    record.reason = view.reason.map(Reason::from_label);
    record.inferred = view.inferred;
    record.count = view.count;
    record.first_seq = view.first_seq;
    record.last_seq = view.last_seq;
    record.first_ts_ms = view.first_ts_ms;
    record.last_ts_ms = view.last_ts_ms;
    record.distinct = view.distinct;
    record.refused_before = view.refused_before;
    record.detail_cut = view.detail_cut;
    record.node = view.node.map(str::to_owned);
    record.boot = view.boot;
    record.seq = view.seq;
    record.mono_ms = view.mono_ms;
    if record.action == AuditAction::RecordsDropped {
        record.detail = view.detail.map(Into::into);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use livetrail_record::{Field, FieldType};

    /// The fields that the checks do not look at. `detail` is needed in a record of loss.
    const NOT_NEEDED: [&str; 13] = [
        "by",
        "bytes",
        "clock_error_us",
        "clock_synced",
        "detail",
        "dropped_frames",
        "duration_ms",
        "frames",
        "nonce",
        "peer",
        "principal",
        "protocol",
        "user_agent",
    ];

    /// An entry of this action with a value in every field that the table has.
    fn full(action: &str) -> Vec<u8> {
        let members = Field::ALL.iter().filter_map(|field| {
            let value = match field.kind() {
                FieldType::Action => format!("\"{action}\""),
                FieldType::Label if action != "event" => return None,
                FieldType::Number | FieldType::Time | FieldType::Version => "1".to_owned(),
                FieldType::Flag => "true".to_owned(),
                FieldType::Id => "\"01990000-0000-7000-8000-000000abcdef\"".to_owned(),
                FieldType::Nonce => "\"AAAAAAAAAAAAAAAAAAAAAA==\"".to_owned(),
                _ => format!("\"{}\"", field.name()),
            };
            Some(format!("\"{}\":{value}", field.name()))
        });
        let members: Vec<String> = members.collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    }

    #[test]
    fn each_field_of_the_table_is_needed_or_on_the_list_of_those_that_are_not() {
        for action in ["event", "records_dropped", "play_denied"] {
            let entry = full(action);
            let whole = parse_canonical(&entry).unwrap();
            let kept = read_entry(&entry).unwrap();
            let empty = AuditRecord::new(AuditAction::Heartbeat, "");
            for field in Field::ALL {
                let is_needed = !NOT_NEEDED.contains(&field.name())
                    || (field.name() == "detail" && action == "records_dropped");
                let expected = field.get(if is_needed { &whole } else { &empty });
                assert_eq!(
                    field.get(&kept),
                    expected,
                    "{action}: does a check need {field:?}? Then `needed` must keep it; else it \
                     belongs on NOT_NEEDED"
                );
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_read_as_well_and_what_is_no_record_is_refused() {
        for entry in [
            br#"{"action":"a\"b","app":"a","ts_ms":1,"v":1}"#.as_slice(),
            br#"{"action":"heartbeat","app":"","later":true,"ts_ms":1,"v":2}"#,
        ] {
            assert_eq!(read_entry(entry), parse_canonical(entry));
            assert!(read_entry(entry).is_ok());
        }
        assert!(read_entry(br#"{"app":"a","action":"heartbeat","ts_ms":1,"v":1}"#).is_err());
    }
}
