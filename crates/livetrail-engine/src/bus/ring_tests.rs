//! The ring's bounds. Beside the ring and not in it, because a model checker takes that file as it is.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    ring::{Ring, RingWriter},
    wire::SharedFrame,
};
use crate::frame::{CodecId, FrameFlags, MediaFrame};

fn frame(seq: u64, bytes: usize) -> Arc<SharedFrame> {
    let payload = Bytes::from(vec![0; bytes]);
    Arc::new(SharedFrame::new(
        seq,
        MediaFrame::audio(CodecId::Aac, 0, FrameFlags::NONE, payload),
    ))
}

#[test]
fn keeps_the_newest_frames_within_both_bounds() {
    let ring = Arc::new(Ring::new(8));
    let mut writer = RingWriter::new(ring.clone(), 50);
    for seq in 0..20 {
        writer.push(frame(seq, 1), u64::MAX);
    }
    assert_eq!((ring.tail(), ring.head()), (12, 20));
    assert!(ring.get(11).is_none() && ring.get(20).is_none());
    assert_eq!(ring.get(12).unwrap().seq(), 12);
    writer.push(frame(20, 48), u64::MAX);
    assert_eq!(
        (ring.tail(), ring.head()),
        (18, 21),
        "48 bytes and two frames of 1 fit in 50"
    );
    writer.push(frame(21, 1_000), u64::MAX);
    assert_eq!(
        (ring.tail(), ring.head()),
        (21, 22),
        "a frame over the bound alone is kept: it is the newest"
    );
    assert_eq!(writer.kept_bytes, 1_000);
}

#[test]
fn what_nobody_may_need_is_freed_at_once() {
    let ring = Arc::new(Ring::new(64));
    let mut writer = RingWriter::new(ring.clone(), usize::MAX);
    let first = frame(0, 10);
    let kept = Arc::downgrade(&first);
    writer.push(first, 20);
    for seq in 1..20 {
        writer.push(frame(seq, 10), 20);
        assert_eq!(ring.tail(), 0);
    }
    writer.push(frame(20, 10), 20);
    assert_eq!((ring.tail(), writer.kept_bytes), (1, 200));
    assert!(kept.upgrade().is_none());
    // More is needed from now on, and less.
    writer.push(frame(21, 10), 30);
    assert_eq!(ring.tail(), 1);
    writer.push(frame(22, 10), 3);
    assert_eq!((ring.tail(), writer.kept_bytes), (20, 30));
    writer.push(frame(23, 10), 0);
    assert_eq!(ring.tail(), 23, "the newest is always kept");
}
