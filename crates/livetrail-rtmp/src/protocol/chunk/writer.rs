//! Messages to chunks.

use bytes::{BufMut, Bytes, BytesMut};
use livetrail_engine::MediaFrame;
use livetrail_media::tag::{self, TagHead, TagKind};

use super::{EXTENDED, Message};
use crate::error::Result;

/// The longest continuation header: one byte and an extended time.
const MAX_CONTINUATION_BYTES: usize = 5;

/// Our chunk streams. Below 64 the id takes one byte.
const CHUNK_STREAM_CONTROL: u8 = 2;
const CHUNK_STREAM_COMMAND: u8 = 3;
const CHUNK_STREAM_AUDIO: u8 = 4;
const CHUNK_STREAM_DATA: u8 = 5;
const CHUNK_STREAM_VIDEO: u8 = 6;

/// Appends a complete message to `output` and copies it: for commands and control messages.
pub fn write_message(message: &Message, chunk_bytes: u32, output: &mut BytesMut) {
    let chunk_stream = match message.type_id {
        1..=6 => CHUNK_STREAM_CONTROL,
        8 => CHUNK_STREAM_AUDIO,
        9 => CHUNK_STREAM_VIDEO,
        15 | 18 => CHUNK_STREAM_DATA,
        _ => CHUNK_STREAM_COMMAND,
    };
    put_header(chunk_stream, message, message.payload.len(), output);
    let continuation = continuation(chunk_stream, message.timestamp_ms);
    let mut chunks = message.payload.chunks(chunk_bytes.max(1) as usize);
    output.put_slice(chunks.next().unwrap_or_default());
    for chunk in chunks {
        output.put_slice(&continuation);
        output.put_slice(chunk);
    }
}

/// A media frame as chunks, made once and shared by all viewers that get the same bytes.
///
/// The first chunk has a full header with the absolute time, so it does not depend on earlier
/// messages. The payload is the frame's own buffer: [`parts`](Self::parts) puts the chunk headers
/// between slices of it.
#[derive(Debug, Clone)]
pub struct FrameChunks {
    /// The chunk header and tag header, followed by the continuation header.
    heads: Bytes,
    /// The offset of the continuation header in `heads`.
    head_bytes: usize,
    payload: Bytes,
    /// Payload bytes in the first chunk.
    first_bytes: usize,
    chunk_bytes: usize,
}

impl FrameChunks {
    /// The chunks of a frame for message stream `stream_id`, in chunks of `chunk_bytes` (at least
    /// 16).
    ///
    /// # Errors
    /// A codec that RTMP does not carry, or a frame beyond the 24 bits of a message's length.
    pub fn new(frame: &MediaFrame, stream_id: u32, chunk_bytes: u32) -> Result<Self> {
        Self::with_head(frame, &tag::head(frame)?, stream_id, chunk_bytes)
    }

    /// The same with the nanoseconds of the frame's time, for a player that understands modifiers.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn exact(frame: &MediaFrame, stream_id: u32, chunk_bytes: u32) -> Result<Self> {
        Self::with_head(frame, &tag::exact_head(frame)?, stream_id, chunk_bytes)
    }

    fn with_head(
        frame: &MediaFrame,
        tag: &TagHead,
        stream_id: u32,
        chunk_bytes: u32,
    ) -> Result<Self> {
        let chunk_bytes = chunk_bytes.max(16) as usize;
        let length = tag.bytes().len().saturating_add(frame.payload.len());
        if length > livetrail_media::flv::MAX_TAG_BYTES {
            let limit = livetrail_media::flv::MAX_TAG_BYTES;
            return Err(livetrail_media::Error::FlvTagSize {
                size: length,
                limit,
            }
            .into());
        }
        let chunk_stream = match tag.kind {
            TagKind::Audio => CHUNK_STREAM_AUDIO,
            TagKind::Video => CHUNK_STREAM_VIDEO,
            TagKind::Script => CHUNK_STREAM_DATA,
        };
        let message = Message {
            type_id: tag.kind.id(),
            timestamp_ms: tag.timestamp_ms,
            stream_id,
            payload: Bytes::new(),
        };
        let mut heads = BytesMut::with_capacity(40);
        put_header(chunk_stream, &message, length, &mut heads);
        heads.put_slice(tag.bytes());
        let head_bytes = heads.len();
        heads.put_slice(&continuation(chunk_stream, tag.timestamp_ms));
        Ok(Self {
            heads: heads.freeze(),
            head_bytes,
            payload: frame.payload.clone(),
            first_bytes: chunk_bytes.saturating_sub(tag.bytes().len()),
            chunk_bytes,
        })
    }

    /// The bytes to send, in order, without copying: header and payload, then the header and
    /// payload of each further chunk.
    #[must_use]
    pub fn parts(&self) -> ChunkParts<'_> {
        let (head, continuation) = self
            .heads
            .split_at_checked(self.head_bytes)
            .unwrap_or((&self.heads, &[]));
        let (first, rest) = self
            .payload
            .split_at_checked(self.first_bytes)
            .unwrap_or((&self.payload, &[]));
        ChunkParts {
            next: [head, first],
            continuation,
            rest,
            chunk_bytes: self.chunk_bytes,
        }
    }

    /// All bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        let continuations = self
            .payload
            .len()
            .saturating_sub(self.first_bytes)
            .div_ceil(self.chunk_bytes.max(1));
        let continuation_bytes = self.heads.len().saturating_sub(self.head_bytes);
        self.head_bytes
            .saturating_add(self.payload.len())
            .saturating_add(continuations.saturating_mul(continuation_bytes))
    }

    /// Always false: a message has at least its header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}

/// The slices of a [`FrameChunks`], none of them empty.
#[derive(Debug, Clone)]
pub struct ChunkParts<'a> {
    next: [&'a [u8]; 2],
    continuation: &'a [u8],
    rest: &'a [u8],
    chunk_bytes: usize,
}

impl<'a> Iterator for ChunkParts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let [first, second] = self.next;
        if !first.is_empty() {
            self.next = [&[], second];
            return Some(first);
        }
        if !second.is_empty() {
            self.next = [&[], &[]];
            return Some(second);
        }
        if self.rest.is_empty() {
            return None;
        }
        let (chunk, rest) = self
            .rest
            .split_at_checked(self.chunk_bytes)
            .unwrap_or((self.rest, &[]));
        self.rest = rest;
        self.next = [&[], chunk];
        Some(self.continuation)
    }
}

fn put_header(chunk_stream: u8, message: &Message, length: usize, output: &mut impl BufMut) {
    output.put_u8(chunk_stream);
    output.put_uint(u64::from(message.timestamp_ms.min(EXTENDED)), 3);
    output.put_uint((length & 0xff_ffff) as u64, 3);
    output.put_u8(message.type_id);
    output.put_u32_le(message.stream_id);
    if message.timestamp_ms >= EXTENDED {
        output.put_u32(message.timestamp_ms);
    }
}

fn continuation(chunk_stream: u8, timestamp_ms: u32) -> Continuation {
    let mut bytes = [0; MAX_CONTINUATION_BYTES];
    bytes[0] = 0xc0 | chunk_stream;
    if timestamp_ms < EXTENDED {
        return Continuation { bytes, len: 1 };
    }
    bytes[1..].copy_from_slice(&timestamp_ms.to_be_bytes());
    Continuation {
        bytes,
        len: MAX_CONTINUATION_BYTES,
    }
}

struct Continuation {
    bytes: [u8; MAX_CONTINUATION_BYTES],
    len: usize,
}

impl std::ops::Deref for Continuation {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
