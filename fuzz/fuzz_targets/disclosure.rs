//! The JSON of a disclosure: see `livetrail_record::fuzz_disclosure`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_record::fuzz_disclosure(data));
