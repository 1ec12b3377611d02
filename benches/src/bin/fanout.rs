//! Fan-out: processor time per delivery, and latency from publish to receive, for one stream with
//! many viewers, and for many streams.
//!
//! Three ways of delivering the same frames, a fresh runtime and engine for each measurement,
//! alternately: Livetrail's shards (a worker serves its viewers itself), Livetrail with a task per
//! viewer, and arcly-stream with a task and a broadcast receiver per viewer.

use std::{
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use livetrail_benches as bench;
use livetrail_engine as engine;
use tokio::runtime::{Builder, Runtime};

#[derive(Parser)]
struct Options {
    /// Streams × viewers of each
    #[arg(long, value_delimiter = ',', value_parser = layout, default_value = "1x1,1x16,1x256,1x1024,1x4096,100x10")]
    layouts: Vec<(usize, usize)>,
    /// Ways of delivering
    #[arg(long, value_delimiter = ',', default_value = "shards,tasks,arcly")]
    ways: Vec<Way>,
    /// Turns of each way
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each turn at 60 frames per second; 0 omits this pace
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// About this many deliveries of each turn at full speed; 0 omits this pace
    #[arg(long, default_value_t = 2_000_000)]
    deliveries: u64,
    /// A short run
    #[arg(long)]
    quick: bool,
}

fn layout(text: &str) -> Result<(usize, usize), String> {
    let parsed = text.split_once('x').and_then(|(streams, viewers)| {
        let of = |text: &str| text.parse().ok().filter(|&n: &usize| n > 0);
        Some((of(streams)?, of(viewers)?))
    });
    parsed.ok_or_else(|| format!("`{text}` is not like `100x10`"))
}

const WORKERS: usize = 2;
const PAYLOAD_BYTES: usize = 4_096;
const GOP_FRAMES: u64 = 60;

/// At full speed as many frames are published before all viewers must have had them.
const BURST_FRAMES: u64 = 64;

/// Viewers of a stream that use one shard before the next is used: counting and dropping a frame
/// for all of them takes about as long as waking a thread.
const TOGETHER: usize = 1_024;

/// At least this many deliveries of each round of frames are timed, spread evenly over the viewers.
const TIMED: usize = 16;

/// How long a burst may take to arrive before frames are counted as lost.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Way {
    Shards,
    Tasks,
    Arcly,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Shards => "Livetrail, shards",
            Self::Tasks => "Livetrail, tasks",
            Self::Arcly => "arcly-stream",
        }
    }
}

#[derive(Clone, Copy)]
enum Pace {
    /// 60 frames per second for this many seconds.
    Live(u64),
    /// Bursts until about this many deliveries were made.
    Full(u64),
}

#[derive(Clone, Copy)]
struct Sample {
    cpu_ns: f64,
    p50_ns: f64,
    p99_ns: f64,
    lost: u64,
}

/// Publishes a frame with this number on each stream; its presentation time is the time of
/// publishing.
type Publish = Box<dyn FnMut(u64)>;

