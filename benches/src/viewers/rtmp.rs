//! Reads messages from RTMP chunks without keeping their payload (RTMP 1.0 section 5.3).

use anyhow::{Result, ensure};

use super::message::{Message, Payload, SET_CHUNK_SIZE};

/// S0, S1 and S2.
pub const HANDSHAKE_BYTES: usize = 1 + 1_536 + 1_536;

/// Basic header, message header and extended time at their longest.
const MAX_HEADER_BYTES: usize = 3 + 11 + 4;

/// The reader of one connection.
#[derive(Debug)]
pub struct Chunks {
    skip: usize,
    chunk_bytes: u32,
    streams: Vec<ChunkStream>,
    /// Where in `streams` the current chunk belongs, and what it has left.
    current: usize,
    left_in_chunk: u32,
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: usize,
}

#[derive(Debug)]
struct ChunkStream {
    id: u32,
    kind: u8,
    length: u32,
    extended: bool,
    left: u32,
    payload: Payload,
}

impl Chunks {
    /// After this many bytes that are not chunks.
    pub fn after(skip: usize) -> Self {
        Self {
            skip,
            chunk_bytes: 128,
            streams: Vec::new(),
            current: 0,
            left_in_chunk: 0,
            header: [0; MAX_HEADER_BYTES],
            header_bytes: 0,
        }
    }

    /// Calls `each` with every message that these bytes complete.
    pub fn feed(&mut self, mut input: &[u8], mut each: impl FnMut(Message)) -> Result<()> {
        let skipped = self.skip.min(input.len());
        self.skip -= skipped;
        input = &input[skipped..];
        while !input.is_empty() {
            if self.left_in_chunk == 0 {
                let Some(used) = self.begin_chunk(input)? else {
                    return Ok(());
                };
                input = &input[used..];
            }
            let stream = &mut self.streams[self.current];
            let n = (self.left_in_chunk as usize).min(input.len());
            stream.payload.push(&input[..n]);
            stream.left -= n as u32;
            self.left_in_chunk -= n as u32;
            input = &input[n..];
            if stream.left == 0 && self.left_in_chunk == 0 {
                let message = stream.payload.finish(stream.kind);
                if message.kind == SET_CHUNK_SIZE && message.bytes == 4 {
                    self.chunk_bytes = u32::from_be_bytes(message.head).clamp(1, 0xff_ffff);
                }
                each(message);
            }
        }
        Ok(())
    }

    /// Reads a chunk's header, of which an earlier input may have brought a part. Returns how many
    /// bytes of `input` it consumed.
    fn begin_chunk(&mut self, input: &[u8]) -> Result<Option<usize>> {
        let before = self.header_bytes;
        let n = input.len().min(MAX_HEADER_BYTES - before);
        self.header[before..before + n].copy_from_slice(&input[..n]);
        let header = self.header;
        if let Some(used) = self.parse_header(&header[..before + n])? {
            self.header_bytes = 0;
            return Ok(Some(used - before));
        }
        self.header_bytes = before + n;
        Ok(None)
    }

    fn parse_header(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let id_bytes = match bytes[0] & 0x3f {
            0 => 2,
            1 => 3,
            _ => 1,
        };
        let fields_bytes = [11, 7, 3, 0][usize::from(bytes[0] >> 6)];
        if bytes.len() < id_bytes + fields_bytes {
            return Ok(None);
        }
        let id = match id_bytes {
            1 => u32::from(bytes[0] & 0x3f),
            2 => 64 + u32::from(bytes[1]),
            _ => 64 + u32::from(bytes[1]) + 256 * u32::from(bytes[2]),
        };
        let fields = &bytes[id_bytes..id_bytes + fields_bytes];
        let known = self.streams.iter().position(|stream| stream.id == id);
        ensure!(
            known.is_some() || fields_bytes == 11,
            "chunk stream {id} begins without a full header"
        );
        let extended = match fields {
            [a, b, c, ..] => [*a, *b, *c] == [0xff; 3],
            _ => known.is_some_and(|at| self.streams[at].extended),
        };
        let used = id_bytes + fields_bytes + if extended { 4 } else { 0 };
        if bytes.len() < used {
            return Ok(None);
        }
        self.current = known.unwrap_or_else(|| {
            self.streams.push(ChunkStream {
                id,
                kind: 0,
                length: 0,
                extended,
                left: 0,
                payload: Payload::default(),
            });
            self.streams.len() - 1
        });
        let stream = &mut self.streams[self.current];
        stream.extended = extended;
        if let [_, _, _, a, b, c, kind, ..] = fields {
            ensure!(stream.left == 0, "a message begins within another one");
            stream.length = u32::from_be_bytes([0, *a, *b, *c]);
            stream.kind = *kind;
        }
        if stream.left == 0 {
            stream.left = stream.length;
        }
        self.left_in_chunk = stream.left.min(self.chunk_bytes);
        Ok(Some(used))
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use livetrail_rtmp::protocol::{Message as Written, write_message};

    use super::*;

    #[test]
    fn messages_are_counted_however_the_bytes_are_cut() {
        let payloads: Vec<Vec<u8>> = [1_usize, 127, 128, 129, 5_000]
            .iter()
            .map(|n| (0..*n).map(|i| (i * n) as u8).collect())
            .collect();
        let mut bytes = BytesMut::from(&[7_u8; 10][..]);
        for (at, payload) in payloads.iter().enumerate() {
            let message = Written {
                type_id: if at % 2 == 0 { 8 } else { 9 },
                timestamp_ms: 0xff_fff0 + 8 * at as u32,
                stream_id: 1,
                payload: Bytes::from(payload.clone()),
            };
            write_message(&message, 128, &mut bytes);
        }
        for piece in [1, 3, 11, 12, 130, 10_000] {
            let mut chunks = Chunks::after(10);
            let mut seen = Vec::new();
            for input in bytes.chunks(piece) {
                chunks.feed(input, |message| seen.push(message)).unwrap();
            }
            let expected: Vec<_> = payloads
                .iter()
                .enumerate()
                .map(|(at, payload)| {
                    let mut whole = Payload::default();
                    whole.push(payload);
                    whole.finish(if at % 2 == 0 { 8 } else { 9 })
                })
                .collect();
            assert_eq!(seen, expected, "in pieces of {piece}");
        }
    }
}
