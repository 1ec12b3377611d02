//! Counts the instructions from the publisher's push to the last viewer's slice, with a trail and
//! without. valgrind counts them, so the machine makes no difference.
//!
//! A frame is never audited. So both numbers must be the same, except for the call that reports the
//! frame to observers.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::ValueEnum as _;
use livetrail_engine::{
    Attempt, CodecId, Deliver, FrameFlags, MediaFrame, Observer, Publication, Reason, Shard,
    SharedFrame, StreamKey, ViewerId,
};

use crate::table;

/// The number of counted frames. The same number of frames runs first, uncounted.
const FRAMES: u64 = 600;
const GOP_FRAMES: u64 = 60;
const PAYLOAD_BYTES: usize = 4_096;
/// The bench counts with each of these numbers of viewers. Between them, each further viewer adds a
/// constant.
const VIEWERS: [usize; 2] = [100, 1_100];

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Only deliver to this many viewers, for the count
    #[arg(long, hide = true)]
    viewers: Option<usize>,
    #[arg(long, hide = true, default_value = "nobody")]
    observer: Watching,
}

/// The observer of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Watching {
    Nobody,
    Trail,
    /// An observer of each frame. Its higher count shows that the bench can see additional work.
    OfFrames,
}

impl Watching {
    const ALL: [(Self, &str); 3] = [
        (Self::Nobody, "nobody"),
        (Self::Trail, "the trail"),
        (Self::OfFrames, "one who wants frames"),
    ];
}

/// Prints valgrind's counts.
pub fn run(options: &Options) -> Result<()> {
    if let Some(viewers) = options.viewers {
        return deliver(viewers, options.observer);
    }
    let mut lines = Vec::new();
    for (observer, name) in Watching::ALL {
        let few = count(VIEWERS[0], observer)?;
        let many = count(VIEWERS[1], observer)?;
        let a_viewer = (many - few) / (VIEWERS[1] - VIEWERS[0]) as f64;
        lines.push(vec![
            name.to_owned(),
            format!("{:.2}", few - a_viewer * VIEWERS[0] as f64),
            format!("{a_viewer:.2}"),
        ]);
    }
    table(
        &[
            "the engine is observed by",
            "instructions a frame",
            "and a frame and viewer",
        ],
        &lines,
    );
    Ok(())
}

/// Instructions per frame with this many viewers.
fn count(viewers: usize, observer: Watching) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("callgrind");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--collect-atstart=no"]);
    command.arg("--toggle-collect=*instructions*frames_to_all*");
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(std::env::current_exe()?).arg("instructions");
    command.arg("--viewers").arg(viewers.to_string());
    if let Some(value) = observer.to_possible_value() {
        command.arg("--observer").arg(value.get_name());
    }
    let status = command.stderr(Stdio::null()).status();
    let status = status.context("valgrind (Debian's package `valgrind`) is needed")?;
    ensure!(status.success(), "valgrind ended with {status}");
    let text = std::fs::read_to_string(&out)?;
    let total = text.lines().find_map(|line| {
        let (_, total) = line.split_once(':').filter(|(name, _)| *name == "totals")?;
        total.trim().parse::<f64>().ok()
    });
    let total = total.filter(|total| *total > 0.0);
    Ok(total.context("valgrind counted nothing")? / FRAMES as f64)
}

fn deliver(viewers: usize, observer: Watching) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let trail: Option<&Path> = (observer == Watching::Trail).then_some(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut engine = super::gateway::engine(trail)?;
        if observer == Watching::OfFrames {
            engine = engine.observer(Idle);
        }
        let engine = engine.build()?;
        let attempt = || anyhow::Ok(Attempt::new(StreamKey::parse("live", "bench")?, "bench"));
        let mut publication = engine.publish(attempt()?).await?;
        let mut shard = Shard::new();
        for _ in 0..viewers {
            shard.attach(engine.play(attempt()?).await?, 0)?;
        }
        frames(&mut publication, &mut shard, 0)?;
        frames_to_all(&mut publication, &mut shard)?;
        Ok(())
    })
}

/// valgrind counts only the instructions of this function.
#[inline(never)]
fn frames_to_all(publication: &mut Publication, shard: &mut Shard<u64>) -> Result<()> {
    frames(publication, shard, FRAMES)
}

fn frames(publication: &mut Publication, shard: &mut Shard<u64>, first: u64) -> Result<()> {
    let payload = Bytes::from(vec![0x65; PAYLOAD_BYTES]);
    for number in first..first + FRAMES {
        let flags = if number.is_multiple_of(GOP_FRAMES) {
            FrameFlags::KEYFRAME
        } else {
            FrameFlags::NONE
        };
        let time = number as i64;
        publication.push(MediaFrame::video(
            CodecId::H264,
            time,
            time,
            flags,
            payload.clone(),
        ))?;
        shard.serve(&mut Lengths);
    }
    Ok(())
}

/// An observer that receives each frame and does nothing.
struct Idle;

impl Observer for Idle {}

/// Adds up the lengths of the delivered frames.
struct Lengths;

impl Deliver<u64> for Lengths {
    fn deliver(&mut self, _: ViewerId, bytes: &mut u64, frames: &[Arc<SharedFrame>]) -> usize {
        for frame in frames {
            *bytes += frame.payload.len() as u64;
        }
        frames.len()
    }

    fn ended(&mut self, _: ViewerId, _: u64, _: Reason) {}
}
