//! The table of a record's fields. Everything that depends on the fields is made from it.
//!
//! | made from the table | where |
//! |---|---|
//! | [`AuditRecord`] and functions over all its fields | here |
//! | [`Field`](crate::Field): names, types, order, values | `field.rs` |
//! | the canonical writer and reader | `canonical.rs` |
//! | [`RecordView`](crate::RecordView) | `view.rs` |
//! | both directions of the file line | `line.rs` |
//! | columns, attributes and tables of sinks and documents | by [`Field::ALL`](crate::Field::ALL) at run time |
//!
//! The table here has the fields of schema 1. `later.rs` has those of schema 2, which a record
//! keeps in [`extra`](AuditRecord::extra).
//!
//! A field's type decides how it is stored, written and read. Each of these places has one macro
//! with an arm for each type, and [`with_fields!`] hands the table to it.

use uuid::Uuid;

use crate::action::AuditAction;
use crate::canonical::MAX_INTEGER;
use crate::error::RecordError;
use crate::extra::Extra;
use crate::field::{FieldClass, FieldType, FieldValue, Row};
use crate::later;
use crate::personal::Personal;
use crate::reason::{Outcome, Reason};

/// The version of the record's schema that this crate writes.
pub const SCHEMA: u32 = 1;

/// Hands the table to a macro.
///
/// The rows are in canonical order, which is that of the names. The columns:
///
/// - the name, and the setter if there is one; `@` marks a part of another field, or one that is in
///   `extra` and that [`RecordView`](crate::RecordView) reads nevertheless
/// - the type, one of [`FieldType`]'s
/// - the class, one of [`FieldClass`]'s
/// - the place in reading order: of a line's words, and of a table's columns
/// - whether PostgreSQL has a column for it
/// - the place among the attributes of OTLP and syslog, 0 for none
/// - the meaning
macro_rules! with_fields {
    ($then:ident $($argument:ident)?) => {
        $then! {
            $($argument)?;
            action:                               Action   Head      20 sql  10
                "What happened.";
            app:                                  Name     Head      40 sql  20
                "The application (RTMP's word); empty for what concerns the server as a whole.";
            boot/with_boot:                       Id       Origin   290 sql  80
                "This process start, a UUIDv7.";
            by/with_by:                           Text     Fact     271 no    0
                "Who did it: the configured name of the API token or key. It is in clear, and names \
                 no person unless the operator named it so.";
            bytes/with_bytes:                     Number   Fact     150 sql 110
                "Payload bytes of the session, at its end.";
            clock_error_us/with_clock_error_us:   Number   Fact     273 no    0
                "The most that the wall clock may be wrong, in microseconds, as the kernel says. \
                 Absent where the kernel says nothing.";
            clock_synced:                         Flag     Fact     272 no    0
                "The kernel says that the wall clock is synchronised. Absent with `clock_error_us`: \
                 it is not.";
            count/with_count:                     Number   Fact     190 sql 140
                "How many facts the record stands for.";
            detail/with_detail:                   Personal Personal 220 sql   0
                "Free text.";
            detail_cut:                           Flag     Fact     230 no    0
                "`detail` was cut to fit an entry.";
            distinct/with_distinct:               Number   Fact     240 no    0
                "How many different names those facts had: exact up to 32, then an estimate with a \
                 standard error of 7 %.";
            dropped_frames/with_dropped_frames:   Number   Fact     170 sql 130
                "Frames that the session did not get, at its end.";
            duration_ms/with_duration_ms:         Number   Fact     140 sql 100
                "How long the session lasted, in milliseconds, at its end.";
            first_seq/with_first_seq:             Number   Fact     200 sql   0
                "The first `seq` that the record stands for.";
            first_ts_ms/with_first_ts_ms:         Number   Fact     250 no    0
                "When the first of the facts happened that the record stands for, in milliseconds \
                 since 1970 UTC.";
            frames/with_frames:                   Number   Fact     160 sql 120
                "Frames of the session, at its end.";
            inferred:                             Flag     Fact     180 sql   0
                "The record says what must have happened; nobody saw it.";
            @label:                               Label    Head      30 sql   0
                "The label of a free-form event.";
            last_seq/with_last_seq:               Number   Fact     210 sql   0
                "The last `seq` that the record stands for.";
            last_ts_ms/with_last_ts_ms:           Number   Fact     260 no    0
                "When the last of those facts happened.";
            mono_ms/with_mono_ms:                 Number   Origin   310 sql   0
                "Milliseconds since the boot that no change of the clock touches.";
            node/with_node:                       Text     Origin   280 sql  70
                "The server's configured name.";
            nonce/with_nonce:                     Nonce    Origin   320 no    0
                "16 random bytes, so that a leaf hash cannot be guessed from the record's content.";
            outcome/with_outcome:                 Outcome  Fact      80 sql  50
                "How it came out: `success`, `denied` or `failed`.";
            peer/with_peer:                       Personal Personal 120 sql   0
                "From where: address and port.";
            @peer_source:                         Word     Fact     122 sql 145
                "How the address of `peer` is known: absent means from the socket; else a trusted \
                 proxy said so: `proxy_v1`, `proxy_v2` or `forwarded`.";
            @personal:                            Digest   Fact     135 sql   0
                "The commitment to the personal fields of the session, in its first record.";
            principal/with_principal:             Personal Personal 110 sql   0
                "Who, as authenticated: a configured name or a keyed hash, never a secret.";
            protocol/with_protocol:               Text     Fact     100 sql  60
                "The wire protocol: `rtmp`, `http-flv`, …";
            reason/with_reason:                   Reason   Fact      90 sql  55
                "Why it ended or was refused.";
            refused_before/with_refused_before:   Number   Fact     270 no    0
                "In a `*_started`: how many attempts from its address were refused before it, \
                 since the last one that was admitted and within ten minutes of each other.";
            seq/with_seq:                         Number   Origin   300 sql  90
                "The record's number in its boot, from 0; a hole is covered by one \
                 `records_dropped`.";
            session/with_session:                 Id       Fact      70 sql  40
                "The session, a UUIDv7.";
            stream/with_stream:                   Text     Head      50 sql  30
                "The stream: a name, or an instance of the application and a name, such as \
                 `tenant/cam`.";
            ts_ms:                                Time     Head      10 no    0
                "When, in milliseconds since 1970 UTC; 0 is *not set*.";
            user_agent/with_user_agent:           Personal Personal 130 sql   0
                "With what: the client's own words.";
            v:                                    Version  Head      60 no    0
                "The version of the schema.";
            @via:                                 Word     Fact     124 sql   0
                "The address of the proxy that connected to the server, if the session came through one.";
        }
    };
}

