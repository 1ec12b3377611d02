//! The sessions of viewers by the id of their token: the first request for media opens one, and the
//! others find it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

use livetrail_engine::{Attempt, Denied, Engine, SessionId, Viewing};
use tokio::sync::watch;

use super::{counts::Counted, refusal::Refusal};
use crate::error::Error;

/// The requests of one viewer that are held at once: a reload and a part of each rendition, twice.
const MAX_HELD_PER_VIEWER: usize = 8;

/// The id of a token.
pub(crate) type TokenId = [u8; 16];

/// An open session.
#[derive(Debug)]
pub(crate) struct Viewer {
    viewing: Viewing,
    held: Arc<AtomicUsize>,
}

impl Viewer {
    /// Notes that the viewer is there, with a request from this address.
    fn touch_from(&self, peer: Option<SocketAddr>) -> Result<(), Refusal> {
        let touched = match peer {
            Some(peer) => self.viewing.touch_from(peer),
            None => self.viewing.touch(),
        };
        touched.map_err(|ended| Refusal::Over(ended.reason))
    }

    /// Notes that the viewer is there.
    pub(crate) fn touch(&self) -> Result<(), Refusal> {
        let touched = self.viewing.touch();
        touched.map_err(|ended| Refusal::Over(ended.reason))
    }

    /// Adds to the session's totals.
    pub(crate) fn count(&self, frames: u64, bytes: u64) {
        self.viewing.count(frames, bytes);
    }

    /// Counts a request that is held. `None` if there are too many.
    pub(crate) fn hold(&self) -> Option<Counted> {
        Counted::new(&self.held, MAX_HELD_PER_VIEWER)
    }

    pub(crate) fn session(&self) -> SessionId {
        self.viewing.session()
    }
}

/// What is known of a token.
enum Slot {
    /// A request opens its session. Others wait for the outcome: the refusal, or nothing.
    Opening(watch::Receiver<Option<Denied>>),
    Open(Arc<Viewer>),
}

/// The table of tokens. Bounded by the number of sessions that may be open.
pub(crate) struct Viewers {
    slots: Mutex<HashMap<TokenId, Slot>>,
    most: usize,
}

/// What a request does next.
enum Step {
    Wait(watch::Receiver<Option<Denied>>),
    Open(watch::Sender<Option<Denied>>),
}

impl Viewers {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            slots: Mutex::default(),
            most,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots().len()
    }

    /// The open session of a token, which this request from `peer` keeps alive.
    pub(crate) fn find(&self, id: TokenId, peer: Option<SocketAddr>) -> Option<Arc<Viewer>> {
        let slots = self.slots();
        let Some(Slot::Open(viewer)) = slots.get(&id) else {
            return None;
        };
        viewer.touch_from(peer).is_ok().then(|| viewer.clone())
    }

    /// The session of a token. Opens it if it is not open: one request does, with an attempt of its
    /// client, and those that come meanwhile wait. The engine refuses a token that was revoked.
    ///
    /// Cancel safe: if the request that opens a session is dropped, the next one does.
    pub(crate) async fn open(
        &self,
        engine: &Engine,
        id: TokenId,
        lease: Duration,
        attempt: impl Fn() -> Attempt,
    ) -> Result<Arc<Viewer>, Refusal> {
        loop {
            match self.step(id)? {
                Ok(viewer) => return Ok(viewer),
                Err(Step::Wait(mut outcome)) => {
                    // An error means that the other request is gone or done.
                    let _ = outcome.changed().await;
                    let denied = outcome.borrow().clone();
                    if let Some(denied) = denied {
                        return Err(Error::Denied { denied }.into());
                    }
                }
                Err(Step::Open(outcome)) => {
                    let opening = Opening {
                        viewers: self,
                        id,
                        is_done: false,
                    };
                    return match engine.watch(attempt(), lease).await {
                        Ok(viewing) => Ok(opening.open(viewing)),
                        Err(denied) => {
                            outcome.send_replace(Some(denied.clone()));
                            Err(Error::Denied { denied }.into())
                        }
                    };
                }
            }
        }
    }

    fn step(&self, id: TokenId) -> Result<Result<Arc<Viewer>, Step>, Refusal> {
        let mut slots = self.slots();
        match slots.get(&id) {
            Some(Slot::Opening(outcome)) => return Ok(Err(Step::Wait(outcome.clone()))),
            Some(Slot::Open(viewer)) if viewer.viewing.touch().is_ok() => {
                return Ok(Ok(viewer.clone()));
            }
            // The viewer has come back: another session begins.
            Some(Slot::Open(_)) => {}
            None if slots.len() >= self.most => return Err(Refusal::Limit("hls.max_viewers")),
            None => {}
        }
        let (sender, outcome) = watch::channel(None);
        slots.insert(id, Slot::Opening(outcome));
        Ok(Err(Step::Open(sender)))
    }

    /// Forgets sessions that have ended.
    pub(crate) fn sweep(&self) {
        let mut slots = self.slots();
        slots.retain(|_, slot| match slot {
            Slot::Opening(_) => true,
            Slot::Open(viewer) => viewer.viewing.end_reason().is_none(),
        });
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn slots(&self) -> MutexGuard<'_, HashMap<TokenId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is being opened. If it is dropped, the next request opens it.
struct Opening<'a> {
    viewers: &'a Viewers,
    id: TokenId,
    is_done: bool,
}

