//! HLS and low-latency HLS: streams that are segmented once for all viewers, and their requests.
//!
//! ```text
//!  engine ── Tap ──▶ Feed ── segments, parts ──▶ Live ──▶ held requests, playlists, media
//!                                                 ▲
//!  GET /live/cam/index.m3u8?token=…   authorize ──┤ a token of our own, no session yet
//!  GET /live/cam/s/TOKEN/video.m3u8   Viewers ────┤ the first one opens a session
//!  GET /live/cam/m/SECRET/v17.m4s     shared ─────┘ for caches, without a session
//! ```
//!
//! - [`options`], [`counts`], [`refusal`]: settings, figures, and what is refused.
//! - [`streams`], [`feed`], [`live`]: which streams are segmented, how, and what requests find.
//! - [`tokens`], [`viewers`]: who asks, and the sessions.
//! - [`answer`], [`body`]: from a request to its answer.
//! - [`shared`]: media under addresses that caches can keep.
//!
//! **Bounds.** Streams, bytes kept, requests held (of all, of a stream, of a viewer) and sessions:
//! each has a setting or a constant, and a request beyond it is answered with 503 and the name of
//! the bound.
//!
//! A token is never logged.

mod answer;
mod body;
mod counts;
mod feed;
mod live;
mod options;
mod refusal;
mod shared;
mod streams;
mod tokens;
mod viewers;

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Response, request::Parts},
};
use livetrail_engine::{AppName, Engine, StreamEventKind, StreamKey, ViewerToken};
use livetrail_hls::token::{Claims, Keys};
use tokio::{sync::broadcast::error::RecvError, time::sleep};

use self::{counts::Counters, streams::Streams, tokens::Tokens, viewers::Viewers};
use crate::{
    handler::{authorization, stream_key},
    page,
    protocol::{Asked, path},
};
pub use counts::HlsCounts;
pub use options::{HlsCdn, HlsOptions, HlsOptionsError, HlsStart};

/// How often sessions that have ended are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The same while there are no sessions: an idle server does next to nothing.
const SWEEP_INTERVAL_IDLE: Duration = Duration::from_secs(10);

/// HLS of an engine's streams. Cloning gives another handle. The gateways that serve it share it:
/// [`HttpGateway::hls`](crate::HttpGateway::hls).
#[derive(Clone)]
pub struct Hls(Arc<Inner>);

struct Inner {
    engine: Engine,
    options: HlsOptions,
    streams: Streams,
    viewers: Viewers,
    tokens: Tokens,
    counters: Arc<Counters>,
}

impl Hls {
    /// HLS with these settings. Tokens in the addresses of viewers are sealed with `keys`; any
    /// server with the same keys takes them. They have the engine's name
    /// ([`EngineBuilder::node`](livetrail_engine::EngineBuilder::node)), if it has one.
    ///
    /// # Errors
    /// A setting outside its bounds.
    pub fn new(engine: Engine, options: HlsOptions, keys: Keys) -> Result<Self, HlsOptionsError> {
        options.check()?;
        let counters = Arc::new(Counters::default());
        let streams = Streams::new(options.clone(), counters.clone());
        let node = engine.node().cloned().unwrap_or_else(|| "".into());
        Ok(Self(Arc::new(Inner {
            engine,
            streams,
            viewers: Viewers::new(options.max_viewers),
            tokens: Tokens::new(keys, node, options.token_lifetime),
            options,
            counters,
        })))
    }

    /// Seals and opens tokens with other keys from now on.
    pub fn set_keys(&self, keys: Keys) {
        self.0.tokens.set_keys(keys);
    }

    /// Starts streams when they are published, if that is set, and forgets sessions that have
    /// ended. Runs until `shutdown` completes. It must run for as long as a gateway serves this.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let inner = &*self.0;
        let mut shutdown = std::pin::pin!(shutdown);
        let mut events = inner.engine.subscribe_events();
        let mut sweep = Box::pin(sleep(SWEEP_INTERVAL));
        inner.start_published();
        loop {
            tokio::select! {
                () = shutdown.as_mut() => return,
                () = sweep.as_mut() => {
                    inner.viewers.sweep();
                    let pause = match inner.viewers.len() {
                        0 => SWEEP_INTERVAL_IDLE,
                        _ => SWEEP_INTERVAL,
                    };
                    sweep.set(sleep(pause));
                }
                event = events.recv() => match event {
                    Ok(event) if event.kind == StreamEventKind::PublishStarted => {
                        inner.start(event.key());
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => inner.start_published(),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// The figures at this moment.
    #[must_use]
    pub fn counts(&self) -> HlsCounts {
        let inner = &*self.0;
        inner
            .counters
            .read(inner.streams.len(), inner.viewers.len())
    }

    /// What a request asks, if it is one for HLS.
    pub(crate) fn asked<'a>(&self, request: &'a Parts) -> Option<(&Self, Asked<'a>)> {
        let (path, query) = (request.uri.path(), request.uri.query());
        let asked = Asked::read(path, query, authorization(request))?;
        let named = match &asked {
            Asked::Entry(wanted) => &wanted.named,
            Asked::Media { named, .. } | Asked::Shared { named, .. } => named,
        };
        let app = std::str::from_utf8(&named.app).ok();
        let app = app.and_then(|app| AppName::new(app).ok());
        // A name that is not valid is refused later, on record.
        let is_served = app.is_none_or(|app| self.0.options.serves(&app));
        is_served.then_some((self, asked))
    }

    /// The player page of a stream, or one of its files, if the request is for it.
    pub(crate) fn page(&self, request: &Parts) -> Option<Response<Body>> {
        let named = path::named(request.uri.path(), b"")?;
        let key = stream_key(&self.0.engine, &named).ok()?;
        if !self.0.options.serves(&key.app) {
            return None;
        }
        page::answer(request, answer::takes_gzip(&request.headers))
    }
}

impl Inner {
    fn count_playlist(&self) {
        self.counters.playlists.fetch_add(1, Relaxed);
    }

    fn count_media(&self) {
        self.counters.media.fetch_add(1, Relaxed);
    }

    fn count_shared(&self) {
        self.counters.shared.fetch_add(1, Relaxed);
    }

    fn count_viewer_over_limit(&self) {
        self.counters.viewers_over_limit.fetch_add(1, Relaxed);
    }

    /// What the engine knows of a token.
    fn viewer_token(&self, claims: &Claims) -> ViewerToken {
        let from_caches = self.options.cdn != HlsCdn::None;
        tokens::viewer_token(claims).from_caches(from_caches)
    }

    /// Starts a stream that is published, if streams start so.
    fn start(&self, key: &StreamKey) {
        if self.options.start != HlsStart::Publish || !self.options.serves(&key.app) {
            return;
        }
        if let Err(refusal) = self.streams.open(&self.engine, key) {
            let stream = livetrail_engine::log::stream(key);
            tracing::warn!(%stream, %refusal, "a stream is not segmented for HLS");
        }
    }

    fn start_published(&self) {
        if self.options.start == HlsStart::Publish {
            for stream in self.engine.streams() {
                self.start(&stream.publisher.key);
            }
        }
    }
}

impl std::fmt::Debug for Hls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hls")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}
