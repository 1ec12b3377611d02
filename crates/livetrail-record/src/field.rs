//! Fields by their name, at run time: names, types, order, and the value in a record.
//!
//! The rows are those of `fields.rs` and of `later.rs`.

use uuid::Uuid;

use crate::extra::Value;
use crate::fields::{AuditRecord, NAMES, Name, TABLE, own_value};
use crate::later;
use crate::personal::Personal;

/// How a field is stored and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldType {
    /// The action's label.
    Action,
    /// The free-form label of an `event`, part of the action.
    Label,
    /// Text that is never absent.
    Name,
    /// Text.
    Text,
    /// Text that is personal data.
    Personal,
    /// The label of an outcome.
    Outcome,
    /// The label of a reason.
    Reason,
    /// An integer below 2^53.
    Number,
    /// A time that is never absent: an integer below 2^53.
    Time,
    /// A version number that is never absent.
    Version,
    /// `true`, or absent.
    Flag,
    /// A UUID.
    Id,
    /// 16 bytes in base64.
    Nonce,
    /// Text that is in [`extra`](AuditRecord::extra).
    Word,
    /// 32 bytes in base64, in [`extra`](AuditRecord::extra).
    Digest,
    /// Bytes in base64, in [`extra`](AuditRecord::extra).
    Bytes,
    /// A list, in [`extra`](AuditRecord::extra).
    List,
}

impl FieldType {
    /// Its name in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Action | Self::Outcome | Self::Reason => "label",
            Self::Label | Self::Name | Self::Text | Self::Word => "text",
            Self::Personal => "text, personal data",
            Self::Number | Self::Time | Self::Version => "integer",
            Self::Flag => "`true`",
            Self::Id => "UUID",
            Self::Nonce | Self::Bytes => "base64",
            Self::Digest => "32 bytes in base64",
            Self::List => "list",
        }
    }
}

/// The class of a field: the kind of fact, and its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldClass {
    /// A field with which every record begins.
    Head,
    /// A fact about what happened.
    Fact,
    /// A fact about a person: [redaction](AuditRecord::redacted) replaces it.
    Personal,
    /// The writer of the record. The pipeline sets it.
    Origin,
}

/// The value of a field in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldValue<'a> {
    /// A text or a label.
    Text(&'a str),
    /// A text that is personal data.
    Personal(&'a Personal),
    /// An integer.
    Number(u64),
    /// Whether the flag is set.
    Flag(bool),
    /// A UUID.
    Id(Uuid),
    /// 16 bytes.
    Nonce(&'a [u8; 16]),
    /// 32 bytes.
    Digest([u8; 32]),
    /// A list.
    Json(&'a Value),
}

/// A field of a record, with the facts of the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Field(u8);

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// `None` if the field has no place of its own in a record, and is in its `extra`.
    pub(crate) own: Option<Name>,
    pub(crate) kind: FieldType,
    pub(crate) class: FieldClass,
    pub(crate) order: u16,
    pub(crate) has_column: bool,
    pub(crate) attribute: u16,
    pub(crate) description: &'static str,
}

const COUNT: usize = TABLE.len() + later::ROWS.len();

/// The rows of both tables, in canonical order.
const ROWS: [Row; COUNT] = rows();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a constant: it would not compile"
)]
const fn rows() -> [Row; COUNT] {
    let mut sorted = [TABLE[0]; COUNT];
    let mut filled = 0;
    while filled < COUNT {
        let mut row = if filled < TABLE.len() {
            TABLE[filled]
        } else {
            later::ROWS[filled - TABLE.len()]
        };
        // The later fields are between the last fact and the first origin.
        row.order = match row.own {
            Some(_) => row.order * PLACES,
            None => FIRST_ORIGIN * PLACES - PLACES + (filled - TABLE.len()) as u16,
        };
        let mut at = filled;
        while at > 0 && is_before(row.name, sorted[at - 1].name) {
            sorted[at] = sorted[at - 1];
            at -= 1;
        }
        sorted[at] = row;
        filled += 1;
    }
    sorted
}