impl Opening<'_> {
    fn open(mut self, viewing: Viewing) -> Arc<Viewer> {
        let viewer = Arc::new(Viewer {
            viewing,
            held: Arc::default(),
        });
        tracing::debug!(session = %viewer.session(), "a viewer of HLS has begun");
        let slot = Slot::Open(viewer.clone());
        self.viewers.slots().insert(self.id, slot);
        self.is_done = true;
        viewer
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.viewers.slots().remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};

    use livetrail_engine::{AppSpec, Publication, Reason, StreamKey, ViewerToken};

    use super::*;

    const LEASE: Duration = Duration::from_secs(12);

    async fn publish() -> (Engine, Publication) {
        let engine = Engine::builder().application(AppSpec::new("live"));
        let engine = engine.build().unwrap();
        let publication = engine.publish(attempt()).await.unwrap();
        (engine, publication)
    }

    fn attempt() -> Attempt {
        Attempt::new(StreamKey::parse("live", "cam").unwrap(), "hls")
    }

    #[tokio::test]
    async fn requests_with_one_token_share_a_session_and_another_token_has_its_own() {
        let (engine, _publication) = publish().await;
        let viewers = Viewers::new(2);
        let open = |id: u8| viewers.open(&engine, [id; 16], LEASE, attempt);
        let (one, same, other) = tokio::join!(open(1), open(1), open(2));
        let (one, same, other) = (one.unwrap(), same.unwrap(), other.unwrap());
        assert_eq!(one.session(), same.session());
        assert_ne!(one.session(), other.session());
        assert_eq!(engine.sessions().len(), 3);
        assert_eq!(
            open(3).await.unwrap_err(),
            Refusal::Limit("hls.max_viewers")
        );
    }

    #[tokio::test]
    async fn a_token_opens_another_session_after_an_end_but_not_after_a_kick() {
        let (engine, publication) = publish().await;
        let viewers = Viewers::new(10);
        let token = ViewerToken::of_bytes([1; 16], None, u64::MAX);
        let of_token = || attempt().token(token);
        let open = || viewers.open(&engine, [1; 16], LEASE, of_token);
        let first = open().await.unwrap().session();
        drop(publication);
        let publication = engine.publish(attempt()).await.unwrap();
        // The lease of a session whose stream has ended goes on, so that it gets the last segments.
        assert_eq!(open().await.unwrap().session(), first);
        engine.kick(first).unwrap();
        for _ in 0..2 {
            let Refusal::Error(Error::Denied { denied }) = open().await.unwrap_err() else {
                panic!("the engine refuses it");
            };
            assert_eq!(denied.reason, Reason::Kicked);
            viewers.sweep();
            assert_eq!(viewers.len(), 0);
        }
        drop(publication);
    }

    #[tokio::test]
    async fn when_the_request_that_opens_a_session_is_dropped_the_next_opens_it() {
        let (engine, _publication) = publish().await;
        let viewers = Viewers::new(10);
        let step = viewers.step([1; 16]).unwrap();
        assert!(matches!(step, Err(Step::Open(_))));
        let opening = Opening {
            viewers: &viewers,
            id: [1; 16],
            is_done: false,
        };
        let mut waits = Box::pin(viewers.open(&engine, [1; 16], LEASE, attempt));
        let polled = poll_fn(|cx| std::task::Poll::Ready(waits.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        drop(opening);
        drop(step);
        waits.await.unwrap();
        assert_eq!(viewers.len(), 1);
    }

    #[tokio::test]
    async fn a_refusal_is_one_attempt_for_all_that_wait_and_leaves_nothing() {
        let (engine, publication) = publish().await;
        drop(publication);
        let viewers = Viewers::new(10);
        let open = || viewers.open(&engine, [1; 16], LEASE, attempt);
        let (one, other) = tokio::join!(open(), open());
        assert!(one.is_err() && other.is_err());
        assert_eq!(viewers.len(), 0);
    }
}
