//! Arbitrary records for property tests.

use livetrail_record::{
    AuditAction, AuditRecord, Field, FieldType, MAX_INTEGER, Outcome, Reason, Uuid, Value,
    digest_to_base64,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// Text with difficult characters: separators, escapes, controls, characters outside the basic
/// plane.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z0-9_.:/-]{0,6}",
        1 => prop::sample::select(vec![
            " ", "=", "%", "\t", "\n", "\r", "\"", "\\", "\u{0}", "\u{8}", "\u{c}", "\u{1f}", "\u{7f}", "\u{85}", "é",
            "\u{2028}", "\u{fb33}", "\u{1f600}", "-", "%2D",
        ])
        .prop_map(str::to_owned),
    ];
    vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// A text that a line keeps unchanged as a free-form label. A line turns TAB, CR and LF into
/// spaces.
pub(crate) fn label() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace(['\t', '\r', '\n'], " "))
}

fn action() -> impl Strategy<Value = AuditAction> {
    prop_oneof![
        prop::sample::select(vec![
            AuditAction::PublishStarted,
            AuditAction::PublishEnded,
            AuditAction::PlayDenied,
            AuditAction::RecordsDropped,
            AuditAction::Heartbeat,
            AuditAction::AdminConfigChanged,
        ]),
        label().prop_map(AuditAction::Event),
        text().prop_map(|label| AuditAction::from_label(&format!("later_{label}"))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let exact = i64::try_from(MAX_INTEGER).expect("2^53 fits");
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-exact..=exact).prop_map(Value::Integer),
        text().prop_map(Value::Text),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            btree_map(text().prop_map(livetrail_record::Name::new), inner, 0..4)
                .prop_map(Value::Object),
        ]
    })
}

fn number() -> impl Strategy<Value = Option<u64>> {
    option::of(prop_oneof![Just(0), 0..1_000_u64, 0..=MAX_INTEGER])
}

/// A field of schema 2 with a value of its type.
fn later() -> impl Strategy<Value = (&'static str, Value)> {
    let in_extra = |field: &&Field| field.since() > 1;
    let fields: Vec<&Field> = Field::ALL.iter().filter(in_extra).collect();
    (prop::sample::select(fields), any::<u64>(), text()).prop_map(|(field, number, text)| {
        let value = match field.kind() {
            FieldType::Number => Value::Integer((number & MAX_INTEGER).cast_signed()),
            FieldType::Flag => Value::Bool(true),
            FieldType::Id => Value::Text(Uuid::from_u128(number.into()).to_string()),
            FieldType::Digest => Value::Text(digest_to_base64(&[number as u8; 32])),
            FieldType::Bytes => Value::Text("AAECAw==".into()),
            FieldType::List => Value::List(vec![Value::Text(text)]),
            _ => Value::Text(text),
        };
        (field.name(), value)
    })
}

prop_compose! {
    /// A record with any fields set.
    pub(crate) fn record()(
        action in action(),
        app in text(),
        stream in option::of(text()),
        texts in (option::of(text()), option::of(text()), option::of(text()), option::of(text()), option::of(text()), option::of(text())),
        ids in (any::<Option<u128>>(), any::<Option<u128>>(), any::<Option<[u8; 16]>>()),
        labels in (option::of(text()), option::of(text())),
        numbers in (number(), number(), number(), number(), number(), number(), number(), number(), number()),
        more in (number(), number(), number(), number()),
        flags in any::<(bool, bool, bool)>(),
        newer in (option::of(text()), number()),
        ts_ms in 0..=MAX_INTEGER,
        v in 0..3_u32,
        later in vec(later(), 0..3),
        extra in btree_map(text().prop_map(|name| format!("x{name}")), value(), 0..3),
    ) -> AuditRecord {
        let mut r = AuditRecord::new(action, app).with_ts_ms(ts_ms);
        r.v = v;
        r.stream = stream;
        r.protocol = texts.0;
        r.node = texts.1;
        r.principal = texts.2.map(Into::into);
        r.peer = texts.3.map(Into::into);
        r.user_agent = texts.4.map(Into::into);
        r.detail = texts.5.map(Into::into);
        r.session = ids.0.map(Uuid::from_u128);
        r.boot = ids.1.map(Uuid::from_u128);
        r.nonce = ids.2;
        r.outcome = labels.0.map(|label| Outcome::from_label(&label));
        r.reason = labels.1.map(|label| Reason::from_label(&label));
        (r.seq, r.mono_ms, r.duration_ms) = (numbers.0, numbers.1, numbers.2);
        (r.bytes, r.frames, r.dropped_frames) = (numbers.3, numbers.4, numbers.5);
        (r.count, r.first_seq, r.last_seq) = (numbers.6, numbers.7, numbers.8);
        (r.first_ts_ms, r.last_ts_ms, r.distinct, r.refused_before) = more;
        (r.inferred, r.detail_cut, r.clock_synced) = flags;
        (r.by, r.clock_error_us) = newer;
        for (name, value) in later {
            r.extra.insert(name, value).expect("a value of its type");
        }
        for (name, value) in extra {
            r.extra.insert(&name, value).expect("a name that begins with x is not known");
        }
        r
    }
}
