//! Configuring an engine.

use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::broadcast;

use crate::{
    admit::Gate,
    app::AppSpec,
    auth::Authenticator,
    clock::{Clock, SystemClock},
    engine::{Engine, Inner, Registry, Totals, check_apps},
    error::Result,
    observe::{Observer, Observers},
};

/// Events that a receiver of [`Engine::subscribe_events`] may be behind.
const EVENT_BACKLOG: usize = 1_024;

/// Limits that can be changed while the engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Publishers at once (1,000).
    pub max_publishers: usize,
    /// Subscribers to one stream at once (100,000).
    pub max_subscribers_per_stream: usize,
    /// A stream without a frame for so long is reaped (30 s); zero is never.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_publishers: 1_000,
            max_subscribers_per_stream: 100_000,
            idle_timeout: Duration::from_secs(30),
        }
    }
}

/// Configures an [`Engine`]; see [`Engine::builder`].
pub struct EngineBuilder {
    apps: Vec<AppSpec>,
    observers: Vec<Arc<dyn Observer>>,
    authenticators: Vec<Arc<dyn Authenticator>>,
    gates: Vec<Arc<dyn Gate>>,
    limits: Limits,
    clock: Option<Arc<dyn Clock>>,
}

impl EngineBuilder {
    pub(crate) fn new() -> Self {
        Self {
            apps: Vec::new(),
            observers: Vec::new(),
            authenticators: Vec::new(),
            gates: Vec::new(),
            limits: Limits::default(),
            clock: None,
        }
    }

    /// Adds an application. An engine without any refuses everything (`app_not_found`).
    #[must_use]
    pub fn application(mut self, app: AppSpec) -> Self {
        self.apps.push(app);
        self
    }

    /// Adds an observer. An `Arc` of one is one, so the host can keep a handle.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Adds an authenticator. They are asked in order; the first that allows or denies decides, and if all abstain the
    /// attempt is refused. Without any, everybody is let in.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticators.push(Arc::new(authenticator));
        self
    }

    /// Adds a gate. All must let a session pass.
    #[must_use]
    pub fn gate(mut self, gate: impl Gate) -> Self {
        self.gates.push(Arc::new(gate));
        self
    }

    /// Publishers at once.
    #[must_use]
    pub fn max_publishers(mut self, n: usize) -> Self {
        self.limits.max_publishers = n;
        self
    }

    /// Subscribers to one stream at once.
    #[must_use]
    pub fn max_subscribers_per_stream(mut self, n: usize) -> Self {
        self.limits.max_subscribers_per_stream = n;
        self
    }

    /// A stream without a frame for so long is reaped; zero is never.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// Where time comes from; the operating system unless set.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Makes the engine.
    ///
    /// # Errors
    /// An application whose name is not a name, that is configured twice, or whose ring would be too large.
    pub fn build(self) -> Result<Engine> {
        Ok(Engine {
            inner: Arc::new(Inner {
                clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
                observers: Observers::new(self.observers),
                authenticators: self.authenticators,
                gates: self.gates,
                apps: ArcSwap::from_pointee(check_apps(self.apps)?),
                limits: ArcSwap::from_pointee(self.limits),
                events: broadcast::channel(EVENT_BACKLOG).0,
                registry: Mutex::new(Registry::default()),
                totals: Totals::default(),
                janitor: AtomicBool::new(false),
            }),
        })
    }
}
