//! Bodies of the fuzz targets: properties that hold for any bytes.

use crate::action::AuditAction;
use crate::arcly::parse_arcly_line;
use crate::canonical::{encode_canonical, parse_canonical};
use crate::line::{encode_line, parse_line};
use crate::personal::{Disclosure, Opening};

/// Canonical bytes that parse are encoded to the same bytes.
///
/// # Panics
/// The property does not hold. The fuzzer searches for this.
#[doc(hidden)]
pub fn fuzz_canonical(data: &[u8]) {
    if let Ok(record) = parse_canonical(data) {
        assert_eq!(encode_canonical(&record).as_deref(), Ok(data));
    }
}

/// A line that parses is encoded to a line with the same meaning. That line is a fixed point.
///
/// # Panics
/// The property does not hold. The fuzzer searches for this.
#[doc(hidden)]
pub fn fuzz_line(data: &[u8]) {
    if let Ok(record) = parse_line(data) {
        let line = encode_line(&record);
        assert_eq!(
            parse_line(line.as_bytes()).as_ref(),
            Ok(&record),
            "line {line:?}"
        );
    }
}

/// The JSON of an opening that parses is written to the same bytes, and each of its fields can be
/// disclosed.
///
/// # Panics
/// The property does not hold. The fuzzer searches for this.
#[doc(hidden)]
pub fn fuzz_opening(data: &[u8]) {
    let Ok(opening) = Opening::parse(data) else {
        return;
    };
    assert_eq!(opening.to_json(), data);
    let (commitment, session) = (opening.commitment(), opening.session());
    for (name, value) in opening.fields() {
        let disclosure = opening.disclose(name);
        let proven = disclosure.as_ref().is_some_and(|disclosure| {
            disclosure.value() == value && disclosure.verify(&commitment, session)
        });
        assert!(proven, "{opening:?} does not prove {name}");
    }
}

/// The JSON of a disclosure that parses is written to the same bytes.
///
/// # Panics
/// The property does not hold. The fuzzer searches for this.
#[doc(hidden)]
pub fn fuzz_disclosure(data: &[u8]) {
    if let Ok(disclosure) = Disclosure::parse(data) {
        assert_eq!(disclosure.to_json(), data);
        assert!(!disclosure.verify(&[0; 32], uuid::Uuid::nil()));
    }
}

/// A line of `arcly-stream` that parses keeps its label as it is. It has a line of our own that
/// means the same, but for the characters that no label of ours has.
///
/// # Panics
/// The property does not hold. The fuzzer searches for this.
#[doc(hidden)]
pub fn fuzz_arcly_line(data: &[u8]) {
    let Ok(record) = parse_arcly_line(data) else {
        return;
    };
    if let AuditAction::Event(label) = &record.action {
        let line = data.strip_suffix(b"\n").unwrap_or(data);
        assert!(line.ends_with(label.as_bytes()), "{label:?}");
    }
    let line = encode_line(&record);
    let read = parse_line(line.as_bytes());
    assert_eq!(read.map(|read| encode_line(&read)), Ok(line));
}
