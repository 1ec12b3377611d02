//! Configuration of an engine.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, broadcast};

use crate::{
    Clock, SystemClock,
    admit::Gate,
    app::AppSpec,
    attempts::{Attempts, Rate},
    auth::Authenticator,
    bus::Budget,
    engine::{Engine, Inner, Totals, check_apps},
    error::Result,
    identity::AppName,
    observe::{Observer, Observers},
    registry::Registry,
    timers::Timers,
    tokens::Tokens,
    wakeup::Wakeup,
};

/// How many events a receiver of [`Engine::subscribe_events`] may be behind.
const EVENT_BACKLOG: usize = 1_024;

/// Limits that can be changed while the engine runs. The values in parentheses are the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The maximum number of publishers at once (1,000).
    pub max_publishers: usize,
    /// The maximum number of publishers at once from one address, IPv6 by /64 (256); 0 is no limit.
    pub max_publishers_per_address: usize,
    /// The maximum number of publishers at once with one principal: one key, or one subject of
    /// tokens (0); 0 is no limit.
    pub max_publishers_per_principal: usize,
    /// The maximum number of publishers at once in one application (0), unless
    /// [`AppSpec::max_publishers`] sets it; 0 is no limit.
    pub max_publishers_per_application: usize,
    /// The maximum number of sessions at once from one address, publishers and viewers, IPv6 by /64
    /// (0); 0 is no limit.
    pub max_sessions_per_address: usize,
    /// The maximum number of viewers of one stream at once (100,000).
    pub max_subscribers_per_stream: usize,
    /// The maximum number of viewers that wait for a publisher at once, in all applications with
    /// [`AppSpec::wait_for_publisher`] (1,000).
    pub max_waiting_viewers: usize,
    /// How much each viewer may be sent, in bits per second (0); 0 is no cap. A viewer above it
    /// falls behind and skips frames, from keyframe to keyframe.
    pub viewer_bits_per_second: u64,
    /// How much all viewers together may need, in bits per second (0); 0 is no cap. See
    /// [`AppSpec::egress_bits_per_second`].
    pub egress_bits_per_second: u64,
    /// The maximum number of bytes that all streams together keep for their viewers (2 GiB). Above
    /// this limit, publishers are refused (`memory_limit`), streams that keep more than an equal
    /// share drop their oldest frames, and the others do not grow. Each stream may still keep 1
    /// MiB.
    pub stream_memory: u64,
    /// A stream without a frame for this long is reaped (30 s); zero means never.
    pub idle_timeout: Duration,
    /// A publisher that has sent no frame this long after its admission is ended (`idle`) (5 s);
    /// zero means never.
    pub first_frame_timeout: Duration,
    /// The time that authenticators and gates together may take (10 s); zero is no limit. After it
    /// the attempt is refused with `auth_unavailable`, or with the reason of the gate
    /// ([`Gate::overdue`]).
    pub admission_timeout: Duration,
    /// The allowed refusals, and sessions shorter than a second, per address, IPv6 by /64 (10 per
    /// second, 100 at once). [`Engine::publish`] describes what happens beyond it.
    pub attempts: Rate,
    /// The allowed sessions shorter than a second, of all addresses together (100 per second, 1,000
    /// at once). Beyond it, clients that had such sessions before wait for up to two seconds.
    pub short_sessions: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_publishers: 1_000,
            max_publishers_per_address: 256,
            max_publishers_per_principal: 0,
            max_publishers_per_application: 0,
            max_sessions_per_address: 0,
            max_subscribers_per_stream: 100_000,
            max_waiting_viewers: 1_000,
            viewer_bits_per_second: 0,
            egress_bits_per_second: 0,
            stream_memory: 2 << 30,
            idle_timeout: Duration::from_secs(30),
            first_frame_timeout: Duration::from_secs(5),
            admission_timeout: Duration::from_secs(10),
            attempts: Rate {
                per_second: 10,
                burst: 100,
            },
            short_sessions: Rate {
                per_second: 100,
                burst: 1_000,
            },
        }
    }
}

