//! An hour's outage of a sink's destination: the trail grows by 3,600,000 records, as 1,000 per
//! second make in an hour, while the destination is down and our process is killed twice. While it
//! catches up, the destination dies twice more and our process once. Afterwards ledger and
//! destination are equal, index by index and byte by byte, and the verifier confirms it for the
//! destination alone.
//!
//! Each sink's module `outage` describes its destination ([`Place`]). CI has the short form; `cargo
//! xtask outage` runs the hour, one sink after the other, in constant memory. Only time is
//! compressed.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use livetrail_ledger::{Reader, RealStore};
use livetrail_tlog::leaf_hash;
use system_tests::clock::{self, Stopwatch};
use system_tests::{Finished, Process, livetrail_verify, run};

/// The short form, a three-hundredth of the hour; `LIVETRAIL_OUTAGE_RECORDS` may ask for another.
const RECORDS: u64 = 12_000;

/// The origin of the log that `trail-writer` makes.
pub(crate) const ORIGIN: &str = "example.com/torture";

/// The timeout for all of the work.
pub(crate) const PATIENCE: Duration = Duration::from_mins(60);

/// The destination of a sink, which becomes unavailable.
pub(crate) trait Place {
    /// The name of the sink, here and by `cargo xtask outage`.
    const NAME: &'static str;

    /// Whether entries that were sent again may be there twice.
    const AT_LEAST_ONCE: bool = false;

    /// How many records it accepts while it is unavailable.
    const TAKES_WHILE_AWAY: u64 = 0;

    /// Whether it and our process die only when no batch is in progress.
    const DIES_BETWEEN_BATCHES: bool = false;

    /// The arguments for `trail-writer`, after its first three.
    fn words(&self, log: &Log) -> Vec<String>;

    /// The command with these arguments, if the sink needs more than that.
    fn command(&self, writer: Command) -> Command {
        writer
    }

    /// Nobody can write there from now on, and writes in progress are interrupted.
    fn goes_away(&self);

    /// The destination is available again, with its earlier contents.
    fn comes_back(&self);

    /// Calls `each` with index and bytes of all that is there, in the order of the place.
    fn read(&self, each: &mut dyn FnMut(u64, &[u8]));

    /// Lets the verifier read only the destination; it must be sound, with this many entries.
    fn verify(&self, log: &Log, entries: u64);
}

/// The ledger, and the writer's reports.
pub(crate) struct Log {
    folder: tempfile::TempDir,
    batch: u64,
}

impl Log {
    pub(crate) fn trail(&self) -> PathBuf {
        self.folder.path().join("trail")
    }

    pub(crate) fn vkey(&self) -> PathBuf {
        self.trail().with_extension("keys").join("trail.vkey")
    }

    /// A file or folder next to the trail.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a sink keeps its cursor that delivers at least once.
    pub(crate) fn cursors(&self) -> PathBuf {
        self.beside("cursors")
    }

    /// The checkpoint of what such a sink has sent.
    pub(crate) fn cursor(&self, sink: &str) -> PathBuf {
        let name = format!("{}.cursor", ORIGIN.replace('/', "_2F"));
        self.cursors().join(sink).join(name)
    }

    /// Runs the verifier with these arguments and our keys.
    pub(crate) fn verifier(&self, place: impl FnOnce(&mut Command)) -> Finished {
        let mut verify = Command::new(livetrail_verify());
        place(&mut verify);
        verify.arg("--vkey").arg(self.vkey());
        run("livetrail-verify", &verify, PATIENCE)
    }

    /// The verifier rebuilds the log from lines of JSON, and compares it with the checkpoint in the
    /// sink's cursor.
    pub(crate) fn verify_lines(&self, lines: &Path, sink: &str, entries: u64) {
        let told = self.verifier(|verify| {
            verify.arg("--lines").arg(lines);
            verify.arg("--checkpoint").arg(self.cursor(sink));
        });
        assert_sound(told, entries);
    }

    /// The sink gets what is below this index, and the batch that it is in.
    fn allow(&self, below: u64) {
        let new = self.beside("limit.new");
        std::fs::write(&new, below.to_string()).expect("a limit");
        std::fs::rename(new, self.beside("limit")).expect("in its place");
    }

    /// The same, and this happens while a batch is in progress; or before one is.
    fn goes_on<P: Place>(&self, below: u64, happens: impl FnOnce()) {
        if P::DIES_BETWEEN_BATCHES {
            happens();
            self.allow(below);
        } else {
            self.allow(below);
            happens();
        }
    }

    fn start<P: Place>(&self, place: &P, count: u64) -> Process {
        let mut writer = Command::new(env!("CARGO_BIN_EXE_trail-writer"));
        writer
            .arg(self.trail())
            .args([&count.to_string(), "0"])
            .args(place.words(self))
            .env("LIVETRAIL_WRITER_BATCH", self.batch.to_string())
            .env("LIVETRAIL_WRITER_LIMIT", self.beside("limit"));
        Process::spawn("trail-writer", &place.command(writer))
    }
}

