//! Frames to tags.

use bytes::{BufMut, Bytes, BytesMut};
use livetrail_engine::MediaFrame;

use super::{Header, MAX_TAG_BYTES, TAG_HEADER_BYTES};
use crate::{
    error::{Error, Result},
    tag::{self, TagHead},
};

/// The first 13 bytes of a file: its header, and the size of the tag before the first, 0.
#[must_use]
pub fn file_header(header: Header) -> [u8; 13] {
    let flags = (u8::from(header.has_audio) << 2) | u8::from(header.has_video);
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
}

/// A frame as one FLV tag, in three parts so that the payload is not copied. Write `head`,
/// `payload`, `tail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameTag {
    /// Tag header and body header, 11 to 21 bytes.
    pub head: Bytes,
    /// The frame's payload, the same buffer.
    pub payload: Bytes,
    /// The size of the tag, 4 bytes.
    pub tail: Bytes,
}

impl FrameTag {
    /// The tag for a frame, with the frame's decode time in milliseconds modulo 2^32.
    ///
    /// # Errors
    /// A codec that FLV cannot carry, and a payload that exceeds a 24-bit size.
    pub fn new(frame: &MediaFrame) -> Result<Self> {
        let head = tag::head(frame)?;
        let (head, tail) = frame_parts(&head, frame.payload.len())?;
        Ok(Self {
            head,
            payload: frame.payload.clone(),
            tail,
        })
    }

    /// The total number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head
            .len()
            .saturating_add(self.payload.len())
            .saturating_add(self.tail.len())
    }

    /// Always false: a tag has at least its header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the whole tag to `out`, copying it.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.payload);
        out.extend_from_slice(&self.tail);
    }
}

/// Head and tail share one small allocation.
fn frame_parts(head: &TagHead, payload_len: usize) -> Result<(Bytes, Bytes)> {
    let size = head.bytes().len().saturating_add(payload_len);
    let size_u24 = u32::try_from(size)
        .ok()
        .filter(|_| size <= MAX_TAG_BYTES)
        .ok_or(Error::FlvTagSize {
            size,
            limit: MAX_TAG_BYTES,
        })?;
    let [_, s0, s1, s2] = size_u24.to_be_bytes();
    let [high, t0, t1, t2] = head.timestamp_ms.to_be_bytes();
    let mut out = BytesMut::with_capacity(
        TAG_HEADER_BYTES
            .saturating_add(head.bytes().len())
            .saturating_add(4),
    );
    out.put_slice(&[head.kind.id(), s0, s1, s2, t0, t1, t2, high, 0, 0, 0]);
    out.put_slice(head.bytes());
    let head_len = out.len();
    out.put_u32(size_u24.saturating_add(TAG_HEADER_BYTES as u32));
    let mut head = out.freeze();
    let tail = head.split_off(head_len);
    Ok((head, tail))
}
