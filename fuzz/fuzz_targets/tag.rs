//! FLV and enhanced RTMP tag headers: see `livetrail_media::fuzz_tag`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_media::fuzz_tag(data));
