//! Bodies of the fuzz targets: properties that hold for any bytes.

use crate::canonical::{encode_canonical, parse_canonical};
use crate::line::{encode_line, parse_line};

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
