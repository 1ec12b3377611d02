//! Writes audit records into a ledger and reports its progress, for tests that kill it or break its
//! disk.
//!
//! `trail-writer DIR COUNT [PAUSE_US [patient | companions | WITNESS_URL WITNESS_KEY | SINK …]]`:
//! creates the trail if there is none (keys in `DIR.keys`), closes the sessions that a crash left
//! open, appends records in small batches with a pause between them until there are `COUNT`, closes
//! all and ends. With `patient` it continues when the disk is full, otherwise it ends with an
//! error. With `companions` each entry has one: the text of its hash, which is kept in `DIR.kept`.
//! It prints
//!
//! ```text
//! open <entries> <clean, or what recovery found>
//! durable <entries>
//! sealed <entries> <root>
//! shed <records so far>          the disk is too full for what is worth least
//! refused <records so far>       and for a session that begins
//! reported <records>             there is room again, and a record says what was lost
//! closed <entries>
//! ```
//!
//! A sink (see `sinks.rs` for the arguments) follows the trail, reports its progress (`followed
//! <entries>`), and has everything at the end (`replicated <entries>`). A witness is asked before
//! the trail is opened and while it grows, and has cosigned the last checkpoint before the end.
//!
//! The ledger's settings are small, so that in a second it does everything that a large one does in
//! a day: segments begin and are removed, bundles fill. With a sink it is as large as a server's,
//! so that an hour's records are there in a minute.

mod kept;
mod sinks;

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use livetrail_ledger::{
    AppendError, Builder, CheckpointHook, Class, Entry, HttpTransport, Identity, Ledger, Options,
    Reader, RealStore, SharedStore, Witness, WitnessFloor, WitnessOptions, WitnessTransport,
    Witnesses, generate_seed, read_seed, write_seed,
};
use livetrail_record::{
    AuditAction, AuditRecord, LossCounts, Outcome, Reason, Uuid, encode_canonical, parse_canonical,
};
use livetrail_tlog::leaf_hash;
use system_tests::clock::{Stopwatch, wait_until, wall_ms};

type Error = Box<dyn std::error::Error>;

/// Records that may be appended and not yet known to be durable.
const AHEAD: u64 = 2_000;

/// The number of simultaneously open sessions; a session lasts this many times [`SESSION_EVERY`]
/// records.
const OPEN_SESSIONS: usize = 5;

/// A session begins every this many records.
const SESSION_EVERY: u64 = 7;

/// How many of the last records are searched for sessions that a crash left open: far more than one
/// session can span.
const SEARCHED: u64 = 512;

/// With a sink, an hour's records are reported in steps of this many.
const TOLD_EVERY: u64 = 5_000;

/// How long a record may take to be durable.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let Err(error) = write() else {
        return ExitCode::SUCCESS;
    };
    let mut words = format!("error: {error}\n");
    let mut cause = error.source();
    while let Some(why) = cause {
        words += &format!("  because {why}\n");
        cause = why.source();
    }
    // If writing fails, only the exit code can report it.
    let _ = std::io::stderr().write_all(words.as_bytes());
    ExitCode::FAILURE
}

