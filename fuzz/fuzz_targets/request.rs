//! Requests for HTTP-FLV: see `livetrail_http::fuzz_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_http::fuzz_request(data));
