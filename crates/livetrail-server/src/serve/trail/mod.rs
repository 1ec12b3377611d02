//! The server's trail: a ledger in the data directory, opened, watched and closed.

mod clock;
mod create;
mod index;
mod keys;
mod loss;
mod maintenance;
mod place;
mod predecessor;
mod retain;
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
use livetrail_audit::{AuditPipeline, LedgerSink, OpenSession};
use livetrail_engine::{Clock, SystemClock};
use livetrail_ledger::{
    Handle, Identity, Ledger, LedgerError, Options, Reader, RealStore, RecoveryReport, SharedStore,
    WaitError, Witnesses, read_seed,
};
use livetrail_replica::Replicas;

use clock::TrailTime;
pub(crate) use clock::{ask_to_confirm, confirmed_record, keep as keep_clock, trail_ms};
pub(crate) use create::{Created, check_origin, create, write_vkeys};
pub(crate) use index::{index_directory, open_sessions};
pub(crate) use keys::{Role, retired_text, rotate as rotate_key};
use loss::{LossNote, NotedSink};
pub(crate) use maintenance::Maintenance;
pub(crate) use place::{TrailPlace, retired_file, trail_directory, vkey_file};
pub(crate) use predecessor::Predecessor;
pub(crate) use retain::{Wanted, hold_record, plan};
pub(crate) use watch::{Trouble, Watch};

use super::sinks::{Configured, SinkWatch};
use crate::config::{self, Config};
use crate::owner::explain;

/// How long the disk may take for the note of what is not recorded.
const NOTE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long witnesses have for the last checkpoint at an orderly stop.
const LAST_COSIGNATURES: Duration = Duration::from_secs(5);

/// A trail that is open for writing, and what its start has found.
pub(crate) struct Trail {
    sink: Arc<LedgerSink>,
    /// Says to the next start what a log that stopped did not record. None for a trail that is in no directory.
    loss_note: Option<Arc<LossNote>>,
    view: TrailView,
    recovery: RecoveryReport,
    /// The trail's time when it was left, in milliseconds since 1970.
    left_at_ms: Option<u64>,
    open: Vec<OpenSession>,
    sinks: Configured,
    /// Keeps the query index up.
    index: Mutex<Option<JoinHandle<()>>>,
}

/// The trail as others in the server see it: how it does, and how to read it.
#[derive(Clone)]
pub(crate) struct TrailView {
    /// Watermarks, checkpoint, pressure.
    pub(crate) handle: Handle,
    /// What is published.
    pub(crate) reader: Arc<Reader>,
    /// The verifier keys, a line each.
    pub(crate) vkeys: Arc<str>,
    /// The keys that were given up, a line each with size and root of the hand-over; empty when there are none.
    pub(crate) retired: Arc<str>,
    /// What is wrong.
    pub(crate) watch: Arc<Watch>,
    /// Who cosigns it, if anybody is to.
    pub(crate) witnesses: Option<Arc<Witnesses>>,
    /// Who follows it.
    pub(crate) sinks: Arc<SinkWatch>,
}

