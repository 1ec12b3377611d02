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
        writer.push(frame(seq, 1));
    }
    assert_eq!((ring.tail(), ring.head()), (12, 20));
    assert!(ring.get(11).is_none() && ring.get(20).is_none());
    assert_eq!(ring.get(12).unwrap().seq(), 12);
    writer.push(frame(20, 48));
    assert_eq!(
        (ring.tail(), ring.head()),
        (18, 21),
        "48 bytes and two frames of 1 fit in 50"
    );
    writer.push(frame(21, 1_000));
    assert_eq!(
        (ring.tail(), ring.head()),
        (21, 22),
        "a frame over the bound alone is kept: it is the newest"
    );
    assert_eq!(writer.kept_bytes, 1_000);
}
