//! A frame allocates nothing: only parts and segments do. This test has its own binary, because the
//! counter covers the whole process.

#[path = "it/stream.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod stream;

use std::alloc::System;

use livetrail_segment::{Container, Event, Options, Segmenter};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use stream::{audio, both, video};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn a_frame_allocates_nothing_and_its_bytes_are_copied_once() {
    let mut frames = both(video(120, 240, 0, 20), audio(0, 20));
    for frame in frames.iter_mut().filter(|frame| !frame.is_config()) {
        // One NAL unit, or an audio frame.
        let mut payload = vec![0x41; 1_500];
        payload[..4].copy_from_slice(&1_496_u32.to_be_bytes());
        frame.payload = payload.into();
        // The first clone of a buffer makes its counter; those of the engine have one.
        drop(frame.payload.clone());
    }
    for container in [Container::Cmaf, Container::MpegTs] {
        let mut segmenter = Segmenter::new(Options::new(container)).unwrap();
        let mut events = Vec::with_capacity(1_024);
        let (warm, measured) = frames.split_at(frames.len() / 4);
        for frame in warm {
            segmenter.push(frame, &mut events);
            events.clear();
        }
        let (mut parts, mut segments, mut bytes) = (0, 0, 0);
        let region = Region::new(ALLOCATOR);
        for frame in measured {
            segmenter.push(frame, &mut events);
            for event in events.drain(..) {
                match event {
                    Event::Part(part) => {
                        parts += 1;
                        bytes += part.bytes.len();
                    }
                    Event::Segment(_) => segments += 1,
                    _ => {}
                }
            }
        }
        let change = region.change();
        let made = change.allocations + change.reallocations;
        // Of a part: its buffer, the count of its owners, and some tables. Of a segment: the list
        // of its parts, as it grows.
        assert!(
            parts >= 28 && segments >= 6,
            "{parts} parts, {segments} segments"
        );
        assert!(
            made <= parts * 4 + segments * 8,
            "{made} allocations for {parts} parts"
        );
        assert!(made < measured.len() / 10);
        // The buffers have the size of the parts, up to a quarter.
        let most = bytes + bytes / 4 + segments * 4_096;
        assert!(
            change.bytes_allocated <= most,
            "{} of {most} bytes",
            change.bytes_allocated
        );
    }
}
