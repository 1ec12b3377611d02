//! Errors of an engine's configuration, and of a push to a session that has ended.

use crate::{
    bus::MAX_RING_FRAMES,
    event::Reason,
    identity::{AppName, NameError, StreamKey},
};

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in an engine's configuration, or in a call to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An application's name is invalid.
    #[error("application {name:?}: not a name")]
    AppName {
        /// The text.
        name: String,
        /// The rule that it breaks.
        source: NameError,
    },
    /// Two applications have the same name.
    #[error("application {name}: configured twice")]
    DuplicateApp {
        /// The name.
        name: AppName,
    },
    /// The GOP cache and the lag need a ring that is too large.
    #[error(
        "application {app:?}: a ring of {frames} frames; at most {MAX_RING_FRAMES} are allowed"
    )]
    RingTooLarge {
        /// The application.
        app: String,
        /// The requested number of frames.
        frames: usize,
    },
    /// The allowed lag is 0 frames. Such a viewer would never get a frame.
    #[error("application {app:?}: a viewer's lag of 0 frames is not allowed; the minimum is 1")]
    NoLag {
        /// The application.
        app: String,
    },
    /// There is no such session, or it has ended.
    #[error("no live session has this id")]
    NoSuchSession,
    /// Nobody publishes the stream, and it is not kept for viewers.
    #[error("stream {key} is not live")]
    NoSuchStream {
        /// The stream.
        key: StreamKey,
    },
    /// A token cannot be made or its key is too short.
    #[error("signing key {name:?}: {what}")]
    SigningKey {
        /// The key's configured name.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// The session has ended and accepts no more frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended: {reason}")]
#[non_exhaustive]
pub struct Ended {
    /// The reason.
    pub reason: Reason,
}
