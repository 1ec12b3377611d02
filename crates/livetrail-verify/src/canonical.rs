//! A fast reader for entries that are certainly a record's canonical bytes, limited to the needs of
//! the checks.
//!
//! [`RecordView`] recognises a plain entry in one pass without building anything; only the fields
//! that the checks need are kept. Other entries go to [`parse_canonical`]; a test compares the two.

use livetrail_record::{
    AuditAction, AuditRecord, Outcome, Reason, RecordError, RecordView, parse_canonical,
};

/// The record in an entry, as far as the checks need it: without protocol, personal data, totals
/// and nonce, and with `detail` only in a record of loss.
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
    use livetrail_record::{MAX_INTEGER, Uuid, encode_canonical};

    /// A record without the fields that are not kept.
    fn stripped(mut record: AuditRecord) -> AuditRecord {
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
    fn all_that_the_checks_look_at_is_there() {
        let mut loss = full();
        loss.detail_cut = true;
        loss.action = AuditAction::RecordsDropped;
        let mut event = full();
        event.action = AuditAction::Event("moved".into());
        for record in [full(), loss, event] {
            let bytes = encode_canonical(&record).unwrap();
            assert_eq!(read_entry(&bytes), Ok(stripped(record)));
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
