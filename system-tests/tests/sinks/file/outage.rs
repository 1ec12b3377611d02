//! An hour's outage of the place where a file of lines is, while the trail grows and our process is killed twice, and once more while it catches
//! up: afterwards ledger and files are equal, byte for byte, and the verifier says so from the files alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use system_tests::{Process, clock, livetrail, livetrail_verify, run};

use super::held_in;

/// What an hour has at 1,000 records a second, in the short form a hundredth of it.
const RECORDS: u64 = 36_000;

/// For as much work as there is; `LIVETRAIL_OUTAGE_RECORDS` may ask for much.
const PATIENCE: Duration = Duration::from_mins(30);

struct Writer(tempfile::TempDir);

impl Writer {
    fn trail(&self) -> PathBuf {
        self.0.path().join("trail")
    }

    /// Where the files are; not there in the outage.
    fn place(&self) -> PathBuf {
        self.0.path().join("mounted")
    }

    /// Appends until there are so many entries, and follows with the files.
    fn start(&self, count: u64) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trail-writer"));
        command.arg(self.trail()).arg(count.to_string()).arg("0");
        command.arg("file").arg(self.place().join("trail.json"));
        Process::spawn("trail-writer", &command)
    }

    /// The files, in the order of their names and then the one that goes on.
    fn files(&self) -> Vec<PathBuf> {
        let listed = std::fs::read_dir(self.place()).unwrap();
        let mut rotated: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
        rotated.retain(|path| path.extension().is_some_and(|suffix| suffix.len() == 20));
        rotated.sort();
        rotated.push(self.place().join("trail.json"));
        rotated
    }

    /// What the verifier says from the files alone.
    fn verify(&self) -> system_tests::Finished {
        let mut verify = Command::new(livetrail_verify());
        verify.arg("--lines").args(self.files());
        let vkey = self.trail().with_extension("keys").join("trail.vkey");
        verify.arg("--vkey").arg(vkey);
        run("livetrail-verify --lines", &verify, PATIENCE)
    }
}

#[test]
fn an_outage_costs_nothing_but_disk() {
    let asked = std::env::var("LIVETRAIL_OUTAGE_RECORDS").ok();
    let records: u64 = asked.map_or(RECORDS, |asked| asked.parse().unwrap());
    let writer = Writer(tempfile::tempdir().unwrap());
    for part in [records / 3, records / 3 * 2] {
        let mut process = writer.start(u64::MAX);
        clock::wait_until("a part of the hour", PATIENCE, || {
            assert!(process.is_running(), "{}", process.said());
            process.largest_said("durable ") >= part
        });
        process.crash();
    }
    assert!(!writer.place().exists());
    let mut process = writer.start(u64::MAX);
    clock::wait_until("the hour is over", PATIENCE, || {
        assert!(process.is_running(), "{}", process.said());
        process.largest_said("durable ") >= records
    });
    std::fs::create_dir(writer.place()).unwrap();
    clock::wait_until("a part is there", PATIENCE, || writer.files().len() > 3);
    process.crash();
    // It adds how it was ended, and catches up.
    let finished = writer.start(0).wait(PATIENCE).success();
    let total = finished
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("replicated "));
    let total: u64 = total.unwrap().parse().unwrap();
    assert!(total >= records);

    let text: String = writer
        .files()
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert_equal(&text, &writer.trail(), total);
    let verified = writer.verify().success();
    assert!(verified.stdout.starts_with("SOUND"), "{}", verified.stdout);
    let entries = format!("{total} entries, up to the root");
    assert!(verified.stdout.contains(&entries), "{}", verified.stdout);

    // One letter of one record, in a file that was rotated long ago.
    let file = &writer.files()[1];
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(
        file,
        text.replacen("\"app\":\"live\"", "\"app\":\"life\"", 1),
    )
    .unwrap();
    let told = writer.verify().failure();
    assert!(told.stdout.starts_with("NOT SOUND"), "{}", told.stdout);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(told.stdout.contains(name), "{}", told.stdout);
}

/// The lines have the ledger's entries, each once, in order, byte for byte.
fn assert_equal(text: &str, trail: &Path, total: u64) {
    let mut export = Command::new(livetrail());
    export.args(["trail", "export"]).arg(trail);
    export.args(["--format", "entries", "--output"]);
    let exported = trail.with_extension("entries");
    export.arg(&exported);
    run("trail export", &export, PATIENCE).success();
    let ours = std::fs::read(exported).unwrap();
    let mut ours = ours.split_inclusive(|byte| *byte == b'\n');
    let mut next = 0;
    for line in text.lines() {
        let (index, mut entry) = held_in(line);
        entry.push(b'\n');
        assert_eq!((index, Some(entry.as_slice())), (next, ours.next()));
        next += 1;
    }
    assert_eq!((next, ours.next()), (total, None));
}
