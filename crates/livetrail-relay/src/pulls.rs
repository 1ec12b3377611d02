//! All pulls of a node: one for each stream, opened by its first viewer.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use livetrail_engine::{Engine, Gate, Reason, Role, SessionContext, StreamKey};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    counts::{Counted, LivePullCounts, PullCounts, count},
    list::{Page, PullInfo, page, part},
    pull::{Pull, State},
    rules::PullRule,
    strangers::{Answers, Pace},
};

/// Bounds of all pulls of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullOptions {
    /// The maximum number of pulls at once. A viewer who would need one more is refused
    /// (`limit_reached`). Default 1,000.
    pub max_pulls: usize,
    /// The maximum number of pulls that are opened per second, and at once. Default 100.
    pub max_opened_per_second: u32,
    /// How long it is remembered that no origin has a stream, or that none can be reached. Default
    /// 2 s.
    pub remember: Duration,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            max_pulls: 1_000,
            max_opened_per_second: 100,
            remember: Duration::from_secs(2),
        }
    }
}

/// Pulls streams from origins on demand. Cloning gives another handle to the same pulls.
///
/// It is a [`Gate`] of the engine: a viewer of a stream that has no publisher and that a rule
/// covers is admitted as soon as an origin has admitted this node. It then waits for the first
/// frame as for any publisher. It is refused if no origin has the stream (`stream_not_found`), or
/// if none can be reached (`origin_unavailable`). A node that asks for a stream that is neither
/// published nor covered is refused (`stream_not_found`), so that it asks its next origin at once.
///
/// The stream's publisher is one session of the engine, with the protocol `relay` and the principal
/// `node:NAME` of the origin.
#[derive(Clone)]
pub struct Pulls {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    options: ArcSwap<PullOptions>,
    rules: ArcSwap<Vec<Arc<PullRule>>>,
    pub(crate) counts: Arc<LivePullCounts>,
    runtime: Handle,
    site: Mutex<Site>,
    stop: watch::Sender<bool>,
}

#[derive(Default)]
struct Site {
    /// The engine holds this gate: without an end of the pulls it would hold itself.
    engine: Option<Engine>,
    running: BTreeMap<StreamKey, Arc<Pull>>,
    answers: Answers,
    pace: Pace,
}

impl Pulls {
    /// Pulls that run on this runtime. They begin with [`start`](Self::start).
    #[must_use]
    pub fn new(options: PullOptions, runtime: Handle) -> Self {
        let shared = Shared {
            options: ArcSwap::from_pointee(options),
            rules: ArcSwap::default(),
            counts: Arc::default(),
            runtime,
            site: Mutex::default(),
            stop: watch::Sender::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Begins to pull for the viewers of this engine, of which this is a gate. It must have a
    /// [`node`](livetrail_engine::EngineBuilder::node), or origins cannot notice loops.
    pub fn start(&self, engine: Engine) {
        self.shared.site().engine = Some(engine);
    }

    /// Sets the rules, the first that covers a stream counts, and the bounds. Pulls that are open
    /// continue as they are.
    pub fn exchange(&self, options: PullOptions, rules: impl IntoIterator<Item = PullRule>) {
        self.shared.options.store(Arc::new(options));
        let rules = rules.into_iter().map(Arc::new).collect();
        self.shared.rules.store(Arc::new(rules));
    }

    /// Ends all pulls, and opens no more.
    pub fn stop(&self) {
        self.shared.site().engine = None;
        self.shared.stop.send_replace(true);
    }

    /// What they have done.
    #[must_use]
    pub fn counts(&self) -> PullCounts {
        self.shared.counts.snapshot()
    }

    /// A page of the pulls that are open and that `is_meant` selects, sorted by stream: at most
    /// `most`, the first after `after`. Empty before [`start`](Self::start) and after
    /// [`stop`](Self::stop).
    #[must_use]
    pub fn list_after(
        &self,
        after: Option<&StreamKey>,
        most: usize,
        is_meant: impl Fn(&PullInfo) -> bool,
    ) -> Page<PullInfo> {
        let now = self.shared.now();
        page(
            after.cloned(),
            most,
            |after| part(&self.shared.site().running, after),
            |pull| Some(pull.info(now?)).filter(&is_meant),
        )
    }
}

#[async_trait]
impl Gate for Pulls {
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
        if session.role != Role::Play {
            return Ok(());
        }
        match self.shared.pull_for(session)? {
            Some(pull) => pull.opened().await,
            None => Ok(()),
        }
    }

    /// A client that has no session yet opens the pull, too: it asks what there is to play before
    /// it plays. A pull that nobody watches ends as any other.
    async fn prepare(&self, viewer: &SessionContext) -> Result<(), Reason> {
        self.confirm(viewer).await
    }

    fn overdue(&self) -> Reason {
        unavailable()
    }
}

/// No origin can be reached.
pub(crate) fn unavailable() -> Reason {
    Reason::from_label("origin_unavailable")
}

impl Shared {
    fn site(&self) -> MutexGuard<'_, Site> {
        // Nothing that can panic runs under this lock.
        self.site.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine's time. `None` if no engine has this gate.
    fn now(&self) -> Option<Duration> {
        let engine = self.site().engine.clone();
        engine.map(|engine| engine.clock().monotonic())
    }

