//! The promises of the AMF0 codec.

use proptest::prelude::*;

use super::{Decoder, Limits, Value, decode_all};
use crate::Error;

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |n| !n.is_nan())
            .prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,20}".prop_map(Value::String),
        "[a-z]{0,8}".prop_map(|text| Value::NotUtf8([text.as_bytes(), &[0xe9]].concat())),
        Just(Value::Null),
        Just(Value::Undefined),
        Just(Value::Unsupported),
        any::<u16>().prop_map(Value::Reference),
        (0.0..1e15, any::<i16>())
            .prop_map(|(unix_ms, time_zone)| Value::Date { unix_ms, time_zone }),
        ".{0,20}".prop_map(Value::XmlDocument),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let properties = prop::collection::vec(("[a-z]{0,8}", inner.clone()), 0..6);
        prop_oneof![
            properties.clone().prop_map(Value::Object),
            properties.clone().prop_map(Value::EcmaArray),
            prop::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
            ("[A-Z]{0,8}", properties)
                .prop_map(|(class, properties)| Value::TypedObject { class, properties }),
        ]
    })
}

proptest! {
    #[test]
    fn decoding_an_encoded_value_gives_it_back(values in prop::collection::vec(any_value(), 0..4)) {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| value.encode(&mut bytes));
        prop_assert_eq!(decode_all(&bytes), Ok(values));
    }

    #[test]
    fn a_cut_encoding_is_an_error_and_never_a_panic(value in any_value(), cut in any::<prop::sample::Index>()) {
        let bytes = value.to_bytes();
        let cut = cut.index(bytes.len());
        prop_assert!(cut == 0 || decode_all(&bytes[..cut]).is_err());
    }
}

#[test]
fn nesting_is_refused_at_the_limit_and_not_by_the_stack() {
    let nested = |depth: usize| {
        let mut bytes = [0x0a, 0, 0, 0, 1].repeat(depth - 1);
        bytes.push(0x05);
        bytes
    };
    assert!(decode_all(&nested(32)).is_ok());
    assert_eq!(decode_all(&nested(33)), Err(Error::Amf0Depth { limit: 32 }));
    assert_eq!(
        decode_all(&nested(1_000_000)),
        Err(Error::Amf0Depth { limit: 32 })
    );
    let objects = [0x03, 0, 1, b'a'].repeat(100_000);
    assert_eq!(decode_all(&objects), Err(Error::Amf0Depth { limit: 32 }));
}

#[test]
fn a_claimed_count_reserves_no_memory_and_real_values_are_counted() {
    assert_eq!(
        decode_all(&[0x0a, 0xff, 0xff, 0xff, 0xff]),
        Err(Error::Truncated { what: "AMF0" })
    );
    let limits = Limits {
        max_depth: 4,
        max_values: 10,
    };
    let nulls = vec![0x05; 11];
    let decoded: Result<Vec<_>, _> = Decoder::with_limits(&nulls, limits).collect();
    assert_eq!(decoded, Err(Error::Amf0Count { limit: 10 }));
}

#[test]
fn a_text_beyond_16_bits_becomes_a_long_string() {
    let value = Value::String("x".repeat(70_000));
    assert_eq!(value.to_bytes().first(), Some(&0x0c));
    assert_eq!(decode_all(&value.to_bytes()), Ok(vec![value]));
}

#[test]
fn a_key_beyond_16_bits_is_cut_at_a_character() {
    let value = Value::object([("é".repeat(40_000), Value::Null)]);
    let decoded = decode_all(&value.to_bytes()).unwrap();
    assert_eq!(decoded[0].properties().unwrap()[0].0.len(), 65_534);
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let value = Value::object([("app", Value::from("live")), ("n", Value::from(1.0))]);
    assert_eq!(
        value.to_bytes(),
        b"\x03\x00\x03app\x02\x00\x04live\x00\x01n\x00\x3f\xf0\x00\x00\x00\x00\x00\x00\x00\x00\x09"
    );
    assert_eq!(value.get("app").and_then(Value::as_str), Some("live"));
}

#[test]
fn the_decoder_stops_after_an_error_and_says_what_is_left() {
    let mut decoder = Decoder::new(&[0x05, 0x04, 0x05]);
    assert_eq!(decoder.next(), Some(Ok(Value::Null)));
    assert_eq!(decoder.rest(), &[0x04, 0x05]);
    assert_eq!(decoder.next(), Some(Err(Error::Amf0Marker { marker: 4 })));
    assert_eq!(decoder.next(), None);
}

#[test]
fn text_that_is_not_utf8_keeps_its_bytes_and_can_be_shown() {
    let values = decode_all(b"\x02\0\x03caf\x02\0\x04caf\xe9").unwrap();
    assert_eq!(values[0].as_str(), Some("caf"));
    assert_eq!(
        values[1].as_str(),
        None,
        "two names must never become equal"
    );
    assert_eq!(values[1].to_text().unwrap(), "caf\u{fffd}");
    assert_eq!(values[1].text_bytes(), Some(&b"caf\xe9"[..]));
    assert_eq!(values[1].to_bytes(), b"\x02\0\x04caf\xe9");
    let object = decode_all(b"\x03\0\x01\xe9\x05\0\0\x09").unwrap();
    assert_eq!(object[0].get("\u{fffd}"), Some(&Value::Null), "a key");
}

#[test]
fn a_lenient_decoder_takes_what_stands_before_an_error() {
    let app = Value::object([("app", Value::from("live"))]);
    let open = b"\x03\0\x03app\x02\0\x04live";
    let endings: [&[u8]; 6] = [
        b"",
        // An AMF3 value, a movie clip and a record set; an object that ends in a key; one in
        // another.
        b"\0\x01a\x11\x06\x01",
        b"\0\x01a\x04",
        b"\0\x01a\x0e",
        b"\0",
        b"\0\x05ab",
    ];
    for ending in endings {
        let bytes = [&open[..], ending].concat();
        let mut decoder = Decoder::lenient(&bytes);
        assert_eq!(decoder.next(), Some(Ok(app.clone())), "{ending:?}");
        assert_eq!(decoder.next(), None, "nothing is read after an error");
        assert!(decoder.error().is_some());
        assert!(decode_all(&bytes).is_err());
    }
    let nested = [&open[..], b"\0\x01o\x03\0\x01n\x05\0\x01x\x11"].concat();
    let object = Decoder::lenient(&nested).next().unwrap().unwrap();
    assert_eq!(object.get("o").and_then(|o| o.get("n")), Some(&Value::Null));
    let values: Vec<_> = Decoder::lenient(b"\x05\x11\x05").collect();
    assert_eq!(values, [Ok(Value::Null)]);
}
