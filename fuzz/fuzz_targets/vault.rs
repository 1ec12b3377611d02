//! Files of the vault: see `livetrail_vault::fuzz_files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_vault::fuzz_files(data));