/// Configures an [`Engine`]; see [`Engine::builder`].
///
/// ```
/// use std::time::Duration;
/// use livetrail_engine::{AppSpec, Attempt, Engine, Reason, StreamKey};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::builder()
///     .application(AppSpec::new("live"))
///     .max_publishers(1)
///     .idle_timeout(Duration::from_secs(10))
///     .build()?;
/// let first = Attempt::new(StreamKey::parse("live", "cam-1")?, "example");
/// let second = Attempt::new(StreamKey::parse("live", "cam-2")?, "example");
/// let publication = engine.publish(first).await?;
/// let denied = engine.publish(second).await.err();
/// assert_eq!(denied.map(|denied| denied.reason), Some(Reason::LimitReached));
/// # drop(publication);
/// # Ok(()) }
/// ```
pub struct EngineBuilder {
    apps: Vec<AppSpec>,
    reserved: Vec<AppName>,
    observers: Vec<Arc<dyn Observer>>,
    authenticators: Vec<Arc<dyn Authenticator>>,
    gates: Vec<Arc<dyn Gate>>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    node: Option<Arc<str>>,
}

impl EngineBuilder {
    pub(crate) fn new() -> Self {
        Self {
            apps: Vec::new(),
            reserved: Vec::new(),
            observers: Vec::new(),
            authenticators: Vec::new(),
            gates: Vec::new(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock::new()),
            node: None,
        }
    }

    /// Adds an application. An engine without an application refuses everything (`app_not_found`).
    #[must_use]
    pub fn application(mut self, app: AppSpec) -> Self {
        self.apps.push(app);
        self
    }

    /// Keeps names for the host's own use, such as the first parts of its paths. An attempt with
    /// such an application is refused (`bad_name`), also if a pattern covers it.
    #[must_use]
    pub fn reserve_names(mut self, names: impl IntoIterator<Item = AppName>) -> Self {
        self.reserved.extend(names);
        self
    }

    /// Adds an observer. An `Arc` of an observer is an observer too, so the host can keep a handle.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Adds an authenticator. The engine asks them in order; the first that allows or denies
    /// decides, and if all abstain the attempt is refused. Without any authenticator everyone is
    /// admitted.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticators.push(Arc::new(authenticator));
        self
    }

    /// Adds a gate. All gates must admit a session.
    #[must_use]
    pub fn gate(mut self, gate: impl Gate) -> Self {
        self.gates.push(Arc::new(gate));
        self
    }

    /// Sets all limits at once.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the maximum number of publishers at once.
    #[must_use]
    pub fn max_publishers(mut self, n: usize) -> Self {
        self.limits.max_publishers = n;
        self
    }

    /// Sets the maximum number of viewers of one stream at once.
    #[must_use]
    pub fn max_subscribers_per_stream(mut self, n: usize) -> Self {
        self.limits.max_subscribers_per_stream = n;
        self
    }

    /// A stream without a frame for this long is reaped; zero means never.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// Sets the name of this server among those that pass streams to each other. An attempt whose
    /// [`Hops`](crate::Hops) have this name is refused (`relay_loop`).
    #[must_use]
    pub fn node(mut self, name: impl Into<Arc<str>>) -> Self {
        self.node = Some(name.into());
        self
    }

    /// Sets the clock; the default is the operating system's. Every component with times of this
    /// engine's sessions, such as an audit pipeline, must use the same clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The clock that the engine will have, unless another is set.
    #[must_use]
    pub fn shared_clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// Sets the maximum number of bytes that all streams together keep for their viewers; see
    /// [`Limits::stream_memory`].
    #[must_use]
    pub fn stream_memory(mut self, bytes: u64) -> Self {
        self.limits.stream_memory = bytes;
        self
    }

    /// Makes the engine.
    ///
    /// # Errors
    /// An application whose name is invalid, that is configured twice, or whose ring would be too
    /// large.
    pub fn build(self) -> Result<Engine> {
        Ok(Engine {
            inner: Arc::new(Inner {
                clock: self.clock,
                node: self.node,
                observers: Observers::new(self.observers),
                authenticators: self.authenticators,
                gates: self.gates,
                reserved: self.reserved,
                apps: ArcSwap::from_pointee(check_apps(self.apps)?),
                memory: Budget::new(self.limits.stream_memory),
                limits: ArcSwap::from_pointee(self.limits),
                events: broadcast::channel(EVENT_BACKLOG).0,
                registry: Mutex::new(Registry::default()),
                totals: Totals::default(),
                attempts: Arc::new(Attempts::new()),
                tokens: Tokens::default(),
                timers: Timers::new(),
                wakeup: Arc::new(Wakeup::new()),
                has_thread: AtomicBool::new(false),
                stopping: AtomicBool::new(false),
                draining: AtomicBool::new(false),
                parked: Notify::new(),
                deciding: AtomicUsize::new(0),
            }),
        })
    }
}
