//! An engine of your own with its trail in a file, read back and checked:
//! `cargo run -p livetrail --example embed`.

#![allow(clippy::print_stdout, reason = "an example for people")]

use livetrail::prelude::*;
use livetrail::record::TrailChecker;
use livetrail::{FileTrail, open_sessions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join("livetrail-embed.tsv");

    // Sessions that a crash of the last run left open get their last record now.
    let recovered = open_sessions(&path)?;
    let sink = Arc::new(FileAuditSink::open(&path)?);
    let pipeline = Arc::new(
        AuditPipeline::builder(sink)
            .node("example")
            .recovered(recovered.open)
            .build()?,
    );
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .audit(&pipeline, Policy::default())
        .build()?;

    let key = StreamKey::parse("live", "cam")?;
    let mut publication = engine.publish(Attempt::new(key.clone(), "example")).await?;
    let mut playback = engine.play(Attempt::new(key.clone(), "example")).await?;
    let frame = MediaFrame::video(
        CodecId::H264,
        0,
        0,
        FrameFlags::KEYFRAME,
        "a keyframe".into(),
    );
    publication.push(frame)?;
    println!(
        "the viewer got a frame: {}",
        playback.next().await.is_some()
    );
    let refused = engine.publish(Attempt::new(key, "example")).await;
    println!("a second publisher was refused: {}", refused.is_err());
    drop((playback, publication));
    let report = pipeline.close().await;
    println!(
        "{} records written, {} dropped\n",
        report.written, report.dropped
    );

    let mut checker = TrailChecker::new();
    for line in FileTrail::open(&path)? {
        let record = line?.record;
        println!(
            "{} {:<16} {}",
            record.ts_ms,
            record.action,
            record.stream.as_deref().unwrap_or("-")
        );
        for finding in checker.feed(&record) {
            println!("  wrong: {finding}");
        }
    }
    let (_, report) = checker.finish();
    println!(
        "\n{} records, {} sessions closed, sound: {}",
        report.records,
        report.closed_sessions,
        report.is_sound()
    );
    Ok(())
}
