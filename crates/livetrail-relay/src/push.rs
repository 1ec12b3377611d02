//! One push: a publication's frames, to one target.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use livetrail_engine::{Engine, SharedFrame, StreamKey, Tap, log};
use livetrail_rtmp::{Error, RtmpClient, RtmpPublisher};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    backoff::{Backoff, random},
    counts::{Counted, LivePushCounts, count},
    rules::Node,
};

/// Frames that are taken from the stream at once.
const BATCH: usize = 64;
/// A session at a target that lasted this long worked: the waits begin again with the first.
const STEADY: Duration = Duration::from_secs(5);
/// The time to send what is left, and the goodbye, when the publication has ended.
const GOODBYE: Duration = Duration::from_secs(1);

pub(crate) struct Push {
    pub(crate) key: StreamKey,
    pub(crate) target: Node,
    pub(crate) client: RtmpClient,
    pub(crate) counts: Arc<LivePushCounts>,
}

impl Push {
    /// Pushes until the publication has ended, which is when the sender of `ended` is gone.
    pub(crate) async fn run(self, engine: Engine, mut ended: watch::Receiver<()>) {
        let Some(url) = self.target.url_of(&self.key) else {
            return;
        };
        let (stream, name) = (log::stream(&self.key), self.target.name());
        let mut backoff = Backoff::default();
        loop {
            let began = engine.clock().monotonic();
            let connected = tokio::select! {
                connected = self.client.publish(&url) => connected,
                _ = ended.changed() => return,
            };
            let error = match connected {
                Ok(publisher) => {
                    info!(stream, target = %name, "a push is open");
                    count(&self.counts.sessions);
                    match self.carry(&engine, publisher, &mut ended).await {
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
            let lasted = engine.clock().monotonic().saturating_sub(began);
            if lasted >= STEADY {
                backoff.reset();
            }
            tokio::select! {
                () = sleep(backoff.next(random())) => {}
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
            self.send(&batch, &mut publisher).await?;
            let now = tap.skipped_frames();
            self.counts.skipped_frames.fetch_add(now - skipped, Relaxed);
            skipped = now;
        }
    }

    async fn send(
        &self,
        batch: &[Arc<SharedFrame>],
        publisher: &mut RtmpPublisher,
    ) -> Result<(), Error> {
        for frame in batch {
            match publisher.push(frame.frame()).await {
                // A frame that RTMP does not carry.
                Err(Error::Media(_)) => self.counts.skipped_frames.fetch_add(1, Relaxed),
                other => {
                    other?;
                    0
                }
            };
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
