//! Directories that may be a trail: see `livetrail_verify::fuzz_trail`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_verify::fuzz_trail(data));
