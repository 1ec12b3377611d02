//! Tokens of HLS viewers: see `livetrail_hls::fuzz_hls_token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_hls::fuzz_hls_token(data));
