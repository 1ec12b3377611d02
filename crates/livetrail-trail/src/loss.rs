//! Records that a stopped log did not take, and the note from which the next start reports them.
//!
//! A log that cannot write does not stop the server. From then on new records are offered and
//! dropped. The note counts them. It is next to the trail and not in it: `DATA/trail.loss`, 4,096
//! bytes that are allocated and opened before anything can fail. Thus writing it needs neither
//! space nor another file. One call writes it, and its last line is a checksum.
//!
//! | `state` | written | the next start |
//! |---|---|---|
//! | `running` | when the trail was opened | the process was killed, and its log worked as far as anybody knows: nothing to report |
//! | `stopped` | when the log stopped, and after each dropped batch | reports the counted records, and that more may be missing |
//! | `final` | at the end, if the log had stopped | reports the counted records, which are all |
//! | `ended` | at the end, if the log worked | nothing to report |
//!
//! A failing disk may not take the note either, or lose it later. Therefore the note of a stopped
//! log is also written to memory that outlives the process ([`Spare`]).
//!
//! Records are counted by their numbers: the trail's last number of that boot and the last number
//! offered say how many records are missing between them.

mod spare;

use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs::File,
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use livetrail_audit::{AuditAction, AuditRecord, AuditSink, LedgerSink, RecordClass, SinkError};
use livetrail_clock::{Clock, SystemClock};
use livetrail_ledger::{Class, Handle, Reader, generate_seed};
use livetrail_record::{LossCounts, Uuid, Value, encode_canonical, parse_canonical};
use livetrail_tlog::leaf_hash;

use spare::Spare;

/// The note's length in bytes. A longer text is cut.
const NOTE_BYTES: usize = 4_096;

/// The maximum number of bytes of the reason for which the log stopped.
const WHY_BYTES: usize = 512;

/// This many batches that are not yet durable are counted separately. Any others are counted
/// together.
const MOST_BATCHES: usize = 64;

/// The last record of a boot is searched in this many of the last entries.
const LOOK_BACK: u64 = 4_096;

/// The report must be durable within this time.
const TIMEOUT: Duration = Duration::from_secs(30);

const FIRST_LINE: &str = "livetrail-loss/v1";

/// The note of the trail in this data directory.
pub(crate) fn note_file(data: &Path) -> PathBuf {
    data.join("trail.loss")
}

/// Records that no durable entry contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Missing {
    boot: Option<Uuid>,
    /// The highest number among them.
    last_seq: u64,
    counts: LossCounts,
}

impl Missing {
    fn of(records: &[AuditRecord]) -> Self {
        let mut missing = Self::default();
        for record in records {
            missing.boot = record.boot.or(missing.boot);
            missing.last_seq = missing.last_seq.max(record.seq.unwrap_or(0));
            missing.counts.add(record.action.label(), 1);
        }
        missing
    }

    fn add(&mut self, more: &Self) {
        self.boot = more.boot.or(self.boot);
        self.last_seq = self.last_seq.max(more.last_seq);
        let counts = more.counts.to_detail();
        for part in counts.split(',') {
            if let Some((label, count)) = part.rsplit_once(':') {
                self.counts.add(label, count.parse().unwrap_or(0));
            }
        }
    }
}

/// The content of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// There is nothing to report.
    Nothing,
    /// The log stopped.
    Stopped {
        /// Time of the stop, in milliseconds since 1970.
        at_ms: u64,
        why: String,
        missing: Missing,
        /// Whether nothing was offered after that.
        is_all: bool,
    },
    /// The note is damaged.
    Unreadable,
}

/// Writes the note of a running server.
#[derive(Debug)]
pub(crate) struct LossNote {
    file: File,
    spare: Spare,
    is_reported: AtomicBool,
    handle: Handle,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Batches that are in the log and not yet durable, each with the index of the entry after it.
    pending: VecDeque<(u64, Missing)>,
    stopped: Option<Stop>,
}

#[derive(Debug)]
struct Stop {
    at_ms: u64,
    missing: Missing,
}