fn write() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: trail-writer DIR COUNT [PAUSE_US [patient | companions | WITNESS_URL WITNESS_KEY | SINK ...]]";
    let dir = PathBuf::from(arguments.next().ok_or(usage)?);
    let count: u64 = arguments.next().ok_or(usage)?.parse()?;
    let pause: u64 = arguments.next().map_or(Ok(0), |pause| pause.parse())?;
    let rest: Vec<String> = arguments.collect();
    let patient = rest == ["patient"];
    let companions = rest == ["companions"];
    let sink = sinks::named(&rest)?;
    let witness = match rest.as_slice() {
        [url, key] if sink.is_none() => Some(Witness::new(url.clone(), key.parse()?)?),
        rest if rest.is_empty() || patient || companions || sink.is_some() => None,
        _ => return Err(usage.into()),
    };
    let store: SharedStore = Arc::new(RealStore::new(&dir));
    let identity = identity(&dir)?;
    if !store.exists("private/log.json")? {
        Ledger::create(&store, &identity)?;
    }
    let asked = Asked::new(witness);
    let mut options = if sink.is_some() { big() } else { small() };
    let mut builder = Ledger::builder(Arc::clone(&store), identity).hook(Say);
    if companions {
        // The least for entries with companions.
        options.queue_bytes = 256 << 10;
        options.segment_bytes = 320 << 10;
        builder = builder.companions(kept::Kept(dir.with_extension("kept")));
    }
    let builder = builder.options(options);
    let (ledger, report) = asked.before(builder, &store)?.open()?;
    let witnesses = asked.beside(&ledger)?;
    let found = if report.is_clean() {
        "clean".to_owned()
    } else {
        format!("{report:?}")
    };
    say(&format!("open {} {found}", report.entries));
    ledger.wait_sealed(report.entries, DURABLE_TIMEOUT)?;
    let told_every = if sink.is_some() { TOLD_EVERY } else { 1 };
    let replicas = sinks::Following::start(&ledger, &store, sink)?;
    let left_open = left_open(&store, report.entries)?;
    let mut boot = Boot::new(&ledger, report.entries, patient, told_every);
    boot.companions = companions;
    boot.begin(&left_open)?;
    while boot.next < count {
        boot.batch()?;
        std::thread::sleep(Duration::from_micros(pause));
    }
    boot.end()?;
    let end = boot.next;
    ledger.wait_sealed(end, DURABLE_TIMEOUT)?;
    let cosigned = || {
        let status = witnesses.status();
        status.iter().all(|one| one.cosigned_size >= Some(end))
    };
    wait_until("the last cosignature", DURABLE_TIMEOUT, cosigned);
    witnesses.stop();
    say(&format!("closed {}", ledger.close()?.head().size));
    replicas.finish(end)
}

/// The witness that is asked, if there is one.
struct Asked {
    witnesses: Vec<Witness>,
    options: WitnessOptions,
    transport: Arc<dyn WitnessTransport>,
}

impl Asked {
    fn new(witness: Option<Witness>) -> Self {
        let mut options = WitnessOptions::default();
        options.interval = Duration::from_millis(50);
        Self {
            witnesses: witness.into_iter().collect(),
            options,
            transport: Arc::new(HttpTransport::new()),
        }
    }

    fn before(&self, builder: Builder, store: &SharedStore) -> Result<Builder, Error> {
        let floor = WitnessFloor::new(
            Arc::clone(store),
            self.witnesses.clone(),
            self.options.clone(),
            Arc::clone(&self.transport),
        )?;
        Ok(builder.floor(floor))
    }

    fn beside(self, ledger: &Ledger) -> Result<Witnesses, Error> {
        let (handle, transport) = (ledger.handle(), self.transport);
        let started = Witnesses::start(handle, self.witnesses, self.options, transport, |_| {});
        Ok(started?)
    }
}

fn big() -> Options {
    let mut options = Options::default();
    options.ballast_bytes = 1 << 20;
    options.checkpoint_interval = Duration::from_millis(50);
    options
}

fn small() -> Options {
    let mut options = Options::default();
    options.queue_bytes = 128 << 10;
    options.commit_bytes = 16 << 10;
    options.segment_bytes = 256 << 10;
    options.ballast_bytes = 256 << 10;
    options.checkpoint_interval = Duration::from_millis(20);
    options
}

struct Say;

impl CheckpointHook for Say {
    fn published(&mut self, checkpoint: &livetrail_tlog::VerifiedCheckpoint) {
        let head = checkpoint.head();
        say(&format!("sealed {} {}", head.size, head.root));
    }
}

/// Standard output is a sink, so reports go to standard error.
static OUTPUT_IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// One line, whole, so that a reader sees it however this process ends.
fn say(line: &str) {
    let line = format!("{line}\n");
    // Nobody reads the reports any more, so the error is ignored.
    if OUTPUT_IS_TAKEN.load(Ordering::Relaxed) {
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
        return;
    }
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes());
    let _ = out.flush();
}

/// The keys next to the trail, made with the first start. They are renamed into place as a whole,
/// because a start may be killed, too.
fn identity(dir: &Path) -> Result<Identity, Error> {
    let keys = dir.with_extension("keys");
    if !keys.is_dir() {
        let half = dir.with_extension("keys.new");
        if half.is_dir() {
            std::fs::remove_dir_all(&half)?;
        }
        std::fs::create_dir_all(&half)?;
        write_seed(&half.join("signer"), &generate_seed()?)?;
        write_seed(&half.join("cosigner"), &generate_seed()?)?;
        std::fs::rename(&half, &keys)?;
    }
    let identity = Identity::from_seeds(
        "example.com/torture",
        &read_seed(&keys.join("signer"))?,
        &read_seed(&keys.join("cosigner"))?,
    )?;
    let text = format!("{}\n{}\n", identity.signer_key(), identity.cosigner_key());
    std::fs::write(keys.join("trail.vkey"), text)?;
    Ok(identity)
}

