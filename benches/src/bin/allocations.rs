//! Allocations for one offer, on the offering thread, and for one frame, on the publisher's thread.
//! A separate program, because a counting allocator would slow the others.

use bytes::Bytes;
use clap::Parser as _;
use livetrail_benches::{self as bench, offer};
use tokio::runtime::{Builder, Runtime};

const OFFERS: u64 = 10_000;

/// Whole segments of our ring.
const FRAMES: u64 = 16_000;
const GOP_FRAMES: u64 = 60;

fn main() -> anyhow::Result<()> {
    // No option makes this program shorter.
    let _ = bench::Quick::parse();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let ways = runtime.block_on(async { tokio::spawn(async { offer::all(65_536) }).await })??;
    let mut lines = Vec::new();
    for (name, way) in offer::NAMES.iter().zip(&ways) {
        // Allocations that happen once for a thread are not part of an offer.
        (0..100).for_each(|_| way.offer());
        let counted = allocation_counter::measure(|| (0..OFFERS).for_each(|_| way.offer()));
        let per_offer = |total: u64| format!("{:.2}", total as f64 / OFFERS as f64);
        lines.push(vec![
            (*name).to_owned(),
            per_offer(counted.count_total),
            per_offer(counted.bytes_total),
        ]);
    }
    bench::table(&["way", "allocations/offer", "bytes/offer"], &lines);
    println!();
    let lines = [
        frames("Livetrail", livetrail(&runtime)?),
        frames("arcly-stream", arcly(&runtime)?),
    ];
    bench::table(&["way", "allocations/frame", "bytes/frame"], &lines);
    Ok(())
}

/// Counts the allocations of `publish`, which gets the frame's number, for frames whose payload
/// exists already.
fn frames(name: &str, mut publish: impl FnMut(u64)) -> Vec<String> {
    // Until the maximum number of frames is kept, and the thread's clocks and maps exist.
    (0..FRAMES).for_each(&mut publish);
    let counted = allocation_counter::measure(|| (FRAMES..2 * FRAMES).for_each(&mut publish));
    let per_frame = |total: u64| format!("{:.2}", total as f64 / FRAMES as f64);
    vec![
        name.to_owned(),
        per_frame(counted.count_total),
        per_frame(counted.bytes_total),
    ]
}

fn payload() -> Bytes {
    Bytes::from(vec![0x65; 4_096])
}

fn livetrail(runtime: &Runtime) -> anyhow::Result<impl FnMut(u64) + use<>> {
    use livetrail_engine::{AppSpec, Attempt, CodecId, Engine, FrameFlags, MediaFrame, StreamKey};

    let engine = Engine::builder()
        .application(AppSpec::new("live").gop_cache(120))
        .build()?;
    let attempt = Attempt::new(StreamKey::parse("live", "bench")?, "bench");
    let mut publication = runtime.block_on(engine.publish(attempt))?;
    let payload = payload();
    Ok(move |number: u64| {
        // The engine exists as long as its publisher.
        let _engine = &engine;
        let flags = if number.is_multiple_of(GOP_FRAMES) {
            FrameFlags::KEYFRAME
        } else {
            FrameFlags::NONE
        };
        let time = number as i64;
        let frame = MediaFrame::video(CodecId::H264, time, time, flags, payload.clone());
        let _ = publication.push(frame);
    })
}

fn arcly(runtime: &Runtime) -> anyhow::Result<impl FnMut(u64) + use<>> {
    use arcly_stream::prelude::*;

    let engine = Engine::builder()
        .application(
            AppSpec::new("live")
                .gop_cache(120)
                .broadcast_capacity(1_024),
        )
        .build();
    let key = StreamKey::new("live", "bench");
    let publisher = runtime.block_on(engine.start_publish(&key))?;
    let payload = payload();
    Ok(move |number: u64| {
        let _engine = &engine;
        let (time, key) = (number as i64, number.is_multiple_of(GOP_FRAMES));
        let frame = MediaFrame::new_video(time, time, payload.clone(), CodecId::H264, key);
        let _ = publisher.publish_frame(frame);
    })
}
