//! The threads that show each newest checkpoint to the witnesses, one per witness.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use livetrail_tlog::VerifiedCheckpoint;

use super::{
    Witness, WitnessOptions, WitnessTransport,
    ask::ask,
    check_all,
    exchange::{Exchange, Next, Outcome},
    known::Known,
};
use crate::{
    Clock, error::LedgerError, read::reader::Reader, store::SharedStore, write::ledger::Handle,
};

/// An event that operators should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WitnessEvent {
    /// It has not cosigned for [`WitnessOptions::overdue_after`] although it was asked. Reported
    /// once, until it cosigns again.
    Overdue {
        /// The witness, with its address.
        witness: String,
        /// The outcome of the last request.
        error: String,
    },
    /// An overdue witness has cosigned.
    Back {
        /// The witness, with its address.
        witness: String,
        /// The size.
        size: u64,
    },
    /// It has seen more than exists here, or another tree. The log has been stopped.
    Alarm {
        /// What it has seen, and the remedy.
        reason: String,
    },
}

/// The state of one witness.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct WitnessStatus {
    /// Its key's name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// The size that it has cosigned last, since this start.
    pub cosigned_size: Option<u64>,
    /// How long it has not cosigned although it was asked.
    #[serde(
        rename = "failing_for_ms",
        serialize_with = "crate::serialize::optional_millis"
    )]
    pub failing_for: Option<Duration>,
    /// Whether that is longer than [`WitnessOptions::overdue_after`].
    pub overdue: bool,
    /// The outcome of the last request, unless that was a cosignature.
    pub error: Option<String>,
    /// The number of requests that it has cosigned.
    pub cosignatures: u64,
    /// The number of requests that it has answered with its own size (409). One at the first
    /// contact is normal.
    pub conflicts: u64,
    /// The number of requests without an answer, or with any other answer.
    pub failures: u64,
}

type Listener = dyn Fn(&WitnessEvent) + Send + Sync;

/// Shows a running log's checkpoints to its witnesses, and passes their cosignatures to the log.
///
/// Dropping it stops the threads; a thread in the middle of a request stops after that, without
/// being waited for.
pub struct Witnesses {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    handle: Handle,
    store: SharedStore,
    clock: Arc<dyn Clock>,
    options: WitnessOptions,
    transport: Arc<dyn WitnessTransport>,
    listener: Box<Listener>,
    known: Mutex<Known>,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    ending: bool,
    /// The newest checkpoint is shown once more, regardless of the interval, and then the threads
    /// stop.
    finishing: bool,
    /// The number of threads that have not stopped.
    running: usize,
    /// The checkpoint that all of them are shown, and since when. With different ones, no
    /// checkpoint would get enough cosignatures.
    shown: Option<(VerifiedCheckpoint, Duration)>,
    /// One per witness.
    talks: Vec<Talk>,
}

struct Talk {
    status: WitnessStatus,
    failing_since: Option<Duration>,
}

impl Witnesses {
    /// Starts asking. `listener` is called on the witnesses' threads, without holding a lock.
    ///
    /// # Errors
    /// [`LedgerError::Options`] for too many witnesses, one given twice, or options out of bounds;
    /// or when a thread cannot be started.
    pub fn start(
        handle: Handle,
        witnesses: Vec<Witness>,
        options: WitnessOptions,
        transport: Arc<dyn WitnessTransport>,
        listener: impl Fn(&WitnessEvent) + Send + Sync + 'static,
    ) -> Result<Self, LedgerError> {
        options.check()?;
        check_all(&witnesses)?;
        let (store, clock) = (handle.store(), handle.clock());
        let known = Known::read(store.as_ref());
        let talks = witnesses.iter().map(|witness| Talk {
            status: WitnessStatus {
                name: witness.name().to_owned(),
                url: witness.url().to_owned(),
                cosigned_size: None,
                failing_for: None,
                overdue: false,
                error: None,
                cosignatures: 0,
                conflicts: 0,
                failures: 0,
            },
            failing_since: None,
        });
        let talks = talks.collect();
        let shared = Arc::new(Shared {
            handle,
            store,
            clock,
            options,
            transport,
            listener: Box::new(listener),
            known: Mutex::new(known),
            state: Mutex::new(State {
                ending: false,
                finishing: false,
                running: 0,
                shown: None,
                talks,
            }),
            wake: Condvar::new(),
        });
        let mut started = Self {
            shared,
            threads: Vec::new(),
        };
        for (at, witness) in witnesses.into_iter().enumerate() {
            let mut seed = [0; 8];
            getrandom::fill(&mut seed).map_err(|error| {
                let error = std::io::Error::other(error);
                LedgerError::io("get randomness for", "a witness", error)
            })?;
            let seed = u64::from_le_bytes(seed);
            let shared = Arc::clone(&started.shared);
            let exchange = Exchange::new(&shared.options, seed);
            {
                let mut state = started.shared.state();
                state.running = state.running.saturating_add(1);
            }
            let ended = Ended(Arc::clone(&shared));
            let thread = thread::Builder::new()
                .name(format!("witness-{at}"))
                .spawn(move || {
                    shared.follow(at, &witness, exchange);
                    drop(ended);
                });
            let thread = thread
                .map_err(|error| LedgerError::io("start the thread", "of a witness", error))?;
            started.threads.push(thread);
        }
        Ok(started)
    }

    /// The state of each witness, in the given order.
    #[must_use]
    pub fn status(&self) -> Vec<WitnessStatus> {
        let now = self.shared.clock.monotonic();
        let state = self.shared.state();
        let status = |talk: &Talk| {
            let failing_for = talk.failing_since.map(|since| now.saturating_sub(since));
            let overdue = failing_for.is_some_and(|time| time >= self.shared.options.overdue_after);
            WitnessStatus {
                failing_for,
                overdue,
                ..talk.status.clone()
            }
        };
        state.talks.iter().map(status).collect()
    }

