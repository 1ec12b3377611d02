//! What can be wrong with an engine's set-up, and with pushing to a session that has ended.

use crate::{
    app::MAX_RING_FRAMES,
    event::Reason,
    identity::{AppName, NameError, StreamKey},
};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong with an engine's configuration, or with a call to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An application's name is not a name.
    #[error("application {name:?}: not a name")]
    AppName {
        /// The text.
        name: String,
        /// The rule it breaks.
        source: NameError,
    },
    /// Two applications have one name.
    #[error("application {name}: configured twice")]
    DuplicateApp {
        /// The name.
        name: AppName,
    },
    /// The GOP cache and the lag need a ring that is too large.
    #[error(
        "application {app:?}: a ring of {frames} frames is more than the {MAX_RING_FRAMES} that a stream may have"
    )]
    RingTooLarge {
        /// The application.
        app: String,
        /// Frames asked for.
        frames: usize,
    },
    /// A viewer that may not be behind by a single frame would never get one.
    #[error("application {app:?}: a viewer's lag of 0 frames is not allowed, the least is 1")]
    NoLag {
        /// The application.
        app: String,
    },
    /// There is no such session, or it has ended.
    #[error("no live session has this id")]
    NoSuchSession,
    /// Nobody publishes the stream, and none is kept for its viewers.
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

/// The session has ended; no frame is taken any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended: {reason}")]
pub struct Ended {
    /// Why.
    pub reason: Reason,
}
