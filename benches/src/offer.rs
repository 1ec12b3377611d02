//! Three ways of offering a transition to an audit trail, behind one interface: Livetrail's
//! pipeline, arcly-stream's, and a bare channel whose send wakes its reader.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use livetrail_engine as engine;
use tokio::sync::mpsc;

/// The receiver of offers.
pub trait Offer: Send + Sync {
    /// Offers one transition.
    fn offer(&self);
    /// How many have reached the sink.
    fn taken(&self) -> u64;
    /// How many were dropped for lack of space.
    fn dropped(&self) -> u64;
}

/// The names of [`all`], in its order; the last two are what ours is compared with.
pub const NAMES: [&str; 3] = ["Livetrail", "arcly-stream", "tokio mpsc, try_send"];

/// A new receiver of each kind, with space for `capacity` offers. Call it inside a tokio runtime.
pub fn all(capacity: usize) -> anyhow::Result<[Box<dyn Offer>; 3]> {
    Ok([
        Box::new(Livetrail::new(capacity)?),
        Box::new(Arcly::new(capacity)),
        Box::new(Bare::new(capacity)),
    ])
}

/// A sink that counts.
#[derive(Default)]
struct Counter(AtomicU64);

struct Livetrail {
    pipeline: livetrail_audit::AuditPipeline,
    event: engine::StreamEvent,
    taken: Arc<Counter>,
}

impl Livetrail {
    fn new(capacity: usize) -> anyhow::Result<Self> {
        let taken = Arc::new(Counter::default());
        let pipeline = livetrail_audit::AuditPipeline::new(taken.clone(), capacity);
        Ok(Self {
            pipeline,
            event: livetrail_event()?,
            taken,
        })
    }
}

impl Offer for Livetrail {
    fn offer(&self) {
        engine::Observer::on_event(&self.pipeline, &self.event);
    }
    fn taken(&self) -> u64 {
        self.taken.0.load(Ordering::Relaxed)
    }
    fn dropped(&self) -> u64 {
        self.pipeline.dropped()
    }
}

#[async_trait::async_trait]
impl livetrail_audit::AuditSink for Counter {
    async fn write(&self, record: livetrail_record::AuditRecord) {
        std::hint::black_box(&record);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A transition as the engine makes it: caught by an observer from a publish that is admitted.
pub fn livetrail_event() -> anyhow::Result<engine::StreamEvent> {
    use engine::{AppSpec, Attempt, Engine, Observer, StreamEvent, StreamKey};

    struct Catch(Arc<Mutex<Option<StreamEvent>>>);
    impl Observer for Catch {
        fn on_publish_started(&self, event: &StreamEvent) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.clone());
        }
    }

    let caught = Arc::new(Mutex::new(None));
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .observer(Catch(caught.clone()))
        .build()?;
    let attempt = Attempt::new(StreamKey::parse("live", "camera-1")?, "rtmp")
        .peer("192.0.2.7:4711".parse()?)
        .user_agent("bench");
    let publish = tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(engine.publish(attempt))
    });
    drop(publish?);
    let event = caught.lock().unwrap_or_else(PoisonError::into_inner).take();
    event.ok_or_else(|| anyhow::anyhow!("the engine reported no publish"))
}

struct Arcly {
    pipeline: arcly_stream::audit::AuditPipeline,
    event: arcly_stream::bus::StreamEvent,
    taken: Arc<Counter>,
}

impl Arcly {
    fn new(capacity: usize) -> Self {
        let taken = Arc::new(Counter::default());
        Self {
            pipeline: arcly_stream::audit::AuditPipeline::new(taken.clone(), capacity),
            event: arcly_event(),
            taken,
        }
    }
}

/// The same transition as the peer makes it.
pub fn arcly_event() -> arcly_stream::bus::StreamEvent {
    arcly_stream::bus::StreamEvent {
        app: "live".into(),
        stream_id: "camera-1".into(),
        kind: arcly_stream::bus::StreamEventKind::PublishStarted,
    }
}

impl Offer for Arcly {
    fn offer(&self) {
        arcly_stream::observe::Observer::on_event(&self.pipeline, &self.event);
    }
    fn taken(&self) -> u64 {
        self.taken.0.load(Ordering::Relaxed)
    }
    fn dropped(&self) -> u64 {
        self.pipeline.dropped()
    }
}

#[async_trait::async_trait]
impl arcly_stream::audit::AuditSink for Counter {
    async fn write(&self, record: arcly_stream::audit::AuditRecord) {
        std::hint::black_box(&record);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A record of the minimum that an audit needs: time, application, stream.
type Small = (std::time::SystemTime, String, String);

struct Bare {
    sender: mpsc::Sender<Small>,
    taken: Arc<Counter>,
    dropped: AtomicU64,
}

impl Bare {
    fn new(capacity: usize) -> Self {
        let taken = Arc::new(Counter::default());
        let (sender, mut receiver) = mpsc::channel::<Small>(capacity);
        let counter = taken.clone();
        tokio::spawn(async move {
            while let Some(record) = receiver.recv().await {
                std::hint::black_box(&record);
                counter.0.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            sender,
            taken,
            dropped: AtomicU64::new(0),
        }
    }
}

impl Offer for Bare {
    fn offer(&self) {
        let record = (
            std::time::SystemTime::now(),
            "live".to_owned(),
            "camera-1".to_owned(),
        );
        if self.sender.try_send(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn taken(&self) -> u64 {
        self.taken.0.load(Ordering::Relaxed)
    }
    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