fn main() -> anyhow::Result<()> {
    let mut options = Options::parse();
    if options.quick {
        (options.rounds, options.seconds) = (1, options.seconds.min(1));
        options.deliveries = options.deliveries.min(100_000);
    }
    let Options {
        ref ways,
        rounds,
        seconds,
        deliveries,
        ..
    } = options;
    println!(
        "{PAYLOAD_BYTES}-byte frames, {WORKERS} worker threads, median of {rounds} alternating rounds"
    );
    let paces = [
        ("60 frames a second", seconds, Pace::Live(seconds)),
        (
            "full speed, in bursts of 64 frames",
            deliveries,
            Pace::Full(deliveries),
        ),
    ];
    for (title, amount, pace) in paces {
        if amount == 0 {
            continue;
        }
        println!("\n### {title}\n");
        let mut lines = Vec::new();
        for &(streams, of_each) in &options.layouts {
            let layout = (streams, streams * of_each);
            let mut samples: Vec<_> = ways.iter().map(|&way| (way, Vec::new())).collect();
            for round in 0..rounds {
                for turn in 0..ways.len() {
                    // A different one is first in each round, so that none always follows the same
                    // other one.
                    let (way, samples) = &mut samples[(turn + round) % ways.len()];
                    samples.push(measure(*way, layout, pace)?);
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

fn compare((streams, viewers): (usize, usize), samples: &[(Way, Vec<Sample>)]) -> Vec<Vec<String>> {
    let median = |samples: &[Sample]| {
        let of = |value: fn(&Sample) -> f64| {
            bench::median(&samples.iter().map(value).collect::<Vec<_>>())
        };
        Sample {
            cpu_ns: of(|s| s.cpu_ns),
            p50_ns: of(|s| s.p50_ns),
            p99_ns: of(|s| s.p99_ns),
            lost: samples.iter().map(|sample| sample.lost).sum(),
        }
    };
    let peer = samples.iter().find(|(way, _)| *way == Way::Arcly);
    let peer = peer.map(|(_, samples)| median(samples));
    let line = |(way, samples): &(Way, Vec<Sample>)| {
        let m = median(samples);
        let times = |value: fn(&Sample) -> f64| {
            peer.map_or_else(
                || "–".to_owned(),
                |peer| bench::times(value(&m), value(&peer)),
            )
        };
        vec![
            format!("{streams} × {}", viewers / streams),
            way.name().to_owned(),
            bench::human_ns(m.cpu_ns),
            bench::human_ns(m.p50_ns),
            bench::human_ns(m.p99_ns),
            m.lost.to_string(),
            times(|s| s.cpu_ns),
            times(|s| s.p50_ns),
            times(|s| s.p99_ns),
        ]
    };
    samples.iter().map(line).collect()
}

fn measure(way: Way, (streams, viewers): (usize, usize), pace: Pace) -> anyhow::Result<Sample> {
    bench::forget_threads();
    bench::time_one_in((viewers / TIMED).clamp(1, 61) as u64);
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

/// 60 frames per second, each at its own time, however long the one before took.
fn live(publish: &mut Publish, first: u64, frames: u64) -> u64 {
    let start = Instant::now();
    for frame in 0..frames {
        let due = start + Duration::from_secs(1) * u32::try_from(frame).unwrap_or(u32::MAX) / 60;
        sleep(due.saturating_duration_since(Instant::now()));
        publish(first + frame);
    }
    frames
}

/// As fast as possible, in bursts that every viewer must have had before the next one.
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

/// Waits until this many deliveries were counted. Returns `false` after a timeout.
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

/// The work of a viewer on a frame: it reads the payload and counts the frame.
fn take(payload: &Bytes, published: i64) {
    std::hint::black_box(payload.len());
    bench::delivered(published.unsigned_abs());
}

/// The presentation time and whether it is a keyframe, for frame `number`.
fn properties(number: u64) -> (i64, bool) {
    (bench::nanos() as i64, number.is_multiple_of(GOP_FRAMES))
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
    use engine::{
        AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, Shard, Spread, StreamKey,
    };

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
    let spread = Spread::new(WORKERS, TOGETHER);
    let mut placed = Vec::new();
    for number in 0..viewers {
        let mut playback = runtime.block_on(engine.play(attempt(number % streams)?))?;
        if sharded {
            let place = spread.place(playback.key());
            shards[place.worker()].attach(playback, ())?;
            placed.push(place);
        } else {
            runtime.spawn(async move {
                while let Some(frame) = playback.next().await {
                    take(&frame.payload, frame.pts);
                }
            });
        }
    }
    for mut shard in shards.into_iter().filter(|shard| !shard.is_empty()) {
        // A separate thread with its own runtime, as in the gateways.
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
        // The engine exists as long as its publisher.
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
