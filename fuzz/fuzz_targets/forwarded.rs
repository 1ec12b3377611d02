//! Headers that name a client: see `livetrail_http::fuzz_forwarded`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_http::fuzz_forwarded(data));