/// Hands `name: type;` of each row to a macro.
macro_rules! with_types {
    ($then:ident) => {
        with_fields!(types_of $then);
    };
}

macro_rules! types_of {
    ($then:ident; $(
        $($name:ident $(/ $setter:ident)?)? $(@ $part:ident)? : $type:ident $class:ident
        $order:literal $column:ident $attribute:literal $description:literal;
    )+) => {
        $then! { $($($name)? $($part)? : $type;)+ }
    };
}

macro_rules! has_column {
    (sql) => {
        true
    };
    (no) => {
        false
    };
}

macro_rules! stored {
    (Action) => { AuditAction };
    (Name) => { String };
    (Text) => { Option<String> };
    (Personal) => { Option<Personal> };
    (Outcome) => { Option<Outcome> };
    (Reason) => { Option<Reason> };
    (Number) => { Option<u64> };
    (Time) => { u64 };
    (Version) => { u32 };
    (Flag) => { bool };
    (Id) => { Option<Uuid> };
    (Nonce) => { Option<[u8; 16]> };
}

/// The value of a field in a new record.
macro_rules! initial {
    (Action, $action:ident, $app:ident) => {
        $action
    };
    (Name, $action:ident, $app:ident) => {
        $app.into()
    };
    (Time, $action:ident, $app:ident) => {
        0
    };
    (Version, $action:ident, $app:ident) => {
        SCHEMA
    };
    (Flag, $action:ident, $app:ident) => {
        false
    };
    ($other:ident, $action:ident, $app:ident) => {
        None
    };
}

macro_rules! value {
    ($r:ident, $name:ident, Action) => {
        Some(FieldValue::Text($r.action.label()))
    };
    ($r:ident, $name:ident, Label) => {
        match &$r.action {
            AuditAction::Event(label) => Some(FieldValue::Text(label)),
            _ => None,
        }
    };
    ($r:ident, $name:ident, Name) => {
        Some(FieldValue::Text(&$r.$name))
    };
    ($r:ident, $name:ident, Text) => {
        $r.$name.as_deref().map(FieldValue::Text)
    };
    ($r:ident, $name:ident, Personal) => {
        $r.$name.as_ref().map(FieldValue::Personal)
    };
    ($r:ident, $name:ident, Outcome) => {
        $r.$name
            .as_ref()
            .map(|outcome| FieldValue::Text(outcome.label()))
    };
    ($r:ident, $name:ident, Reason) => {
        $r.$name
            .as_ref()
            .map(|reason| FieldValue::Text(reason.label()))
    };
    ($r:ident, $name:ident, Number) => {
        $r.$name.map(FieldValue::Number)
    };
    ($r:ident, $name:ident, Time) => {
        Some(FieldValue::Number($r.$name))
    };
    ($r:ident, $name:ident, Version) => {
        Some(FieldValue::Number(u64::from($r.$name)))
    };
    ($r:ident, $name:ident, Flag) => {
        Some(FieldValue::Flag($r.$name))
    };
    ($r:ident, $name:ident, Id) => {
        $r.$name.map(FieldValue::Id)
    };
    ($r:ident, $name:ident, Nonce) => {
        $r.$name.as_ref().map(FieldValue::Nonce)
    };
    ($r:ident, $name:ident, $in_extra:ident) => {
        later::value(&$r.extra, &TABLE[Name::$name as usize])
    };
}

