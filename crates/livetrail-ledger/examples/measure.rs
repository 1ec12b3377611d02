//! Measures a ledger on a real disk: `measure [SECONDS] [DIR]`. Prints, asserts nothing. The
//! directory is made, and removed after.
//!
//! Throughput: entries of 200 bytes from one thread in calls of 1,000, synced and integrated and
//! sealed, with the default settings. Latency: 1,000 entries per second, each waited for,
//! alternating with a bare fdatasync of 4 KiB in the same run.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "it prints what it measures, and measuring needs a clock"
)]

mod command_line;

use std::{
    error,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use livetrail_ledger::{Class, Identity, Ledger, RealStore, SharedStore, generate_seed};

const USAGE: &str = "\
Measures a ledger on a real disk.

Usage: measure [SECONDS] [DIR]

  SECONDS     of throughput [default: 10]
  DIR         is made, and removed after [default: ledger-measure]
  -h, --help  Print this";

const ENTRY_BYTES: usize = 200;
const CALL: usize = 1000;
const LONG: Duration = Duration::from_secs(120);

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

fn main() -> Result<()> {
    let mut given = command_line::given(USAGE, 2);
    let seconds = given.next();
    let seconds = seconds.map_or(10, |word| command_line::number(USAGE, "SECONDS", &word));
    let dir = given.next().unwrap_or_else(|| "ledger-measure".to_owned());
    let dir = Path::new(&dir);
    throughput(&dir.join("throughput"), Duration::from_secs(seconds))?;
    latency(&dir.join("latency"))?;
    fs::remove_dir_all(dir)?;
    Ok(())
}

fn open(dir: &Path) -> Result<Ledger> {
    let store: SharedStore = Arc::new(RealStore::new(dir));
    let identity = Identity::from_seeds("example.com/m", &generate_seed()?, &generate_seed()?)?;
    Ledger::create(&store, &identity)?;
    Ok(Ledger::builder(store, identity).open()?.0)
}

fn throughput(dir: &Path, time: Duration) -> Result<()> {
    let ledger = open(dir)?;
    let mut entries = vec![vec![b'x'; ENTRY_BYTES]; CALL];
    let start = Instant::now();
    let mut shown = start;
    let mut next = 0;
    let mut before = 0;
    let mut number = 0_u64;
    while start.elapsed() < time {
        for entry in &mut entries {
            if let Some(place) = entry.first_chunk_mut() {
                *place = number.to_be_bytes();
            }
            number = number.wrapping_add(1);
        }
        next = ledger.append(Class::Strict, &entries)?.next;
        if shown.elapsed() >= Duration::from_secs(2) {
            let status = ledger.status();
            let rate = rate(status.durable.saturating_sub(before), shown.elapsed());
            println!(
                "{:>5.1} s  {rate:>9.0}/s durable  {:>10} sealed  backlog {:>5} KiB  resident {:>6} KiB",
                start.elapsed().as_secs_f64(),
                status.sealed.size,
                status.backlog_bytes / 1024,
                resident_kib()
            );
            before = status.durable;
            shown = Instant::now();
        }
    }
    ledger.wait_durable(next, LONG)?;
    let durable = start.elapsed();
    ledger.wait_sealed(next, LONG)?;
    let sealed = start.elapsed();
    println!(
        "{next} entries of {ENTRY_BYTES} bytes: {:.0}/s durable, {:.0}/s sealed, resident {} KiB",
        rate(next, durable),
        rate(next, sealed),
        resident_kib()
    );
    let start = Instant::now();
    ledger.close()?;
    println!("closed in {:?}", start.elapsed());
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown to three digits")]
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn latency(dir: &Path) -> Result<()> {
    let ledger = open(dir)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join("bare"))?;
    file.write_all_at(&vec![0; 8 << 20], 0)?;
    file.sync_all()?;
    let (mut bare, mut through) = (Vec::new(), Vec::new());
    for turn in 0..20_u64 {
        for step in 0..100 {
            let start = Instant::now();
            file.write_all_at(&[1; 4096], (turn * 100 + step) * 4096)?;
            file.sync_data()?;
            bare.push(start.elapsed());
        }
        // 1,000 per second, from eight threads: each waits for its own entry.
        let turn = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let ledger = ledger.handle();
                    scope.spawn(move || -> Vec<Duration> {
                        let mut times = Vec::new();
                        let mut due = Instant::now();
                        for _ in 0..125 {
                            due += Duration::from_millis(8);
                            thread::sleep(due.saturating_duration_since(Instant::now()));
                            let start = Instant::now();
                            let Ok(appended) = ledger.append(Class::Strict, &[[7; ENTRY_BYTES]])
                            else {
                                break;
                            };
                            if ledger.wait_durable(appended.next, LONG).is_err() {
                                break;
                            }
                            times.push(start.elapsed());
                        }
                        times
                    })
                })
                .collect();
            threads
                .into_iter()
                .filter_map(|thread| thread.join().ok())
                .flatten()
                .collect::<Vec<_>>()
        });
        through.extend(turn);
    }
    show("bare fdatasync of 4 KiB", &mut bare);
    show("append to durable at 1,000/s", &mut through);
    ledger.close()?;
    Ok(())
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| {
        times
            .get(times.len() * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{what:<32} p50 {:>9.3?}  p99 {:>9.3?}  of {}",
        at(50),
        at(99),
        times.len()
    );
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}
