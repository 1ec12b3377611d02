//! Rows in the binary format of `COPY` (PostgreSQL, `sql-copy`, "Binary Format").

use bytes::{BufMut as _, Bytes, BytesMut};
use livetrail_record::{AuditRecord, Personal, Uuid, parse_canonical};
use livetrail_tlog::Hash;

pub(super) const STATEMENT: &str = "COPY livetrail.records (log_id, index, ts, action, label, app, stream, session, outcome, \
    reason, protocol, principal, peer, user_agent, duration_ms, bytes, frames, dropped_frames, inferred, count, first_seq, last_seq, detail, \
    node, boot, seq, mono_ms, leaf, entry) FROM STDIN (FORMAT binary)";

const COLUMNS: i16 = 29;

/// Signature, flags, no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// From 1970 to 2000, where PostgreSQL's time begins.
const EPOCH_MS: i64 = 946_684_800_000;

pub(super) fn begin(out: &mut BytesMut) {
    out.put_slice(HEADER);
}

pub(super) fn end(out: &mut BytesMut) {
    out.put_i16(-1);
}

/// The time of a row; what is no record is of 1970.
pub(super) fn ts_ms(record: Option<&AuditRecord>) -> u64 {
    record.map_or(0, |record| record.ts_ms)
}

/// An entry as a record, if it is one.
pub(super) fn parse(entry: &[u8]) -> Option<AuditRecord> {
    parse_canonical(entry).ok()
}

/// One row.
pub(super) fn row(
    out: &mut BytesMut,
    log_id: i32,
    index: i64,
    record: Option<&AuditRecord>,
    leaf: &Hash,
    entry: &Bytes,
) {
    out.put_i16(COLUMNS);
    out.put_i32(4);
    out.put_i32(log_id);
    int8(out, index);
    int8(out, timestamp(ts_ms(record)));
    let field = |get: fn(&AuditRecord) -> Option<&str>| record.and_then(get);
    let number = |get: fn(&AuditRecord) -> Option<u64>| record.and_then(get);
    let id = |get: fn(&AuditRecord) -> Option<Uuid>| record.and_then(get);
    text(out, field(|record| Some(record.action.label())));
    text(out, field(label));
    text(out, field(|record| Some(&record.app)));
    text(out, field(|record| record.stream.as_deref()));
    uuid(out, id(|record| record.session));
    text(
        out,
        record
            .and_then(|record| record.outcome.as_ref())
            .map(|outcome| outcome.label()),
    );
    text(
        out,
        record
            .and_then(|record| record.reason.as_ref())
            .map(|reason| reason.label()),
    );
    text(out, field(|record| record.protocol.as_deref()));
    text(out, field(|record| personal(record.principal.as_ref())));
    text(out, field(|record| personal(record.peer.as_ref())));
    text(out, field(|record| personal(record.user_agent.as_ref())));
    count(out, number(|record| record.duration_ms));
    count(out, number(|record| record.bytes));
    count(out, number(|record| record.frames));
    count(out, number(|record| record.dropped_frames));
    out.put_i32(1);
    out.put_u8(u8::from(record.is_some_and(|record| record.inferred)));
    count(out, number(|record| record.count));
    count(out, number(|record| record.first_seq));
    count(out, number(|record| record.last_seq));
    text(out, field(|record| personal(record.detail.as_ref())));
    text(out, field(|record| record.node.as_deref()));
    uuid(out, id(|record| record.boot));
    count(out, number(|record| record.seq));
    count(out, number(|record| record.mono_ms));
    bytea(out, leaf.as_bytes());
    bytea(out, entry);
}

fn label(record: &AuditRecord) -> Option<&str> {
    match &record.action {
        livetrail_record::AuditAction::Event(label) => Some(label),
        _ => None,
    }
}

fn personal(text: Option<&Personal>) -> Option<&str> {
    text.map(Personal::expose)
}

/// Microseconds since 2000. A record's times are below 2^53 ms, which fits.
fn timestamp(ts_ms: u64) -> i64 {
    i64::try_from(ts_ms)
        .unwrap_or(i64::MAX)
        .saturating_sub(EPOCH_MS)
        .saturating_mul(1_000)
}

fn int8(out: &mut BytesMut, value: i64) {
    out.put_i32(8);
    out.put_i64(value);
}

fn count(out: &mut BytesMut, value: Option<u64>) {
    match value {
        Some(value) => int8(out, i64::try_from(value).unwrap_or(i64::MAX)),
        None => null(out),
    }
}

fn uuid(out: &mut BytesMut, value: Option<Uuid>) {
    match value {
        Some(value) => bytea(out, value.as_bytes()),
        None => null(out),
    }
}

/// PostgreSQL's text has no NUL; the entry has it as it came.
fn text(out: &mut BytesMut, value: Option<&str>) {
    match value {
        None => null(out),
        Some(value) if value.contains('\0') => {
            bytea(out, value.replace('\0', "\u{fffd}").as_bytes());
        }
        Some(value) => bytea(out, value.as_bytes()),
    }
}

/// A field is shorter than an entry, so its length fits.
fn bytea(out: &mut BytesMut, value: &[u8]) {
    match i32::try_from(value.len()) {
        Ok(length) => {
            out.put_i32(length);
            out.put_slice(value);
        }
        Err(_) => null(out),
    }
}

fn null(out: &mut BytesMut) {
    out.put_i32(-1);
}
