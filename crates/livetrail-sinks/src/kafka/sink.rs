//! The sink: a thread that may block, and the calls to it.

use async_trait::async_trait;
use livetrail_audit::replica::{
    Gap, ReplicaError, ReplicaSink, SealedRange, Sightings, SinkCursor,
};
use tokio::sync::{mpsc, oneshot};

use super::target::KafkaTarget;
use super::writer::Writer;
use crate::error::SinksError;

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// A partition of a topic of Kafka as a replica of the ledger.
///
/// Many logs may share one topic, each in a partition of its own. Whoever writes a partition fences off whoever did before, so
/// that two by mistake cannot write anything twice.
///
/// It has a thread of its own, which ends with it. A call that is given up is finished there all the same, and the next one
/// waits for it: at most one is waiting.
#[derive(Debug)]
pub struct KafkaSink {
    name: String,
    jobs: mpsc::Sender<Job>,
}

impl KafkaSink {
    /// A sink of this name. Connects when it is used first.
    ///
    /// # Errors
    /// When this program was built without what the target asks for, or a file cannot be read.
    pub fn new(name: impl Into<String>, target: KafkaTarget) -> Result<Self, SinksError> {
        target.check()?;
        let name = name.into();
        let (jobs, mut waiting) = mpsc::channel::<Job>(1);
        let thread = std::thread::Builder::new().name(format!("kafka-{name}"));
        thread
            .spawn(move || {
                let mut writer = Writer::new(target);
                while let Some(job) = waiting.blocking_recv() {
                    job(&mut writer);
                }
            })
            .map_err(SinksError::Thread)?;
        Ok(Self { name, jobs })
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Writer) -> Result<T, ReplicaError> + Send + 'static,
    ) -> Result<T, ReplicaError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            // Who asked may have given up before it was begun.
            if !answer.is_closed() {
                let _ = answer.send(call(writer));
            }
        });
        let gone = || ReplicaError::Panicked {
            what: "the thread that talks to Kafka has ended".to_owned(),
        };
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

#[async_trait]
impl ReplicaSink for KafkaSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        let origin = origin.to_owned();
        self.call(move |writer| writer.cursor(&origin)).await
    }

    async fn sightings(&self, seen: &Sightings) -> Result<(), ReplicaError> {
        let seen = seen.clone();
        self.call(move |writer| writer.sightings(&seen)).await
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let range = range.clone();
        self.call(move |writer| writer.append(&range)).await
    }

    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        let gap = gap.clone();
        self.call(move |writer| writer.skip(&gap)).await
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        self.call(|writer| writer.health()).await
    }
}