impl LossNote {
    /// Reports the note of the boot before, and starts a note for this boot.
    ///
    /// # Errors
    /// The report is not durable, or the note cannot be written. A server that could not report
    /// missing records to its next start must not serve.
    pub(super) fn begin(data: &Path, handle: &Handle, reader: &Reader) -> anyhow::Result<Self> {
        let path = note_file(data);
        let report = || format!("cannot report what the note {} says", path.display());
        let spare = Spare::of(data);
        settle(&path, &spare, handle, reader).with_context(report)?;
        spare.remove();
        let file = open(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            file,
            spare,
            is_reported: AtomicBool::new(false),
            handle: handle.clone(),
            state: Mutex::default(),
        })
    }

    /// Writes the note if the log has stopped.
    pub(super) fn look(&self) {
        self.note(&mut self.state(), None, false);
    }

    /// Writes the note at the end of the server. Nothing more is offered.
    pub(super) fn end(&self) {
        let mut state = self.state();
        self.note(&mut state, None, true);
        if state.stopped.is_none() {
            self.write("state ended\n", true);
        }
    }

    /// Does the same as [`end`](Self::end), but gives up if the disk does not answer.
    pub(super) fn end_within(self: &Arc<Self>, timeout: Duration) {
        let (note, (done, answer)) = (Arc::clone(self), std::sync::mpsc::sync_channel(1));
        let thread = std::thread::Builder::new().name("trail-loss".to_owned());
        let begun = thread.spawn(move || {
            note.end();
            let _ = done.send(());
        });
        if begun.is_err() || answer.recv_timeout(timeout).is_err() {
            tracing::error!("the note of missing records was not written in time");
        }
    }

    fn take(&self, missing: Missing) {
        let mut state = self.state();
        let status = self.handle.status();
        if status.stopped.is_some() {
            self.note(&mut state, Some(&missing), false);
            return;
        }
        let durable = status.durable;
        state.pending.retain(|(next, _)| *next > durable);
        if state.pending.len() >= MOST_BATCHES
            && let Some((next, last)) = state.pending.back_mut()
        {
            *next = status.appended;
            last.add(&missing);
        } else {
            state.pending.push_back((status.appended, missing));
        }
    }

    fn note(&self, state: &mut State, more: Option<&Missing>, is_all: bool) {
        let status = self.handle.status();
        let Some(fatal) = status.stopped else { return };
        let pending = std::mem::take(&mut state.pending);
        let stop = state.stopped.get_or_insert_with(|| Stop {
            at_ms: SystemClock::new().unix_ms(),
            missing: Missing::default(),
        });
        let not_durable = pending
            .iter()
            .filter(|(next, _)| *next > status.durable)
            .map(|(_, missing)| missing);
        for missing in not_durable.chain(more) {
            stop.missing.add(missing);
        }
        let text = text_of(stop, &crate::chain(fatal.as_ref()), is_all);
        // A killed process leaves what was written. Only a power cut needs the sync, and the caller
        // must not wait for a failing disk.
        let is_on_disk = self.write(&text, is_all);
        if is_on_disk && is_all {
            self.spare.remove();
        } else if let Err(error) = self.spare.write(&text)
            && !is_on_disk
        {
            tracing::error!("cannot keep the note of missing records in memory: {error}");
        }
    }

    /// Returns whether the disk took the note. Only the first failure is logged.
    fn write(&self, lines: &str, durable: bool) -> bool {
        let written = write(&self.file, lines).and_then(|()| {
            if durable {
                self.file.sync_data()
            } else {
                Ok(())
            }
        });
        if let Err(error) = &written
            && !self.is_reported.swap(true, Ordering::Relaxed)
        {
            tracing::error!("cannot write the note of missing records: {error}");
        }
        written.is_ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ledger as a sink that also counts records that did not become durable.
#[derive(Debug)]
pub(crate) struct NotedSink {
    inner: Arc<LedgerSink>,
    note: Option<Arc<LossNote>>,
}

impl NotedSink {
    pub(super) fn new(inner: Arc<LedgerSink>, note: Option<Arc<LossNote>>) -> Self {
        Self { inner, note }
    }
}

#[async_trait]
impl AuditSink for NotedSink {
    async fn write(&self, record: AuditRecord) {
        self.write_batch(vec![record]).await;
    }

    async fn write_batch(&self, records: Vec<AuditRecord>) {
        let missing = self.note.as_ref().map(|_| Missing::of(&records));
        self.inner.write_batch(records).await;
        if let (Some(note), Some(missing)) = (&self.note, missing) {
            note.take(missing);
        }
    }

    async fn flush(&self) -> Result<(), SinkError> {
        self.inner.flush().await
    }

    fn short_of_room(&self) -> bool {
        self.inner.short_of_room()
    }

    fn takes(&self, class: RecordClass) -> bool {
        self.inner.takes(class)
    }

    fn clock(&self) -> Option<Arc<dyn Clock>> {
        self.inner.clock()
    }

    fn failing(&self) -> Option<SinkError> {
        self.inner.failing()
    }
}

// ---- The report ----

fn settle(path: &Path, spare: &Spare, handle: &Handle, reader: &Reader) -> anyhow::Result<()> {
    let said = match spare.read().map(|bytes| parse(&bytes)) {
        // The copy exists only because the log stopped.
        Some(Said::Nothing) => Said::Unreadable,
        Some(said) => said,
        None => match std::fs::read(path) {
            Ok(bytes) => parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Said::Nothing,
            Err(error) => return Err(error.into()),
        },
    };
    let records = reports(&said, reader)?;
    if records.is_empty() {
        return Ok(());
    }
    let mut entries = Vec::with_capacity(records.len());
    for mut record in records {
        record.ts_ms = SystemClock::new().unix_ms();
        record.nonce = generate_seed()?.first_chunk().copied();
        tracing::error!(
            records = record.count,
            "the log of an earlier boot stopped while the server went on: {}",
            record.detail.as_ref().map_or("", |detail| detail.expose())
        );
        entries.push(encode_canonical(&record)?);
    }
    let appended = handle.append(Class::Essential, &entries)?;
    Ok(handle.wait_durable(appended.next, TIMEOUT)?)
}

/// The records about an earlier boot.
fn reports(said: &Said, reader: &Reader) -> anyhow::Result<Vec<AuditRecord>> {
    let (at_ms, why, missing, is_all) = match said {
        Said::Nothing => return Ok(Vec::new()),
        Said::Unreadable => {
            return Ok(vec![unknown(
                "the note of what an earlier boot did not record is damaged: how many records are missing is not known",
            )]);
        }
        Said::Stopped {
            at_ms,
            why,
            missing,
            is_all,
        } => (*at_ms, why, missing, *is_all),
    };
    let last = match missing.boot {
        Some(boot) => last_of(reader, boot)?,
        None => None,
    };
    let (Some(boot), Some(last)) = (missing.boot, last) else {
        return Ok(vec![unknown(&format!(
            "the log stopped at {at_ms} ms since 1970 ({why}) and the server went on: how many records are missing is not known"
        ))]);
    };
    let mut records = Vec::new();
    if missing.last_seq > last.seq {
        let mut loss = AuditRecord::new(AuditAction::RecordsDropped, "").with_boot(boot);
        let count = missing.last_seq.saturating_sub(last.seq);
        loss.node = last.node;
        loss.seq = Some(missing.last_seq.saturating_add(1));
        loss.count = Some(count);
        loss.first_seq = Some(last.seq.saturating_add(1));
        loss.last_seq = Some(missing.last_seq);
        loss.detail = Some(counted(&missing.counts, count).to_detail().into());
        let time = i64::try_from(at_ms).unwrap_or(i64::MAX);
        records.push(
            loss.with_extra("log_stopped_ms", Value::Integer(time))?
                .with_extra("log_stopped_why", Value::Text(why.clone()))?,
        );
    }
    if !is_all {
        records.push(unknown(&format!(
            "the log stopped at {at_ms} ms since 1970 ({why}) and the server was killed later: more records may be missing than are reported"
        )));
    }
    Ok(records)
}

fn unknown(words: &str) -> AuditRecord {
    let mut record = AuditRecord::new(AuditAction::LogStopped, "");
    record.detail = Some(words.to_owned().into());
    record
}

/// The counts, completed to give `total`. Records that were dropped without a known action count as
/// `other`.
fn counted(counts: &LossCounts, total: u64) -> LossCounts {
    let mut counts = match counts.total() {
        more if more > total => LossCounts::new(),
        _ => counts.clone(),
    };
    counts.add("other", total.saturating_sub(counts.total()));
    counts
}

struct Last {
    seq: u64,
    node: Option<String>,
}

/// The record of a boot with the highest number, among the trail's last entries. A boot whose log
/// stopped has no entries after it.
fn last_of(reader: &Reader, boot: Uuid) -> anyhow::Result<Option<Last>> {
    let size = reader.checkpoint()?.head().size;
    let first = reader.first_index()?.max(size.saturating_sub(LOOK_BACK));
    let mut last: Option<Last> = None;
    for entry in reader.entries(first..size)? {
        let Ok(record) = parse_canonical(&entry?) else {
            continue;
        };
        let Some(seq) = record.seq.filter(|_| record.boot == Some(boot)) else {
            continue;
        };
        if last.as_ref().is_none_or(|last| seq > last.seq) {
            let node = record.node;
            last = Some(Last { seq, node });
        }
    }
    Ok(last)
}

// ---- The file ----

/// Opens the note of a new boot and allocates its space.
fn open(path: &Path) -> io::Result<File> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(path)?;
    file.set_len(NOTE_BYTES as u64)?;
    write(&file, "state running\n")?;
    file.sync_all()?;
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        super::create::sync_directory(above)?;
    }
    Ok(file)
}

