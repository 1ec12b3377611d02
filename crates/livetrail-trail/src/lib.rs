//! A trail in a directory: created with its keys, opened, kept and closed. The server uses it for
//! its own trail, and programs that embed the engine can use it.
//!
//! A host does the same as the server, in this order:
//!
//! 1. [`create()`] once, on request.
//! 2. [`Trail::open`] at each start. It recovers the trail and finds out what a crash left open.
//! 3. [`Trail::pipeline`] gives the builder of the audit pipeline. The engine takes the pipeline
//!    with `Engine::builder().audit(…)`.
//! 4. [`Trail::keep`] watches the log, starts the sinks and prunes by the policy.
//! 5. [`TrailView::health`] gives its state.
//! 6. At the end: `Engine::shutdown`, then the host's gateways, then [`Trail::shutdown`].
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use livetrail_audit::{Audited as _, Policy};
//! use livetrail_engine::{AppSpec, Attempt, Engine, StreamKey};
//! use livetrail_trail::{Settings, Trail};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let data = std::env::temp_dir().join(format!("livetrail-trail-doc-{}", std::process::id()));
//!
//! let settings = Settings::new(&data).origin("example.com/host").node("host-1");
//! let created = livetrail_trail::create(&settings)?; // once
//! println!("give these keys to auditors: {}", created.vkeys);
//!
//! let mut trail = Trail::open(&settings)?;
//! let pipeline = Arc::new(trail.pipeline().build()?);
//! trail.keep(&pipeline)?;
//! let engine = Engine::builder()
//!     .application(AppSpec::new("live"))
//!     .audit(&pipeline, Policy::default())
//!     .build()?;
//! drop(engine.publish(Attempt::new(StreamKey::parse("live", "cam")?, "example")).await?);
//! assert!(!trail.view().health().needs_attention());
//!
//! engine.shutdown(Duration::from_secs(5)).await;
//! let stopped = trail.shutdown(&pipeline, Duration::from_secs(10)).await;
//! assert!(stopped.is_clean());
//! # std::fs::remove_dir_all(&data)?;
//! # Ok(()) }
//! ```
//!
//! While no server runs, an operator changes a trail with [`Maintenance`]: entries are pruned,
//! legal holds are recorded, the clock is confirmed. [`rotate`] gives a trail a new key. Each
//! operation is on record.

mod chain;
mod clock;
mod create;
mod error;
mod followers;
mod health;
mod hold_notes;
mod index;
mod keys;
pub mod looked;
mod loss;
mod maintenance;
mod operations;
mod own_check;
mod owner;
pub mod personal;
mod place;
mod predecessor;
mod retain;
mod settings;
mod tiles;
mod watch;
mod witness;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::bail;
use livetrail_audit::{AuditPipeline, AuditPipelineBuilder, CloseReport, LedgerSink, OpenSession};
use livetrail_clock::{Clock, SystemClock};
use livetrail_ledger::{
    Handle, Identity, Ledger, LedgerError, Reader, RealStore, RecoveryReport, SharedStore,
    WaitError, Witnesses, read_seed,
};
use livetrail_replica::{ReplicaStatus, Replicas};
use livetrail_vault::VaultError;
use tokio::{sync::watch as watch_channel, task::JoinSet};

pub use chain::chain;
use clock::TrailTime;
pub use clock::{ask_to_confirm, state as clock_state, trail_ms};
pub use create::{Created, check_origin, create, key_files, write_vkeys};
pub use error::Error;
pub use followers::Followers;
use followers::SinkWatch;
pub use health::Health;
pub use hold_notes::change_hold;
pub use index::{index_directory, open_sessions};
pub use keys::{KeyRole, Rotated, retired_text, rotate};
use loss::{LossNote, NotedSink};
pub use maintenance::Maintenance;
use own_check::OwnCheck;
pub use owner::explain;
use personal::Companions;
pub use personal::{Personal, PersonalStatus};
pub use place::{TrailPlace, personal_directory, retired_file, trail_directory, vkey_file};
pub use predecessor::Predecessor;
pub use retain::{Plan, Wanted, plan};
pub use settings::{Retention, Settings};
pub use watch::Trouble;
use watch::Watch;

