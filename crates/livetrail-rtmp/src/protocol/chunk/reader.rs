//! Chunks to messages.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};

use super::{DEFAULT_CHUNK_BYTES, EXTENDED, Message};
use crate::error::{Error, Result};

/// Bounds on what a peer can make a [`ChunkReader`] hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkLimits {
    /// The maximum length of a message in bytes. The format allows 16,777,215.
    pub max_message_bytes: usize,
    /// The maximum number of chunk streams of a peer. Real peers use up to ten.
    pub max_chunk_streams: usize,
    /// The maximum number of bytes of incomplete messages, in all chunk streams together.
    pub max_partial_bytes: usize,
}

impl Default for ChunkLimits {
    /// 16 MiB per message, 64 chunk streams, 24 MiB of incomplete messages.
    fn default() -> Self {
        Self {
            max_message_bytes: 16 << 20,
            max_chunk_streams: 64,
            max_partial_bytes: 24 << 20,
        }
    }
}

/// Joins chunks to messages, separately for each chunk stream.
///
/// The drain rule: append bytes to the input, call [`next_message`](Self::next_message) until it
/// returns `None`, append more. Less than one chunk header (18 bytes) then remains in the input.
/// Memory grows with the received bytes, never with announced lengths.
#[derive(Debug)]
pub struct ChunkReader {
    limits: ChunkLimits,
    chunk_bytes: usize,
    pub(super) streams: HashMap<u32, ChunkStream>,
    /// The chunk whose body is being read.
    current: Option<Current>,
    partial_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    chunk_stream: u32,
    left: usize,
}

/// The last header on a chunk stream, parts of which later headers may omit.
#[derive(Debug, Default)]
pub(super) struct ChunkStream {
    timestamp_ms: u32,
    /// The last time field, delta or not. A message that begins with fmt 3 adds it.
    delta_ms: u32,
    extended: bool,
    length: usize,
    type_id: u8,
    stream_id: u32,
    /// Set between the first and the last chunk of a message.
    in_message: bool,
    pub(super) partial: BytesMut,
}

/// A parsed chunk header and its size.
struct Header {
    fmt: u8,
    chunk_stream: u32,
    time: u32,
    extended: bool,
    length: usize,
    type_id: u8,
    stream_id: u32,
    bytes: usize,
}