impl Trail {
    /// Opens the trail in the data directory, which must be there. Recovers it, and finds out what a crash left open.
    ///
    /// # Errors
    /// There is no trail, another server has it, its keys are not there or not its own, or it is damaged: each in words that say what to
    /// do. Nothing is changed by then.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        Self::open_for(config, true)
    }

    /// The same for the server, whose configuration names all sinks, or for a command, which may not know of them.
    fn open_for(config: &Config, is_server: bool) -> anyhow::Result<Self> {
        let directory = trail_directory(&config.data);
        let store: SharedStore = Arc::new(RealStore::new(&directory));
        let found = match Reader::open(store.clone()) {
            Ok(reader) => reader,
            Err(LedgerError::NoTrail { .. }) => bail!(no_trail(&config.data)),
            Err(error) => return Err(explain(error, &directory)),
        };
        let origin = config.trail.origin.as_deref();
        let origin = origin.unwrap_or_else(|| found.origin());
        let files = create::key_files(&directory, &config.trail);
        // A change of keys that did not come to its end.
        keys::complete(config, &store, &files)?;
        let [signer, cosigner] = &files;
        let seeds = [read_seed(signer)?, read_seed(cosigner)?];
        let identity = create::identity(origin, &seeds)?;
        let mut sinks = Configured::of(&config.sink, &config.data)?;
        if is_server {
            sinks = sinks.and_no_others();
        }
        let published = keys::Published::of(&store, &identity)?;
        let trail = Self::of_store(store, identity, &config.trail, Some(&directory), sinks)?;
        published.keep_up(&config.data);
        Ok(trail)
    }

    /// The same in any store; with a query index if the trail is in a directory.
    pub(crate) fn of_store(
        store: SharedStore,
        identity: Identity,
        settings: &config::Trail,
        directory: Option<&Path>,
        sinks: Configured,
    ) -> anyhow::Result<Self> {
        let published = keys::Published::of(&store, &identity)?;
        let left_at_ms = clock::left_at_ms(directory, &store);
        let mut builder = Ledger::builder(store.clone(), identity).options(options(settings));
        builder = builder.floor(sinks.floor(Arc::new(Reader::open(store.clone())?)));
        let witnesses = witness::Configured::of(settings)?;
        if let Some(witnesses) = &witnesses {
            builder = builder.floor(witnesses.floor(store.clone())?);
        }
        // The clock of everything that has to do with the trail: the pipeline takes it from the sink, the engine from the pipeline.
        let opened = LedgerSink::open(builder, SystemClock::new());
        let (sink, recovery) = opened.map_err(with_way_out)?;
        tracing::info!(
            entries = recovery.entries,
            clean = recovery.is_clean(),
            "the trail is open"
        );
        let sink = Arc::new(sink);
        let reader = Arc::new(Reader::open(store)?);
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
            sinks: Arc::default(),
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
            left_at_ms,
            open,
            sinks,
            index: Mutex::new(index),
        })
    }

    /// Where records go.
    pub(super) fn sink(&self) -> Arc<NotedSink> {
        let note = self.loss_note.clone();
        Arc::new(NotedSink::new(self.sink.clone(), note))
    }

    /// The trail for others to look at.
    pub(super) fn view(&self) -> TrailView {
        self.view.clone()
    }

    /// The sessions that the boot before left open. They are given away: the second call gives none.
    pub(super) fn take_open(&mut self) -> Vec<OpenSession> {
        std::mem::take(&mut self.open)
    }

    /// Lets the configured sinks follow the trail. They are given away: the second call starts none.
    pub(super) fn start_sinks(
        &mut self,
        clock: &Arc<dyn Clock>,
        pipeline: &Arc<AuditPipeline>,
    ) -> anyhow::Result<Replicas> {
        let sinks = std::mem::replace(&mut self.sinks, Configured::none());
        sinks.follow(&self.view, clock, pipeline)
    }

    /// What `server_started` says: the version, and what recovery found.
    pub(super) fn started_detail(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "livetrail {version}: {}; sessions left open: {}",
            found(&self.recovery),
            self.open.len()
        )
    }

    /// Looks after the ledger for as long as it is polled.
    pub(super) fn watched(
        &self,
        clock: impl Clock,
        settings: &config::Trail,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (watch, handle) = (self.view.watch.clone(), self.view.handle.clone());
        let checkpoint_interval = settings.checkpoint_interval.0;
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

    /// Looks after retention and legal holds until the server stops.
    pub(super) fn kept(
        &self,
        pipeline: Arc<AuditPipeline>,
        config: &Config,
        stopping: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let clock = SystemClock::new();
        let base_ms = self.left_at_ms.unwrap_or_else(|| clock.unix_ms());
        let keeper = retain::Keeper {
            pipeline,
            view: self.view(),
            retention: retain::Retention::of(&config.trail),
            directory: trail_directory(&config.data),
            witnesses: config
                .trail
                .witness
                .iter()
                .filter_map(|witness| witness.witness().ok())
                .collect(),
            time: TrailTime::new(base_ms, clock.monotonic()),
            clock,
        };
        keeper.run(stopping)
    }

    /// Shows witnesses the checkpoint over the last record: a reader that asks for their
    /// cosignatures finds one over all of the trail while the server is down. Waits at most
    /// [`LAST_COSIGNATURES`], and no longer than half of `timeout`.
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

    /// Seals what is durable and lets go of the directory; waits no longer than `timeout` for the disk. For after the pipeline's end.
    /// `false` when the last records are not covered by a checkpoint: the next start sees to it.
    pub(super) async fn close(&self, timeout: Duration) -> bool {
        if let Some(witnesses) = &self.view.witnesses {
            self.show_the_last(witnesses.clone(), timeout).await;
        }
        let sink = self.sink.clone();
        let index = self
            .index
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let closed = tokio::task::spawn_blocking(move || {
            let closed = sink.close(timeout);
            // It ends with the ledger, after the segment that it is at. With a disk that hangs it is left alone: its file bears that.
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
                let error = crate::output::chain(&error);
                tracing::error!("the trail's last checkpoint is missing: {error}");
                false
            }
            Err(_) => false,
        }
    }
}

/// To the words about somebody who has seen more, the command that makes the log that they speak of.
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

fn options(settings: &config::Trail) -> Options {
    let mut options = Options::default();
    options.commit_interval = settings.commit_interval.0;
    options.checkpoint_interval = settings.checkpoint_interval.0;
    options.segment_bytes = u64::try_from(settings.wal_segment_size.0).unwrap_or(u64::MAX);
    options.ballast_bytes = u64::try_from(settings.reserve_size.0).unwrap_or(u64::MAX);
    options
}

/// What recovery found, for people.
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

/// What to do where there is no trail.
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
