//! The fields of schema 2 that a record keeps in [`extra`](crate::AuditRecord::extra).
//!
//! A record has few of them, if any, and most kinds of records have none. So they take no room in a
//! record, and cost nothing where they are absent. A reader of schema 1 keeps them unchanged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

use crate::error::RecordError;
use crate::extra::{Extra, Value};
use crate::field::{Field, FieldClass, FieldType, FieldValue, Row};
use crate::personal::digest_from_base64;

/// The first schema that has these fields.
pub(crate) const SINCE: u32 = 2;

const fn row(name: &'static str, kind: FieldType, description: &'static str) -> Row {
    Row {
        name,
        own: None,
        kind,
        class: FieldClass::Fact,
        // They come after a record's own facts, in the order of this list.
        order: 0,
        has_column: false,
        attribute: 0,
        description,
    }
}

impl Row {
    /// The field also has a column in PostgreSQL.
    const fn column(mut self) -> Self {
        self.has_column = true;
        self
    }

    /// The field is also an attribute in OTLP and syslog.
    const fn attribute(mut self, place: u16) -> Self {
        self.attribute = place;
        self
    }
}

use FieldType::{Bytes, Digest, Flag, Id, List, Number, Text};

/// The rows, by subject.
pub(crate) const ROWS: [Row; 49] = [
    // Operators.
    row(
        "request",
        Text,
        "The operator's own number of a request, such as that of an erasure. Never a name.",
    )
    .column()
    .attribute(150),
    row(
        "basis",
        Text,
        "Why something is erased: the legal basis, or `retention`.",
    ),
    row(
        "scope",
        Text,
        "What is erased: `openings`. Of a hold: `entries`, `stream`, `session`, `principal` or `time`.",
    ),
    row(
        "sessions",
        Bytes,
        "The sessions that the record concerns, 16 bytes each.",
    ),
    row("hold", Text, "The name of a legal hold."),
    row(
        "from_index",
        Number,
        "The first entry that a hold keeps, together with all later ones.",
    ),
    row("lifted", Flag, "The hold ends with this record."),
    row(
        "from_ms",
        Number,
        "Of a hold by time: from when on sessions began that it covers, in milliseconds since 1970 \
         UTC.",
    ),
    row(
        "until_ms",
        Number,
        "Of a hold by time: until when, without that moment. Of a drain: when it ends at the latest. \
         Of a viewer's token: when it expires. Of a session that is renewed: when its grant expires.",
    ),
    row("purpose", Text, "Why personal fields were shown."),
    row(
        "filter",
        Digest,
        "Keyed SHA-256 of the filter of a query, so that equal queries can be counted together.",
    ),
    // Where the fact comes from.
    row(
        "evidence",
        Text,
        "How the server knows the fact; absent means that it saw it itself. Else, from strong to \
         weak: `received_jwt`, `received_hmac`, `received_mtls`, `received_secret`, \
         `received_unsigned`, `log_tailed`, `polled`, `inferred`.",
    )
    .column()
    .attribute(160),
    row(
        "source",
        Text,
        "The configured name of the other server that reported the fact.",
    )
    .column()
    .attribute(170),
    row(
        "source_kind",
        Text,
        "The program of that server, such as `srs`.",
    ),
    row(
        "source_session",
        Text,
        "The session's id at that server, at most 128 bytes.",
    )
    .column(),
    row(
        "source_time_ms",
        Number,
        "When the fact happened by that server's clock, in milliseconds since 1970 UTC.",
    ),
    row(
        "raw",
        Digest,
        "SHA-256 of the report exactly as it was received.",
    ),
    row(
        "received_seq",
        Number,
        "The report's number from this source, without holes.",
    ),
    // Slices.
    row(
        "slice_seq",
        Number,
        "The record's number in its application and boot, without holes.",
    ),
    // Relays.
    row(
        "epoch",
        Number,
        "Of a relayed stream: which of the upstream's publications it carries, counted from 0.",
    ),
    row(
        "upstream_node",
        Text,
        "Of a relayed stream: the configured name of the server that it comes from.",
    )
    .column(),
    row(
        "upstream_session",
        Id,
        "Of a relayed stream: the session at that server.",
    )
    .column(),
    // HLS.
    row(
        "counted_by",
        Text,
        "Of an HLS viewer: what its separate requests have in common, such as `token` or `address`.",
    ),
    row(
        "media_from",
        Text,
        "Of an HLS viewer: `caches` if they may have served its segments, so that its totals are unknown.",
    ),
    row(
        "last_seen_ms",
        Number,
        "Of an HLS viewer: when its last request came, in milliseconds since 1970 UTC.",
    ),
    row(
        "peers",
        Number,
        "Of an HLS viewer: from how many addresses its requests came.",
    ),
    row(
        "resumed",
        Flag,
        "An HLS viewer came back after its session had ended.",
    ),
    row(
        "viewer_token",
        Id,
        "Of an HLS viewer: the id of the token in the addresses of its requests.",
    ),
    row(
        "share_link",
        Id,
        "Of an HLS viewer: the id of the share link that its token was exchanged for.",
    ),
    row(
        "resumes",
        Id,
        "Of an HLS viewer: the session that its token opened before.",
    ),
    // Seals of media.
    row("track", Text, "Of a seal: the track, `video` or `audio`."),
    row(
        "first_frame",
        Number,
        "The first frame that the record concerns, in the publisher's numbering from 0.",
    ),
    row(
        "last_frame",
        Number,
        "The last frame that the record concerns.",
    ),
    row(
        "first_dts_ms",
        Number,
        "Of a seal: the decoding time of its first frame in milliseconds.",
    ),
    row(
        "last_dts_ms",
        Number,
        "Of a seal: the decoding time of its last frame.",
    ),
    row(
        "media",
        Digest,
        "Of a seal: the Merkle root over the hashes of its frames.",
    ),
    row(
        "media_prev",
        Digest,
        "Of a seal: `media` of the seal before it in this session and track.",
    ),
    row(
        "timing",
        Digest,
        "Of a seal: the Merkle root over the differences of decoding times.",
    ),
    row(
        "config",
        Digest,
        "Of a seal: SHA-256 of the decoder's configuration.",
    ),
    row(
        "canonical",
        Text,
        "Of a seal: which bytes of a frame are hashed; `opaque` means all of them.",
    ),
    row(
        "sei",
        Digest,
        "Of a seal: the Merkle root over the supplemental messages (SEI) of its frames.",
    ),
    row(
        "segments",
        List,
        "Of a seal: the HLS segments that were made of its frames, each with name, hash and frames.",
    ),
    row(
        "sealed_frames",
        Number,
        "How many frames of the session are in seals, at its end.",
    ),
    // Timestamps.
    row(
        "tsa",
        Text,
        "Of a timestamp: the configured name of the authority that made it.",
    ),
    row(
        "gen_time_ms",
        Number,
        "Of a timestamp: its time, in milliseconds since 1970 UTC.",
    ),
    row(
        "serial",
        Text,
        "Of a timestamp: its serial number in hexadecimal.",
    ),
    row(
        "policy",
        Text,
        "Of a timestamp: the authority's policy, an object identifier. In `admin_pruned`: the \
         policy by which entries go.",
    ),
    row("token", Digest, "Of a timestamp: SHA-256 of its token."),
    row(
        "size",
        Number,
        "Of a timestamp: how many entries the stamped checkpoint covers.",
    ),
];

