//! The benchmarks' tools: clocks, medians, a latency histogram, a table, and the compared ways.

pub mod hls;
pub mod ledger;
pub mod offer;
pub mod trail;
pub mod viewers;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The command line of a program without further arguments.
#[derive(Debug, clap::Parser)]
pub struct Quick {
    /// A short run: fewer rounds
    #[arg(long)]
    pub quick: bool,
}

/// Processor time that this process has used, all threads together.
pub fn process_cpu() -> Duration {
    cpu(rustix::time::ClockId::ProcessCPUTime)
}

/// Processor time of the calling thread.
pub fn thread_cpu() -> Duration {
    cpu(rustix::time::ClockId::ThreadCPUTime)
}

fn cpu(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Nanoseconds since the first call: what is written into a frame when it is published.
pub fn nanos() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The most memory that this process has had.
pub fn peak_memory() -> std::io::Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.unwrap_or("unknown").trim().to_owned())
}

/// Removes what was read from the system's page cache. Returns `false` when this process may not.
pub fn drop_caches() -> bool {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// The median, or 0 if there are no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// The median and, if there are several values, the range: `1.23 (1.20–1.31)`.
pub fn spread(values: &[f64], decimals: usize) -> String {
    let middle = median(values);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.len() > 1 {
        format!("{middle:.decimals$} ({least:.decimals$}–{most:.decimals$})")
    } else {
        format!("{middle:.decimals$}")
    }
}

/// Bounds that contain the median of all such values with a confidence of at least 95 %, for any
/// distribution: the sorted values at this distance from both ends. The ends themselves for fewer
/// than six values.
pub fn confidence(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    // The chance that at most `below` of n fall on one side of the middle, twice, stays under 5 %.
    let (mut chance, mut one, mut below) = (0.0, 0.5_f64.powi(n as i32), 0);
    loop {
        chance += one;
        if 2.0 * chance >= 0.05 || below >= n / 2 {
            break;
        }
        one *= (n - below) as f64 / (below + 1) as f64;
        below += 1;
    }
    let at = below.saturating_sub(1);
    let of = |at: usize| sorted.get(at).copied().unwrap_or(0.0);
    (of(at), of(n.saturating_sub(at + 1)))
}

const SUB: u64 = 16;
const BUCKETS: usize = 64 * SUB as usize;

/// Latencies in buckets that are 1/16 of their octave wide: exact to 6 %.
///
/// One per thread, and only that thread writes it: counting costs the same nanosecond or two for
/// every way.
struct Counts {
    deliveries: AtomicU64,
    buckets: Box<[AtomicU64]>,
    /// The number of the next delivery that is timed.
    next_timed: AtomicU64,
}

thread_local! {
    static MINE: Arc<Counts> = register();
}

static ALL: Mutex<Vec<Arc<Counts>>> = Mutex::new(Vec::new());

/// One delivery in this many is timed.
static TIMED: AtomicU64 = AtomicU64::new(1);

fn all() -> MutexGuard<'static, Vec<Arc<Counts>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register() -> Arc<Counts> {
    let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
    let counts = Arc::new(Counts {
        deliveries: AtomicU64::new(0),
        buckets,
        next_timed: AtomicU64::new(0),
    });
    all().push(counts.clone());
    counts
}

/// Counts a delivery of a frame that was published at this time (by [`nanos`]).
pub fn delivered(published: u64) {
    MINE.with(|counts| {
        // One counter: a second one would cost as much as a fast delivery.
        let number = counts.deliveries.load(Ordering::Relaxed) + 1;
        counts.deliveries.store(number, Ordering::Relaxed);
        if number < counts.next_timed.load(Ordering::Relaxed) {
            return;
        }
        let next = number + TIMED.load(Ordering::Relaxed);
        counts.next_timed.store(next, Ordering::Relaxed);
        add(
            &counts.buckets[bucket(nanos().saturating_sub(published))],
            1,
        );
    });
}

