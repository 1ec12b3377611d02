//! Segments of the write-ahead log: see `livetrail_ledger::fuzz_wal_segment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_ledger::fuzz_wal_segment(data));