    /// The pull for this viewer's stream, if it needs one.
    fn pull_for(self: &Arc<Self>, viewer: &SessionContext) -> Result<Option<Arc<Pull>>, Reason> {
        let key = &viewer.key;
        let rules = self.rules.load();
        let rule = rules.iter().find(|rule| rule.streams.cover(key));
        if rule.is_none() && viewer.hops.is_none() {
            return Ok(None);
        }
        let mut site = self.site();
        let Some(engine) = site.engine.clone() else {
            return Ok(None);
        };
        let watched = engine.watched(key);
        if watched.is_some_and(|watched| watched.publisher.is_some()) {
            return Ok(None);
        }
        let Some(rule) = rule else {
            return Err(Reason::StreamNotFound);
        };
        if let Some(pull) = site.running.get(key) {
            return Ok(Some(pull.clone()));
        }
        let now = engine.clock().monotonic();
        if let Some(reason) = site.answers.get(key, now) {
            count(&self.counts.remembered);
            return Err(reason);
        }
        let options = self.options.load();
        let is_full = site.running.len() >= options.max_pulls;
        if is_full || !site.pace.take(options.max_opened_per_second, now) {
            count(&self.counts.limited);
            return Err(Reason::LimitReached);
        }
        let hops = viewer.hops.as_deref().cloned().unwrap_or_default();
        let hops = engine
            .node()
            .map_or_else(|| hops.clone(), |node| hops.then(node));
        let pull = Arc::new(Pull::new(key.clone(), rule.clone(), hops, now));
        site.running.insert(key.clone(), pull.clone());
        count(&self.counts.opened);
        let running = Running {
            shared: self.clone(),
            pull: pull.clone(),
            engine,
            _open: Counted::new(&self.counts, |counts| &counts.open),
        };
        self.runtime.spawn(running.run());
        Ok(Some(pull))
    }

    /// Resolves when all pulls end.
    fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.subscribe();
        async move {
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }
}

/// A pull that is in the table, until its task ends in any way.
struct Running {
    shared: Arc<Shared>,
    pull: Arc<Pull>,
    engine: Engine,
    _open: Counted<LivePullCounts>,
}

impl Running {
    async fn run(self) {
        let stopped = self.shared.stopped();
        tokio::select! {
            () = self.pull.carry(&self.engine, &self.shared.counts) => {}
            () = self.pull.unwatched(&self.engine) => {}
            () = stopped => {}
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let failed = self.pull.close();
        let mut site = self.shared.site();
        let key = self.pull.key();
        if let Some(reason) = failed {
            let now = self.engine.clock().monotonic();
            let until = now.saturating_add(self.shared.options.load().remember);
            site.answers.remember(key, reason, now, until);
        }
        if site
            .running
            .get(key)
            .is_some_and(|pull| Arc::ptr_eq(pull, &self.pull))
        {
            site.running.remove(key);
        }
    }
}

impl Pull {
    /// Waits until an origin has admitted this node, or the pull has failed.
    async fn opened(&self) -> Result<(), Reason> {
        let mut state = self.state();
        let settled = state
            .wait_for(|state| !matches!(state, State::Opening))
            .await;
        match settled.as_deref() {
            Ok(State::Failed(reason)) => Err(reason.clone()),
            _ => Ok(()),
        }
    }
}
