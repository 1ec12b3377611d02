//! The running ledger: three threads around one queue, and the handles to it.

mod committer;
mod handle;
mod integrator;
mod room;
mod sealer;
mod shared;
mod times;

use std::{
    fmt,
    ops::Deref,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use livetrail_tlog::VerifiedCheckpoint;

pub use handle::{Appended, Handle, Status};
pub use times::CommitTimes;

use crate::{
    Clock, SystemClock,
    error::{Fatal, LedgerError},
    identity::Identity,
    options::Options,
    store::{Lock, SharedStore},
    upkeep::recover::{self, ExternalFloor, RecoveryReport},
    upkeep::rotate::rotate,
    upkeep::space::Pressure,
    write::companion::{CompanionStore, Keeper},
    write::seal::CheckpointHook,
    write::wal::{Writer, prepare_spare},
};
use shared::Shared;

/// How often a close with a deadline checks whether the threads have ended.
const CLOSE_POLL: Duration = Duration::from_millis(2);

/// The one writer of a trail.
///
/// ```text
/// append ─▶ queue ─▶ committer: WAL, fdatasync ─▶ durable
///                                                    ▼
///                          integrator: tiles; companions to their store
///                                                    ▼
///                    sealer: re-read, intent, sign, publish ─▶ sealed
/// ```
///
/// The committer writes one batch while the next one is filled; the sealer works on one tree while
/// the integrator builds the next. An idle ledger has three parked threads and writes nothing.
pub struct Ledger {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
    /// Held until the threads have ended.
    lock: Option<Box<dyn Lock>>,
}

/// The settings for opening a ledger.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use livetrail_ledger::{
///     Class, Identity, Ledger, MemStore, Options, SharedStore, SystemClock, generate_seed,
/// };
///
/// let store: SharedStore = Arc::new(MemStore::new());
/// let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
/// Ledger::create(&store, &identity)?;
/// let mut options = Options::default();
/// options.checkpoint_interval = Duration::from_millis(100);
/// let (ledger, report) = Ledger::builder(store, identity)
///     .options(options)
///     .clock(Arc::new(SystemClock::new()))
///     .open()?;
/// assert!(report.is_clean());
/// let appended = ledger.append(Class::Strict, &["a record"])?;
/// ledger.wait_sealed(appended.next, Duration::from_secs(5))?;
/// assert_eq!(ledger.checkpoint().head().size, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Builder {
    store: SharedStore,
    identity: Arc<Identity>,
    options: Options,
    clock: Arc<dyn Clock>,
    hooks: Vec<Box<dyn CheckpointHook>>,
    floors: Vec<Box<dyn ExternalFloor>>,
    companions: Option<Keeper>,
}

impl Ledger {
    /// Creates an empty trail, with a signed checkpoint of size 0. Store the keys first: without
    /// them nobody can continue the trail.
    ///
    /// # Errors
    /// [`LedgerError::Exists`] when there is a trail or part of one, or an error of the store.
    /// Opening never creates a trail.
    pub fn create(store: &SharedStore, identity: &Identity) -> Result<(), LedgerError> {
        recover::create(store.as_ref(), identity, &SystemClock::new())
    }

    /// Opens an existing trail; see [`Builder`].
    pub fn builder(store: SharedStore, identity: Identity) -> Builder {
        Builder {
            store,
            identity: Arc::new(identity),
            options: Options::default(),
            clock: Arc::new(SystemClock::new()),
            hooks: Vec::new(),
            floors: Vec::new(),
            companions: None,
        }
    }

    /// A handle for other users: appending, waiting, status. Handles do not keep the ledger open.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops accepting entries, makes the accepted ones durable and seals them, and unlocks the
    /// directory. Returns the last checkpoint.
    ///
    /// # Errors
    /// Why the log stopped, if it did. Durable entries stay durable.
    pub fn close(mut self) -> Result<VerifiedCheckpoint, Arc<Fatal>> {
        self.end();
        let status = self.handle.status();
        match status.stopped {
            Some(fatal) => Err(fatal),
            None => Ok(self.handle.checkpoint()),
        }
    }

    /// Like [`close`](Self::close), but waits at most `timeout` for a disk that hangs. After that
    /// the threads continue alone, and the directory stays locked until the process ends.
    ///
    /// # Errors
    /// As for [`close`](Self::close), and [`Fatal::Hung`].
    pub fn close_within(mut self, timeout: Duration) -> Result<VerifiedCheckpoint, Arc<Fatal>> {
        let shared = Arc::clone(&self.handle.shared);
        shared.close();
        let deadline = shared.clock.monotonic().saturating_add(timeout);
        while !self.threads.iter().all(JoinHandle::is_finished) {
            if shared.clock.monotonic() >= deadline {
                shared.stop(Fatal::Hung);
                self.threads.clear();
                // Its threads may still write, so no other process may.
                std::mem::forget(self.lock.take());
                break;
            }
            thread::sleep(CLOSE_POLL);
        }
        self.close()
    }

