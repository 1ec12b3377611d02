//! The crate's one error type: what a peer did wrong, or what happened to its connection.

use std::{io, time::Duration};

use livetrail_engine::Reason;
use livetrail_gateway::ListenError;

/// Why a connection, or an attempt to make one, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first byte is not RTMP's version.
    #[error("handshake: version {version} instead of 3")]
    HandshakeVersion {
        /// The byte.
        version: u8,
    },
    /// A chunk without a full header on a chunk stream that has had none.
    #[error("chunk stream {chunk_stream}: the first chunk has no message header")]
    ChunkHeaderMissing {
        /// The chunk stream id.
        chunk_stream: u32,
    },
    /// A new message header before the message on the same chunk stream was complete.
    #[error("chunk stream {chunk_stream}: a message begins inside another")]
    ChunkInterrupted {
        /// The chunk stream id.
        chunk_stream: u32,
    },
    /// More chunk streams than allowed.
    #[error("more than {limit} chunk streams")]
    TooManyChunkStreams {
        /// The limit.
        limit: usize,
    },
    /// A message longer than allowed at this point of the session.
    #[error("a message of {bytes} bytes, allowed are {limit}")]
    MessageTooLarge {
        /// Its announced length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Incomplete messages hold more bytes than allowed.
    #[error("incomplete messages hold more than {limit} bytes")]
    TooMuchPartialData {
        /// The limit.
        limit: usize,
    },
    /// A chunk size of 0, or one with the first bit set (RTMP 1.0 section 5.4.1).
    #[error("chunk size {size:#x} is not allowed")]
    ChunkSize {
        /// The size as sent.
        size: u32,
    },
    /// A control message that is too short.
    #[error("control message of type {type_id} is too short")]
    ControlTooShort {
        /// The message type.
        type_id: u8,
    },
    /// A command or media message that cannot be read.
    #[error(transparent)]
    Media(#[from] livetrail_media::Error),
    /// A command that lacks what it must have, or comes at the wrong time.
    #[error("command {command}: {detail}")]
    Command {
        /// The command's name.
        command: &'static str,
        /// What is wrong.
        detail: &'static str,
    },
    /// The other side refused, with its status code.
    #[error("refused: {code}: {description}")]
    Refused {
        /// Such as `NetStream.Publish.BadName`.
        code: String,
        /// For people.
        description: String,
    },
    /// The other side ended a session that it had admitted, with its status code.
    #[error("ended by the server: {code}: {description}")]
    Ended {
        /// Such as `NetStream.Play.InsufficientBW`.
        code: String,
        /// For people.
        description: String,
    },
    /// The text is not an RTMP address.
    #[error("{url}: {detail}")]
    Url {
        /// The text, without its secrets.
        url: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(ListenError),
    /// The peer took longer than allowed.
    #[error("timed out after {limit:?}: {what}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// The connection failed.
    #[error("connection failed")]
    Io(#[from] io::Error),
}

impl Error {
    pub(crate) fn listen(error: io::Error) -> Self {
        Self::Listen(error.into())
    }

    /// Why a session that meets this error ends.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Closed => Reason::ClientClosed,
            Self::Io(_) | Self::Timeout { .. } => Reason::NetworkError,
            _ => Reason::ProtocolError,
        }
    }
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;
