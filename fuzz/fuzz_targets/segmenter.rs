//! Frames in any order: see `livetrail_segment::fuzz_segmenter`. What is written is read by readers
//! that share no code with the writers.
#![no_main]

mod readers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut written = readers::Written::default();
    livetrail_segment::fuzz_segmenter(data, &mut |event| written.see(event));
});