/// One thread writes, so a load and a store suffice.
fn add(sum: &AtomicU64, more: u64) {
    sum.store(sum.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// From now on one delivery in this many is timed, on each thread: reading the clock costs more
/// than a fast delivery.
pub fn time_one_in(deliveries: u64) {
    TIMED.store(deliveries, Ordering::Relaxed);
}

/// Deliveries that all threads have counted since [`forget`].
pub fn deliveries() -> u64 {
    all()
        .iter()
        .map(|counts| counts.deliveries.load(Ordering::Relaxed))
        .sum()
}

/// Latencies that all threads have counted since [`forget`].
pub fn latencies() -> Latencies {
    let mut buckets = vec![0; BUCKETS];
    for counts in all().iter() {
        for (sum, bucket) in buckets.iter_mut().zip(&counts.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
    }
    Latencies(buckets)
}

/// Restarts from zero, while nobody delivers.
pub fn forget() {
    for counts in all().iter() {
        counts.deliveries.store(0, Ordering::Relaxed);
        counts.next_timed.store(0, Ordering::Relaxed);
        counts
            .buckets
            .iter()
            .for_each(|bucket| bucket.store(0, Ordering::Relaxed));
    }
}

/// Drops the counts of threads that are gone.
pub fn forget_threads() {
    all().retain(|counts| Arc::strong_count(counts) > 1);
}

/// Latencies of a measurement.
pub struct Latencies(Vec<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(vec![0; BUCKETS])
    }
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, nanos: u64) {
        self.0[bucket(nanos)] += 1;
    }

    /// Counts this many equal latencies.
    pub fn add_many(&mut self, nanos: u64, count: u64) {
        self.0[bucket(nanos)] += count;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The latency that `share` (0 to 1) of all do not exceed, in nanoseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return upper(index as u64) as f64;
            }
        }
        0.0
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < SUB {
        return nanos as usize;
    }
    let octave = u64::from(63 - nanos.leading_zeros());
    let within = (nanos >> (octave - 4)) & (SUB - 1);
    ((octave - 3) * SUB + within) as usize
}

/// The largest value of a bucket.
fn upper(bucket: u64) -> u64 {
    if bucket < SUB {
        return bucket;
    }
    let (octave, within) = (bucket / SUB + 3, bucket % SUB);
    ((SUB + within + 1) << (octave - 4)) - 1
}

/// Prints a table: a line of headings, then lines of cells, each column as wide as it must be.
pub fn table(headings: &[&str], lines: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain([headings[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let print = |cells: &[String]| {
        let padded: Vec<_> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:>width$}"))
            .collect();
        println!("| {} |", padded.join(" | "));
    };
    print(
        &headings
            .iter()
            .map(|heading| (*heading).to_owned())
            .collect::<Vec<_>>(),
    );
    println!(
        "|{}|",
        widths
            .iter()
            .map(|width| "-".repeat(width + 1) + ":")
            .collect::<Vec<_>>()
            .join("|")
    );
    for line in lines {
        print(line);
    }
}

/// `1.23 µs` and the like.
pub fn human_ns(nanos: f64) -> String {
    match nanos {
        n if n < 1_000.0 => format!("{n:.1} ns"),
        n if n < 1_000_000.0 => format!("{:.2} µs", n / 1_000.0),
        n => format!("{:.2} ms", n / 1_000_000.0),
    }
}

/// How many times smaller `ours` is than `theirs`.
pub fn times(ours: f64, theirs: f64) -> String {
    if ours <= 0.0 {
        "–".to_owned()
    } else {
        format!("{:.1}×", theirs / ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_a_sixteenth_of_the_true_one() {
        let mut buckets = vec![0; BUCKETS];
        (1..=10_000).for_each(|micro| buckets[bucket(micro * 1_000)] += 1);
        let latencies = Latencies(buckets);
        for (share, true_ns) in [(0.5, 5_000_000.0), (0.99, 9_900_000.0), (1.0, 10_000_000.0)] {
            let found = latencies.quantile(share);
            assert!(
                found >= true_ns && found <= true_ns * 1.07,
                "{share}: {found}"
            );
        }
        assert_eq!(latencies.count(), 10_000);
    }

    #[test]
    fn every_value_falls_into_a_bucket_that_reaches_up_to_it() {
        for nanos in (0..4_096).chain([u64::MAX / 2, u64::MAX >> 5]) {
            assert!(upper(bucket(nanos) as u64) >= nanos, "{nanos}");
        }
    }

    #[test]
    fn the_middle_is_between_the_bounds_that_a_table_of_signs_gives() {
        let of = |n: usize| confidence(&(1..=n).map(|x| x as f64).collect::<Vec<_>>());
        assert_eq!(
            [of(5), of(6), of(20)],
            [(1.0, 5.0), (1.0, 6.0), (6.0, 15.0)]
        );
        assert_eq!(spread(&[2.0, 1.0, 4.0], 1), "2.0 (1.0–4.0)");
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[]), 0.0);
    }
}