/// The order of the first field that the pipeline adds.
const FIRST_ORIGIN: u16 = 280;

/// How many later fields fit between two places of the table.
const PLACES: u16 = 100;

const _: () = assert!(later::ROWS.len() < PLACES as usize);

/// Compares names, which are ASCII.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "for constants alone: it would not compile"
)]
const fn is_before(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() {
        if a[at] != b[at] {
            return a[at] < b[at];
        }
        at += 1;
    }
    a.len() < b.len()
}

/// Whether a record has a place of its own for `name`, so that it cannot be an [`Extra`] field.
pub(crate) fn is_known_field(name: &str) -> bool {
    let row = NAMES.binary_search(&name).ok().and_then(|at| TABLE.get(at));
    row.is_some_and(|row| !is_in_extra(row.kind))
}

/// Whether a record keeps fields of this type in its `extra`, wherever their row is.
const fn is_in_extra(kind: FieldType) -> bool {
    matches!(
        kind,
        FieldType::Word | FieldType::Digest | FieldType::Bytes | FieldType::List
    )
}

impl Field {
    /// Every field, in canonical order.
    pub const ALL: &'static [Self] = &all();

    #[expect(clippy::indexing_slicing, reason = "there is a row for each field")]
    const fn row(self) -> &'static Row {
        &ROWS[self.0 as usize]
    }

    /// The field with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let at = ROWS.binary_search_by(|row| row.name.cmp(name)).ok()?;
        Some(Self(u8::try_from(at).ok()?))
    }

    /// Its value in a record. A flag of schema 1 is never absent. The label of a free-form event is
    /// never absent, even if it is empty.
    #[inline]
    #[must_use]
    pub fn get(self, record: &AuditRecord) -> Option<FieldValue<'_>> {
        match self.row().own {
            Some(own) => own_value(own, record),
            None => later::value(&record.extra, self.row()),
        }
    }

    /// Every field in reading order, which is the order of a line's words and of a table's columns.
    pub fn in_reading_order() -> impl Iterator<Item = Self> {
        let mut fields: Vec<Self> = Self::ALL.to_vec();
        fields.sort_by_key(|field| field.row().order);
        fields.into_iter()
    }

    /// The fields of schemas up to this one that have a column in PostgreSQL, in the columns'
    /// order: those of an older schema come first. The time is not among them, because its column
    /// has its own type.
    pub fn columns(schema: u32) -> impl Iterator<Item = Self> {
        let mut fields: Vec<Self> = Self::in_reading_order().collect();
        fields.retain(|field| field.row().has_column && field.since() <= schema);
        fields.sort_by_key(|field| field.since());
        fields.into_iter()
    }

    /// The first schema that has the field.
    #[must_use]
    pub const fn since(self) -> u32 {
        match self.row().own {
            Some(_) if !is_in_extra(self.row().kind) => 1,
            _ => later::SINCE,
        }
    }

    /// Whether an entry of this schema can have the field. From schema 2 on an entry has a
    /// commitment in place of personal fields. Only `detail` stays in the records of the pipeline
    /// and of operators.
    #[must_use]
    pub fn is_in_entry(self, schema: u32) -> bool {
        let is_committed = self.kind() == FieldType::Personal && self.name() != "detail";
        self.since() <= schema && (schema < later::SINCE || !is_committed)
    }

    /// Whether [`RecordView`](crate::RecordView) has the field. An entry with any other field is
    /// not plain.
    #[must_use]
    pub const fn is_in_view(self) -> bool {
        self.row().own.is_some()
    }

    /// The fields that are attributes in OTLP and syslog, in their order.
    pub fn attributes() -> impl Iterator<Item = Self> {
        let mut fields: Vec<Self> = Self::ALL.to_vec();
        fields.retain(|field| field.row().attribute > 0);
        fields.sort_by_key(|field| field.row().attribute);
        fields.into_iter()
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// How it is stored and written.
    #[must_use]
    pub const fn kind(self) -> FieldType {
        self.row().kind
    }

    /// Its class.
    #[must_use]
    pub const fn class(self) -> FieldClass {
        self.row().class
    }

    /// Its meaning, in Markdown.
    #[must_use]
    pub const fn description(self) -> &'static str {
        self.row().description
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a constant: it would not compile"
)]
const fn all() -> [Field; COUNT] {
    let mut all = [Field(0); COUNT];
    let mut at = 0;
    while at < COUNT {
        all[at] = Field(at as u8);
        at += 1;
    }
    all
}

