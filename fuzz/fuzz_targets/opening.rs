//! The JSON of an opening: see `livetrail_record::fuzz_opening`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_record::fuzz_opening(data));
