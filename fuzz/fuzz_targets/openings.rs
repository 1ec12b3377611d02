//! A file of openings: see `livetrail_verify::fuzz_openings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_verify::fuzz_openings(data));
