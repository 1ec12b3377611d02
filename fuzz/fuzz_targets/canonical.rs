//! Canonical bytes of a record: see `livetrail_record::fuzz_canonical`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_record::fuzz_canonical(data));
