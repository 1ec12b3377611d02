//! An hour's outage of the reader of standard output: a collector of lines that hangs and reads
//! nothing. Each process has a new pipe, as in a container; the collector ends a line that a
//! process did not end, as real ones do.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use system_tests::run;

use crate::file::held_in;
use crate::outage::{self, Log};

/// Reads the pipes of one process after the other into a file.
struct Collector {
    folder: tempfile::TempDir,
    hangs: Arc<(Mutex<bool>, Condvar)>,
    /// How many pipes there were, and who reads the last one.
    pipes: Mutex<(u32, Option<JoinHandle<()>>)>,
}

impl Collector {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            hangs: Arc::default(),
            pipes: Mutex::default(),
        }
    }

    fn collected(&self) -> PathBuf {
        self.folder.path().join("collected")
    }

    /// A pipe for the next process, which is read when those before it have ended.
    fn pipe(&self) -> PathBuf {
        let (number, reader) = &mut *self.pipes.lock().unwrap();
        *number += 1;
        let path = self.folder.path().join(format!("pipe-{number}"));
        let mut make = Command::new("mkfifo");
        make.arg(&path);
        run("mkfifo", &make, Duration::from_secs(10)).success();
        let (pipe, hangs, collected) = (path.clone(), Arc::clone(&self.hangs), self.collected());
        let before = reader.take();
        *reader = Some(std::thread::spawn(move || {
            let pipe = File::open(pipe).unwrap();
            if let Some(before) = before {
                before.join().unwrap();
            }
            collect(pipe, &hangs, &collected);
        }));
        path
    }

    fn hangs(&self, hangs: bool) {
        *self.hangs.0.lock().unwrap() = hangs;
        self.hangs.1.notify_all();
    }

    /// The last process has ended: until all that it wrote is there.
    fn await_end(&self) {
        let reader = self.pipes.lock().unwrap().1.take();
        if let Some(reader) = reader {
            reader.join().unwrap();
        }
    }
}

fn collect(mut pipe: File, hangs: &(Mutex<bool>, Condvar), collected: &std::path::Path) {
    let mut collected = File::options()
        .create(true)
        .append(true)
        .open(collected)
        .unwrap();
    let mut part = vec![0; 1 << 16];
    let mut last = b'\n';
    loop {
        let turn = hangs.0.lock().unwrap();
        drop(hangs.1.wait_while(turn, |hangs| *hangs).unwrap());
        let bytes = pipe.read(&mut part).unwrap();
        if bytes == 0 {
            break;
        }
        collected.write_all(&part[..bytes]).unwrap();
        last = part[bytes - 1];
    }
    if last != b'\n' {
        collected.write_all(b"\n").unwrap();
    }
}

impl outage::Place for Collector {
    const NAME: &'static str = "stdout";
    const AT_LEAST_ONCE: bool = true;
    /// A pipe of 64 KiB for each of three processes, and a line has more than 100 bytes.
    const TAKES_WHILE_AWAY: u64 = 3 * 655;

    fn words(&self, log: &Log) -> Vec<String> {
        let cursors = log.cursors();
        vec!["stdout".to_owned(), cursors.to_str().unwrap().to_owned()]
    }

    /// The same with its output in a pipe.
    fn command(&self, writer: Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" > \"$COLLECTOR\""]);
        shell.arg(writer.get_program()).args(writer.get_args());
        for (name, value) in writer.get_envs() {
            shell.env(name, value.unwrap());
        }
        shell.env("COLLECTOR", self.pipe());
        shell
    }

    fn goes_away(&self) {
        self.hangs(true);
    }

    fn comes_back(&self) {
        self.hangs(false);
    }

    fn read(&self, each: &mut dyn FnMut(u64, &[u8])) {
        self.await_end();
        let mut torn = 0;
        for line in BufReader::new(File::open(self.collected()).unwrap()).lines() {
            let line = line.unwrap();
            if !line.ends_with("}}") {
                torn += 1;
                continue;
            }
            let (index, entry) = held_in(&line);
            each(index, &entry);
        }
        // At most one of each process that was killed.
        assert!(torn <= 3, "{torn} lines were cut off");
    }

    fn verify(&self, log: &Log, entries: u64) {
        log.verify_lines(&self.collected(), Self::NAME, entries);
    }
}

#[test]
fn an_outage_costs_nothing_but_disk() {
    outage::out_and_back(&Collector::new());
}