impl ChunkReader {
    /// A reader for a peer that has not set its chunk size yet.
    #[must_use]
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            chunk_bytes: DEFAULT_CHUNK_BYTES as usize,
            streams: HashMap::new(),
            current: None,
            partial_bytes: 0,
        }
    }

    /// The next complete message; takes its bytes from the front of `input`. `None` until more
    /// comes.
    ///
    /// The caller applies "set chunk size" and "abort" before it requests the next message.
    ///
    /// # Errors
    /// A violation of the format, or of a limit. The stream cannot be read any further.
    pub fn next_message(&mut self, input: &mut BytesMut) -> Result<Option<Message>> {
        loop {
            let current = match self.current {
                Some(current) => current,
                None => match self.begin_chunk(input)? {
                    Some(current) => current,
                    None => return Ok(None),
                },
            };
            if let Some(message) = self.body(current, input)? {
                return Ok(Some(message));
            }
            if self.current.is_some() {
                return Ok(None);
            }
        }
    }

    /// Applies the peer's "set chunk size". A size above the maximum length of a message has no
    /// further effect.
    ///
    /// # Errors
    /// [`Error::ChunkSize`] for 0 and for a size that does not fit 31 bits.
    pub fn set_chunk_size(&mut self, size: u32) -> Result<()> {
        if size == 0 || size > i32::MAX.cast_unsigned() {
            return Err(Error::ChunkSize { size });
        }
        self.chunk_bytes = size as usize;
        Ok(())
    }

    /// Applies the peer's "abort": discards the incomplete message of a chunk stream.
    pub fn abort(&mut self, chunk_stream: u32) {
        if let Some(stream) = self.streams.get_mut(&chunk_stream) {
            self.partial_bytes = self.partial_bytes.saturating_sub(stream.partial.len());
            stream.partial = BytesMut::new();
            stream.in_message = false;
        }
    }

    /// Sets new limits from now on.
    pub fn set_limits(&mut self, limits: ChunkLimits) {
        self.limits = limits;
    }

    /// The current bytes of incomplete messages.
    #[must_use]
    pub fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }

    fn begin_chunk(&mut self, input: &mut BytesMut) -> Result<Option<Current>> {
        let Some(header) = self.parse_header(input) else {
            return Ok(None);
        };
        let chunk_stream = header.chunk_stream;
        if !self.streams.contains_key(&chunk_stream) {
            // Some clients begin a chunk stream with fmt 1: a time delta from 0, on message stream
            // 0.
            if header.fmt > 1 {
                return Err(Error::ChunkHeaderMissing { chunk_stream });
            }
            if self.streams.len() >= self.limits.max_chunk_streams {
                return Err(Error::TooManyChunkStreams {
                    limit: self.limits.max_chunk_streams,
                });
            }
        }
        let stream = self.streams.entry(chunk_stream).or_default();
        if !stream.in_message {
            stream.begin(&header, self.limits.max_message_bytes)?;
        } else if header.fmt != 3 {
            return Err(Error::ChunkInterrupted { chunk_stream });
        }
        input.advance(header.bytes);
        let left = stream
            .length
            .saturating_sub(stream.partial.len())
            .min(self.chunk_bytes);
        let current = Current { chunk_stream, left };
        self.current = Some(current);
        Ok(Some(current))
    }

    /// Moves the available part of the chunk's body. Returns the message if this was its last part.
    fn body(&mut self, current: Current, input: &mut BytesMut) -> Result<Option<Message>> {
        let Some(stream) = self.streams.get_mut(&current.chunk_stream) else {
            return Ok(None);
        };
        if stream.partial.is_empty() && stream.length == current.left && input.len() >= current.left
        {
            self.current = None;
            let payload = input.split_to(current.left).freeze();
            return Ok(Some(stream.finish(payload)));
        }
        let now = current.left.min(input.len());
        self.partial_bytes = self.partial_bytes.saturating_add(now);
        if self.partial_bytes > self.limits.max_partial_bytes {
            return Err(Error::TooMuchPartialData {
                limit: self.limits.max_partial_bytes,
            });
        }
        stream.take_partial(&input.split_to(now));
        let left = current.left.saturating_sub(now);
        self.current = (left > 0).then_some(Current { left, ..current });
        if stream.partial.len() < stream.length {
            return Ok(None);
        }
        self.partial_bytes = self.partial_bytes.saturating_sub(stream.length);
        let payload = std::mem::take(&mut stream.partial).freeze();
        Ok(Some(stream.finish(payload)))
    }

    /// The header at the front of the input, once it is complete. The input stays unchanged.
    fn parse_header(&self, input: &BytesMut) -> Option<Header> {
        let mut rest: &[u8] = input;
        let first = take::<1>(&mut rest)?[0];
        let fmt = first >> 6;
        let chunk_stream = match first & 0x3f {
            0 => u32::from(take::<1>(&mut rest)?[0]).saturating_add(64),
            1 => u32::from(u16::from_le_bytes(take(&mut rest)?)).saturating_add(64),
            id => u32::from(id),
        };
        let known = self.streams.get(&chunk_stream);
        let mut header = Header {
            fmt,
            chunk_stream,
            time: known.map_or(0, |stream| stream.delta_ms),
            extended: known.is_some_and(|stream| stream.extended),
            length: known.map_or(0, |stream| stream.length),
            type_id: known.map_or(0, |stream| stream.type_id),
            stream_id: known.map_or(0, |stream| stream.stream_id),
            bytes: 0,
        };
        if fmt < 3 {
            header.time = u24(take(&mut rest)?);
            header.extended = header.time == EXTENDED;
        }
        if fmt < 2 {
            header.length = u24(take(&mut rest)?) as usize;
            header.type_id = take::<1>(&mut rest)?[0];
        }
        if fmt == 0 {
            header.stream_id = u32::from_le_bytes(take(&mut rest)?);
        }
        if header.extended {
            let mut after = rest;
            let time = u32::from_be_bytes(take(&mut after)?);
            // Some writers omit it inside a message. The expected value is known, so any other
            // value is payload.
            let inside = fmt == 3 && known.is_some_and(|stream| stream.in_message);
            if !inside || time == header.time {
                header.time = time;
                rest = after;
            }
        }
        header.bytes = input.len().saturating_sub(rest.len());
        Some(header)
    }
}

impl ChunkStream {
    fn begin(&mut self, header: &Header, max_message_bytes: usize) -> Result<()> {
        if header.length > max_message_bytes {
            return Err(Error::MessageTooLarge {
                bytes: header.length,
                limit: max_message_bytes,
            });
        }
        self.timestamp_ms = if header.fmt == 0 {
            header.time
        } else {
            self.timestamp_ms.wrapping_add(header.time)
        };
        self.delta_ms = header.time;
        self.extended = header.extended;
        self.length = header.length;
        self.type_id = header.type_id;
        self.stream_id = header.stream_id;
        self.in_message = true;
        Ok(())
    }

    /// Grows by doubling as bytes come, up to the message's length, so that one long message is not
    /// copied many times.
    fn take_partial(&mut self, bytes: &[u8]) {
        let needed = self.partial.len().saturating_add(bytes.len());
        if self.partial.capacity() < needed {
            let target = needed
                .saturating_mul(2)
                .max(4096)
                .min(self.length.max(needed));
            self.partial
                .reserve(target.saturating_sub(self.partial.len()));
        }
        self.partial.extend_from_slice(bytes);
    }

    fn finish(&mut self, payload: Bytes) -> Message {
        self.in_message = false;
        Message {
            type_id: self.type_id,
            timestamp_ms: self.timestamp_ms,
            stream_id: self.stream_id,
            payload,
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn u24([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}