    /// At an orderly stop, shows each witness the newest checkpoint once more, and stops the
    /// threads. Waits at most `within`. Returns `false` when a witness has not answered by then.
    pub fn finish(&self, within: Duration) -> bool {
        let mut state = self.shared.state();
        state.finishing = true;
        self.shared.wake.notify_all();
        let waited = self
            .shared
            .wake
            .wait_timeout_while(state, within, |state| state.running > 0);
        let mut state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        state.ending = true;
        let in_time = state.running == 0;
        drop(state);
        self.shared.wake.notify_all();
        in_time
    }

    /// Tells the threads to stop: at once, or after the request that they are in the middle of.
    pub fn end(&self) {
        self.shared.end();
    }

    /// Stops the threads and waits for them: at most for one request.
    pub fn stop(mut self) {
        self.shared.end();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Witnesses {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Shared {
    fn follow(&self, at: usize, witness: &Witness, mut exchange: Exchange) {
        while !self.is_over() {
            let now = self.clock.monotonic();
            if exchange.is_newly_overdue(now) {
                self.overdue(at, witness);
            }
            let is_finishing = self.state().finishing;
            let checkpoint = if is_finishing {
                self.handle.checkpoint()
            } else {
                self.shown(now)
            };
            let next = if is_finishing {
                exchange.last(checkpoint.head())
            } else {
                exchange.next(now, checkpoint.head())
            };
            match next {
                Next::Never => return,
                Next::Wait(until) => self.wait(until.saturating_sub(now)),
                Next::Ask { old } => {
                    let (transport, timeout) = (self.transport.as_ref(), self.options.timeout);
                    // Opened for each request: that costs one small file, and a log that changes
                    // its keys is read with the new ones.
                    let answer = Reader::open(Arc::clone(&self.store))
                        .map_err(|error| format!("no proof can be made for it: {error}"))
                        .and_then(|reader| {
                            ask(transport, witness, &reader, &checkpoint, old, timeout)
                        });
                    let now = self.clock.monotonic();
                    let was_overdue = exchange.failing_since().is_some_and(|since| {
                        now.saturating_sub(since) >= self.options.overdue_after
                    });
                    let outcome = exchange.answered(now, witness, &checkpoint, old, answer);
                    self.note(
                        at,
                        &outcome,
                        checkpoint.head().size,
                        exchange.failing_since(),
                    );
                    match outcome {
                        Outcome::Cosigned(lines) => {
                            let size = checkpoint.head().size;
                            // Too many wait: the next checkpoint will be cosigned as well.
                            let _ = self.handle.add_cosignatures(&checkpoint, lines);
                            lock(&self.known).remember(witness.key(), size, self.store.as_ref());
                            if was_overdue {
                                let witness = witness.to_string();
                                (self.listener)(&WitnessEvent::Back { witness, size });
                            }
                        }
                        Outcome::Alarm(alarm) => {
                            let reason = alarm.words(witness);
                            self.handle.halt(reason.clone());
                            (self.listener)(&WitnessEvent::Alarm { reason });
                        }
                        Outcome::Failed(_) if is_finishing => return,
                        Outcome::Again | Outcome::Failed(_) => {}
                    }
                }
            }
        }
    }

    /// The checkpoint that witnesses are shown now. It stays the same for an interval, so that all
    /// of them cosign the same one.
    fn shown(&self, now: Duration) -> VerifiedCheckpoint {
        let newest = self.handle.checkpoint();
        let mut state = self.state();
        if let Some((shown, since)) = &state.shown
            && now < since.saturating_add(self.options.interval)
        {
            return shown.clone();
        }
        state.shown = Some((newest.clone(), now));
        newest
    }

    fn note(&self, at: usize, outcome: &Outcome, size: u64, failing_since: Option<Duration>) {
        let mut state = self.state();
        let Some(talk) = state.talks.get_mut(at) else {
            debug_assert!(false, "there is a talk with each witness");
            return;
        };
        talk.failing_since = failing_since;
        let status = &mut talk.status;
        let count = match outcome {
            Outcome::Cosigned(_) => {
                status.cosigned_size = Some(size);
                status.error = None;
                &mut status.cosignatures
            }
            Outcome::Again => &mut status.conflicts,
            Outcome::Failed(why) => {
                status.error = Some(why.clone());
                &mut status.failures
            }
            Outcome::Alarm(_) => {
                status.error =
                    Some("it has seen more than exists here, or another tree".to_owned());
                &mut status.conflicts
            }
        };
        *count = count.saturating_add(1);
    }

    fn overdue(&self, at: usize, witness: &Witness) {
        let state = self.state();
        let error = state
            .talks
            .get(at)
            .and_then(|talk| talk.status.error.clone());
        drop(state);
        (self.listener)(&WitnessEvent::Overdue {
            witness: witness.to_string(),
            error: error.unwrap_or_default(),
        });
    }

    fn is_over(&self) -> bool {
        self.state().ending || self.handle.status().stopped.is_some()
    }

    fn wait(&self, time: Duration) {
        let state = self.state();
        let waited = self
            .wake
            .wait_timeout_while(state, time, |state| !state.ending && !state.finishing);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn end(&self) {
        self.state().ending = true;
        self.wake.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Counts the thread as stopped, however it ends.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running = state.running.saturating_sub(1);
        drop(state);
        self.0.wake.notify_all();
    }
}

/// No partial change remains under these locks after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Witnesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Witnesses").field(&self.status()).finish()
    }
}
