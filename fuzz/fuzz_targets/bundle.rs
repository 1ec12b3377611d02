//! Entry bundles and tiles: see `livetrail_tlog::fuzz_bundle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_tlog::fuzz_bundle(data));