/// The disk may take this long for the note of missing records.
const NOTE_TIMEOUT: Duration = Duration::from_secs(2);
/// At an orderly stop witnesses have this long for the last checkpoint.
const LAST_COSIGNATURES: Duration = Duration::from_secs(5);

/// A vault that was opened, and what was found.
type Vault = (Arc<Personal>, personal::Found);

/// A trail that is open for writing, and the findings of its start.
pub struct Trail {
    sink: Arc<LedgerSink>,
    /// Tells the next start what a stopped log did not record. `None` for a trail without a
    /// directory.
    loss_note: Option<Arc<LossNote>>,
    view: TrailView,
    recovery: RecoveryReport,
    /// What opening the vault found.
    vault: personal::Found,
    /// The trail's time at the end of the last boot, in milliseconds since 1970.
    left_at_ms: Option<u64>,
    open: Vec<OpenSession>,
    settings: Settings,
    upkeep: Upkeep,
    /// The thread that keeps the query index up to date.
    index: Mutex<Option<JoinHandle<()>>>,
}

/// The trail as the rest of the program sees it: its state, and access for reading.
#[derive(Clone)]
pub struct TrailView {
    /// Watermarks, checkpoint, pressure.
    pub handle: Handle,
    /// Reads what is published.
    pub reader: Arc<Reader>,
    /// The verifier keys, one per line.
    pub vkeys: Arc<str>,
    /// The keys that were given up, one per line, each with size and root of the hand-over. It is
    /// empty if there are none.
    pub retired: Arc<str>,
    /// The errors of the ledger.
    pub(crate) watch: Arc<Watch>,
    /// The witnesses that cosign it, if any.
    pub witnesses: Option<Arc<Witnesses>>,
    /// The sinks that follow it.
    pub(crate) sinks: Arc<SinkWatch>,
    /// Who has read it.
    pub(crate) looks: Arc<looked::Looks>,
    /// Its vault.
    personal: Arc<Personal>,
    /// Its files.
    pub(crate) store: SharedStore,
    /// Its directory. `None` for a trail in memory.
    pub(crate) directory: Option<Arc<Path>>,
    /// Its legal holds, as far as they are on record.
    pub(crate) holds: Arc<retain::KnownHolds>,
    /// Erasures and changes of holds take turns: no hold may come between the record of an erasure
    /// and the erasure.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

impl TrailView {
    /// The reason why the trail cannot record or seal, if any.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        self.watch.trouble()
    }

    /// When the process last verified its own trail successfully, in seconds since 1970. 0 if not
    /// since the start.
    #[must_use]
    pub fn verified_s(&self) -> u64 {
        self.watch.verified_s()
    }

    /// The state of each sink that follows the trail.
    #[must_use]
    pub fn sinks(&self) -> Vec<ReplicaStatus> {
        self.sinks.statuses()
    }

    /// Who has read the trail since the last record of it.
    #[must_use]
    pub fn looks(&self) -> &looked::Looks {
        &self.looks
    }

    /// The trail's personal data: the vault with its openings.
    #[must_use]
    pub const fn personal(&self) -> &Arc<Personal> {
        &self.personal
    }

    /// The entry below which every sink with openings has erased what entries name. The maximum if
    /// no sink has openings.
    #[must_use]
    pub fn erasures_passed(&self) -> u64 {
        self.sinks.erasures_passed()
    }

    /// The trail's directory. `None` for a trail in memory.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Notifies every sink that its files may have been moved away. Sinks that wait after an error
    /// try again. This waits for no sink.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn reopen_sinks(&self) {
        self.sinks.reopen();
    }
}

