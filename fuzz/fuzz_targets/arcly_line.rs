//! Lines of an audit log of `arcly-stream`: see `livetrail_record::fuzz_arcly_line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_record::fuzz_arcly_line(data));
