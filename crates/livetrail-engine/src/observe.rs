//! Observers: code that gets each transition.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

use async_trait::async_trait;

use crate::{
    event::{StreamEvent, StreamEventKind},
    frame::MediaFrame,
    identity::StreamKey,
};

/// Declares the trait: each hook once, with the kind of event that it gets.
macro_rules! observer {
    ($($(#[$doc:meta])* $kind:pat => $hook:ident,)*) => {
        /// Gets each transition of each session of an engine, exactly once, on the thread that made
        /// it.
        ///
        /// Override [`on_event`](Self::on_event) to get all of them in one place, or override
        /// single hooks: `on_event` forwards to them. No hook may block. A hook may end sessions,
        /// including the one whose event it gets: the end is reported after all observers have got
        /// the event. A panic is caught and counted, and affects neither the stream nor other
        /// observers.
        ///
        /// ```
        /// use livetrail_engine::{AppSpec, Engine, Observer, StreamEvent};
        ///
        /// struct Announce;
        ///
        /// impl Observer for Announce {
        ///     fn on_publish_started(&self, event: &StreamEvent) {
        ///         println!("{} is live", event.key());
        ///     }
        ///
        ///     fn wants_frames(&self) -> bool {
        ///         false
        ///     }
        /// }
        ///
        /// let engine = Engine::builder()
        ///     .application(AppSpec::new("live"))
        ///     .observer(Announce)
        ///     .build()?;
        /// # drop(engine);
        /// # Ok::<(), livetrail_engine::Error>(())
        /// ```
        #[async_trait]
        pub trait Observer: Send + Sync + 'static {
            /// A transition. By default it forwards to the hook of its kind.
            fn on_event(&self, event: &StreamEvent) {
                match event.kind {
                    $($kind => self.$hook(event),)*
                }
            }

            $($(#[$doc])* fn $hook(&self, _event: &StreamEvent) {})*

            /// A frame was published. This is the only hook on the hot path: the publisher's thread
            /// calls it for each frame.
            fn on_frame(&self, _key: &StreamKey, _frame: &MediaFrame) {}

            /// Whether the observer wants [`on_frame`](Self::on_frame). The engine asks once, when
            /// it is built; `false` saves the call.
            fn wants_frames(&self) -> bool {
                true
            }

            /// The engine shuts down: the observer must pass on what it holds back. All observers
            /// are flushed at once; the futures are dropped at the shutdown's deadline.
            async fn flush(&self) {}
        }

        #[async_trait]
        impl<O: Observer + ?Sized> Observer for Arc<O> {
            fn on_event(&self, event: &StreamEvent) {
                (**self).on_event(event);
            }
            $(fn $hook(&self, event: &StreamEvent) {
                (**self).$hook(event);
            })*
            fn on_frame(&self, key: &StreamKey, frame: &MediaFrame) {
                (**self).on_frame(key, frame);
            }
            fn wants_frames(&self) -> bool {
                (**self).wants_frames()
            }
            async fn flush(&self) {
                (**self).flush().await;
            }
        }
    };
}

observer! {
    /// A publish was admitted.
    StreamEventKind::PublishStarted => on_publish_started,
    /// A publish ended.
    StreamEventKind::PublishEnded { .. } => on_publish_ended,
    /// A publish was refused.
    StreamEventKind::PublishDenied { .. } => on_publish_denied,
    /// A play was admitted.
    StreamEventKind::PlayStarted => on_play_started,
    /// A play ended.
    StreamEventKind::PlayEnded { .. } => on_play_ended,
    /// A play was refused.
    StreamEventKind::PlayDenied { .. } => on_play_denied,
    /// A viewer skipped frames.
    StreamEventKind::SubscriberLagged { .. } => on_subscriber_lagged,
    /// A viewer was evicted for chronic lag; its `on_play_ended` follows.
    StreamEventKind::SubscriberEvicted { .. } => on_subscriber_evicted,
    /// A publisher exceeded its ingress limit.
    StreamEventKind::RateLimited { .. } => on_rate_limited,
    /// A stream was idle for too long; its `on_publish_ended` follows.
    StreamEventKind::StreamReaped { .. } => on_stream_reaped,
    /// A GOP outgrew its cache.
    StreamEventKind::GopTruncated { .. } => on_gop_truncated,
    /// Requests of one viewer come from two addresses at the same time.
    StreamEventKind::TokenShared { .. } => on_token_shared,
    /// A viewer's token opens no more sessions; its `on_play_ended` follows.
    StreamEventKind::TokenRevoked { .. } => on_token_revoked,
}

/// All observers of an engine. The set is fixed when the engine is built.
pub(crate) struct Observers {
    all: Box<[Arc<dyn Observer>]>,
    of_frames: Box<[Arc<dyn Observer>]>,
    panics: AtomicU64,
}

impl Observers {
    pub(crate) fn new(all: Vec<Arc<dyn Observer>>) -> Self {
        let of_frames = all.iter().filter(|o| o.wants_frames()).cloned().collect();
        Self {
            all: all.into(),
            of_frames,
            panics: AtomicU64::new(0),
        }
    }

    pub(crate) fn event(&self, event: &StreamEvent) {
        for observer in &self.all {
            self.guarded(|| observer.on_event(event));
        }
    }

    pub(crate) fn frame(&self, key: &StreamKey, frame: &MediaFrame) {
        for observer in &self.of_frames {
            self.guarded(|| observer.on_frame(key, frame));
        }
    }

    /// Flushes all at once, so that an observer that hangs or panics delays no other.
    pub(crate) async fn flush(&self) {
        let mut flushes: Vec<_> = self.all.iter().map(|o| Some(o.flush())).collect();
        poll_fn(|cx| {
            for flush in &mut flushes {
                let Some(running) = flush else { continue };
                let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx)));
                match polled {
                    Ok(Poll::Pending) => {}
                    Ok(Poll::Ready(())) => *flush = None,
                    Err(_) => {
                        self.count_panic();
                        *flush = None;
                    }
                }
            }
            if flushes.iter().all(Option::is_none) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// The number of observers' panics so far.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    fn guarded(&self, call: impl FnOnce()) {
        // The engine shares no state with an observer, so a panic of an observer cannot break the
        // engine's state.
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            self.count_panic();
        }
    }

    fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!("an observer panicked; the stream and other observers go on");
    }
}
