//! Proof files: see `livetrail_tlog::fuzz_proof_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_tlog::fuzz_proof_file(data));
