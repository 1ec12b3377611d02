//! RTMP chunk streams: see `livetrail_rtmp::fuzz_chunk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_rtmp::fuzz_chunk(data));
