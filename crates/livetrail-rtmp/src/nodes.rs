//! A player that is another server: where its stream comes from, and which publication it gets.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use livetrail_engine::{Engine, Hops, Playback, SessionId, StreamKey};
use tokio::sync::watch;

/// The publications of a stream that another server plays.
pub(crate) struct Publications {
    key: StreamKey,
    session: SessionId,
    /// How many publications had begun before the first one that it gets.
    before: u64,
    begins: Begins,
}

/// Resolves when another publication begins, with their number; `None` when none can.
type Begins = Pin<Box<dyn Future<Output = (Option<u64>, watch::Receiver<u64>)> + Send>>;

impl Publications {
    /// Those that this playback gets. `None` if its stream has ended.
    pub(crate) fn of(engine: &Engine, playback: &Playback) -> Option<Self> {
        let (key, session) = (playback.key().clone(), playback.session());
        let watched = engine.watched(&key)?;
        let begun = *watched.publications.borrow();
        // Without a publisher the first publication is the next one.
        let before = match watched.publisher {
            Some(_) => begun.saturating_sub(1),
            None => begun,
        };
        Some(Self {
            key,
            session,
            before,
            begins: begins(watched.publications),
        })
    }

    /// The epoch of the newest publication, if this many have begun.
    pub(crate) fn epoch(&self, begun: u64) -> u64 {
        begun.saturating_sub(self.before).saturating_sub(1)
    }

    /// Where the stream comes from in this epoch. `None` if this server has no name.
    pub(crate) fn source(&self, engine: &Engine, epoch: u64) -> Option<Hops> {
        let node = engine.node()?;
        let publisher = engine.watched(&self.key)?.publisher;
        let passed = publisher.and_then(|publisher| publisher.hops.clone());
        let hops = passed.map_or_else(|| Hops::default().then(node), |hops| hops.then(node));
        Some(hops.session(self.session).epoch(epoch))
    }

    /// Ready when another publication has begun, with their number; `None` when none can.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let next = self.begins.as_mut().poll(cx);
        next.map(|(begun, publications)| {
            self.begins = begins(publications);
            begun
        })
    }
}

fn begins(mut publications: watch::Receiver<u64>) -> Begins {
    Box::pin(async move {
        let changed = publications.changed().await.is_ok();
        let begun = changed.then(|| *publications.borrow_and_update());
        (begun, publications)
    })
}
