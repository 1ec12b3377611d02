//! Fan-out: processor time per delivery, and latency from publish to receive, for one stream with many viewers, and for many streams.
//!
//! Three ways of delivering the same frames, a fresh runtime and engine for each measurement, in turns:
//! Livetrail's shards (a worker serves its viewers itself), Livetrail with a task for each viewer, and arcly-stream with a
//! task and a broadcast receiver for each viewer.

use std::{
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use bytes::Bytes;
use livetrail_benches as bench;
use livetrail_engine as engine;
use tokio::runtime::{Builder, Runtime};

/// Streams, and viewers in all.
const LAYOUTS: [(usize, usize); 6] = [
    (1, 1),
    (1, 16),
    (1, 256),
    (1, 1_024),
    (1, 4_096),
    (100, 1_000),
];
const WORKERS: usize = 2;
const PAYLOAD_BYTES: usize = 4_096;
const GOP_FRAMES: u64 = 60;

/// At full speed as many frames are published before all viewers must have had them.
const BURST_FRAMES: u64 = 64;

/// One frame in so many is timed.
const TIMED: u64 = 8;

/// How long a burst may take to arrive before frames are counted as lost.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Shards,
    Tasks,
    Arcly,
}

const WAYS: [Way; 3] = [Way::Shards, Way::Tasks, Way::Arcly];

#[derive(Clone, Copy)]
enum Pace {
    /// 60 frames a second for so many seconds.
    Live(u64),
    /// Bursts until about so many deliveries were made.
    Full(u64),
}

#[derive(Clone, Copy)]
struct Sample {
    cpu_ns: f64,
    p50_ns: f64,
    p99_ns: f64,
    lost: u64,
}

/// Publishes a frame with this number on each stream; its presentation time is the time at which it is published, or -1 if it is not timed.
type Publish = Box<dyn FnMut(u64)>;

fn main() -> anyhow::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, seconds, deliveries) = if quick {
        (1, 1, 100_000)
    } else {
        (3, 3, 2_000_000)
    };
    println!(
        "{PAYLOAD_BYTES}-byte frames, {WORKERS} worker threads, median of {rounds} rounds in turns"
    );
    for (title, pace) in [
        ("60 frames a second", Pace::Live(seconds)),
        ("full speed, in bursts of 64 frames", Pace::Full(deliveries)),
    ] {
        println!("\n### {title}\n");
        let mut lines = Vec::new();
        for layout in LAYOUTS {
            let mut samples = [const { Vec::new() }; 3];
            for round in 0..rounds {
                for turn in 0..WAYS.len() {
                    // Another one goes first in each round, so that none is always the one after a certain other.
                    let way = (turn + round) % WAYS.len();
                    samples[way].push(measure(WAYS[way], layout, pace)?);
                }
            }
            lines.extend(compare(layout, &samples));
        }
        let headings = [
            "streams × viewers",
            "way",
            "CPU/delivery",
            "p50",
            "p99",
            "lost",
            "CPU vs. peer",
            "p50 vs. peer",
            "p99 vs. peer",
        ];
        bench::table(&headings, &lines);
    }
    println!("\n“vs. peer”: how many times less than arcly-stream in the same run.");
    Ok(())
}

fn compare((streams, viewers): (usize, usize), samples: &[Vec<Sample>; 3]) -> Vec<Vec<String>> {
    let medians: Vec<_> = samples
        .iter()
        .map(|samples| {
            let of = |value: fn(&Sample) -> f64| {
                bench::median(&samples.iter().map(value).collect::<Vec<_>>())
            };
            let lost = samples.iter().map(|sample| sample.lost).sum();
            Sample {
                cpu_ns: of(|s| s.cpu_ns),
                p50_ns: of(|s| s.p50_ns),
                p99_ns: of(|s| s.p99_ns),
                lost,
            }
        })
        .collect();
    let peer = medians[2];
    let line = |(name, m): (&str, &Sample)| {
        vec![
            format!("{streams} × {}", viewers / streams),
            name.to_owned(),
            bench::human_ns(m.cpu_ns),
            bench::human_ns(m.p50_ns),
            bench::human_ns(m.p99_ns),
            m.lost.to_string(),
            bench::times(m.cpu_ns, peer.cpu_ns),
            bench::times(m.p50_ns, peer.p50_ns),
            bench::times(m.p99_ns, peer.p99_ns),
        ]
    };
    ["Livetrail, shards", "Livetrail, tasks", "arcly-stream"]
        .into_iter()
        .zip(&medians)
        .map(line)
        .collect()
}

fn measure(way: Way, (streams, viewers): (usize, usize), pace: Pace) -> anyhow::Result<Sample> {
    bench::forget_threads();
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()?;
    let mut publish = match way {
        Way::Shards => livetrail(&runtime, streams, viewers, true)?,
        Way::Tasks => livetrail(&runtime, streams, viewers, false)?,
        Way::Arcly => arcly(&runtime, streams, viewers)?,
    };
    // Every viewer has had the first frames before anything counts.
    let mut sent = 0;
    let warm = 8 * viewers as u64;
    for _ in 0..8 {
        publish(sent);
        sent += 1;
    }
    arrived(warm);
    bench::forget();

    let cpu = bench::process_cpu();
    let frames = match pace {
        Pace::Live(seconds) => live(&mut publish, sent, seconds * 60),
        Pace::Full(deliveries) => full(
            &mut publish,
            sent,
            (deliveries / viewers as u64).clamp(2 * BURST_FRAMES, 200_000),
            viewers as u64,
        ),
    };
    let wanted = frames * viewers as u64;
    arrived(wanted);
    let cpu = bench::process_cpu() - cpu;
    let (deliveries, latencies) = (bench::deliveries(), bench::latencies());
    drop(publish);
    runtime.shutdown_timeout(Duration::from_secs(5));
    Ok(Sample {
        cpu_ns: cpu.as_nanos() as f64 / deliveries.max(1) as f64,
        p50_ns: latencies.quantile(0.5),
        p99_ns: latencies.quantile(0.99),
        lost: wanted.saturating_sub(deliveries),
    })
}