const _: () = assert!(COUNT <= 256);

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::AuditAction;
    use crate::error::RecordError;

    #[test]
    fn the_table_is_in_canonical_order_and_its_places_are_different() {
        assert!(NAMES.is_sorted(), "a reader finds fields by binary search");
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "no name is there twice");
        let orders: std::collections::BTreeSet<u16> = ROWS.iter().map(|row| row.order).collect();
        assert_eq!(orders.len(), ROWS.len());
        let attributes: Vec<u16> = ROWS.iter().map(|row| row.attribute).collect();
        let used = attributes.iter().filter(|at| **at > 0);
        let different: std::collections::BTreeSet<&u16> = used.clone().collect();
        assert_eq!(different.len(), used.count());
        for (name, field) in names.iter().zip(Field::ALL) {
            assert_eq!(*name, field.name());
            assert_eq!(Field::named(name), Some(*field));
        }
        assert_eq!(Field::named("region"), None);
    }

    #[test]
    fn an_entry_of_schema_2_has_no_personal_field_but_the_commitment() {
        let of = |schema| {
            let fields = Field::ALL
                .iter()
                .filter(move |field| field.is_in_entry(schema));
            fields.map(|field| field.name()).collect::<Vec<_>>()
        };
        let (first, second) = (of(1), of(2));
        assert_eq!((first.len(), second.len()), (35, 35 - 3 + 52));
        for gone in ["peer", "principal", "user_agent"] {
            assert!(first.contains(&gone) && !second.contains(&gone), "{gone}");
        }
        assert!(second.contains(&"personal") && !first.contains(&"personal"));
    }

    #[test]
    fn a_field_of_schema_2_has_its_type_wherever_it_is_set() {
        let record = AuditRecord::new(AuditAction::Heartbeat, "");
        let record = record.with_extra("resumed", Value::Bool(true)).unwrap();
        let record = record.with_extra("tsa", Value::Text("a".into())).unwrap();
        let of = |name| Field::named(name).unwrap();
        assert_eq!(of("resumed").get(&record), Some(FieldValue::Flag(true)));
        assert_eq!(of("tsa").get(&record), Some(FieldValue::Text("a")));
        assert_eq!(of("via").get(&record), None);
        let bad = record.with_extra("media", Value::Text("AAAA".into()));
        let expected = "32 bytes in base64";
        let field = "media".to_owned();
        assert_eq!(bad, Err(RecordError::BadField { field, expected }));
    }

    #[test]
    fn personal_data_is_of_a_type_that_marks_it() {
        for field in Field::ALL {
            let is_marked = field.kind() == FieldType::Personal;
            assert_eq!(
                is_marked,
                field.class() == FieldClass::Personal,
                "{field:?}"
            );
            let is_attribute = Field::attributes().any(|attribute| attribute == *field);
            assert!(
                !(is_marked && is_attribute),
                "{field:?} would leave the trail's own stores"
            );
        }
    }

    #[test]
    fn a_line_ends_with_what_the_pipeline_adds() {
        let classes: Vec<FieldClass> = Field::in_reading_order().map(Field::class).collect();
        let runs = classes.chunk_by(|a, b| (*a == FieldClass::Head) == (*b == FieldClass::Head));
        assert_eq!(runs.count(), 2, "heads come first");
        let runs =
            classes.chunk_by(|a, b| (*a == FieldClass::Origin) == (*b == FieldClass::Origin));
        assert_eq!(runs.count(), 2, "origins come last");
    }
}
