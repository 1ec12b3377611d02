//! Requests of commands to the server that has the vault open.
//!
//! ```text
//! DATA/personal/N.request   a command writes it
//!               N.running   the server renames it, and does what it says
//!               N.answer    the server writes it; the command reads and removes it
//! ```
//!
//! Each file is sealed with the vault's key, because requests contain names. A request that runs
//! when the server ends has no answer. The command notices the end (`serving.rs`). Repeating the
//! request is harmless.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use livetrail_audit::AuditPipeline;
use livetrail_clock::{Clock as _, SystemClock};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::Notify;

use super::{
    Personal,
    approved::Retries,
    ask::{ErasureReport, ErasureRequest, HoldOn, HoldReport},
    erase::{Operation, erase},
    hold::{hold, lift},
    serving::{Serving, Watched},
};
use crate::{Error, Settings, TrailView};

/// The maximum number of bytes of a request or an answer.
const MAX_BYTES: u64 = 16 << 20;

/// The server does this many requests before it does something else.
const AT_ONCE: usize = 16;

/// A command checks this often whether there is an answer.
const POLL: Duration = Duration::from_millis(50);

/// The server checks this often whether sessions must be added to holds, and whether erasures are
/// complete.
const OTHERS: Duration = Duration::from_secs(5);

/// The server looks for requests this often if the system cannot tell it about them.
const UNWATCHED: Duration = Duration::from_millis(2_500);

/// A server begins with a request within this time.
const PATIENCE: Duration = Duration::from_secs(30);

const REQUEST: &str = "request";
const RUNNING: &str = "running";
const ANSWER: &str = "answer";

/// What a command asks of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Asked {
    /// To erase openings.
    Erase(ErasureRequest),
    /// To set a hold.
    Hold {
        /// The hold's name.
        name: String,
        /// What it keeps.
        on: HoldOn,
        /// Who asks.
        by: String,
    },
    /// To lift a hold.
    Lift {
        /// The hold's name.
        name: String,
        /// Who asks.
        by: String,
    },
}

/// What the server did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answered {
    /// It erased openings.
    Erased(ErasureReport),
    /// It set a hold.
    Held(HoldReport),
    /// It lifted a hold, and ran what waited for it.
    Lifted(Vec<ErasureReport>),
    /// It did not do it. The text says why.
    Refused(String),
}

impl Asked {
    /// Does it.
    ///
    /// # Errors
    /// Those of [`erase`], [`hold`] and [`lift`].
    pub async fn run(&self, pipeline: &AuditPipeline, view: &TrailView) -> Result<Answered, Error> {
        Ok(match self {
            Self::Erase(request) => Answered::Erased(erase(pipeline, view, request).await?),
            Self::Hold { name, on, by } => {
                Answered::Held(hold(pipeline, view, name, on, by).await?)
            }
            Self::Lift { name, by } => Answered::Lifted(lift(pipeline, view, name, by).await?),
        })
    }

    /// Asks the server that has the trail open, and waits for its answer.
    ///
    /// # Errors
    /// There is no vault; this process may not write there; no server takes the request within
    /// 30 s; or the server ends before it is done.
    pub fn ask_server(&self, settings: &Settings) -> Result<Answered, Error> {
        Ok(self.ask(settings)?)
    }

