//! Plays over any of the protocols.

use livetrail_engine::MediaFrame;
use livetrail_rtmp::{RtmpClient, RtmpPlayer};

use super::{PlayAddress, http::HttpPlayer};

/// The server refused the attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {code}: {description}")]
pub(crate) struct Refused {
    /// An RTMP status such as `NetStream.Publish.BadName`, or an HTTP status.
    pub(crate) code: String,
    /// A text for people, or the stable label of a refusal over HTTP.
    pub(crate) description: String,
}

/// A play that the server has started.
pub(crate) enum Player {
    Rtmp(Box<RtmpPlayer>),
    Http(Box<HttpPlayer>),
}

impl Player {
    /// Connects and asks to play.
    ///
    /// # Errors
    /// [`Refused`], or the error of the connection.
    pub(crate) async fn start(address: &PlayAddress) -> anyhow::Result<Self> {
        match address {
            PlayAddress::Rtmp(url) => {
                let player = RtmpClient::new().play(url).await.map_err(refusal_of)?;
                Ok(Self::Rtmp(Box::new(player)))
            }
            PlayAddress::Http(url) => Ok(Self::Http(Box::new(HttpPlayer::start(url).await?))),
        }
    }

    /// The next frame, or `None` when the stream has ended.
    ///
    /// # Errors
    /// The server ended the session for another reason, or the connection failed.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<MediaFrame>> {
        match self {
            Self::Rtmp(player) => Ok(player.next().await?),
            Self::Http(player) => player.next().await,
        }
    }

    /// Tells the server that the client leaves. An error is no problem, because the server may be
    /// gone already.
    pub(crate) async fn close(self) {
        match self {
            Self::Rtmp(player) => {
                if let Err(error) = player.close().await {
                    tracing::debug!(%error, "closing");
                }
            }
            Self::Http(_) => {}
        }
    }
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
