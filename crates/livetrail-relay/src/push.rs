//! One push: a publication's frames, to one target.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use livetrail_engine::{Engine, SessionId, SharedFrame, StreamKey, Tap, log};
use livetrail_rtmp::{Error, RtmpClient, RtmpPublisher};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    backoff::{Backoff, random},
    counts::{Counted, LivePushCounts, count},
    link::Link,
    list::PushInfo,
    rules::Node,
};

/// Frames that are taken from the stream at once.
const BATCH: usize = 64;
/// A session at a target that lasted this long worked: the waits begin again with the first.
const STEADY: Duration = Duration::from_secs(5);
/// The time to send what is left, and the goodbye, when the publication has ended.
const GOODBYE: Duration = Duration::from_secs(1);

/// While a target takes nothing, it is measured this often how far it is behind.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) struct Push {
    pub(crate) key: StreamKey,
    /// The publication that it carries.
    pub(crate) session: SessionId,
    pub(crate) target: Node,
    pub(crate) client: RtmpClient,
    pub(crate) counts: Arc<LivePushCounts>,
    pub(crate) link: Link,
    pub(crate) skipped_frames: AtomicU64,
}

impl Push {
    /// The push at this time, under this number.
    pub(crate) fn info(&self, number: u64, now: Duration) -> PushInfo {
        let (link, _) = self.link.info(now);
        PushInfo {
            number,
            key: self.key.clone(),
            link,
            target: self.target.name().clone(),
            session: self.session,
            lag_frames: self.link.gauge(),
            skipped_frames: self.skipped_frames.load(Relaxed),
        }
    }

    /// Pushes until the publication has ended, which is when the sender of `ended` is gone.
    pub(crate) async fn run(&self, engine: &Engine, mut ended: watch::Receiver<()>) {
        let Some(url) = self.target.url_of(&self.key) else {
            return;
        };
        let (stream, name) = (log::stream(&self.key), self.target.name());
        let mut backoff = Backoff::default();
        let clock = engine.clock();
        loop {
            let began = clock.monotonic();
            self.link.connects(name, began);
            let connected = tokio::select! {
                connected = self.client.publish(&url) => connected,
                _ = ended.changed() => return,
            };
            let error = match connected {
                Ok(publisher) => {
                    info!(stream, target = %name, "a push is open");
                    count(&self.counts.sessions);
                    match self.carry(engine, publisher, &mut ended).await {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if matches!(error, Error::Refused { .. }) {
                count(&self.counts.refused);
                debug!(stream, target = %name, %error, "a target refused");
            } else {
                count(&self.counts.failed);
                warn!(stream, target = %name, %error, "a target is lost");
            }
            let now = clock.monotonic();
            if now.saturating_sub(began) >= STEADY {
                backoff.reset();
            }
            let wait = backoff.next(random());
            self.link.fails(now);
            self.link.set_gauge(0);
            self.link.waits(wait, now);
            tokio::select! {
                () = sleep(wait) => {}
                _ = ended.changed() => return,
            }
        }
    }

    /// Sends the stream, from its current GOP on, until the publication or the target's session
    /// ends.
    async fn carry(
        &self,
        engine: &Engine,
        mut publisher: RtmpPublisher,
        ended: &mut watch::Receiver<()>,
    ) -> Result<(), Error> {
        let _carrying = Counted::new(&self.counts, |counts| &counts.carrying);
        let Ok(mut tap) = engine.tap(&self.key) else {
            return publisher.close().await;
        };
        self.link.carries(None, engine.clock().monotonic());
        let (mut batch, mut skipped) = (Vec::new(), 0);
        loop {
            let has_more = tokio::select! {
                biased;
                more = tap.next_batch(&mut batch, BATCH) => more,
                _ = ended.changed() => false,
            };
            if !has_more {
                let _ = timeout(GOODBYE, self.finish(&mut tap, publisher)).await;
                return Ok(());
            }
            let now = tap.skipped_frames();
            self.skipped(now.saturating_sub(skipped));
            skipped = now;
            self.send_measured(&batch, &tap, &mut publisher).await?;
        }
    }

    /// Sends frames, and measures meanwhile how far the target is behind.
    async fn send_measured(
        &self,
        batch: &[Arc<SharedFrame>],
        tap: &Tap,
        publisher: &mut RtmpPublisher,
    ) -> Result<(), Error> {
        let mut sent = pin!(self.send(batch, publisher));
        loop {
            let unsent = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            tokio::select! {
                biased;
                sent = &mut sent => {
                    self.link.set_gauge(tap.lag());
                    return sent;
                }
                () = sleep(LOOK) => self.link.set_gauge(tap.lag().saturating_add(unsent)),
            }
        }
    }

    /// Counts frames that the target does not get.
    fn skipped(&self, frames: u64) {
        self.counts.skipped_frames.fetch_add(frames, Relaxed);
        self.skipped_frames.fetch_add(frames, Relaxed);
    }

    async fn send(
        &self,
        batch: &[Arc<SharedFrame>],
        publisher: &mut RtmpPublisher,
    ) -> Result<(), Error> {
        for frame in batch {
            match publisher.push(frame.frame()).await {
                // A frame that RTMP does not carry.
                Err(Error::Media(_)) => self.skipped(1),
                other => other?,
            }
        }
        Ok(())
    }

    /// Sends what is there, and the goodbye.
    async fn finish(&self, tap: &mut Tap, mut publisher: RtmpPublisher) -> Result<(), Error> {
        let mut batch = Vec::new();
        while tap.try_batch(&mut batch, BATCH).is_ok() && !batch.is_empty() {
            self.send(&batch, &mut publisher).await?;
        }
        publisher.close().await
    }
}