/// The sessions that began within the last records and have not ended.
fn left_open(store: &SharedStore, entries: u64) -> Result<Vec<Uuid>, Error> {
    let mut open = Vec::new();
    if entries == 0 {
        return Ok(open);
    }
    let reader = Reader::open(Arc::clone(store))?;
    for entry in reader.entries(entries.saturating_sub(SEARCHED)..entries)? {
        let record = parse_canonical(&entry?)?;
        match (&record.action, record.session) {
            (AuditAction::PlayStarted, Some(session)) => open.push(session),
            (AuditAction::PlayEnded, Some(session)) => open.retain(|open| *open != session),
            _ => {}
        }
    }
    Ok(open)
}

/// The writer of this process.
struct Boot<'a> {
    ledger: &'a Ledger,
    patient: bool,
    /// Each entry has a companion.
    companions: bool,
    id: Uuid,
    since: Stopwatch,
    seq: u64,
    sessions: VecDeque<Uuid>,
    /// Entries of the trail, durable or not.
    next: u64,
    /// The last number that was reported as durable.
    told: u64,
    told_every: u64,
    lost: Option<Lost>,
}

/// Records that had a number, but no space on the disk.
struct Lost {
    counts: LossCounts,
    first: u64,
    last: u64,
}

/// Records of one class, one after the other.
struct Run {
    class: Class,
    first: u64,
    records: Vec<AuditRecord>,
}

impl<'a> Boot<'a> {
    fn new(ledger: &'a Ledger, entries: u64, patient: bool, told_every: u64) -> Self {
        Self {
            ledger,
            patient,
            companions: false,
            id: uuid_v7(u64::from(std::process::id())),
            since: Stopwatch::start(),
            seq: 0,
            sessions: VecDeque::new(),
            next: entries,
            told: entries,
            told_every,
            lost: None,
        }
    }

    fn begin(&mut self, left_open: &[Uuid]) -> Result<(), Error> {
        let mut batch = vec![AuditRecord::new(AuditAction::ServerStarted, "")];
        for session in left_open {
            let closure = AuditRecord::new(AuditAction::PlayEnded, "live")
                .with_stream("cam")
                .with_session(*session)
                .with_reason(Reason::ServerCrash)
                .with_inferred(true);
            batch.push(closure);
        }
        self.essential(batch)
    }

    /// Appends one to 32 records, those of the same class together.
    fn batch(&mut self) -> Result<(), Error> {
        let mut run: Option<Run> = None;
        for _ in 0..=(self.seq.wrapping_mul(2_654_435_761) >> 7) % 32 {
            let (class, record) = self.record();
            let first = self.seq;
            let record = self.numbered(record)?;
            match &mut run {
                Some(run) if run.class == class => run.records.push(record),
                _ => {
                    let records = vec![record];
                    let next = Run {
                        class,
                        first,
                        records,
                    };
                    if let Some(full) = run.replace(next) {
                        self.offer(&full)?;
                    }
                }
            }
        }
        run.map_or(Ok(()), |run| self.offer(&run))
    }

    /// Appends the records that the free space permits. Refused ones are lost, and reported when
    /// there is space again.
    fn offer(&mut self, run: &Run) -> Result<(), Error> {
        match self.append(run.class, &run.records) {
            Ok(()) => {}
            Err(error) => match error.downcast_ref::<AppendError>() {
                Some(AppendError::NoSpace { .. }) if self.patient => {
                    self.lose(run);
                    return Ok(());
                }
                _ => return Err(error),
            },
        }
        match self.lost.take_if(|_| run.class == Class::BestEffort) {
            Some(lost) => self.report(&lost),
            None => Ok(()),
        }
    }

