//! H.264 with start codes: see `livetrail_media::fuzz_annexb`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_media::fuzz_annexb(data));
