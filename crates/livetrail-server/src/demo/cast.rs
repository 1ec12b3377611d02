//! The clients of the demo: a publisher, viewers, and two clients that are refused. Each has its
//! own socket.

use anyhow::{Context, bail};
use livetrail_engine::{MediaFrame, MediaKind};
use livetrail_rtmp::{Pacer, RtmpClient, RtmpPublisher, RtmpUrl};
use tokio::task::JoinHandle;

use crate::client::{PlayAddress, Player, Refused, refusal_of};

/// The frames that the publisher sent.
pub(super) struct Published {
    /// Frames of all kinds.
    pub(super) frames: u64,
    /// Their payload bytes.
    pub(super) bytes: u64,
}

/// The frames that a viewer received.
pub(super) struct Played {
    /// Frames of all kinds, in order.
    pub(super) frames: Vec<MediaFrame>,
}

/// Starts to publish the clip in real time. The task ends when the whole clip is sent.
pub(super) async fn publish(
    url: &str,
    key: &str,
    clip: Vec<MediaFrame>,
) -> anyhow::Result<JoinHandle<anyhow::Result<Published>>> {
    let url = RtmpUrl::parse(url)?.with_token(key);
    let publisher = RtmpClient::new().publish(&url).await;
    let publisher = publisher.context("publishing")?;
    Ok(tokio::spawn(async move {
        send(publisher, &clip).await.context("publishing")
    }))
}

async fn send(mut publisher: RtmpPublisher, clip: &[MediaFrame]) -> anyhow::Result<Published> {
    let mut pacer = Pacer::new();
    let mut published = Published {
        frames: 0,
        bytes: 0,
    };
    for frame in clip {
        if frame.kind != MediaKind::Data {
            let due = pacer.due(frame.dts_ms());
            publisher.wait_until(due).await?;
        }
        publisher.push(frame).await?;
        published.frames += 1;
        published.bytes += frame.payload.len() as u64;
    }
    publisher.close().await?;
    Ok(published)
}

/// Starts to play. The task ends with the stream.
pub(super) async fn play(
    url: String,
    key: String,
) -> anyhow::Result<JoinHandle<anyhow::Result<Played>>> {
    let address = PlayAddress::parse(&url, Some(&key))?;
    let context = format!("playing {address}");
    let mut player = Player::start(&address, None)
        .await
        .context(context.clone())?;
    Ok(tokio::spawn(async move {
        let mut frames = Vec::new();
        while let Some(frame) = player.next().await.context(context.clone())? {
            frames.push(frame);
        }
        player.close().await;
        Ok(Played { frames })
    }))
}

/// Tries to publish with a wrong key. Returns how the server refused that.
pub(super) async fn refused_publisher(url: &str, key: &str) -> anyhow::Result<String> {
    let url = RtmpUrl::parse(url)?.with_token(key);
    match RtmpClient::new().publish(&url).await {
        Ok(_) => bail!("a publisher with a wrong key was let in"),
        Err(error) => refusal(refusal_of(error)),
    }
}

/// Tries to play with a wrong key. Returns how the server refused that.
pub(super) async fn refused_viewer(url: &str, key: &str) -> anyhow::Result<String> {
    match Player::start(&PlayAddress::parse(url, Some(key))?, None).await {
        Ok(_) => bail!("a viewer with a wrong key was let in"),
        Err(error) => refusal(error),
    }
}

fn refusal(error: anyhow::Error) -> anyhow::Result<String> {
    let Refused { code, .. } = error.downcast().context("instead of being refused")?;
    Ok(code)
}
