//! Encodes rows in the binary format of `COPY` (PostgreSQL, `sql-copy`, "Binary Format").

use std::sync::LazyLock;

use bytes::{BufMut as _, Bytes, BytesMut};
use livetrail_record::{AuditRecord, Field, FieldType, FieldValue, parse_canonical};
use livetrail_tlog::Hash;

use super::schema::SECOND_SCHEMA_VERSION;

/// The columns before and after those of a record's fields.
const BEFORE: [&str; 3] = ["log_id", "index", "ts"];
const AFTER: [&str; 2] = ["leaf", "entry"];

/// The columns of a version of the schema.
pub(super) struct Columns {
    /// The fields that have columns.
    fields: Vec<Field>,
    /// The statement that takes rows with these columns.
    pub(super) statement: String,
    /// Their number.
    count: i16,
}

/// The columns of a database whose schema has this version.
pub(super) fn columns(version: i32) -> &'static Columns {
    static OF_SCHEMA_1: LazyLock<Columns> = LazyLock::new(|| Columns::of(1));
    static OF_SCHEMA_2: LazyLock<Columns> = LazyLock::new(|| Columns::of(2));
    if version < SECOND_SCHEMA_VERSION {
        &OF_SCHEMA_1
    } else {
        &OF_SCHEMA_2
    }
}

impl Columns {
    /// The columns for the fields of a record's schema.
    fn of(schema: u32) -> Self {
        let fields: Vec<Field> = Field::columns(schema).collect();
        let names = fields.iter().map(|field| field.name());
        let names: Vec<&str> = BEFORE.into_iter().chain(names).chain(AFTER).collect();
        let list = names.join(", ");
        Self {
            fields,
            statement: format!("COPY livetrail.records ({list}) FROM STDIN (FORMAT binary)"),
            count: i16::try_from(names.len()).unwrap_or(i16::MAX),
        }
    }
}

/// The signature, the flags and an empty header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The time from 1970 to 2000, the start of PostgreSQL's time.
const EPOCH_MS: i64 = 946_684_800_000;

pub(super) fn begin(out: &mut BytesMut) {
    out.put_slice(HEADER);
}

pub(super) fn end(out: &mut BytesMut) {
    out.put_i16(-1);
}

/// The time of a row. An entry that is not a record has 1970.
pub(super) fn ts_ms(record: Option<&AuditRecord>) -> u64 {
    record.map_or(0, |record| record.ts_ms)
}

/// Parses an entry as a record. `None` if it is not a record.
pub(super) fn parse(entry: &[u8]) -> Option<AuditRecord> {
    parse_canonical(entry).ok()
}

/// Appends one row.
pub(super) fn row(
    out: &mut BytesMut,
    columns: &Columns,
    log_id: i32,
    index: i64,
    record: Option<&AuditRecord>,
    leaf: &Hash,
    entry: &Bytes,
) {
    out.put_i16(columns.count);
    out.put_i32(4);
    out.put_i32(log_id);
    int8(out, index);
    int8(out, timestamp(ts_ms(record)));
    for field in &columns.fields {
        let value = record.and_then(|record| field.get(record));
        match value {
            Some(FieldValue::Text(value)) => text(out, value),
            Some(FieldValue::Personal(value)) => text(out, value.expose()),
            Some(FieldValue::Number(value)) => {
                int8(out, i64::try_from(value).unwrap_or(i64::MAX));
            }
            Some(FieldValue::Id(value)) => bytea(out, value.as_bytes()),
            Some(FieldValue::Nonce(value)) => bytea(out, value),
            Some(FieldValue::Digest(value)) => bytea(out, &value),
            Some(FieldValue::Flag(value)) => flag(out, value),
            // A flag is never null.
            None if field.kind() == FieldType::Flag => flag(out, false),
            _ => null(out),
        }
    }
    bytea(out, leaf.as_bytes());
    bytea(out, entry);
}

/// Converts to microseconds since 2000. A record's times are below 2^53 ms, so the result fits.
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

fn flag(out: &mut BytesMut, value: bool) {
    out.put_i32(1);
    out.put_u8(u8::from(value));
}

/// PostgreSQL's text cannot have a NUL, so this replaces it. The column `entry` keeps the exact
/// bytes.
fn text(out: &mut BytesMut, value: &str) {
    if value.contains('\0') {
        bytea(out, value.replace('\0', "\u{fffd}").as_bytes());
    } else {
        bytea(out, value.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and types of columns.
    type Pairs = Vec<(&'static str, &'static str)>;

    /// The columns of `livetrail.records` in the schema's versions.
    fn in_schema() -> (Pairs, Pairs) {
        let (_, table) = include_str!("sql/001.sql")
            .split_once("CREATE TABLE livetrail.records (\n")
            .unwrap();
        let (_, added) = include_str!("sql/003.sql")
            .split_once("ALTER TABLE livetrail.records\n")
            .unwrap();
        let typed = |line: &'static str| {
            let line = line.trim().trim_end_matches([',', ';']);
            let line = line.strip_prefix("ADD COLUMN ").unwrap_or(line);
            let (name, kind) = line.split_once(' ')?;
            Some((name, kind.trim().trim_end_matches(" NOT NULL")))
        };
        let first = table
            .lines()
            .take_while(|line| !line.contains("PRIMARY KEY"));
        (
            first.filter_map(typed).collect(),
            added.lines().filter_map(typed).collect(),
        )
    }

    #[test]
    fn the_columns_are_those_of_the_schema_in_its_order() {
        let (first, added) = in_schema();
        let fields = first.len() - AFTER.len();
        let mut wanted = first[BEFORE.len()..fields].to_vec();
        let kind_of = |field: &Field| match field.kind() {
            FieldType::Number => "bigint",
            FieldType::Flag => "boolean",
            FieldType::Id => "uuid",
            FieldType::Digest => "bytea",
            _ => "text",
        };
        let typed = |columns: &Columns| {
            let fields = columns.fields.iter();
            fields
                .map(|field| (field.name(), kind_of(field)))
                .collect::<Vec<_>>()
        };
        assert_eq!(typed(columns(1)), wanted);
        assert_eq!(typed(columns(2)), wanted);
        wanted.extend(added);
        assert_eq!(typed(columns(3)), wanted);
        let list: Vec<&str> = first.iter().map(|(name, _)| *name).collect();
        let list = list.join(", ");
        assert!(columns(1).statement.contains(&list), "{list}");
    }

    #[test]
    fn a_row_has_a_value_for_each_column_whether_or_not_the_entry_is_a_record() {
        let leaf = Hash::new([7; 32]);
        let record = AuditRecord::new(livetrail_record::AuditAction::Heartbeat, "");
        for (version, record) in [(1, Some(&record)), (3, Some(&record)), (1, None), (3, None)] {
            let columns = columns(version);
            let mut out = BytesMut::new();
            let entry = Bytes::from_static(b"entry");
            row(&mut out, columns, 1, 2, record, &leaf, &entry);
            let mut rest: &[u8] = &out[2..];
            assert_eq!(out[..2], columns.count.to_be_bytes());
            let mut values = 0;
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let length = i32::from_be_bytes(*length).max(0);
                rest = &after[usize::try_from(length).unwrap()..];
                values += 1;
            }
            assert_eq!((values, rest.len()), (columns.count, 0));
        }
    }
}
