//! Appends numbered entries to a trail and prints how many are durable, for tests that kill it.
//!
//! `append DIR [COUNT] [PAUSE_US]`: creates the trail if there is none (with keys in `DIR.keys`),
//! appends entries `entry <index>` until `COUNT` exist (forever without it), one at a time with a
//! pause, and prints lines on standard output:
//!
//! ```text
//! open <entries> <clean or what recovery found>
//! durable <entries>
//! sealed <entries> <root>
//! closed <entries>
//! ```

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints its results"
)]

mod command_line;

use std::{
    error,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use livetrail_ledger::{
    CheckpointHook, Class, Identity, Ledger, Options, RealStore, SharedStore, generate_seed,
    read_seed, write_seed,
};

const USAGE: &str = "\
Appends numbered entries to a trail and prints how many are durable.

Usage: append DIR [COUNT] [PAUSE_US]

  DIR         of the trail, which is made if there is none; its keys are in DIR.keys
  COUNT       entries that are there at the end [default: it goes on for ever]
  PAUSE_US    microseconds between two of them [default: 0]
  -h, --help  Print this";

/// The maximum number of entries that may be appended and not yet known to be durable.
const AHEAD: u64 = 10_000;

struct Say;

impl CheckpointHook for Say {
    fn published(&mut self, checkpoint: &livetrail_tlog::VerifiedCheckpoint) {
        let head = checkpoint.head();
        say(&format!("sealed {} {}", head.size, head.root));
    }
}

/// Prints one whole line, so that a reader sees it however this process ends.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    // If nobody reads any longer, nothing needs to be printed.
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

fn main() -> Result<(), Box<dyn error::Error>> {
    let mut given = command_line::given(USAGE, 3);
    let Some(dir) = given.next().map(PathBuf::from) else {
        command_line::refuse(USAGE, "which directory?");
    };
    let number = |of, word: Option<String>, or| {
        word.map_or(or, |word| command_line::number(USAGE, of, &word))
    };
    let count = number("COUNT", given.next(), u64::MAX);
    let pause = number("PAUSE_US", given.next(), 0);
    let store: SharedStore = Arc::new(RealStore::new(&dir));
    let identity = identity(&dir)?;
    if !store.exists("private/log.json")? {
        Ledger::create(&store, &identity)?;
    }
    let mut options = Options::default();
    options.segment_bytes = 16 << 20;
    let (ledger, report) = Ledger::builder(store, identity)
        .options(options)
        .hook(Say)
        .open()?;
    let found = if report.is_clean() {
        "clean".to_owned()
    } else {
        format!("{report:?}")
    };
    say(&format!("open {} {found}", report.entries));
    let mut next = report.entries;
    let mut told = next;
    while next < count {
        let entry = format!("entry {next}");
        next = ledger.append(Class::Strict, &[entry])?.next;
        if pause > 0 {
            thread::sleep(Duration::from_micros(pause));
        }
        if next.saturating_sub(told) >= AHEAD {
            ledger.wait_durable(next, Duration::from_secs(60))?;
        }
        let durable = ledger.durable_entries();
        if durable > told {
            told = durable;
            say(&format!("durable {durable}"));
        }
    }
    let head = ledger.close()?.head();
    say(&format!("closed {}", head.size));
    Ok(())
}

fn identity(dir: &Path) -> Result<Identity, Box<dyn error::Error>> {
    let keys = dir.with_extension("keys");
    let (signer, cosigner) = (keys.join("signer"), keys.join("cosigner"));
    if !keys.is_dir() {
        std::fs::create_dir_all(&keys)?;
        write_seed(&signer, &generate_seed()?)?;
        write_seed(&cosigner, &generate_seed()?)?;
    }
    Ok(Identity::from_seeds(
        "example.com/append",
        &read_seed(&signer)?,
        &read_seed(&cosigner)?,
    )?)
}
