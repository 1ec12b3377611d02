//! The crate's one error type: a peer's violation, or a failed connection.

use std::{io, time::Duration};

use livetrail_engine::Reason;
use livetrail_gateway::ListenError;

/// Why a connection, or an attempt to make one, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first byte is not the version of RTMP.
    #[error("handshake: version {version} instead of 3")]
    HandshakeVersion {
        /// The first byte.
        version: u8,
    },
    /// A chunk without a full header on a chunk stream that has not had one.
    #[error("chunk stream {chunk_stream}: the first chunk has no message header")]
    ChunkHeaderMissing {
        /// The chunk stream id.
        chunk_stream: u32,
    },
    /// A new message header on a chunk stream whose previous message was not complete.
    #[error("chunk stream {chunk_stream}: a message begins inside another")]
    ChunkInterrupted {
        /// The chunk stream id.
        chunk_stream: u32,
    },
    /// More chunk streams than the limit.
    #[error("more than {limit} chunk streams")]
    TooManyChunkStreams {
        /// The limit.
        limit: usize,
    },
    /// A message that is longer than the limit at this point of the session.
    #[error("a message of {bytes} bytes; at most {limit} are allowed")]
    MessageTooLarge {
        /// The announced length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Incomplete messages hold more bytes than the limit.
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
    /// A command that lacks a required part, or comes at the wrong time.
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
        /// The status code, such as `NetStream.Publish.BadName`.
        code: String,
        /// The description for people.
        description: String,
    },
    /// The other side ended a session that it had admitted, with its status code.
    #[error("ended by the server: {code}: {description}")]
    Ended {
        /// The status code, such as `NetStream.Play.InsufficientBW`.
        code: String,
        /// The description for people.
        description: String,
    },
    /// The text is not an RTMP address.
    #[error("{url}: {detail}")]
    Url {
        /// The text, without its secrets.
        url: String,
        /// What is wrong with the text.
        detail: &'static str,
    },
    /// The server cannot listen on the address.
    #[error(transparent)]
    Listen(ListenError),
    /// The peer exceeded a timeout.
    #[error("timed out after {limit:?}: {what}")]
    Timeout {
        /// What the peer had to do.
        what: &'static str,
        /// The timeout.
        limit: Duration,
    },
    /// The address needs TLS, and the client has none.
    #[error("the address begins with rtmps://, and this client has no TLS")]
    NoTls,
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

    /// The reason with which a session ends after this error.
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
