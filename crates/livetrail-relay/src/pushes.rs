//! All pushes of a node: one for each target of each published stream.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use arc_swap::ArcSwap;
use livetrail_engine::{Engine, Observer, SessionContext, SessionId, StreamEvent};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    counts::{Counted, LivePushCounts, PushCounts, count},
    link::Link,
    list::{Page, PushInfo, page, part},
    push::Push,
    rules::PushRule,
};

/// Pushes the streams that are published here to other nodes. Cloning gives another handle to the
/// same pushes.
///
/// It is an [`Observer`] of the engine. While a stream is published, each of its targets has a
/// connection of its own and reads the stream as a [`Tap`](livetrail_engine::Tap) does: a target
/// that is too slow continues at the newest keyframe, and delays nobody. A target that is lost is
/// tried again, with waits that grow. A stream goes to no node that it has passed.
#[derive(Clone)]
pub struct Pushes {
    shared: Arc<Shared>,
}

struct Shared {
    rules: ArcSwap<Rules>,
    counts: Arc<LivePushCounts>,
    runtime: Handle,
    site: Mutex<Site>,
}

#[derive(Default)]
struct Rules {
    max_pushes: usize,
    rules: Vec<PushRule>,
}

#[derive(Default)]
struct Site {
    /// The engine holds this observer: without an end of the pushes it would hold itself.
    engine: Option<Engine>,
    /// The publications that are pushed. Their pushes end when the sender is gone.
    running: HashMap<SessionId, watch::Sender<()>>,
    /// The pushes in the order in which they were opened.
    open: BTreeMap<u64, Arc<Push>>,
    /// How many were opened.
    opened: u64,
}

impl Pushes {
    /// Pushes that run on this runtime. They begin with [`start`](Self::start).
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self {
            shared: Arc::new(Shared {
                rules: ArcSwap::default(),
                counts: Arc::default(),
                runtime,
                site: Mutex::default(),
            }),
        }
    }

    /// Begins to push what is published in this engine, of which this is an observer. It must have
    /// a [`node`](livetrail_engine::EngineBuilder::node), or targets cannot notice loops.
    pub fn start(&self, engine: Engine) {
        self.shared.site().engine = Some(engine);
    }

    /// Sets the rules, of which each that covers a stream counts, and the maximum number of pushes
    /// at once. They hold for publications that begin from now on.
    pub fn exchange(&self, max_pushes: usize, rules: impl IntoIterator<Item = PushRule>) {
        let rules = rules.into_iter().collect();
        self.shared
            .rules
            .store(Arc::new(Rules { max_pushes, rules }));
    }

    /// Ends all pushes, and opens no more.
    pub fn stop(&self) {
        let mut site = self.shared.site();
        site.engine = None;
        site.running.clear();
    }

    /// What they have done.
    #[must_use]
    pub fn counts(&self) -> PushCounts {
        self.shared.counts.snapshot()
    }

    /// A page of the pushes that are open and that `is_meant` selects, in the order in which they
    /// were opened: at most `most`, the first after the one with the number `after`. Empty before
    /// [`start`](Self::start) and after [`stop`](Self::stop).
    #[must_use]
    pub fn list_after(
        &self,
        after: Option<u64>,
        most: usize,
        is_meant: impl Fn(&PushInfo) -> bool,
    ) -> Page<PushInfo> {
        let engine = self.shared.site().engine.clone();
        let now = engine.map(|engine| engine.clock().monotonic());
        let numbered = |after: Option<&u64>| {
            let entries = part(&self.shared.site().open, after);
            entries
                .into_iter()
                .map(|(number, push)| (number, (number, push)))
                .collect()
        };
        page(
            after,
            most,
            numbered,
            |(number, push): &(u64, Arc<Push>)| Some(push.info(*number, now?)).filter(&is_meant),
        )
    }
}

impl Observer for Pushes {
    fn on_publish_started(&self, event: &StreamEvent) {
        self.shared.begin(&event.context);
    }

    fn on_publish_ended(&self, event: &StreamEvent) {
        self.shared.site().running.remove(&event.session);
    }

    fn wants_frames(&self) -> bool {
        false
    }
}

impl Shared {
    fn site(&self) -> MutexGuard<'_, Site> {
        // Nothing that can panic runs under this lock.
        self.site.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, publisher: &Arc<SessionContext>) {
        let rules = self.rules.load();
        let mut covering = rules
            .rules
            .iter()
            .filter(|rule| rule.streams.cover(&publisher.key));
        let Some(first) = covering.next() else { return };
        let mut site = self.site();
        let Some(engine) = site.engine.clone() else {
            return;
        };
        let passed = publisher.hops.as_deref().cloned().unwrap_or_default();
        let hops = engine
            .node()
            .map_or_else(|| passed.clone(), |node| passed.then(node));
        let hops = hops.session(publisher.session);
        let publication = watch::Sender::new(());
        for rule in std::iter::once(first).chain(covering) {
            let config = rule.client_config();
            for target in &rule.targets {
                if hops.have(target.name()) {
                    continue;
                }
                if site.open.len() >= rules.max_pushes {
                    count(&self.counts.limited);
                    continue;
                }
                let push = Arc::new(Push {
                    key: publisher.key.clone(),
                    session: publisher.session,
                    target: target.clone(),
                    client: target.client(&config).hops(hops.clone()),
                    counts: self.counts.clone(),
                    link: Link::new(engine.clock().monotonic()),
                    skipped_frames: AtomicU64::new(0),
                });
                let number = site.opened;
                site.opened += 1;
                site.open.insert(number, push.clone());
                let running = Running {
                    shared: self.clone(),
                    number,
                    _open: Counted::new(&self.counts, |counts| &counts.open),
                };
                let (engine, ended) = (engine.clone(), publication.subscribe());
                self.runtime.spawn(async move {
                    let _running = running;
                    push.run(&engine, ended).await;
                });
            }
        }
        site.running.insert(publisher.session, publication);
    }
}

/// A push that counts against the bound, until its task ends in any way.
struct Running {
    shared: Arc<Shared>,
    number: u64,
    _open: Counted<LivePushCounts>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.site().open.remove(&self.number);
    }
}
