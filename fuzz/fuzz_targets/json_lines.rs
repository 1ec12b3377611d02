//! Lines that may be a sink's: see `livetrail_verify::fuzz_lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_verify::fuzz_lines(data));
