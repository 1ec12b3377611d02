//! Publishes the clip from a thread of this process, for as long as its server runs.

use std::{
    path::Path,
    sync::mpsc::{Receiver, sync_channel},
    thread::JoinHandle,
};

use anyhow::{Result, bail};
use livetrail_rtmp::RtmpUrl;

use crate::viewers::{
    clip::{self, Clip, Published},
    message::VIDEO,
};

/// The number of frames by which the publisher may be ahead of those who read what it has sent.
const MAX_TOLD: usize = 65_536;

/// A publisher of one or more streams. It ends when its server does.
pub struct Publisher {
    thread: JoinHandle<Result<()>>,
    published: Option<Receiver<Published>>,
}

impl Publisher {
    /// Publishes to this address; `%` becomes the stream's number.
    pub fn start(clip: &Path, url: &str, streams: usize) -> Result<Self> {
        let clip = Clip::open(clip)?;
        let urls = (0..streams).map(|n| Ok(RtmpUrl::parse(&url.replace('%', &n.to_string()))?));
        let urls = urls.collect::<Result<_>>()?;
        let (told, published) = sync_channel(MAX_TOLD);
        let thread = std::thread::Builder::new().name("publisher".to_owned());
        Ok(Self {
            thread: thread.spawn(move || clip::publish(clip, urls, told))?,
            published: Some(published),
        })
    }

    /// When the last video frame was published that is known: before the frame was sent.
    pub fn last_video_ns(&self) -> Option<u64> {
        let published = self.published.as_ref()?.try_iter();
        let video = published.filter(|one| one.message.kind == VIDEO);
        video.last().map(|one| one.at_ns)
    }

    /// Nobody wants to know what is published.
    pub fn unheard(&mut self) {
        if let Some(published) = self.published.take() {
            std::thread::spawn(move || published.into_iter().for_each(drop));
        }
    }

    /// Fails if it has ended.
    pub fn check(&self) -> Result<()> {
        if self.thread.is_finished() {
            bail!("the publisher has ended");
        }
        Ok(())
    }
}