impl Trail {
    /// Opens the trail in the data directory, which must exist. Recovers the trail, and finds out
    /// what a crash left open.
    ///
    /// # Errors
    /// There is no trail, another server has opened it, its keys are missing or belong to another
    /// trail, or it is damaged. Each error says what to do. In that case nothing was changed.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        Ok(Self::open_for(settings, true)?)
    }

    /// Opens the trail for a server or for a command. A server's settings name all sinks. A command
    /// may not know them.
    fn open_for(settings: &Settings, is_server: bool) -> anyhow::Result<Self> {
        let directory = trail_directory(&settings.data);
        let store: SharedStore = Arc::new(RealStore::new(&directory));
        let found = match Reader::open(store.clone()) {
            Ok(reader) => reader,
            Err(LedgerError::NoTrail { .. }) => bail!(no_trail(&settings.data)),
            Err(error) => return Err(explain(error, &directory).into()),
        };
        let origin = settings.origin.as_deref();
        let origin = origin.unwrap_or_else(|| found.origin());
        let files = key_files(&directory, settings);
        // This finishes a change of keys that was interrupted.
        keys::complete(settings, &store, &files)?;
        let [signer, cosigner] = &files;
        let seeds = [read_seed(signer)?, read_seed(cosigner)?];
        let identity = create::identity(origin, &seeds)?;
        let mut settings = settings.clone();
        if is_server {
            settings.followers = settings.followers.and_no_others();
        }
        let published = keys::Published::of(&store, &identity)?;
        let vault = open_vault(&settings, &store)?;
        let trail = Self::of_store(store, identity, settings, Some(&directory), vault)?;
        published.keep_up(&trail.settings.data);
        Ok(trail)
    }

    /// Opens a trail in any store, such as one in memory. It has no query index, and leaves no note
    /// for the next start if its log stops. Its vault is in memory, too, and its openings are gone
    /// at the end, unless the settings name a directory for it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(
        store: SharedStore,
        identity: Identity,
        settings: Settings,
    ) -> Result<Self, Error> {
        let vault = match &settings.personal {
            Some(_) => open_vault(&settings, &store)?,
            None => {
                let vault = Personal::in_memory(&settings, Arc::new(SystemClock::new()))?;
                // It has nothing that the log names as erased.
                let published = Reader::open(store.clone()).and_then(|it| it.checkpoint());
                if let Ok(checkpoint) = published {
                    let size = checkpoint.head().size;
                    vault
                        .0
                        .with(|vault| vault.set_replayed(size))
                        .map_err(anyhow::Error::from)?;
                }
                vault
            }
        };
        Ok(Self::of_store(store, identity, settings, None, vault)?)
    }

    /// Opens a trail in any store, with its vault. A trail in a directory also has a query index.
    fn of_store(
        store: SharedStore,
        identity: Identity,
        settings: Settings,
        directory: Option<&Path>,
        (personal, mut vault): Vault,
    ) -> anyhow::Result<Self> {
        let published = keys::Published::of(&store, &identity)?;
        let left_at_ms = clock::left_at_ms(directory, &store);
        let mut builder = Ledger::builder(store.clone(), identity)
            .options(settings.ledger.clone())
            .companions(Companions(personal.clone()));
        builder = builder.floor(
            settings
                .followers
                .floor(Arc::new(Reader::open(store.clone())?)),
        );
        let witnesses = witness::Configured::of(&settings);
        if let Some(witnesses) = &witnesses {
            builder = builder.floor(witnesses.floor(store.clone())?);
        }
        // This clock is for the whole trail: the pipeline takes it from the sink, and the engine
        // takes it from the pipeline.
        let opened = LedgerSink::open_with(builder, SystemClock::new(), personal.clone());
        let (sink, recovery) = opened.map_err(with_way_out)?;
        tracing::info!(
            entries = recovery.entries,
            clean = recovery.is_clean(),
            "the trail is open"
        );
        let sink = Arc::new(sink);
        let reader = Arc::new(Reader::open(store.clone())?);
        vault.erased_again += personal.replay(&reader)?;
        personal.recovered();
        let loss_note = directory
            .and_then(Path::parent)
            .map(|data| LossNote::begin(data, sink.handle(), &reader))
            .transpose()?
            .map(Arc::new);
        let witnesses = witnesses.map(|witnesses| witnesses.follow(sink.handle().clone()));
        let view = TrailView {
            witnesses: witnesses.transpose()?.map(Arc::new),
            handle: sink.handle().clone(),
            reader,
            vkeys: published.vkeys.into(),
            retired: published.retired.into(),
            watch: Arc::default(),
            sinks: Arc::new(SinkWatch::of(&settings.followers)),
            looks: Arc::default(),
            personal,
            store,
            directory: directory.map(Arc::from),
            holds: Arc::default(),
            turn: Arc::default(),
        };
        if directory.is_some() {
            tiles::check(view.reader.clone(), view.handle.clone(), view.watch.clone())?;
        }
        let open = open_sessions(directory, &view.reader)?;
        let index = directory
            .map(|directory| index::keep_up(directory, view.reader.clone(), view.handle.clone()))
            .transpose()?;
        Ok(Self {
            sink,
            loss_note,
            view,
            recovery,
            vault,
            left_at_ms,
            open,
            settings,
            upkeep: Upkeep::default(),
            index: Mutex::new(index),
        })
    }

    /// The sink for records.
    fn sink(&self) -> Arc<NotedSink> {
        let note = self.loss_note.clone();
        Arc::new(NotedSink::new(self.sink.clone(), note))
    }

    /// The trail's personal data: the vault with its openings.
    #[must_use]
    pub const fn personal(&self) -> &Arc<Personal> {
        self.view.personal()
    }

    /// The view with which others read the trail and check its state.
    #[must_use]
    pub fn view(&self) -> TrailView {
        self.view.clone()
    }

    /// The builder of the pipeline that records into this trail. It has the trail's sink, the
    /// node's name, and the sessions that the boot before left open. The pipeline first closes
    /// these on record. The builder takes them out of the trail, so that a second pipeline does not
    /// close them again.
    #[must_use = "the builder does nothing until it is built"]
    pub fn pipeline(&mut self) -> AuditPipelineBuilder {
        let started = self.started_detail();
        AuditPipeline::builder(self.sink())
            .node(self.settings.node.clone())
            .started_detail(started)
            .clock_state(clock::state)
            .recovered(std::mem::take(&mut self.open))
    }

    /// How many sessions the boot before left open. It is 0 once [`pipeline`](Self::pipeline) has
    /// taken them.
    #[must_use]
    pub fn left_open(&self) -> usize {
        self.open.len()
    }

    /// Keeps the trail until [`shutdown`](Self::shutdown): watches its log, lets its sinks follow
    /// it, records legal holds that were set or lifted, and removes what its policy does not keep.
    /// A second call does nothing.
    ///
    /// # Errors
    /// A sink's thread could not be started.
    ///
    /// # Panics
    /// Outside a tokio runtime that has its timer enabled: the tasks run there.
    pub fn keep(&mut self, pipeline: &Arc<AuditPipeline>) -> Result<(), Error> {
        if std::mem::replace(&mut self.upkeep.is_running, true) {
            return Ok(());
        }
        let clock = pipeline.clock();
        let followers = std::mem::take(&mut self.settings.followers);
        self.upkeep.replicas = Some(followers.follow(&self.view, &clock, pipeline)?);
        let watched = self.watched(clock);
        let kept = self.kept(pipeline.clone(), self.upkeep.stopping());
        self.upkeep.tasks.spawn(kept);
        let checked = self.settings.verify_every.map(|every| OwnCheck {
            every,
            directory: trail_directory(&self.settings.data),
            view: self.view(),
            pipeline: pipeline.clone(),
        });
        let checked = async move {
            match checked {
                Some(check) => check.run().await,
                None => std::future::pending().await,
            }
        };
        let requests = personal::serve(pipeline.clone(), self.view());
        let stopping = self.upkeep.stopping();
        self.upkeep.tasks.spawn(async move {
            tokio::select! {
                () = watched => {}
                () = requests => {}
                () = checked => {}
                () = stopping => {}
            }
        });
        Ok(())
    }

    /// The detail of `server_started`: the version, and the findings of recovery.
    fn started_detail(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "livetrail {version}: {}; sessions left open: {}{}",
            found(&self.recovery),
            self.open.len(),
            self.vault.words(&self.view.personal.status())
        )
    }

    /// Watches the ledger while it is polled.
    fn watched(&self, clock: impl Clock) -> impl Future<Output = ()> + Send + 'static {
        let (watch, handle) = (self.view.watch.clone(), self.view.handle.clone());
        let checkpoint_interval = self.settings.ledger.checkpoint_interval;
        let note = self.loss_note.clone();
        let stopped = handle.sealed(u64::MAX);
        async move {
            let noted = async {
                if matches!(stopped.await, Err(WaitError::Stopped(_)))
                    && let Some(note) = note
                {
                    note.look();
                }
            };
            tokio::join!(watch.run(handle, clock, checkpoint_interval), noted);
        }
    }

    /// Keeps retention and legal holds until the server stops.
    fn kept(
        &self,
        pipeline: Arc<AuditPipeline>,
        stopping: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let clock = SystemClock::new();
        let base_ms = self.left_at_ms.unwrap_or_else(|| clock.unix_ms());
        let keeper = retain::Keeper {
            pipeline,
            view: self.view(),
            retention: self.settings.retention,
            openings: self.settings.openings.clone(),
            directory: trail_directory(&self.settings.data),
            witnesses: self.settings.witnesses.clone(),
            time: TrailTime::new(base_ms, clock.monotonic()),
            clock,
        };
        keeper.run(stopping)
    }

    /// Shows witnesses the checkpoint over the last record. While the server is down, a reader then
    /// finds cosignatures of the whole trail. Waits at most [`LAST_COSIGNATURES`], and at most half
    /// of `timeout`.
    async fn show_the_last(&self, witnesses: Arc<Witnesses>, timeout: Duration) {
        let within = LAST_COSIGNATURES.min(timeout / 2);
        let handle = &self.view.handle;
        let sealed = handle.sealed(handle.durable_entries());
        if tokio::time::timeout(within, sealed).await.is_err() {
            witnesses.end();
            return;
        }
        let finished = tokio::task::spawn_blocking(move || witnesses.finish(within)).await;
        if !matches!(finished, Ok(true)) {
            tracing::warn!(
                "the last checkpoint is not cosigned by every witness: one did not answer in time"
            );
        }
    }

    /// Stops what [`keep`](Self::keep) started, writes the pipeline's records, seals them, releases
    /// the directory, and gives the sinks time for the end of the trail. Call this after
    /// `Engine::shutdown` and after the host's gateways, so that nothing is offered any more.
    ///
    /// Waits up to `timeout` for each of: the upkeep, the last checkpoint, the sinks. The pipeline
    /// has its own deadline ([`AuditPipelineBuilder::close_deadline`]).
    ///
    /// This is not cancel safe: if it is dropped, the trail is closed as after a crash.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    pub async fn shutdown(mut self, pipeline: &AuditPipeline, timeout: Duration) -> Stopped {
        self.upkeep.stop(timeout).await;
        let records = pipeline.close().await;
        let sealed = self.close(timeout).await;
        let replicas = self.upkeep.replicas.take();
        let personal = self.view.personal.clone();
        let ended = tokio::task::spawn_blocking(move || {
            let ended = replicas.map(|all| all.close(timeout));
            // Sinks read openings until their end.
            personal.close();
            ended
        });
        let ended = ended.await.ok().flatten().unwrap_or_default();
        for sink in ended.iter().filter(|sink| sink.lag_records > 0) {
            tracing::warn!(
                sink = sink.name,
                records = sink.lag_records,
                "the sink does not have the end of the trail yet; it receives the rest after the next start"
            );
        }
        Stopped { records, sealed }
    }

    /// Seals what is durable and releases the directory, after the pipeline's end. Waits at most
    /// `timeout` for the disk. Returns `false` if no checkpoint covers the last records. The next
    /// start then seals them.
    async fn close(&self, timeout: Duration) -> bool {
        if let Some(witnesses) = &self.view.witnesses {
            self.show_the_last(witnesses.clone(), timeout).await;
        }
        let sink = self.sink.clone();
        let (personal, reader) = (self.view.personal.clone(), self.view.reader.clone());
        let index = self
            .index
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let closed = tokio::task::spawn_blocking(move || {
            if let Err(error) = personal.note_replayed(&reader, true) {
                tracing::warn!("the next start reads more of the trail for erasures: {error:#}");
            }
            let closed = sink.close(timeout);
            // The thread ends with the ledger, after its present segment. If the disk hangs, the
            // thread is not awaited. Its file tolerates that.
            if closed.is_ok()
                && let Some(Err(_)) = index.map(JoinHandle::join)
            {
                tracing::warn!("the query index panicked; the trail is whole");
            }
            closed
        })
        .await;
        if let Some(note) = self.loss_note.clone() {
            let _ = tokio::task::spawn_blocking(move || note.end_within(NOTE_TIMEOUT)).await;
        }
        match closed {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                let error = chain(&error);
                tracing::error!("the trail's last checkpoint is missing: {error}");
                false
            }
            Err(_) => false,
        }
    }
}

