//! The sink: a thread that may block, and the calls to it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use livetrail_replica::{
    Erasure, Gap, PersonalMode, ReplicaError, ReplicaSink, SealedRange, Sightings, SinkCursor,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::target::KafkaTarget;
use super::writer::Writer;
use crate::clock;
use crate::error::SinksError;

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// How old an unused answer may be. The sink asks again for an older one.
const MAX_AGE: Duration = Duration::from_secs(10);

/// A partition of a topic of Kafka as a replica of the ledger.
///
/// Many logs may share one topic, each in a partition of its own. A new writer of a partition
/// fences off the earlier one, so two writers by mistake cannot write a record twice.
///
/// The sink has its own thread, which ends with the sink. If the caller gives up a call, the thread
/// still finishes it. If the call was a question, the next call with the same question uses its
/// answer. So the sink can follow with a broker that needs longer than one attempt.
#[derive(Debug)]
pub struct KafkaSink {
    name: String,
    keeps_openings: bool,
    jobs: mpsc::Sender<Job>,
    cursor: Mutex<Option<Asked<SinkCursor>>>,
    erasure_cursor: Mutex<Option<Asked<u64>>>,
    sightings: Mutex<Option<(Sightings, Asked<()>)>>,
}

/// A question that the thread has yet to answer, or its answer.
#[derive(Debug)]
struct Asked<T> {
    origin: String,
    answer: oneshot::Receiver<Answer<T>>,
}

#[derive(Debug)]
struct Answer<T> {
    at: Instant,
    result: Result<T, ReplicaError>,
}

impl KafkaSink {
    /// Creates a sink with this name. It connects at its first call.
    ///
    /// # Errors
    /// This build lacks a feature that the target needs, or a file cannot be read.
    pub fn new(name: impl Into<String>, target: KafkaTarget) -> Result<Self, SinksError> {
        target.check()?;
        let name = name.into();
        let keeps_openings = target.openings().is_some();
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
        Ok(Self {
            name,
            keeps_openings,
            jobs,
            cursor: Mutex::default(),
            erasure_cursor: Mutex::default(),
            sightings: Mutex::default(),
        })
    }

    /// Sends a call to the thread. If the receiver is dropped before the call's turn, the call is
    /// skipped.
    async fn send<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Writer) -> Result<T, ReplicaError> + Send + 'static,
    ) -> Result<oneshot::Receiver<Answer<T>>, ReplicaError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            if !answer.is_closed() {
                let result = call(writer);
                let at = clock::now();
                let _ = answer.send(Answer { at, result });
            }
        });
        self.jobs.send(job).await.map_err(|_| thread_is_gone())?;
        Ok(answered)
    }

    /// Asks about a log, or waits for the answer to the same question of an earlier call.
    async fn ask<T: Send + 'static>(
        &self,
        slot: &Mutex<Option<Asked<T>>>,
        origin: &str,
        question: fn(&mut Writer, &str) -> Result<T, ReplicaError>,
    ) -> Result<T, ReplicaError> {
        let asked = take(slot).and_then(|asked| asked.still_of_use(origin));
        let asked = match asked {
            Some(asked) => asked,
            None => {
                let origin = origin.to_owned();
                let of = origin.clone();
                let answer = self.send(move |writer| question(writer, &of)).await?;
                Asked { origin, answer }
            }
        };
        Kept::new(slot, asked).answer(|asked| asked).await
    }

    /// Makes a call that changes something. Earlier answers are discarded, because they may be out
    /// of date.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Writer) -> Result<T, ReplicaError> + Send + 'static,
    ) -> Result<T, ReplicaError> {
        take(&self.cursor);
        take(&self.erasure_cursor);
        let answer = self.send(call).await?.await;
        answer.map_or_else(|_| Err(thread_is_gone()), |answer| answer.result)
    }
}

#[async_trait]
impl ReplicaSink for KafkaSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        self.ask(&self.cursor, origin, Writer::cursor).await
    }

    async fn sightings(&self, seen: &Sightings) -> Result<(), ReplicaError> {
        let asked = take(&self.sightings)
            .and_then(|(found, asked)| Some((found, asked.still_of_use(seen.origin())?)));
        let asked = match asked {
            Some(asked) => asked,
            None => {
                let into = seen.clone();
                let answer = self.send(move |writer| writer.sightings(&into)).await?;
                let origin = seen.origin().to_owned();
                (seen.clone(), Asked { origin, answer })
            }
        };
        let found = asked.0.clone();
        let _merged = Merge { found, into: seen };
        Kept::new(&self.sightings, asked)
            .answer(|(_, asked)| asked)
            .await
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let range = range.clone();
        self.call(move |writer| writer.append(&range)).await
    }

    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        let gap = gap.clone();
        self.call(move |writer| writer.skip(&gap)).await
    }

    fn personal(&self) -> PersonalMode {
        if self.keeps_openings {
            PersonalMode::Opening
        } else {
            PersonalMode::None
        }
    }

    async fn erasure_cursor(&self, origin: &str) -> Result<u64, ReplicaError> {
        let slot = &self.erasure_cursor;
        self.ask(slot, origin, Writer::erasure_cursor).await
    }

    async fn erase(&self, erasure: &Erasure) -> Result<(), ReplicaError> {
        let erasure = erasure.clone();
        self.call(move |writer| writer.erase(&erasure)).await
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        self.call(|writer| writer.health()).await
    }
}

impl<T> Asked<T> {
    /// `None` if the question is about another log, or its answer is too old.
    fn still_of_use(mut self, origin: &str) -> Option<Self> {
        if self.origin != origin {
            return None;
        }
        match self.answer.try_recv() {
            Ok(answer) if answer.at.elapsed() >= MAX_AGE => None,
            Ok(answer) => {
                let (sender, receiver) = oneshot::channel();
                sender.send(answer).ok()?;
                self.answer = receiver;
                Some(self)
            }
            Err(oneshot::error::TryRecvError::Empty) => Some(self),
            Err(oneshot::error::TryRecvError::Closed) => None,
        }
    }
}

/// A question whose caller waits for the answer. If the caller gives up, the question stays for the
/// next call.
struct Kept<'a, A> {
    slot: &'a Mutex<Option<A>>,
    asked: Option<A>,
}

impl<'a, A> Kept<'a, A> {
    const fn new(slot: &'a Mutex<Option<A>>, asked: A) -> Self {
        Self {
            slot,
            asked: Some(asked),
        }
    }

    /// Waits for the answer. If this is dropped earlier, the question stays for the next call.
    async fn answer<T>(
        mut self,
        question: impl Fn(&mut A) -> &mut Asked<T>,
    ) -> Result<T, ReplicaError> {
        let answer = match &mut self.asked {
            Some(asked) => (&mut question(asked).answer).await.ok(),
            None => None,
        };
        self.asked = None;
        answer.map_or_else(|| Err(thread_is_gone()), |answer| answer.result)
    }
}

impl<A> Drop for Kept<'_, A> {
    fn drop(&mut self) {
        if let Some(asked) = self.asked.take() {
            *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        }
    }
}

/// On drop, copies the sightings of an earlier call into those of this call, even if it is
/// unfinished.
struct Merge<'a> {
    found: Sightings,
    into: &'a Sightings,
}

impl Drop for Merge<'_> {
    fn drop(&mut self) {
        self.into.merge(&self.found);
    }
}

fn take<A>(slot: &Mutex<Option<A>>) -> Option<A> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn thread_is_gone() -> ReplicaError {
    ReplicaError::Panicked {
        what: "the thread that talks to Kafka has ended".to_owned(),
    }
}