    fn lose(&mut self, run: &Run) {
        let count = run.records.len() as u64;
        let last = run.first + count - 1;
        let lost = self.lost.get_or_insert_with(|| Lost {
            counts: LossCounts::new(),
            first: run.first,
            last,
        });
        lost.last = last;
        for record in &run.records {
            lost.counts.add(record.action.label(), 1);
        }
        let so_far = lost.counts.total();
        let word = match run.class {
            Class::BestEffort => "shed",
            _ => "refused",
        };
        // A refused session does not count.
        self.sessions
            .retain(|open| run.records.iter().all(|lost| lost.session != Some(*open)));
        say(&format!("{word} {so_far}"));
    }

    fn report(&mut self, lost: &Lost) -> Result<(), Error> {
        let total = lost.counts.total();
        let record = AuditRecord::new(AuditAction::RecordsDropped, "")
            .with_count(total)
            .with_first_seq(lost.first)
            .with_last_seq(lost.last)
            .with_detail(lost.counts.to_detail());
        self.essential(vec![record])?;
        say(&format!("reported {total}"));
        Ok(())
    }

    fn record(&mut self) -> (Class, AuditRecord) {
        if !self.seq.is_multiple_of(SESSION_EVERY) {
            let size = usize::try_from(self.seq % 251).unwrap_or(0);
            let measured = AuditRecord::new(AuditAction::Event("measured".to_owned()), "live")
                .with_detail("x".repeat(size));
            return (Class::BestEffort, measured);
        }
        if self.sessions.len() == OPEN_SESSIONS
            && let Some(session) = self.sessions.pop_front()
        {
            return (Class::Essential, ended(session));
        }
        let session = uuid_v7(self.seq);
        self.sessions.push_back(session);
        let started = AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_stream("cam")
            .with_session(session);
        (Class::Strict, started)
    }

    fn end(&mut self) -> Result<(), Error> {
        if let Some(lost) = self.lost.take() {
            self.report(&lost)?;
        }
        let mut batch: Vec<_> = self.sessions.drain(..).map(ended).collect();
        batch.push(AuditRecord::new(AuditAction::ServerStopped, ""));
        self.essential(batch)
    }

    /// Records that open or close something, or report a loss: accepted as long as there is any
    /// space.
    fn essential(&mut self, records: Vec<AuditRecord>) -> Result<(), Error> {
        let numbered: Result<Vec<_>, _> = records
            .into_iter()
            .map(|record| self.numbered(record))
            .collect();
        self.append(Class::Essential, &numbered?)
    }

    fn numbered(&mut self, record: AuditRecord) -> Result<AuditRecord, Error> {
        let mono_ms = u64::try_from(self.since.elapsed().as_millis())?;
        let record = record
            .with_boot(self.id)
            .with_node("torture")
            .with_seq(self.seq)
            .with_mono_ms(mono_ms)
            .with_ts_ms(wall_ms());
        self.seq += 1;
        Ok(record)
    }

    fn append(&mut self, class: Class, records: &[AuditRecord]) -> Result<(), Error> {
        let entries: Result<Vec<_>, _> = records.iter().map(encode_canonical).collect();
        let entries = entries?;
        let companion = |entry: &Vec<u8>| match self.companions {
            true => leaf_hash(entry).to_string(),
            false => String::new(),
        };
        let companions: Vec<_> = entries.iter().map(companion).collect();
        let entries: Vec<_> = entries
            .iter()
            .zip(&companions)
            .map(|(bytes, companion)| Entry {
                bytes,
                companion: companion.as_bytes(),
            })
            .collect();
        self.next = self.ledger.append_entries(class, &entries)?.next;
        if self.next.saturating_sub(self.told) >= AHEAD.max(2 * self.told_every) {
            self.ledger.wait_durable(self.next, DURABLE_TIMEOUT)?;
        }
        let durable = self.ledger.durable_entries();
        if durable >= self.told + self.told_every {
            self.told = durable;
            say(&format!("durable {durable}"));
        }
        Ok(())
    }
}

fn ended(session: Uuid) -> AuditRecord {
    AuditRecord::new(AuditAction::PlayEnded, "live")
        .with_stream("cam")
        .with_session(session)
        .with_outcome(Outcome::Success)
        .with_reason(Reason::ClientClosed)
}

/// A UUIDv7 of now; processes and sessions differ in the time or in `number`.
fn uuid_v7(number: u64) -> Uuid {
    let low = (u128::from(std::process::id()) << 32) ^ u128::from(number);
    Uuid::from_u128(u128::from(wall_ms()) << 80 | 7 << 76 | 0b10 << 62 | low & ((1 << 62) - 1))
}
