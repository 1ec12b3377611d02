//! Answers of an authentication service: see `livetrail_auth::fuzz_callback_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_auth::fuzz_callback_answer(data));