/// Runs the outage.
pub(crate) fn out_and_back<P: Place>(place: &P) {
    let asked = std::env::var("LIVETRAIL_OUTAGE_RECORDS").ok();
    let records: u64 = asked.map_or(RECORDS, |asked| asked.parse().expect("a number"));
    let log = Log {
        folder: tempfile::tempdir().expect("a folder"),
        batch: (records / 64).clamp(64, 8_192),
    };
    let told = Told::<P>::begin();

    place.goes_away();
    log.allow(u64::MAX);
    for part in [records / 3, records / 3 * 2] {
        let mut writer = log.start(place, u64::MAX);
        await_said(&mut writer, "durable ", part);
        assert_away::<P>(&writer);
        writer.crash();
    }
    let mut writer = log.start(place, records);
    await_said(&mut writer, "closed ", 1);
    assert_away::<P>(&writer);
    let held = writer.largest_said("closed ");
    told.says(&format!("the hour is over: {held} records"));

    log.allow(records / 4);
    place.comes_back();
    await_said(&mut writer, "followed ", records / 4);
    log.goes_on::<P>(records / 2, || {
        place.goes_away();
        place.comes_back();
    });
    await_said(&mut writer, "followed ", records / 2);
    log.goes_on::<P>(records / 4 * 3, || _ = writer.crash());
    // The writer records how it was ended, and catches up.
    let mut writer = log.start(place, 0);
    await_said(&mut writer, "followed ", records / 4 * 3);
    log.goes_on::<P>(u64::MAX, || {
        place.goes_away();
        place.comes_back();
    });
    let finished = writer.wait(PATIENCE).success();
    let said = format!("{}{}", finished.stdout, finished.stderr);
    let total = said
        .lines()
        .find_map(|line| line.strip_prefix("replicated "));
    let total: u64 = total.expect("the end").parse().expect("a number");
    assert!(total > held, "{said}");
    told.says("caught up, through two more deaths of the place and one of ours");

    let again = assert_equal(place, &log, total);
    told.says(&format!("records {total}, {again} of them there again"));
    told.says("equal, index for index and byte for byte");
    place.verify(&log, total);
    told.says("verified from the place alone");
}

fn assert_away<P: Place>(writer: &Process) {
    let followed = writer.largest_said("followed ");
    assert!(followed <= P::TAKES_WHILE_AWAY, "{}", writer.said());
}

fn await_said(writer: &mut Process, word: &str, number: u64) {
    clock::wait_until(&format!("{word}{number}"), PATIENCE, || {
        let reached = writer.largest_said(word) >= number;
        assert!(reached || writer.is_running(), "{}", writer.said());
        reached
    });
}

/// The answer of the verifier for a whole trail.
pub(crate) fn assert_sound(told: Finished, entries: u64) {
    let told = told.success();
    assert!(told.stdout.starts_with("SOUND"), "{}", told.output());
    let entries = entries.to_string();
    assert!(told.stdout.contains(&entries), "{}", told.output());
}

/// The destination has the ledger's entries, in order, from the first to the last, byte by byte.
/// Repeated ones, where allowed, have the same bytes. Returns the number of repeated ones.
fn assert_equal<P: Place>(place: &P, log: &Log, total: u64) -> u64 {
    let reader = Reader::open(std::sync::Arc::new(RealStore::new(log.trail()))).expect("a reader");
    let from = |index| reader.entries(index..total).expect("the ledger's entries");
    let (mut next, mut ours) = (0, from(0));
    let (mut next_again, mut ours_again, mut again) = (0, from(0), 0);
    place.read(&mut |index, theirs| {
        let entry = if index == next {
            next += 1;
            ours.next()
        } else {
            assert!(
                P::AT_LEAST_ONCE && index < next,
                "entry {index} stands where {next} should"
            );
            if index != next_again {
                ours_again = from(index);
            }
            next_again = index + 1;
            again += 1;
            ours_again.next()
        };
        let entry = entry.unwrap_or_else(|| panic!("entry {index} is beyond the ledger"));
        assert_eq!(entry.expect("an entry"), theirs, "entry {index} differs");
    });
    assert_eq!(next, total, "the rest is missing");
    again
}

/// Records as lines of JSON, as the verifier reads them: `{"index":N,"leaf":"…","record":{…}}`.
pub(crate) struct Lines(BufWriter<File>);

impl Lines {
    pub(crate) fn create(path: &Path) -> Self {
        Self(BufWriter::new(File::create(path).expect("a file of lines")))
    }

    pub(crate) fn add(&mut self, index: u64, entry: &[u8]) {
        let leaf = leaf_hash(entry);
        let written = write!(
            self.0,
            "{{\"index\":{index},\"leaf\":\"{leaf}\",\"record\":"
        )
        .and_then(|()| self.0.write_all(entry))
        .and_then(|()| self.0.write_all(b"}\n"));
        written.expect("a line");
    }

    pub(crate) fn finish(mut self) {
        self.0.flush().expect("the last lines");
    }
}

/// Prints the result in a form that `cargo xtask outage` reads.
struct Told<P> {
    since: Stopwatch,
    place: std::marker::PhantomData<P>,
}

impl<P: Place> Told<P> {
    fn begin() -> Self {
        Self {
            since: Stopwatch::start(),
            place: std::marker::PhantomData,
        }
    }

    #[expect(clippy::print_stdout, reason = "tests talk to people")]
    fn says(&self, what: &str) {
        let seconds = self.since.elapsed().as_secs();
        println!("outage of {}, {seconds} s: {what}", P::NAME);
    }
}
