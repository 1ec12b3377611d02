//! The part that both sides of a connection share after the handshake: chunks, control messages,
//! acknowledgements.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use livetrail_engine::MediaFrame;
use livetrail_media::tag::{Intake, TagKind};

use super::{
    chunk::{ChunkLimits, ChunkReader, DEFAULT_CHUNK_BYTES, Message, write_message},
    message::{Command, Meaning, split_aggregate},
};
use crate::error::{Error, Result};

/// The other side must acknowledge after this many bytes. So do we, unless it sets another window.
pub(super) const WINDOW_ACK_BYTES: u32 = 2_500_000;
/// The smallest window that we accept. More frequent acknowledgements would cost more than the
/// input.
const MIN_WINDOW_ACK_BYTES: u32 = 4_096;

/// A message after the link has handled its part.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A command, and the message stream that it came on.
    Command(u32, Command),
    Media(Media),
    /// Another frame of the previous media message, which had several tracks.
    Frame(MediaFrame),
    /// A command that could not be decoded, and is dropped. The next message can be read, because
    /// the chunk stream has its bounds.
    Unreadable,
    /// The played stream has no more data.
    StreamEof,
}

/// A media message whose tag header has not been read yet.
#[derive(Debug)]
pub(super) struct Media {
    kind: TagKind,
    stream_id: u32,
    timestamp_ms: u32,
    body: Bytes,
}

/// One side of a connection after the handshake.
#[derive(Debug)]
pub(super) struct Link {
    reader: ChunkReader,
    out_chunk_bytes: u32,
    /// Bytes received, modulo 2^32, as acknowledgements count them.
    received: u32,
    acknowledged: u32,
    window_bytes: u32,
    /// The rest of a split aggregate: at most one message's worth.
    aggregated: VecDeque<Media>,
    intake: Intake,
    /// Commands and control messages that could not be decoded.
    unreadable: u64,
    report: Option<String>,
}

impl Link {
    pub(super) fn new(limits: ChunkLimits) -> Self {
        Self {
            reader: ChunkReader::new(limits),
            out_chunk_bytes: DEFAULT_CHUNK_BYTES,
            received: 0,
            acknowledged: 0,
            window_bytes: WINDOW_ACK_BYTES,
            aggregated: VecDeque::new(),
            intake: Intake::new(),
            unreadable: 0,
            report: None,
        }
    }

    /// The next message that the link does not handle itself; `None` until more input comes.
    pub(super) fn next(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<Option<Incoming>> {
        loop {
            if let Some(frame) = self.intake.next_frame() {
                return Ok(Some(Incoming::Frame(frame)));
            }
            if let Some(media) = self.aggregated.pop_front() {
                return Ok(Some(Incoming::Media(media)));
            }
            let before = input.len();
            let message = self.reader.next_message(input)?;
            self.count(before.saturating_sub(input.len()), output);
            let Some(message) = message else {
                return Ok(None);
            };
            let (timestamp_ms, stream_id) = (message.timestamp_ms, message.stream_id);
            let is_command = message.is_command();
            match message.meaning() {
                Meaning::SetChunkSize(size) => self.reader.set_chunk_size(size)?,
                Meaning::Abort { chunk_stream } => self.reader.abort(chunk_stream),
                Meaning::WindowAckSize(bytes) => {
                    self.window_bytes = bytes.max(MIN_WINDOW_ACK_BYTES)
                }
                Meaning::SetPeerBandwidth => {
                    self.send(&Message::window_ack_size(WINDOW_ACK_BYTES), output)
                }
                Meaning::PingRequest(timestamp) => {
                    self.send(&Message::ping_response(timestamp), output)
                }
                Meaning::Acknowledgement
                | Meaning::StreamBegin
                | Meaning::OtherControl
                | Meaning::Unknown => {}
                Meaning::Unreadable(error) => {
                    self.count_unreadable(&error);
                    if is_command {
                        return Ok(Some(Incoming::Unreadable));
                    }
                }
                Meaning::StreamEof => return Ok(Some(Incoming::StreamEof)),
                Meaning::Command(command) => {
                    return Ok(Some(Incoming::Command(stream_id, command)));
                }
                Meaning::Media { kind, body } => {
                    return Ok(Some(Incoming::Media(Media {
                        kind,
                        stream_id,
                        timestamp_ms,
                        body,
                    })));
                }
                Meaning::Aggregate(body) => {
                    let split = split_aggregate(&body, timestamp_ms).into_iter();
                    self.aggregated
                        .extend(split.map(|(kind, timestamp_ms, body)| Media {
                            kind,
                            stream_id,
                            timestamp_ms,
                            body,
                        }));
                }
            }
        }
    }

    /// The frame of a media message, if it has one. Further tracks of the message come as
    /// [`Incoming::Frame`].
    pub(super) fn frame(&mut self, media: &Media) -> Option<MediaFrame> {
        self.intake
            .take(media.kind, media.timestamp_ms, &media.body)
    }

    /// The number of messages that could not be decoded and were dropped.
    pub(super) fn unusable(&self) -> u64 {
        self.intake.unusable().saturating_add(self.unreadable)
    }

    /// A fault of a message that the other side has not made before, for the log.
    pub(super) fn take_report(&mut self) -> Option<String> {
        let media = || self.intake.take_report().map(|report| report.to_string());
        self.report.take().or_else(media)
    }

    /// Counts a message that could not be decoded. Only that message is dropped: the framing around
    /// it is intact.
    fn count_unreadable(&mut self, error: &Error) {
        if self.unreadable == 0 {
            self.report = Some(format!("message dropped: {error}"));
        }
        self.unreadable = self.unreadable.saturating_add(1);
    }

    pub(super) fn send(&self, message: &Message, output: &mut BytesMut) {
        write_message(message, self.out_chunk_bytes, output);
    }

    /// Tells the other side our chunk size, and uses it from then on.
    pub(super) fn set_out_chunk_size(&mut self, bytes: u32, output: &mut BytesMut) {
        self.send(&Message::set_chunk_size(bytes), output);
        self.out_chunk_bytes = bytes;
    }

    pub(super) fn set_limits(&mut self, limits: ChunkLimits) {
        self.reader.set_limits(limits);
    }

    fn count(&mut self, bytes: usize, output: &mut BytesMut) {
        self.received = self.received.wrapping_add((bytes & 0xffff_ffff) as u32);
        if self.received.wrapping_sub(self.acknowledged) >= self.window_bytes {
            self.acknowledged = self.received;
            self.send(&Message::acknowledgement(self.received), output);
        }
    }
}

impl Media {
    /// The message stream of the message.
    pub(super) fn stream_id(&self) -> u32 {
        self.stream_id
    }
}
