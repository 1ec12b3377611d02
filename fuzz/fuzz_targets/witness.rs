//! Requests to a witness and its answers: see `livetrail_tlog::fuzz_witness`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_tlog::fuzz_witness(data));