/// Passes each number that is present to a function.
macro_rules! number {
    ($r:ident, $each:ident, $name:ident, Number) => {
        if let Some(number) = $r.$name {
            $each(stringify!($name), number)?;
        }
    };
    ($r:ident, $each:ident, $name:ident, Time) => {
        $each(stringify!($name), $r.$name)?
    };
    ($r:ident, $each:ident, $name:ident, $other:ident) => {};
}

macro_rules! clamp {
    ($r:ident, $name:ident, Number) => {
        if let Some(number) = &mut $r.$name {
            *number = MAX_INTEGER.min(*number);
        }
    };
    ($r:ident, $name:ident, Time) => {
        $r.$name = MAX_INTEGER.min($r.$name)
    };
    ($r:ident, $name:ident, $other:ident) => {};
}

macro_rules! text_bytes {
    ($r:ident, $name:ident, Name) => {
        $r.$name.len()
    };
    ($r:ident, $name:ident, Text) => {
        $r.$name.as_ref().map_or(0, String::len)
    };
    ($r:ident, $name:ident, Personal) => {
        $r.$name.as_ref().map_or(0, |text| text.expose().len())
    };
    ($r:ident, $name:ident, $other:ident) => {
        0
    };
}

/// Replaces a text, except `detail`.
macro_rules! text {
    ($r:ident, $do:ident, detail, Personal) => {};
    ($r:ident, $do:ident, $name:ident, Name) => {
        $r.$name = $do(&$r.$name)
    };
    ($r:ident, $do:ident, $name:ident, Text) => {
        if let Some(text) = &mut $r.$name {
            *text = $do(text);
        }
    };
    ($r:ident, $do:ident, $name:ident, Personal) => {
        if let Some(text) = &mut $r.$name {
            *text = $do(text.expose()).into();
        }
    };
    ($r:ident, $do:ident, $name:ident, $other:ident) => {};
}

macro_rules! redact {
    // The pipeline's detail of losses counts actions and names nobody. Without it the trail could
    // no longer be checked.
    ($r:ident, detail, Personal) => {
        if $r.detail.is_some() && $r.action != AuditAction::RecordsDropped {
            $r.detail = Some(Personal::redacted());
        }
    };
    ($r:ident, $name:ident, Personal) => {
        if $r.$name.is_some() {
            $r.$name = Some(Personal::redacted());
        }
    };
    ($r:ident, $name:ident, $other:ident) => {};
}

macro_rules! setter {
    ($setter:ident, $name:ident, Text) => { setter!(@some [] $setter, $name, impl Into<String>, $name.into(), ""); };
    ($setter:ident, $name:ident, Personal) => { setter!(@some [] $setter, $name, impl Into<Personal>, $name.into(), ", personal data"); };
    ($setter:ident, $name:ident, Number) => { setter!(@some [const] $setter, $name, u64, $name, ", below 2^53"); };
    ($setter:ident, $name:ident, Id) => { setter!(@some [const] $setter, $name, Uuid, $name, ""); };
    ($setter:ident, $name:ident, Nonce) => { setter!(@some [const] $setter, $name, [u8; 16], $name, ""); };
    ($setter:ident, $name:ident, Outcome) => { setter!(@some [] $setter, $name, Outcome, $name, ""); };
    ($setter:ident, $name:ident, Reason) => { setter!(@some [] $setter, $name, Reason, $name, ""); };
    (@some [$($const:tt)?] $setter:ident, $name:ident, $type:ty, $value:expr, $words:literal) => {
        #[doc = concat!("Sets [`", stringify!($name), "`](Self::", stringify!($name), ")", $words, ".")]
        #[must_use]
        pub $($const)? fn $setter(mut self, $name: $type) -> Self {
            self.$name = Some($value);
            self
        }
    };
}

