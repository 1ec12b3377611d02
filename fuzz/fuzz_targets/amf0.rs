//! AMF0 values: see `livetrail_media::fuzz_amf0`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_media::fuzz_amf0(data));
