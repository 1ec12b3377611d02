//! FLV files: see `livetrail_media::fuzz_flv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_media::fuzz_flv(data));
