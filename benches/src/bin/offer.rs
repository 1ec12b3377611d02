//! The cost for the media thread of offering one transition to the audit trail: alone, next to a
//! second producer, and when the reader sleeps.

use std::{
    sync::Barrier,
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use clap::Parser as _;
use livetrail_benches::{self as bench, offer};
use offer::Offer;
use tokio::runtime::Builder;

/// Offers in a burst; the queue has room for all of them, so that nothing is dropped.
const BURST: u32 = 20_000;
const CAPACITY: usize = 131_072;

/// Bursts of which the first is not counted.
const BURSTS: usize = 4;

/// How long the reader gets no offer, so that the next offer finds it asleep.
const IDLE: Duration = Duration::from_millis(5);

type Measure = fn(&dyn Offer) -> f64;

fn main() -> anyhow::Result<()> {
    let rounds = if bench::Quick::parse().quick { 3 } else { 15 };
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let _inside = runtime.enter();
    let measures: [(&str, Measure); 3] = [
        ("one producer, busy reader", alone),
        ("two producers, busy reader", two),
        ("one producer, sleeping reader", idle),
    ];
    let mut lines = Vec::new();
    for (title, measure) in measures {
        let mut samples = [const { Vec::new() }; 3];
        for round in 0..rounds {
            let ways = runtime
                .block_on(async { tokio::spawn(async { offer::all(CAPACITY) }).await })??;
            for turn in 0..ways.len() {
                let way = (turn + round) % ways.len();
                samples[way].push(measure(ways[way].as_ref()));
            }
        }
        let medians: Vec<_> = samples
            .iter()
            .map(|samples| bench::median(samples))
            .collect();
        for (name, nanos) in offer::NAMES.iter().zip(&medians) {
            lines.push(vec![
                title.to_owned(),
                (*name).to_owned(),
                bench::human_ns(*nanos),
                bench::times(medians[0], *nanos),
            ]);
        }
    }
    println!(
        "median of {rounds} alternating rounds; time of the call alone, seen from the producer\n"
    );
    bench::table(
        &["situation", "way", "one offer", "times Livetrail's"],
        &lines,
    );
    Ok(())
}

fn alone(way: &dyn Offer) -> f64 {
    bursts(way, 1, || burst(way))
}

fn two(way: &dyn Offer) -> f64 {
    let barrier = Barrier::new(2);
    let one = || {
        barrier.wait();
        burst(way)
    };
    bursts(way, 2, || {
        scope(|scope| {
            let other = scope.spawn(one);
            let mine = one();
            (mine + other.join().unwrap_or(f64::NAN)) / 2.0
        })
    })
}

fn idle(way: &dyn Offer) -> f64 {
    let samples: Vec<_> = (0..40)
        .map(|_| {
            sleep(IDLE);
            let start = Instant::now();
            way.offer();
            start.elapsed().as_nanos() as f64
        })
        .collect();
    bench::median(&samples)
}

/// Nanoseconds of one offer, from a burst of them.
fn burst(way: &dyn Offer) -> f64 {
    let start = Instant::now();
    for _ in 0..BURST {
        way.offer();
    }
    start.elapsed().as_nanos() as f64 / f64::from(BURST)
}

/// The median of several bursts, each after the reader has had the one before.
fn bursts(way: &dyn Offer, producers: u64, measure: impl Fn() -> f64) -> f64 {
    let mut samples = Vec::with_capacity(BURSTS);
    for done in 1..=BURSTS {
        samples.push(measure());
        let wanted = done as u64 * producers * u64::from(BURST);
        let start = Instant::now();
        while way.taken() + way.dropped() < wanted && start.elapsed() < Duration::from_secs(10) {
            sleep(Duration::from_millis(1));
        }
    }
    // No offer may have been skipped: otherwise the work would not be the same.
    let wanted = BURSTS as u64 * producers * u64::from(BURST);
    assert_eq!(
        (way.taken(), way.dropped()),
        (wanted, 0),
        "taken and dropped"
    );
    bench::median(&samples[1..])
}
