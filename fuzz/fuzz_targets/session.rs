//! Whole RTMP sessions: see `livetrail_rtmp::fuzz_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_rtmp::fuzz_session(data));