/// 60 frames a second, each at its own time whatever the last one took.
fn live(publish: &mut Publish, first: u64, frames: u64) -> u64 {
    let start = Instant::now();
    for frame in 0..frames {
        let due = start + Duration::from_secs(1) * u32::try_from(frame).unwrap_or(u32::MAX) / 60;
        sleep(due.saturating_duration_since(Instant::now()));
        publish(first + frame);
    }
    frames
}

/// As fast as it goes, in bursts that every viewer must have had before the next one.
fn full(publish: &mut Publish, first: u64, frames: u64, viewers: u64) -> u64 {
    let bursts = frames / BURST_FRAMES;
    for burst in 0..bursts {
        for frame in burst * BURST_FRAMES..(burst + 1) * BURST_FRAMES {
            publish(first + frame);
        }
        if !arrived((burst + 1) * BURST_FRAMES * viewers) {
            return (burst + 1) * BURST_FRAMES;
        }
    }
    bursts * BURST_FRAMES
}

/// Waits until so many deliveries were counted; `false` when patience ran out.
fn arrived(deliveries: u64) -> bool {
    let start = Instant::now();
    while bench::deliveries() < deliveries {
        if start.elapsed() > PATIENCE {
            return false;
        }
        sleep(Duration::from_micros(100));
    }
    true
}

/// What a viewer does with a frame: looks at its payload and counts it.
fn take(payload: &Bytes, published: i64) {
    std::hint::black_box(payload.len());
    bench::delivered(u64::try_from(published).ok());
}

/// The presentation time and whether it is a keyframe, for frame `number`.
fn properties(number: u64) -> (i64, bool) {
    let timed = number.is_multiple_of(TIMED);
    (
        if timed { bench::nanos() as i64 } else { -1 },
        number.is_multiple_of(GOP_FRAMES),
    )
}

fn payload() -> Bytes {
    Bytes::from(vec![0x65; PAYLOAD_BYTES])
}

fn livetrail(
    runtime: &Runtime,
    streams: usize,
    viewers: usize,
    sharded: bool,
) -> anyhow::Result<Publish> {
    use engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, Shard, StreamKey};

    let engine = Engine::builder()
        .application(AppSpec::new("live").gop_cache(120))
        .build()?;
    let attempt = |stream: usize| {
        let key = StreamKey::parse("live", &format!("bench{stream}"))?;
        anyhow::Ok(Attempt::new(key, "bench"))
    };
    let mut publications = (0..streams)
        .map(|stream| Ok(runtime.block_on(engine.publish(attempt(stream)?))?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut shards: Vec<_> = (0..WORKERS).map(|_| Shard::new()).collect();
    for number in 0..viewers {
        let mut playback = runtime.block_on(engine.play(attempt(number % streams)?))?;
        if sharded {
            shards[number / streams % WORKERS].attach(playback, ())?;
        } else {
            runtime.spawn(async move {
                while let Some(frame) = playback.next().await {
                    take(&frame.payload, frame.pts);
                }
            });
        }
    }
    for mut shard in shards.into_iter().filter(|shard| !shard.is_empty()) {
        // A thread of its own with a runtime of its own, as the gateways run theirs.
        let own = Builder::new_current_thread().build()?;
        std::thread::spawn(move || {
            own.block_on(async {
                while !shard.is_empty() {
                    shard.ready().await;
                    shard.serve(&mut Viewers);
                }
            });
        });
    }
    let payload = payload();
    Ok(Box::new(move |number| {
        // The engine lives as long as its publisher.
        let _engine = &engine;
        for publication in &mut publications {
            let (now, key) = properties(number);
            let flags = if key {
                FrameFlags::KEYFRAME
            } else {
                FrameFlags::NONE
            };
            let frame = MediaFrame::video(CodecId::H264, now, now, flags, payload.clone());
            let _ = publication.push(frame);
        }
    }))
}

/// The viewers of a shard.
struct Viewers;

impl engine::Deliver<()> for Viewers {
    fn deliver(
        &mut self,
        _: engine::ViewerId,
        (): &mut (),
        frames: &[Arc<engine::SharedFrame>],
    ) -> usize {
        for frame in frames {
            take(&frame.payload, frame.pts);
        }
        frames.len()
    }

    fn ended(&mut self, _: engine::ViewerId, (): (), _: engine::Reason) {}
}

fn arcly(runtime: &Runtime, streams: usize, viewers: usize) -> anyhow::Result<Publish> {
    use arcly_stream::prelude::*;

    let engine = Engine::builder()
        .application(
            AppSpec::new("live")
                .gop_cache(120)
                .broadcast_capacity(1_024),
        )
        .build();
    let publishers = (0..streams)
        .map(|stream| {
            let key = StreamKey::new("live", format!("bench{stream}"));
            Ok(runtime.block_on(engine.start_publish(&key))?)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    for number in 0..viewers {
        let mut viewer = publishers[number % streams].subscribe_resilient();
        runtime.spawn(async move {
            while let Some(frame) = viewer.recv().await {
                take(&frame.data, frame.pts);
            }
        });
    }
    let payload = payload();
    Ok(Box::new(move |number| {
        let _engine = &engine;
        for publisher in &publishers {
            let (now, key) = properties(number);
            let frame = MediaFrame::new_video(now, now, payload.clone(), CodecId::H264, key);
            let _ = publisher.publish_frame(frame);
        }
    }))
}
