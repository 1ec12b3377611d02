//! A refusal by the server, over any of the protocols.

/// The server refused the attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {code}: {description}")]
pub(crate) struct Refused {
    /// An RTMP status such as `NetStream.Publish.BadName`, or an HTTP status.
    pub(crate) code: String,
    /// A text for people, or the stable label of a refusal over HTTP.
    pub(crate) description: String,
}

/// Turns a refusal into [`Refused`]. Any other error stays as it is.
pub(crate) fn refusal_of(error: livetrail_rtmp::Error) -> anyhow::Error {
    match error {
        livetrail_rtmp::Error::Refused { code, description } => {
            Refused { code, description }.into()
        }
        other => other.into(),
    }
}
