//! The right to watch as a value, with or without a cursor.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    attempts::Address,
    error::Ended,
    event::{Reason, StreamEventKind},
    identity::{SessionId, StreamKey},
    lifecycle::SessionCore,
    session::EndSignal,
};

/// A session as a value: dropping it ends the session, unless that has ended. The one place where
/// the engine does so, for publishers and viewers alike.
pub(crate) struct Handle {
    pub(crate) core: Arc<SessionCore>,
}

impl Handle {
    pub(crate) fn session(&self) -> SessionId {
        self.core.context.session
    }

    pub(crate) fn key(&self) -> &StreamKey {
        &self.core.context.key
    }

    pub(crate) fn end_reason(&self) -> Option<Reason> {
        self.core.end_reason()
    }

    pub(crate) fn end_signal(&self) -> EndSignal {
        EndSignal::new(self.core.clone())
    }

    pub(crate) fn end_with(&self, reason: Reason, detail: &str) {
        self.core.end_by_host(reason, detail);
    }

    /// Ends the session as dropping does.
    pub(crate) fn finish(&self) {
        self.core.end(SessionCore::drop_reason());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.finish();
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.core.context.fmt(f)
    }
}

/// A viewer that consists of many requests: a recorded session without a cursor, kept alive by
/// [`touch`](Self::touch).
///
/// [`Engine::watch`](crate::Engine::watch) admits it like any viewer. It takes no frames from the
/// engine, so it neither lags nor stalls. The gateway that serves it reads the stream once for all
/// such viewers ([`Engine::tap`](crate::Engine::tap)) and [counts](Self::count) what each got.
///
/// The session ends exactly once, with its reason and totals:
///
/// - `idle`: no request has touched it for the time of its lease, and none [holds](Self::hold) it.
/// - `stream_ended`: the stream has ended, and the last lease is over. Until then clients can fetch
///   the last segments.
/// - `client_closed`: it is dropped. Its owner may end it with another reason.
/// - If it is kicked or revoked, or if the engine stops: as for any session.
///
/// The engine's thread finds leases that are over within 250 ms. A viewing costs no thread, no task
/// and no timer of its own.
///
/// ```
/// use std::time::Duration;
/// use livetrail_engine::{AppSpec, Attempt, Engine, StreamKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder().application(AppSpec::new("live")).build()?;
/// let key = StreamKey::parse("live", "cam")?;
/// let _publication = engine.publish(Attempt::new(key.clone(), "internal")).await?;
/// // With the first request of a viewer; its session's id goes into the addresses of the others.
/// let viewing = engine.watch(Attempt::new(key, "hls"), Duration::from_secs(30)).await?;
/// // With each request.
/// viewing.touch()?;
/// viewing.count(50, 40_000);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Viewing {
    pub(crate) handle: Handle,
}

impl Viewing {
    pub(crate) fn new(core: Arc<SessionCore>) -> Self {
        Self {
            handle: Handle { core },
        }
    }

    /// Keeps the session alive for the time of its lease from now. Any number of requests may touch
    /// it at once. After the end of the stream the lease is no longer renewed.
    ///
    /// # Errors
    /// [`Ended`]: the session has ended. A touch that succeeds comes before the end of the lease.
    pub fn touch(&self) -> Result<(), Ended> {
        let core = &self.handle.core;
        if let Some(reason) = core.ending() {
            return Err(Ended { reason });
        }
        if !core.stream.is_closed() && !self.renew() {
            let reason = core.ending().unwrap_or(Reason::Idle);
            return Err(Ended { reason });
        }
        Ok(())
    }

    /// As [`touch`](Self::touch), by a request from this address. When requests come from two
    /// addresses within one lease, in turns, `TokenShared` is reported, once for the session. An
    /// IPv6 network of 64 bits counts as one address.
    ///
    /// # Errors
    /// As for [`touch`](Self::touch).
    pub fn touch_from(&self, peer: SocketAddr) -> Result<(), Ended> {
        self.touch()?;
        self.see(peer);
        Ok(())
    }

    /// Keeps the session alive while the returned value lives, and for one lease after that: for a
    /// request that waits. After the end of the stream it has no effect.
    ///
    /// # Errors
    /// As for [`touch`](Self::touch).
    pub fn hold(&self) -> Result<Hold, Ended> {
        let core = self.handle.core.clone();
        if let Some(lease) = &core.lease {
            lease.hold();
        }
        // From here on it is released, also if the session has ended.
        let hold = Hold { core };
        self.touch()?;
        Ok(hold)
    }

    /// Adds to the session's totals. Additions after its end do not count.
    pub fn count(&self, frames: u64, bytes: u64) {
        self.handle
            .core
            .progress
            .count_from_any_thread(frames, bytes);
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.handle.session()
    }

    /// The stream.
    #[must_use]
    pub fn key(&self) -> &StreamKey {
        self.handle.key()
    }

    /// Ends the session with a reason. Nothing happens if it has ended. A reason that only the
    /// engine can know (`evicted`, `replaced`, `stream_ended`, `server_crash`) is recorded as
    /// `internal_error`.
    pub fn end(self, reason: Reason) {
        self.handle.end_with(reason, "");
    }

    /// As [`end`](Self::end), with a text that explains the reason. As much of the text as
    /// [`Detail`](crate::Detail) keeps is recorded.
    pub fn end_with(self, reason: Reason, detail: &str) {
        self.handle.end_with(reason, detail);
    }

    /// The reason why it ended, or `None` while it runs.
    #[must_use]
    pub fn end_reason(&self) -> Option<Reason> {
        self.handle.end_reason()
    }

    /// Signals to others when it ends.
    #[must_use]
    pub fn end_signal(&self) -> EndSignal {
        self.handle.end_signal()
    }

    /// Renews the lease, if there is one. False when it has expired.
    pub(crate) fn renew(&self) -> bool {
        renew(&self.handle.core)
    }

    /// Notes the address of a request.
    pub(crate) fn see(&self, peer: SocketAddr) {
        let core = &self.handle.core;
        let Some(lease) = &core.lease else { return };
        let (from, now_ms) = (Address::of(peer), core.engine.now_ms());
        let shared = core.seen().request(from, now_ms, lease.length_ms());
        if let Some(peers) = shared {
            let peers = peers.get();
            core.report(StreamEventKind::TokenShared { peers });
        }
    }
}

fn renew(core: &SessionCore) -> bool {
    core.lease
        .as_ref()
        .is_none_or(|lease| lease.renew(core.engine.now_ms()))
}

/// A request that waits, and keeps its viewer's session alive meanwhile: see [`Viewing::hold`].
#[must_use = "the session is held only while this value lives"]
pub struct Hold {
    core: Arc<SessionCore>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(lease) = &self.core.lease {
            if !self.core.stream.is_closed() {
                renew(&self.core);
            }
            lease.release();
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.core.context.fmt(f)
    }
}

/// A lease in whole milliseconds, at least one.
pub(crate) fn lease_ms(lease: Duration) -> u64 {
    u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(1)
}