    fn ask(&self, settings: &Settings) -> anyhow::Result<Answered> {
        let personal = Personal::read_only(settings)?;
        let Some(directory) = personal.directory() else {
            bail!("the vault is in memory");
        };
        let file = write(&personal, &directory, self)?;
        let [running, answer] = [RUNNING, ANSWER].map(|end| file.with_extension(end));
        let mut server = Watched::new(&directory);
        let clock = SystemClock::new();
        let until = clock.monotonic().saturating_add(PATIENCE);
        let mut is_taken = false;
        loop {
            if answer.exists() {
                let answered = read(&personal, &answer);
                fs::remove_file(&answer)?;
                return answered;
            }
            is_taken = is_taken || running.exists();
            // A server that ended may have answered before.
            let has_ended = server.has_ended() || (is_taken && !running.exists());
            if has_ended && !answer.exists() {
                let _ = fs::remove_file(&file);
                bail!(
                    "the server ended before it was done: run the command again, which is harmless"
                );
            }
            if !is_taken && clock.monotonic() > until {
                if fs::remove_file(&file).is_ok() {
                    bail!(
                        "no server took the request within {PATIENCE:?}, and nothing was done: another command may have the trail open; else check \
                         that the server uses the vault in {}",
                        directory.display()
                    );
                }
                is_taken = true;
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Does the requests of commands until the trail is closed.
pub(crate) async fn serve(pipeline: Arc<AuditPipeline>, view: TrailView) {
    let operation = Operation {
        pipeline: &pipeline,
        view: &view,
    };
    clean(&view);
    if let Err(error) = operation.recover().await {
        tracing::error!("erasures that wait cannot be run: {error:#}");
    }
    let arrivals = Arrivals::of(view.personal());
    let _serving = begin_serving(view.personal()).await;
    let mut retries = Retries::begin(view.personal()).await;
    // A request may have come before its directory was watched.
    serve_some(&pipeline, &view).await;
    let mut others = tokio::time::interval(OTHERS);
    others.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        tokio::select! {
            () = arrivals.next() => serve_some(&pipeline, &view).await,
            _ = others.tick() => {
                retries.step(operation).await;
                let now = (view.handle.durable_entries(), view.erasures_passed());
                // An idle server has nothing to list and nothing to complete.
                if seen.replace(now) == Some(now) {
                    continue;
                }
                if let Err(error) = operation.list_later().await {
                    tracing::error!("the sessions of holds are not on record: {error:#}");
                    seen = None;
                }
                match operation.complete(view.erasures_passed()).await {
                    Ok(completed) => for request in completed {
                        tracing::info!(request, "an erasure is complete");
                    },
                    Err(error) => {
                        tracing::error!("erasures are not on record as completed: {error:#}");
                        seen = None;
                    }
                }
            }
        }
    }
}

/// Lets commands see that a server takes their requests, for as long as this is kept.
async fn begin_serving(personal: &Personal) -> Option<Serving> {
    let directory = personal.directory()?;
    let serving = tokio::task::spawn_blocking(move || Serving::begin(&directory));
    let failed = |error: &dyn std::fmt::Display| {
        tracing::warn!("commands cannot see whether this server still runs: {error}");
    };
    match serving.await {
        Ok(serving) => serving.inspect_err(|error| failed(error)).ok(),
        Err(_) => None,
    }
}

/// Files that arrive in the vault's directory. A thread sleeps until one does, so this uses no
/// processor time meanwhile.
struct Arrivals {
    watch: Option<Watch>,
}

struct Watch {
    arrived: Arc<Notify>,
    /// Ends the thread.
    stop: Arc<OwnedFd>,
}

impl Arrivals {
    /// Watches the directory of the vault, if it has one.
    fn of(personal: &Personal) -> Self {
        let watch = personal.directory().and_then(|directory| {
            let failed = |error| {
                tracing::warn!(
                    "the vault's directory cannot be watched, so commands wait longer: {error}"
                );
            };
            Watch::start(&directory).map_err(failed).ok()
        });
        Self { watch }
    }

    /// Returns when a file may have arrived. Cancel safe.
    async fn next(&self) {
        match &self.watch {
            Some(watch) => watch.arrived.notified().await,
            None => tokio::time::sleep(UNWATCHED).await,
        }
    }
}

impl Watch {
    fn start(directory: &Path) -> io::Result<Self> {
        let watched = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // A request arrives by being renamed to its name.
        inotify::add_watch(&watched, directory, WatchFlags::MOVED_TO)?;
        let watch = Self {
            arrived: Arc::default(),
            stop: Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?),
        };
        let (arrived, stop) = (Arc::clone(&watch.arrived), Arc::clone(&watch.stop));
        std::thread::Builder::new()
            .name("vault-requests".to_owned())
            .spawn(move || {
                while sleep_until_ready(&watched, &stop) {
                    // What arrived is read from the directory, so the events do not matter.
                    let mut events = [0; 4096];
                    while rustix::io::read(&watched, &mut events).is_ok_and(|bytes| bytes > 0) {}
                    arrived.notify_one();
                }
            })?;
        Ok(watch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Adding one to a counter of zero cannot fail.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }
}

/// Waits for the first of both; `false` once the second is ready.
fn sleep_until_ready(watched: &OwnedFd, stop: &OwnedFd) -> bool {
    let mut ready = [watched, stop].map(|file| PollFd::new(file, PollFlags::IN));
    loop {
        match poll(&mut ready, None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    !ready.iter().skip(1).any(|stop| !stop.revents().is_empty())
}

async fn serve_some(pipeline: &AuditPipeline, view: &TrailView) {
    let personal = Arc::clone(view.personal());
    let taken = tokio::task::spawn_blocking(move || take(&personal));
    for (file, asked) in taken.await.unwrap_or_default() {
        let answered = match asked {
            Ok(asked) => asked.run(pipeline, view).await.map_err(|error| {
                let error: &(dyn std::error::Error + 'static) = &error;
                crate::chain(error)
            }),
            Err(error) => Err(format!("{error:#}")),
        };
        let answered = answered.unwrap_or_else(Answered::Refused);
        let personal = Arc::clone(view.personal());
        let written = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
            write_to(&personal, &file.with_extension(ANSWER), &answered)?;
            Ok(fs::remove_file(&file)?)
        });
        if !matches!(written.await, Ok(Ok(()))) {
            tracing::warn!("a command gets no answer: its file cannot be written");
        }
    }
}

/// Removes requests that were running when an earlier process ended, and answers that nobody read.
fn clean(view: &TrailView) {
    for end in [RUNNING, ANSWER] {
        for file in files(view.personal(), end).unwrap_or_default() {
            let _ = fs::remove_file(file);
        }
    }
}

type Taken = (PathBuf, anyhow::Result<Asked>);

/// Takes requests: from now on no command withdraws them.
fn take(personal: &Personal) -> Vec<Taken> {
    let files = files(personal, REQUEST).unwrap_or_default();
    let taken = files.into_iter().take(AT_ONCE).filter_map(|file| {
        let running = file.with_extension(RUNNING);
        fs::rename(&file, &running).ok()?;
        let asked = read(personal, &running);
        Some((running, asked))
    });
    taken.collect()
}

/// The files with this ending, sorted.
pub(super) fn files(personal: &Personal, end: &str) -> io::Result<Vec<PathBuf>> {
    let Some(directory) = personal.directory() else {
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        if path.extension().is_some_and(|found| found == end) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Writes a new request. The name of the file is random.
fn write(personal: &Personal, directory: &Path, asked: &Asked) -> anyhow::Result<PathBuf> {
    let name = tempfile::Builder::new()
        .prefix("ask-")
        .tempfile_in(directory);
    let name = name.with_context(|| {
        format!(
            "cannot ask the server: {} cannot be written; run the command as the server's user",
            directory.display()
        )
    })?;
    let file = name.path().with_extension(REQUEST);
    write_to(personal, &file, asked)?;
    Ok(file)
}

/// Writes a sealed file, whole or not at all, for its owner alone.
pub(super) fn write_to(
    personal: &Personal,
    file: &Path,
    what: &impl Serialize,
) -> anyhow::Result<()> {
    let plain = serde_json::to_vec(what)?;
    let sealed = personal.with(|vault| vault.seal_message(&plain))?;
    anyhow::ensure!(
        sealed.len() as u64 <= MAX_BYTES,
        "the request has more than {MAX_BYTES} bytes: name fewer sessions at once"
    );
    let above = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(above)?;
    new.write_all(&sealed)?;
    new.persist(file)?;
    Ok(())
}

pub(super) fn read<T: DeserializeOwned>(personal: &Personal, file: &Path) -> anyhow::Result<T> {
    let mut sealed = Vec::new();
    fs::File::open(file)?
        .take(MAX_BYTES)
        .read_to_end(&mut sealed)?;
    let plain = personal.with(|vault| vault.open_message(&sealed));
    let plain = plain.context("the request was not made with the key of this vault")?;
    serde_json::from_slice(&plain).context("the request is from another version of livetrail")
}
