//! Bodies of the fuzz targets: what must hold for any bytes.

use crate::canonical::{encode_canonical, parse_canonical};
use crate::line::{encode_line, parse_line};

/// Canonical bytes: what parses, encodes to the same bytes.
///
/// # Panics
/// When it does not; that is what the fuzzer looks for.
#[doc(hidden)]
pub fn fuzz_canonical(data: &[u8]) {
    if let Ok(record) = parse_canonical(data) {
        assert_eq!(encode_canonical(&record).as_deref(), Ok(data));
    }
}

/// Lines: what parses, encodes to a line that means the same, and that line is a fixed point.
///
/// # Panics
/// When it does not; that is what the fuzzer looks for.
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