/// The result of a shutdown.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stopped {
    /// The report about the records.
    pub records: CloseReport,
    /// Whether a checkpoint covers all of them.
    pub sealed: bool,
}

impl Stopped {
    /// Whether the whole trail is on disk and sealed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.records.durable && !self.records.timed_out && self.sealed
    }
}

/// Tasks that run while a trail is kept.
struct Upkeep {
    is_running: bool,
    stop: watch_channel::Sender<bool>,
    tasks: JoinSet<()>,
    /// They are closed after the trail, so that they get its end.
    replicas: Option<Replicas>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            is_running: false,
            stop: watch_channel::Sender::new(false),
            tasks: JoinSet::new(),
            replicas: None,
        }
    }
}

impl Upkeep {
    fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.stop.subscribe();
        async move {
            // If the sender is dropped, the trail has stopped, too.
            let _ = stopping.wait_for(|stop| *stop).await;
        }
    }

    async fn stop(&mut self, timeout: Duration) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(timeout, ended).await.is_err() {
            tracing::warn!("retention was stopped in the middle of its work");
            self.tasks.abort_all();
        }
    }
}

/// Adds a command to an error about a sink or witness that has seen more than the trail has. The
/// command creates the new log that the error mentions.
fn with_way_out(error: LedgerError) -> anyhow::Error {
    match error {
        LedgerError::FloorAhead { .. }
        | LedgerError::FloorRoot { .. }
        | LedgerError::FloorFork { .. } => anyhow::anyhow!(
            "{error} (`livetrail trail init NEW-DATA --after CHECKPOINT` makes that one)"
        ),
        other => other.into(),
    }
}

