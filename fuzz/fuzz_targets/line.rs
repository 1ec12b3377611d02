//! Lines of the file sink: see `livetrail_record::fuzz_line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_record::fuzz_line(data));
