//! Operations on the ledger, with faults, kills and power cuts: see
//! `livetrail_ledger::fuzz_operations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_ledger::fuzz_operations(data));