/// Opens the vault of a trail.
fn open_vault(settings: &Settings, store: &SharedStore) -> anyhow::Result<Vault> {
    let opened = Personal::open(settings, store, Arc::new(SystemClock::new()));
    opened.map_err(|error| match error.downcast_ref() {
        // The process that has the vault open has the trail open.
        Some(VaultError::InUse { .. }) => LedgerError::Locked {
            place: store.place(),
        }
        .into(),
        Some(VaultError::Io { source, .. }) if is_read_only(source) => {
            let place = personal_directory(settings);
            let place = place.display();
            error.context(format!(
                "the vault in {place} cannot be written: make the directory writable for this user, or remount it read-write"
            ))
        }
        _ => error,
    })
}

/// Whether nobody, or not this user, may write there.
fn is_read_only(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

/// The findings of recovery, for people.
fn found(recovery: &RecoveryReport) -> String {
    let entries = recovery.entries;
    if recovery.is_clean() {
        return format!("{entries} entries, all sealed");
    }
    let mut text = format!("{entries} entries, {} of them sealed", recovery.sealed);
    if let Some(size) = recovery.completed {
        text += &format!("; the checkpoint of {size} was intended and is published now");
    }
    if let Some(at) = recovery.torn_at {
        text += &format!("; a torn batch was cut off at byte {at} of the write-ahead log");
    }
    text
}

/// What to do if there is no trail.
fn no_trail(data: &Path) -> String {
    let shown = data.display();
    let mut words = format!(
        "there is no trail in {shown}, and none is made by a start. For a first start run `livetrail trail init {shown}`, or this \
         command with --init; if there should be a trail, correct --data"
    );
    if let Some(old) = place::old_trail(data) {
        words += &format!(
            ". {} is the trail of an earlier version: `livetrail trail query` reads it, and it is not continued",
            old.display()
        );
    }
    words
}
