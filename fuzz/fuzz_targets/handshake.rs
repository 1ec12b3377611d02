//! RTMP handshakes: see `livetrail_rtmp::fuzz_handshake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_rtmp::fuzz_handshake(data));
