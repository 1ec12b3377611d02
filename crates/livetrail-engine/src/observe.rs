//! Observers: who wants to hear of each transition.

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

/// Declares the trait: each hook once, with the kind of event that it hears.
macro_rules! observer {
    ($($(#[$doc:meta])* $kind:pat => $hook:ident,)*) => {
        /// Hears every transition of every session of an engine, exactly once, on the thread that made it.
        ///
        /// Override [`on_event`](Self::on_event) to hear all in one place, or single hooks: `on_event` forwards to them.
        /// Nothing here may block. It may end sessions, also the one whose event it hears: that is done when the event has been
        /// heard by all observers. A panic is caught and counted, and harms neither the stream nor other observers.
        #[async_trait]
        pub trait Observer: Send + Sync + 'static {
            /// A transition. Forwards to the hook of its kind unless overridden.
            fn on_event(&self, event: &StreamEvent) {
                match event.kind {
                    $($kind => self.$hook(event),)*
                }
            }

            $($(#[$doc])* fn $hook(&self, _event: &StreamEvent) {})*

            /// A frame was published. The only hook on the hot path: called on the publisher's thread for every frame.
            fn on_frame(&self, _key: &StreamKey, _frame: &MediaFrame) {}

            /// Whether [`on_frame`](Self::on_frame) is wanted. Asked once, when the engine is built; `false` saves the call.
            fn wants_frames(&self) -> bool {
                true
            }

            /// The engine shuts down: hand on what is held back. All observers are flushed at once; dropped at the shutdown's
            /// deadline.
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
    /// A viewer was cut off for chronic lag; its `on_play_ended` follows.
    StreamEventKind::SubscriberEvicted { .. } => on_subscriber_evicted,
    /// A publisher hit its ingress limit.
    StreamEventKind::RateLimited { .. } => on_rate_limited,
    /// A stream was idle for too long; its `on_publish_ended` follows.
    StreamEventKind::StreamReaped { .. } => on_stream_reaped,
    /// A GOP outgrew its cache.
    StreamEventKind::GopTruncated { .. } => on_gop_truncated,
}

/// All observers of an engine. Fixed when it is built.
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

    /// Flushes all at once, so that one that hangs or panics keeps no other from it.
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

    /// Panics of observers so far.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    fn guarded(&self, call: impl FnOnce()) {
        // What an observer leaves behind when it panics is its own affair: the engine shares no state with it.
        if catch_unwind(AssertUnwindSafe(call)).is_err() {
            self.count_panic();
        }
    }

    fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!("an observer panicked; the stream and other observers go on");
    }
}
