//! The published clip, made once with ffmpeg, and the publisher that records when it sent which
//! message.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc::SyncSender},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use livetrail_engine::MediaFrame;
use livetrail_media::{flv::Demuxer, tag::Unwrapper};
use livetrail_rtmp::{RtmpClient, RtmpUrl};
use tokio::{task::JoinSet, time::Instant};

use super::message::{Message, Payload};
use crate::nanos;

/// 25 pictures and 43 audio messages per second, about 660 kbit/s, a keyframe every 2 s.
const FFMPEG: &str = "-hide_banner -nostdin -v error -y \
    -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i anoisesrc=amplitude=0.1:sample_rate=44100 -t 30 \
    -c:v libx264 -preset veryfast -b:v 560k -minrate 560k -maxrate 560k -bufsize 560k -g 50 -keyint_min 50 \
    -sc_threshold 0 -bf 0 -pix_fmt yuv420p -c:a aac -b:a 96k -f flv";

/// The same number of messages, about 100 kbit/s: for tens of thousands of viewers, whose bytes
/// loopback carries twice.
const FFMPEG_LIGHT: &str = "-hide_banner -nostdin -v error -y \
    -f lavfi -i testsrc2=size=160x90:rate=25 -f lavfi -i anoisesrc=amplitude=0.1:sample_rate=44100 -t 30 \
    -c:v libx264 -preset veryfast -b:v 64k -minrate 64k -maxrate 64k -bufsize 64k -g 50 -keyint_min 50 \
    -sc_threshold 0 -bf 0 -pix_fmt yuv420p -c:a aac -b:a 24k -ac 1 -f flv";

/// A frame, when it is due after the clip's start, and how viewers see it.
pub struct Item {
    pub frame: MediaFrame,
    pub message: Message,
}

/// The frames of a file, in order.
pub struct Clip {
    pub items: Vec<Item>,
    /// What to add to the times of each repetition.
    pub duration_ms: i64,
}

/// A frame of a stream has just been published.
pub struct Published {
    pub stream: usize,
    pub message: Message,
    pub at_ns: u64,
}

/// The clip next to this program; made if it does not exist.
pub fn at_hand() -> Result<PathBuf> {
    provide("viewers-clip", FFMPEG)
}

/// The clip of a low rate.
pub fn light() -> Result<PathBuf> {
    provide("viewers-clip-light", FFMPEG_LIGHT)
}

fn provide(name: &str, arguments: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let path = program.with_file_name(format!("{name}.flv"));
    if !path.exists() {
        let part = program.with_file_name(format!("{name}.part.flv"));
        let status = Command::new("ffmpeg")
            .args(arguments.split_whitespace())
            .arg(&part)
            .status()
            .context("ffmpeg makes the clip; it is in Debian's package `ffmpeg`")?;
        ensure!(status.success(), "ffmpeg cannot make the clip");
        std::fs::rename(part, &path)?;
    }
    Ok(path)
}

impl Clip {
    pub fn open(path: &Path) -> Result<Self> {
        let file =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (mut demuxer, mut times) = (Demuxer::new(), Unwrapper::new());
        demuxer.push(&file);
        let mut items = Vec::new();
        while let Some(tag) = demuxer.next_tag()? {
            let mut payload = Payload::default();
            payload.push(&tag.body);
            let message = payload.finish(tag.kind.id());
            let at = times.unwrap_ms(tag.timestamp_ms);
            let decoded = livetrail_media::tag::decode(tag.kind, &tag.body, at)?;
            // The frame shares the file's memory, as a server's shares that of what it has read.
            items.extend(decoded.into_frame().map(|frame| Item { frame, message }));
        }
        let last = items.iter().map(|item| item.frame.dts).max();
        let Some(last) = last.filter(|last| *last > 0) else {
            bail!("{} has no frames", path.display());
        };
        Ok(Self {
            items,
            duration_ms: last + 40,
        })
    }

    /// The items, repeated without end, each with its time; configurations only the first time.
    pub fn repeated(&self) -> impl Iterator<Item = (i64, &Item)> {
        (0..).flat_map(move |turn| {
            let items = self.items.iter();
            items
                .filter(move |item| turn == 0 || item.message.is_frame())
                .map(move |item| (turn * self.duration_ms + item.frame.dts, item))
        })
    }
}

/// Publishes the clip to each address, at its own pace and for ever.
pub fn publish(clip: Clip, urls: Vec<RtmpUrl>, told: SyncSender<Published>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let clip = Arc::new(clip);
    runtime.block_on(async {
        let mut all = JoinSet::new();
        for (stream, url) in urls.into_iter().enumerate() {
            all.spawn(publish_one(clip.clone(), stream, url, told.clone()));
        }
        match all.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    })
}

async fn publish_one(
    clip: Arc<Clip>,
    stream: usize,
    url: RtmpUrl,
    told: SyncSender<Published>,
) -> Result<()> {
    let mut publisher = RtmpClient::new().publish(&url).await?;
    let start = Instant::now();
    for (at_ms, item) in clip.repeated() {
        publisher
            .wait_until(start + Duration::from_millis(at_ms.unsigned_abs()))
            .await?;
        let mut frame = item.frame.clone();
        frame.pts += at_ms - frame.dts;
        frame.dts = at_ms;
        if item.message.is_frame() {
            // The time is noted before the frame is sent, so that no viewer can get the frame
            // earlier.
            let published = Published {
                stream,
                message: item.message,
                at_ns: nanos(),
            };
            told.send(published)?;
        }
        publisher.push(&frame).await?;
    }
    Ok(())
}
