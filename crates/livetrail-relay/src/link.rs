//! What the connection of a pull or a push does at one moment, for those who look at it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use livetrail_engine::SessionId;

/// What a pull or a push does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkState {
    /// It connects to another node, or waits for its answer and for the first frame.
    Connecting,
    /// Frames pass.
    Carrying,
    /// It waits before it connects again.
    Waiting,
}

impl LinkState {
    /// `connecting`, `carrying` or `waiting`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Carrying => "carrying",
            Self::Waiting => "waiting",
        }
    }
}

/// How a pull or a push is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// What it does.
    pub state: LinkState,
    /// How long it has done that.
    pub in_state: Duration,
    /// How long ago it was opened.
    pub open_for: Duration,
    /// Until it connects again. `None` if it does not wait.
    pub retry_in: Option<Duration>,
    /// Attempts to connect, since it was opened.
    pub attempts: u64,
    /// Attempts that have failed since frames last passed.
    pub failures: u64,
}

/// The publication that a pull feeds, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fed {
    pub(crate) session: SessionId,
    pub(crate) upstream: Option<SessionId>,
    pub(crate) epoch: Option<u64>,
}

/// The state that one task changes, and that others look at.
#[derive(Debug)]
pub(crate) struct Link {
    opened: Duration,
    now: Mutex<Now>,
    /// The time of the last frame in milliseconds, or the lag in frames: the task decides.
    gauge: AtomicU64,
}

#[derive(Debug, Clone)]
pub(crate) struct Now {
    state: LinkState,
    since: Duration,
    until: Option<Duration>,
    attempts: u64,
    failures: u64,
    /// The node of the newest attempt.
    pub(crate) node: Option<Arc<str>>,
    pub(crate) fed: Option<Fed>,
}

impl Link {
    /// One that is opened at this time.
    pub(crate) fn new(opened: Duration) -> Self {
        Self {
            opened,
            now: Mutex::new(Now {
                state: LinkState::Connecting,
                since: opened,
                until: None,
                attempts: 0,
                failures: 0,
                node: None,
                fed: None,
            }),
            gauge: AtomicU64::new(0),
        }
    }

    /// An attempt at a node begins.
    pub(crate) fn connects(&self, node: &Arc<str>, at: Duration) {
        let mut now = self.now();
        now.enter(LinkState::Connecting, at, None);
        now.attempts = now.attempts.saturating_add(1);
        now.node = Some(node.clone());
    }

    /// Frames pass from now on: of a pull, those of this publication.
    pub(crate) fn carries(&self, fed: Option<Fed>, at: Duration) {
        let mut now = self.now();
        if now.state != LinkState::Carrying {
            now.enter(LinkState::Carrying, at, None);
        }
        now.failures = 0;
        now.fed = fed;
    }

    /// The attempt has failed, or the node is lost.
    pub(crate) fn fails(&self, at: Duration) {
        let mut now = self.now();
        if now.state == LinkState::Carrying {
            now.enter(LinkState::Connecting, at, None);
        }
        now.failures = now.failures.saturating_add(1);
        now.fed = None;
    }

    /// It waits for this long.
    pub(crate) fn waits(&self, wait: Duration, at: Duration) {
        self.now()
            .enter(LinkState::Waiting, at, Some(at.saturating_add(wait)));
    }

    pub(crate) fn set_gauge(&self, value: u64) {
        self.gauge.store(value, Relaxed);
    }

    pub(crate) fn gauge(&self) -> u64 {
        self.gauge.load(Relaxed)
    }

    /// The state at this time.
    pub(crate) fn info(&self, at: Duration) -> (LinkInfo, Now) {
        let now = self.now().clone();
        let info = LinkInfo {
            state: now.state,
            in_state: at.saturating_sub(now.since),
            open_for: at.saturating_sub(self.opened),
            retry_in: now.until.map(|until| until.saturating_sub(at)),
            attempts: now.attempts,
            failures: now.failures,
        };
        (info, now)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // Nothing that can panic runs under this lock.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    fn enter(&mut self, state: LinkState, at: Duration, until: Option<Duration>) {
        (self.state, self.since, self.until) = (state, at, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_state_says_for_how_long_and_what_comes_next() {
        let link = Link::new(SECOND);
        let node = Arc::from("origin");
        link.connects(&node, SECOND);
        link.fails(2 * SECOND);
        link.waits(4 * SECOND, 2 * SECOND);
        let (info, now) = link.info(3 * SECOND);
        let wanted = LinkInfo {
            state: LinkState::Waiting,
            in_state: SECOND,
            open_for: 2 * SECOND,
            retry_in: Some(3 * SECOND),
            attempts: 1,
            failures: 1,
        };
        assert_eq!((info, now.node), (wanted, Some(node.clone())));
        // A wait that is over leaves nothing to wait for.
        assert_eq!(link.info(9 * SECOND).0.retry_in, Some(Duration::ZERO));

        link.connects(&node, 6 * SECOND);
        link.carries(None, 7 * SECOND);
        link.carries(None, 8 * SECOND);
        let (info, _) = link.info(9 * SECOND);
        assert_eq!(
            (info.state, info.in_state),
            (LinkState::Carrying, 2 * SECOND)
        );
        assert_eq!((info.attempts, info.failures), (2, 0));
        assert_eq!(info.retry_in, None);
        link.fails(10 * SECOND);
        let (info, now) = link.info(10 * SECOND);
        assert_eq!((info.state, info.failures), (LinkState::Connecting, 1));
        assert_eq!(now.fed, None);
    }
}
