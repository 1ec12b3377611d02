//! The text of checkpoints: see `livetrail_tlog::fuzz_checkpoint`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_tlog::fuzz_checkpoint(data));
