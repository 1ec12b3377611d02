//! Frames in any order: see `livetrail_segment::fuzz_segmenter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_segment::fuzz_segmenter(data));
