//! The part of a message that the load client keeps: enough to recognise the message.

/// Bytes of a message that are kept as they are.
pub const HEAD_BYTES: usize = 4;

pub const SET_CHUNK_SIZE: u8 = 1;
pub const AUDIO: u8 = 8;
pub const VIDEO: u8 = 9;

/// A whole message, as RTMP and FLV number its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Message {
    pub kind: u8,
    pub bytes: u32,
    /// CRC-32 of the payload.
    pub crc: u32,
    /// The payload's first bytes; zeros after a shorter payload.
    pub head: [u8; HEAD_BYTES],
}

impl Message {
    /// A frame, that is, no decoder configuration: those are repeated to each viewer that joins.
    pub fn is_frame(&self) -> bool {
        let [first, second, ..] = self.head;
        match self.kind {
            VIDEO if first & 0x80 != 0 => matches!(first & 0x0f, 1 | 3),
            VIDEO => first & 0x0f != 7 || second == 1,
            AUDIO => first >> 4 != 10 || second == 1,
            _ => false,
        }
    }

    /// A picture that a decoder can begin with.
    pub fn is_keyframe(&self) -> bool {
        self.kind == VIDEO && self.is_frame() && (self.head[0] >> 4) & 7 == 1
    }
}

/// A message that is not complete yet.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    crc: crc32fast::Hasher,
    head: [u8; HEAD_BYTES],
    bytes: u32,
}

impl Payload {
    pub fn push(&mut self, piece: &[u8]) {
        let at = self.bytes as usize;
        if at < HEAD_BYTES {
            let n = piece.len().min(HEAD_BYTES - at);
            self.head[at..at + n].copy_from_slice(&piece[..n]);
        }
        self.crc.update(piece);
        self.bytes += piece.len() as u32;
    }

    /// The message; the next one can begin.
    pub fn finish(&mut self, kind: u8) -> Message {
        let whole = std::mem::take(self);
        Message {
            kind,
            bytes: whole.bytes,
            crc: whole.crc.finalize(),
            head: whole.head,
        }
    }
}
