//! The ring's bounds. These tests are in their own file, because a model checker includes the
//! ring's file as it is.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use proptest::prelude::*;

use super::{
    budget::Budget,
    ring::{Ring, RingWriter},
    wire::SharedFrame,
};
use crate::{
    frame::{CodecId, FrameFlags, MediaFrame},
    sync::SEGMENT_FRAMES,
};

const SEGMENT: u64 = SEGMENT_FRAMES as u64;

fn frame(seq: u64, bytes: usize) -> Arc<SharedFrame> {
    let payload = Bytes::from(vec![0; bytes]);
    Arc::new(SharedFrame::new(
        seq,
        MediaFrame::audio(CodecId::Aac, 0, FrameFlags::NONE, payload),
    ))
}

#[test]
fn keeps_the_newest_frames_and_those_that_share_the_oldest_ones_segment() {
    let ring = Arc::new(Ring::new(2 * SEGMENT_FRAMES, Budget::new(u64::MAX).open()));
    let mut writer = RingWriter::new(ring.clone(), usize::MAX);
    for seq in 0..3 * SEGMENT - 1 {
        writer.push(frame(seq, 1), u64::MAX);
        assert_eq!(ring.tail(), 0);
    }
    writer.push(frame(3 * SEGMENT - 1, 1), u64::MAX);
    assert_eq!((ring.tail(), ring.head()), (SEGMENT, 3 * SEGMENT));
    let mut published = ring.read();
    assert!(published.get(SEGMENT - 1).is_none() && published.get(3 * SEGMENT).is_none());
    assert_eq!(published.get(SEGMENT).unwrap().seq(), SEGMENT);
}

#[test]
fn frames_that_are_too_many_bytes_go_one_by_one_where_their_segment_is_large() {
    let ring = Arc::new(Ring::new(64, Budget::new(u64::MAX).open()));
    let mut writer = RingWriter::new(ring.clone(), 50);
    for seq in 0..3 {
        writer.push(frame(seq, 20), u64::MAX);
    }
    assert_eq!(ring.tail(), 1, "two frames of 20 bytes fit in 50");
    writer.push(frame(3, 48), u64::MAX);
    assert_eq!(ring.tail(), 3);
    writer.push(frame(4, 1_000), u64::MAX);
    assert_eq!(
        (ring.tail(), ring.head()),
        (4, 5),
        "a frame over the bound alone is kept: it is the newest"
    );
    assert_eq!(writer.kept_bytes, 1_000);
}

#[test]
fn what_nobody_may_need_goes_with_its_segment() {
    let ring = Arc::new(Ring::new(64, Budget::new(u64::MAX).open()));
    let mut writer = RingWriter::new(ring.clone(), usize::MAX);
    let mut frames = Vec::new();
    let mut push = |seq, keep| {
        let frame = frame(seq, 10);
        frames.push(Arc::downgrade(&frame));
        writer.push(frame, keep);
        let there = frames.iter().filter(|frame| frame.strong_count() > 0);
        (ring.tail(), there.count() as u64)
    };
    for seq in 0..SEGMENT + 19 {
        assert_eq!(push(seq, 20), (0, seq + 1));
    }
    let head = SEGMENT + 19;
    assert_eq!(push(head, 20), (SEGMENT, 20));
    // From here on more frames are needed, and then fewer.
    for seq in head + 1..2 * SEGMENT + 29 {
        assert_eq!(push(seq, 30).0, SEGMENT);
    }
    assert_eq!(push(2 * SEGMENT + 29, 0), (2 * SEGMENT + 16, 14));
}

proptest! {
    /// Whatever frames come and are needed: no bound is exceeded, no frame is freed that is needed
    /// and fits, and freed frames leave the memory.
    #[test]
    fn what_is_needed_and_fits_is_there_and_nothing_else(
        capacity in 1..80_usize,
        max_bytes in 0..4_000_usize,
        pushes in prop::collection::vec((0..5_u8, 0..400_usize, 0..100_u64), 1..200),
    ) {
        let ring = Arc::new(Ring::new(capacity, Budget::new(u64::MAX).open()));
        let mut writer = RingWriter::new(ring.clone(), max_bytes);
        let capacity = capacity.max(2).next_power_of_two() as u64;
        let mut sizes = Vec::new();
        let mut frames: Vec<Weak<SharedFrame>> = Vec::new();
        for (size, bytes, keep) in pushes {
            // Most frames are small.
            let bytes = if size == 0 { bytes * 4 } else { bytes / 10 };
            let pushed = frame(sizes.len() as u64, bytes);
            sizes.push(bytes);
            frames.push(Arc::downgrade(&pushed));
            writer.push(pushed, keep);

            let (tail, head) = (ring.tail(), ring.head());
            let kept: usize = sizes[tail as usize..].iter().sum();
            prop_assert_eq!(writer.kept_bytes, kept);
            prop_assert!(kept <= max_bytes || tail + 1 == head);
            prop_assert!(head - tail < keep.min(capacity).max(1) + SEGMENT);
            let mut published = ring.read();
            prop_assert_eq!(published.head(), head);
            for (seq, frame) in frames.iter().enumerate() {
                let here = published.get(seq as u64).map(|frame| frame.seq());
                prop_assert_eq!(here, (seq as u64 >= tail).then_some(seq as u64));
                prop_assert_eq!(frame.strong_count() > 0, seq as u64 >= tail);
            }
        }
    }

    /// If the need stays the same, the newest needed frames with at most half of the bytes are
    /// available: the replayed GOP.
    #[test]
    fn half_of_the_bytes_is_for_the_newest_frames_alone(
        capacity in 1..80_usize,
        max_bytes in 0..4_000_usize,
        keep in 0..100_u64,
        pushes in prop::collection::vec((0..5_u8, 0..400_usize), 1..200),
    ) {
        let ring = Arc::new(Ring::new(capacity, Budget::new(u64::MAX).open()));
        let mut writer = RingWriter::new(ring.clone(), max_bytes);
        let capacity = capacity.max(2).next_power_of_two() as u64;
        let mut sizes = Vec::new();
        for (size, bytes) in pushes {
            let bytes = if size == 0 { bytes * 4 } else { bytes / 10 };
            writer.push(frame(sizes.len() as u64, bytes), keep);
            sizes.push(bytes);
            let mut sum = 0;
            let fit = sizes.iter().rev().take_while(|&&bytes| {
                sum += bytes;
                sum <= max_bytes / 2
            });
            let due = (fit.count() as u64).min(keep).min(capacity);
            prop_assert!(ring.head() - ring.tail() >= due);
        }
    }
}
