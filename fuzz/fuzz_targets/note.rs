//! Signed notes, checkpoints and keys: see `livetrail_tlog::fuzz_note`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_tlog::fuzz_note(data));