fn text_of(stop: &Stop, why: &str, is_all: bool) -> String {
    let mut text = String::new();
    let state = if is_all { "final" } else { "stopped" };
    let why: String = why.chars().filter(|c| !c.is_control()).collect();
    let end = (0..=WHY_BYTES).rev().find(|at| why.is_char_boundary(*at));
    let why = why.get(..end.unwrap_or(0).min(why.len())).unwrap_or(&why);
    let _ = writeln!(text, "state {state}");
    let _ = writeln!(text, "at_ms {}", stop.at_ms);
    let _ = writeln!(text, "why {why}");
    if let Some(boot) = stop.missing.boot {
        let _ = writeln!(text, "boot {boot}");
    }
    let _ = writeln!(text, "last_seq {}", stop.missing.last_seq);
    let _ = writeln!(text, "counts {}", stop.missing.counts.to_detail());
    text
}

/// Writes the whole note with one call.
fn write(file: &File, lines: &str) -> io::Result<()> {
    let mut bytes = framed(lines);
    bytes.resize(NOTE_BYTES, 0);
    file.write_all_at(&bytes, 0)
}

/// ```text
/// livetrail-loss/v1 LF
/// state <state> LF  …                  further lines, by state
/// sum <hash> LF                        of all above
/// zeros
/// ```
fn framed(lines: &str) -> Vec<u8> {
    let text = format!("{FIRST_LINE}\n{lines}");
    let sum = leaf_hash(text.as_bytes());
    format!("{text}sum {sum}\n").into_bytes()
}

fn parse(bytes: &[u8]) -> Said {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    if bytes.is_empty() {
        // The process crashed between creating the file and writing its first line.
        return Said::Nothing;
    }
    let text = str::from_utf8(bytes).ok();
    text.and_then(parse_text).unwrap_or(Said::Unreadable)
}

fn parse_text(text: &str) -> Option<Said> {
    let (above, _) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let lines = above.strip_prefix(FIRST_LINE)?.strip_prefix('\n')?;
    if framed(&format!("{lines}\n")) != text.as_bytes() {
        return None;
    }
    let field = |name: &str| {
        lines
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let is_all = match field("state")? {
        "running" | "ended" => return Some(Said::Nothing),
        "stopped" => false,
        "final" => true,
        _ => return None,
    };
    let boot = match field("boot") {
        Some(boot) => Some(boot.parse().ok()?),
        None => None,
    };
    Some(Said::Stopped {
        at_ms: field("at_ms")?.parse().ok()?,
        why: field("why")?.to_owned(),
        missing: Missing {
            boot,
            last_seq: field("last_seq")?.parse().ok()?,
            counts: LossCounts::parse(field("counts")?)?,
        },
        is_all,
    })
}

#[cfg(test)]
mod tests;