/// Checks that a field of this version has a value of its type. Any value is right for a field that
/// this version does not know.
pub(crate) fn check(name: &str, value: &Value) -> Result<(), RecordError> {
    let Some(field) = Field::named(name).filter(|field| field.since() >= SINCE) else {
        return Ok(());
    };
    let kind = field.kind();
    if typed(kind, value).is_some() {
        return Ok(());
    }
    Err(RecordError::BadField {
        field: name.to_owned(),
        expected: match kind {
            Text | FieldType::Word => "a string",
            Number => "an integer from 0 and below 2^53",
            Flag => "true",
            Id => "a UUID in lower case",
            Digest => "32 bytes in base64",
            Bytes => "base64",
            List => "a list",
            _ => "a value of its type",
        },
    })
}

/// Checks the fields of a record of schema 2 or later. In an older one they are fields of its own
/// that only happen to have these names.
pub(crate) fn check_all(schema: u32, extra: &Extra) -> Result<(), RecordError> {
    if schema < SINCE {
        return Ok(());
    }
    extra
        .iter()
        .try_for_each(|(name, value)| check(name, value))
}

/// The value of a field that is in `extra`, if it has its type.
pub(crate) fn value<'a>(extra: &'a Extra, row: &Row) -> Option<FieldValue<'a>> {
    typed(row.kind, extra.get(row.name)?)
}

fn typed(kind: FieldType, value: &Value) -> Option<FieldValue<'_>> {
    Some(match (kind, value) {
        (Text | FieldType::Word, Value::Text(text)) => FieldValue::Text(text),
        (Number, Value::Integer(number)) => FieldValue::Number(u64::try_from(*number).ok()?),
        (Flag, Value::Bool(true)) => FieldValue::Flag(true),
        (Id, Value::Text(text)) => {
            let id = Uuid::try_parse(text).ok()?;
            let mut buffer = Uuid::encode_buffer();
            let is_canonical = id.as_hyphenated().encode_lower(&mut buffer) == text;
            is_canonical.then_some(FieldValue::Id(id))?
        }
        (Digest, Value::Text(text)) => FieldValue::Digest(digest_from_base64(text)?),
        (Bytes, Value::Text(text)) => {
            STANDARD.decode(text).ok()?;
            FieldValue::Text(text)
        }
        (List, Value::List(_)) => FieldValue::Json(value),
        _ => return None,
    })
}
