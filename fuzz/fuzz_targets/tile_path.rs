//! Paths of tiles and bundles: see `livetrail_tlog::fuzz_tile_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_tlog::fuzz_tile_path(data));