macro_rules! record {
    (; $(
        $($name:ident $(/ $setter:ident)?)? $(@ $part:ident)? : $type:ident $class:ident
        $order:literal $column:ident $attribute:literal $description:literal;
    )+) => {
        /// One lifecycle fact.
        ///
        /// Absent fields are omitted from every encoding. Integers are below 2^53. The pipeline
        /// sets `node`, `boot`, `seq`, `mono_ms` and `nonce`, and `ts_ms` if it is 0.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct AuditRecord {
            $($(
                #[doc = $description]
                pub $name: stored!($type),
            )?)+
            /// The fields of schema 2, and those of a later version.
            pub extra: Extra,
        }

        impl AuditRecord {
            /// A record of `action` in `app` with nothing else set, not even the time.
            pub fn new(action: AuditAction, app: impl Into<String>) -> Self {
                Self {
                    $($($name: initial!($type, action, app),)?)+
                    extra: Extra::new(),
                }
            }

            $($($(setter!($setter, $name, $type);)?)?)+

            /// Checks that a record can carry every number: each is below 2^53. Encoding refuses
            /// any other number.
            ///
            /// # Errors
            /// [`RecordError::IntegerTooLarge`] names the first number that is too large.
            pub fn check_numbers(&self) -> Result<(), RecordError> {
                $($(number!(self, check_number, $name, $type);)?)+
                Ok(())
            }

            /// Replaces each number that is too large by the largest that a record can carry.
            pub fn clamp_numbers(&mut self) {
                $($(clamp!(self, $name, $type);)?)+
            }

            /// Number of bytes of its texts, without labels of this version.
            #[must_use]
            pub fn text_bytes(&self) -> usize {
                let label = match &self.action {
                    AuditAction::Event(label) => label.len(),
                    other => other.label().len(),
                };
                [label, $($(text_bytes!(self, $name, $type),)?)+]
                    .into_iter()
                    .fold(0, usize::saturating_add)
            }

            /// Replaces each of its texts, except `detail`, by the result of `replace`.
            ///
            /// For records that are too long for an entry.
            pub fn replace_texts(&mut self, replace: impl Fn(&str) -> String) {
                $($(text!(self, replace, $name, $type);)?)+
                if let AuditAction::Event(label) = &mut self.action {
                    *label = replace(label);
                }
            }

            /// The record without personal data. [`REDACTED`](crate::REDACTED) replaces each piece
            /// of it.
            ///
            /// The `detail` of a `records_dropped` record stays. The pipeline made it, and it
            /// counts actions and names nobody. Without it the trail could no longer be checked.
            #[must_use]
            pub fn redacted(mut self) -> Self {
                $($(redact!(self, $name, $type);)?)+
                self
            }
        }

        /// The fields by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(non_camel_case_types, reason = "a variant is called as its field is")]
        pub(crate) enum Name {
            $($($name,)? $($part,)?)+
        }

        pub(crate) const TABLE: &[Row] = &[
            $(Row {
                name: stringify!($($name)? $($part)?),
                own: Some(Name::$($name)? $($part)?),
                kind: FieldType::$type,
                class: FieldClass::$class,
                order: $order,
                has_column: has_column!($column),
                attribute: $attribute,
                description: $description,
            },)+
        ];

        /// The fields of this table by name, in canonical order.
        const OWN: [Name; TABLE.len()] = [$(Name::$($name)? $($part)?,)+];

        /// The value of a field of this table in a record.
        #[inline]
        #[expect(clippy::indexing_slicing, reason = "the table has a row for each name")]
        pub(crate) fn own_value(field: Name, record: &AuditRecord) -> Option<FieldValue<'_>> {
            match field {
                $(Name::$($name)? $($part)? => value!(record, $($name)? $($part)?, $type),)+
            }
        }

        /// The names of the fields of this table in canonical order.
        pub(crate) const NAMES: [&str; TABLE.len()] = [$(stringify!($($name)? $($part)?),)+];
    };
}

with_fields!(record);

/// Whether the field at this position in reading order is the first that the pipeline adds.
pub(crate) const fn is_first_origin(at: usize) -> bool {
    is_origin(at) && !is_origin(at.saturating_sub(1))
}

#[expect(clippy::indexing_slicing, reason = "there is a place for each field")]
const fn is_origin(at: usize) -> bool {
    matches!(TABLE[IN_ORDER[at] as usize].class, FieldClass::Origin)
}

/// The fields of the table in reading order.
pub(crate) const IN_ORDER: [Name; TABLE.len()] = in_order();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a constant: it would not compile"
)]
const fn in_order() -> [Name; TABLE.len()] {
    let mut sorted = [Name::action; TABLE.len()];
    let mut filled = 0;
    while filled < TABLE.len() {
        let name = OWN[filled];
        let mut at = filled;
        while at > 0 && TABLE[sorted[at - 1] as usize].order > TABLE[name as usize].order {
            sorted[at] = sorted[at - 1];
            at -= 1;
        }
        sorted[at] = name;
        filled += 1;
    }
    sorted
}

fn check_number(field: &'static str, value: u64) -> Result<(), RecordError> {
    if value > MAX_INTEGER {
        let field = field.to_owned();
        return Err(RecordError::IntegerTooLarge { field, value });
    }
    Ok(())
}
