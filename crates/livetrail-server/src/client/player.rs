//! Plays over any of the protocols.

use livetrail_engine::MediaFrame;
use livetrail_rtmp::{RtmpClient, RtmpPlayer};
use livetrail_tls::ClientTls;

use super::{PlayAddress, http::HttpPlayer, refused::refusal_of};

/// A play that the server has started.
pub(crate) enum Player {
    Rtmp(Box<RtmpPlayer>),
    Http(Box<HttpPlayer>),
}

impl Player {
    /// Connects and asks to play. An address of TLS needs `tls`.
    ///
    /// # Errors
    /// [`Refused`](super::Refused), or the error of the connection.
    pub(crate) async fn start(
        address: &PlayAddress,
        tls: Option<ClientTls>,
    ) -> anyhow::Result<Self> {
        match address {
            PlayAddress::Rtmp(url) => {
                let client = match tls {
                    Some(tls) => RtmpClient::new().tls(tls),
                    None => RtmpClient::new(),
                };
                let player = client.play(url).await.map_err(refusal_of)?;
                Ok(Self::Rtmp(Box::new(player)))
            }
            PlayAddress::Http(url) => Ok(Self::Http(Box::new(HttpPlayer::start(url, tls).await?))),
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

    /// Tells the server that the client leaves. An error is harmless, because the server may be
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