    fn end(&mut self) {
        self.handle.shared.close();
        for thread in self.threads.drain(..) {
            // A panic in it was reported as `Fatal::Panicked`.
            let _ = thread.join();
        }
        self.handle.shared.ended();
        self.lock = None;
    }
}

impl Deref for Ledger {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

/// Closes like [`Ledger::close`], and waits for it.
impl Drop for Ledger {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("status", &self.handle.status())
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Settings; default [`Options::default`].
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The source of time; default the operating system.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// A hook that gets each checkpoint before and after it is published. Several are called in the
    /// given order.
    #[must_use]
    pub fn hook(mut self, hook: impl CheckpointHook + 'static) -> Self {
        self.hooks.push(Box::new(hook));
        self
    }

    /// A source of what others have seen of this log; asked before anything is written.
    #[must_use]
    pub fn floor(mut self, floor: impl ExternalFloor + 'static) -> Self {
        self.floors.push(Box::new(floor));
        self
    }

    /// The store of companions: entries may then have them. Recovery gives it those of durable
    /// entries that are not sealed yet.
    ///
    /// New segments of the write-ahead log then have a version that programs without companions
    /// refuse. A log that has unsealed entries with companions does not open without a store.
    #[must_use]
    pub fn companions(mut self, store: impl CompanionStore + 'static) -> Self {
        self.companions = Some(Keeper::new(Box::new(store)));
        self
    }

    /// Whether a store of companions was given.
    #[must_use]
    pub const fn takes_companions(&self) -> bool {
        self.companions.is_some()
    }

    /// Hands the log over to new keys instead of opening it. Recovers it, signs the published
    /// checkpoint with the new keys too, keeps that permanently, and names the new keys in
    /// `private/log.json`. From then on the log opens with `new` only. After a failure or a crash
    /// at any point the log opens with one of the two, and this can be repeated with the same
    /// arguments.
    ///
    /// The change must be on record first: an entry that states it, sealed with the old keys.
    /// Returns the checkpoint of the hand-over.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`LedgerError::Origin`] and [`LedgerError::KeyRetired`] for keys
    /// that this log cannot use, [`LedgerError::RotationUnrecorded`].
    pub fn rotate_to(mut self, new: &Identity) -> Result<VerifiedCheckpoint, LedgerError> {
        rotate(
            &self.store,
            &self.identity,
            new,
            &self.clock,
            &mut self.floors,
            self.companions,
        )
    }

    /// Runs recovery, which is the start-up code, and starts the threads.
    ///
    /// # Errors
    /// Every [`LedgerError`] is a refusal whose text gives the remedy. Up to the external floor
    /// nothing has been changed by then.
    pub fn open(mut self) -> Result<(Ledger, RecoveryReport), LedgerError> {
        let companions = self.companions.is_some();
        self.options.check(companions)?;
        let recovered = recover::recover(
            &self.store,
            &self.identity,
            &self.clock,
            self.hooks,
            &mut self.floors,
            self.companions,
        )?;
        let writer = Writer::new(Arc::clone(&self.store), recovered.log_id, companions);
        let shared = Arc::new(Shared::new(
            self.store,
            self.options,
            self.clock,
            companions,
            recovered.sealer.published().clone(),
            recovered.integrator.frontier(),
            recovered.held,
        ));
        shared.find_ballast();
        shared.measure_room();
        if shared.pressure_with(shared.options.segment_bytes) < Pressure::ShedRefusals {
            // Without it the first segment is only slower.
            let _ = prepare_spare(&shared.store, shared.options.segment_bytes);
        }
        let mut ledger = Ledger {
            handle: Handle {
                shared: Arc::clone(&shared),
            },
            threads: Vec::new(),
            lock: Some(recovered.lock),
        };
        ledger.start("ledger-commit", move |shared| {
            committer::run(shared, writer)
        })?;
        let (integrator, keeper) = (recovered.integrator, recovered.keeper);
        ledger.start("ledger-tiles", move |shared| {
            integrator::run(shared, integrator, keeper);
        })?;
        let sealer = recovered.sealer;
        ledger.start("ledger-seal", move |shared| sealer::run(shared, sealer))?;
        Ok((ledger, recovered.report))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("store", &self.store)
            .field("identity", &self.identity)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    fn start(
        &mut self,
        name: &str,
        body: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<(), LedgerError> {
        let shared = Arc::clone(&self.handle.shared);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let guard = shared::PanicGuard(Arc::clone(&shared));
            body(&shared);
            std::mem::forget(guard);
        });
        let thread = thread.map_err(|error| LedgerError::io("start the thread", name, error))?;
        self.threads.push(thread);
        Ok(())
    }
}
