//! Bytes to tags, incrementally.

use bytes::{Buf, Bytes, BytesMut};

use super::{Header, MAX_TAG_BYTES, TAG_HEADER_BYTES, Tag};
use crate::{
    error::{Error, Result},
    read::Reader,
    tag::TagKind,
};

/// A demuxer's default limit for a tag's body: the largest 24-bit size.
pub const DEFAULT_MAX_TAG_BYTES: usize = MAX_TAG_BYTES;

const FILE_HEADER_BYTES: usize = 9;
/// A header may be longer than the nine defined bytes, but no known writer adds more than a few.
const MAX_DATA_OFFSET: u32 = 4096;
const WHAT: &str = "FLV";

/// Splits an FLV stream into its tags. The input comes in pieces of any size.
///
/// The drain contract: [`push`](Self::push) bytes, then call [`next_tag`](Self::next_tag) until it
/// gives `None`, then push more. Between drains it holds at most one incomplete tag (11 bytes and
/// the largest body) in addition to the bytes pushed since. The first error is final: all later
/// calls return it again.
#[derive(Debug)]
pub struct Demuxer {
    buffer: BytesMut,
    state: State,
    max_tag_bytes: usize,
}

#[derive(Debug, Clone)]
enum State {
    /// The file's header is next.
    FileHeader,
    /// Undefined bytes of the header, and then the size field of the previous tag, which does not
    /// exist.
    Skip {
        header: Header,
        left: usize,
    },
    /// A tag's header is next.
    TagHeader {
        header: Header,
    },
    /// A tag's body and then its size, which is redundant.
    Body {
        header: Header,
        kind: Option<TagKind>,
        timestamp_ms: u32,
        size: usize,
    },
    Failed(Error),
}

impl Default for Demuxer {
    fn default() -> Self {
        Self::new()
    }
}

impl Demuxer {
    /// A demuxer that accepts tags up to [`DEFAULT_MAX_TAG_BYTES`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_tag_bytes(DEFAULT_MAX_TAG_BYTES)
    }

    /// A demuxer that refuses tags with larger bodies.
    #[must_use]
    pub fn with_max_tag_bytes(max_tag_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            state: State::FileHeader,
            max_tag_bytes,
        }
    }

    /// Adds the next bytes of the stream, in pieces of any size.
    pub fn push(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Failed(_)) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole tag; `None` until more bytes arrive. Skips tags of undefined types.
    ///
    /// # Errors
    /// Input that is not FLV, and tags that are encrypted or too large. The size after each tag is
    /// not checked, because some files have wrong ones.
    pub fn next_tag(&mut self) -> Result<Option<Tag>> {
        loop {
            match self.step() {
                Ok(Step::Tag(tag)) => return Ok(Some(tag)),
                Ok(Step::Again) => {}
                Ok(Step::Wait) => return Ok(None),
                Err(error) => {
                    self.buffer = BytesMut::new();
                    self.state = State::Failed(error.clone());
                    return Err(error);
                }
            }
        }
    }

    /// The file's header, once it was read.
    #[must_use]
    pub fn header(&self) -> Option<Header> {
        match &self.state {
            State::FileHeader | State::Failed(_) => None,
            State::Skip { header, .. }
            | State::TagHeader { header }
            | State::Body { header, .. } => Some(*header),
        }
    }

    /// Whether the stream may end here: after a whole tag (its trailing size may be missing), or
    /// before the first.
    #[must_use]
    pub fn is_at_boundary(&self) -> bool {
        matches!(self.state, State::TagHeader { .. } | State::Skip { .. }) && self.buffer.is_empty()
    }

    fn step(&mut self) -> Result<Step> {
        match self.state.clone() {
            State::FileHeader => self.file_header(),
            State::Skip { header, left } => {
                let now = left.min(self.buffer.len());
                self.buffer.advance(now);
                let left = left.saturating_sub(now);
                self.state = if left == 0 {
                    State::TagHeader { header }
                } else {
                    State::Skip { header, left }
                };
                Ok(if left == 0 { Step::Again } else { Step::Wait })
            }
            State::TagHeader { header } => self.tag_header(header),
            State::Body {
                header,
                kind,
                timestamp_ms,
                size,
            } => {
                let Some(body) = self.take(size) else {
                    return Ok(Step::Wait);
                };
                self.state = State::Skip { header, left: 4 };
                Ok(kind.map_or(Step::Again, |kind| {
                    Step::Tag(Tag {
                        kind,
                        timestamp_ms,
                        body,
                    })
                }))
            }
            State::Failed(error) => Err(error),
        }
    }

    fn file_header(&mut self) -> Result<Step> {
        let Some(bytes) = self.take(FILE_HEADER_BYTES) else {
            return Ok(Step::Wait);
        };
        let mut reader = Reader::new(&bytes, WHAT);
        if reader.take(3)? != b"FLV" {
            return Err(Error::FlvSignature);
        }
        let version = reader.u8()?;
        if version != 1 {
            return Err(Error::FlvVersion { version });
        }
        let flags = reader.u8()?;
        let offset = reader.u32()?;
        if !(FILE_HEADER_BYTES as u32..=MAX_DATA_OFFSET).contains(&offset) {
            return Err(Error::FlvDataOffset { offset });
        }
        let header = Header {
            has_audio: flags & 4 != 0,
            has_video: flags & 1 != 0,
        };
        // The size field before the first tag counts as header too: nine bytes are read, four
        // follow.
        let left = (offset as usize)
            .saturating_sub(FILE_HEADER_BYTES)
            .saturating_add(4);
        self.state = State::Skip { header, left };
        Ok(Step::Again)
    }

    fn tag_header(&mut self, header: Header) -> Result<Step> {
        let Some(bytes) = self.take(TAG_HEADER_BYTES) else {
            return Ok(Step::Wait);
        };
        let mut reader = Reader::new(&bytes, WHAT);
        let kind = reader.u8()?;
        if kind & 0x20 != 0 {
            return Err(Error::FlvEncrypted);
        }
        let size = reader.u24()? as usize;
        if size > self.max_tag_bytes {
            return Err(Error::FlvTagSize {
                size,
                limit: self.max_tag_bytes,
            });
        }
        let [a, b, c, high] = reader.array()?;
        let timestamp_ms = u32::from_be_bytes([high, a, b, c]);
        self.state = State::Body {
            header,
            kind: TagKind::from_id(kind & 0x1f),
            timestamp_ms,
            size,
        };
        Ok(Step::Again)
    }

    fn take(&mut self, len: usize) -> Option<Bytes> {
        (self.buffer.len() >= len).then(|| self.buffer.split_to(len).freeze())
    }
}

enum Step {
    Tag(Tag),
    Again,
    Wait,
}
